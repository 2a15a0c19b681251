"""Where files are stored: `KAGGLEKIT_HOME` (default `./competitions`) holds one workspace per competition."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def home() -> Path:
    """Return the folder of all workspaces."""
    return Path(os.environ.get("KAGGLEKIT_HOME") or "competitions").expanduser().resolve()


@dataclass(frozen=True)
class Workspace:
    """One competition's folder."""

    folder: Path
    shared: Path | None = None
    """Folder of the workspace whose cache this one shares, if any."""

    @classmethod
    def of(cls, name: str) -> Workspace:
        """Return the workspace of the competition called `name`; nothing is created on disk."""
        return cls(home() / name)

    @property
    def data(self) -> Path:
        """The competition's data: the user's files and unpacked archives."""
        return self.folder / "data"

    @property
    def cache(self) -> Path:
        """Files that may be deleted at any time."""
        return (self.shared or self.folder) / "cache"

    @property
    def decisions(self) -> Path:
        """Decisions of the first command, kept for later ones."""
        return self.folder / ".decided"

    @property
    def features(self) -> Path:
        """Features of frozen backbones."""
        return self.cache / "features"

    @property
    def scan(self) -> Path:
        """Cached results of the scan of image files."""
        return self.cache / "scan"

    @property
    def runs(self) -> Path:
        """One folder per run."""
        return self.folder / "runs"

    @property
    def audit(self) -> Path:
        """Files that `audit` writes."""
        return self.folder / "audit"

    @property
    def drops(self) -> Path:
        """The training images that the user has decided to exclude."""
        return self.folder / "drops.csv"

    @property
    def synthetic(self) -> Workspace:
        """The workspace for synthetic runs, on drawn images, separate from real runs."""
        return Workspace(self.folder / "synthetic")

    @property
    def rehearsal(self) -> Workspace:
        """The workspace for rehearsals, whose test images are hidden training images. They share the cache."""
        return Workspace(self.folder / "rehearsal", self.folder)

    @property
    def recipe_file(self) -> Path:
        """The user's own settings."""
        return self.folder / "recipe.toml"


def backbones_folder() -> Path:
    """Return the folder of exported backbones, which all competitions share."""
    return home() / ".cache" / "backbones"
