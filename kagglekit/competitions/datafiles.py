"""The files of a competition's data, by their path in the layout."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SKIPPED_FOLDERS = frozenset({"__MACOSX", "__pycache__"})


@dataclass(frozen=True)
class DataFiles:
    """A mapping from relative to absolute paths, of one folder or of several merged ones."""

    paths: Mapping[str, Path]
    """Relative path with forward slashes -> absolute path, sorted by relative path."""
    origin: str
    """Name of the data in messages: the folder or archive that the user named."""
    remarks: list[str] = field(default_factory=list, compare=False)
    """What was assumed about the files that were read so far, to be said once."""

    @classmethod
    def from_folders(cls, folders: Iterable[Path], origin: str, skip: frozenset[str] = frozenset()) -> DataFiles:
        """List the files of `folders`. For equal relative paths, the first folder wins.

        Top-level folders named in `skip` are left out.
        """
        paths: dict[str, Path] = {}
        for folder in folders:
            for relative, path in _walk(folder, skip):
                paths.setdefault(relative, path)
        return cls(dict(sorted(paths.items())), origin)

    def below(self, prefix: str) -> DataFiles:
        """Return the files below the folder `prefix`, with paths relative to it."""
        start = f"{prefix}/"
        paths = {path[len(start) :]: file for path, file in self.paths.items() if path.startswith(start)}
        return DataFiles(paths, self.origin, self.remarks)

    def folders(self, depth: int) -> list[str]:
        """Return the folders down to `depth` levels, upper ones first."""
        levels = range(1, depth + 1)
        found = {"/".join(path.split("/")[:n]) for n in levels for path in self.paths if path.count("/") >= n}
        return sorted(found, key=lambda folder: (folder.count("/"), folder))

    def first(self, candidates: Iterable[str]) -> Path | None:
        """Return the first candidate that exists, or None. Case is ignored at the top level."""
        lower = {path.lower(): file for path, file in self.paths.items() if "/" not in path}
        for candidate in candidates:
            found = self.paths.get(candidate) or lower.get(candidate.lower())
            if found is not None:
                return found
        return None


def _walk(folder: Path, skip: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """Yield (relative path, file), without the hidden files of file managers and notebooks."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a symbolic link to a parent
            folders.clear()
            continue
        seen.add(real)
        base = os.path.relpath(parent, folder).replace(os.sep, "/")
        left_out = _SKIPPED_FOLDERS | skip if base == "." else _SKIPPED_FOLDERS
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in left_out)
        for name in names:
            if not name.startswith("."):
                yield (name if base == "." else f"{base}/{name}"), Path(parent, name)
