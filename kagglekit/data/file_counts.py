"""How many files below the folders of training and test images are used, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kagglekit.competitions import layout
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles

_NO_PATTERN = "in no pattern"
_NO_TABLE = "in no table"
_TOLD = ("not an image", "camera raw", _NO_PATTERN)
"""Reasons that may surprise: the line has an example."""


@dataclass(frozen=True)
class FileCounts:
    """The files below some folders."""

    folders: tuple[str, ...]
    used: frozenset[str]
    """Paths of the images in the tables."""
    ignored: Mapping[str, tuple[str, ...]]
    """Reason -> relative paths."""

    def line(self, unreadable: Iterable[str]) -> str:
        """Return the counts in words. `unreadable` are paths of images that the scan could not read."""
        bad = self.used & set(unreadable)
        reasons = {why: len(paths) for why, paths in sorted(self.ignored.items())}
        bad_count = len(bad) + reasons.pop("unreadable", 0)
        parts = [f"{len(self.used) - len(bad)} used", *([f"{bad_count} unreadable"] if bad_count else [])]
        parts += [f"{count} {why}{self._example(why)}" for why, count in reasons.items()]
        where = " and ".join(f"{folder or '.'}/" for folder in self.folders)
        return f"files below {where}: {', '.join(parts)}"

    def _example(self, why: str) -> str:
        return f" (such as {self.ignored[why][0]})" if why in _TOLD else ""


def _why_unused(competition: Competition, files: DataFiles, path: str) -> str:
    unlisted = _NO_TABLE if layout.fits_any(competition, path) else _NO_PATTERN
    return files.why_no_image(path) or unlisted


def count(competition: Competition, files: DataFiles, used: Iterable[str]) -> FileCounts:
    """Count the files below the folders of all images. `used` are the paths of the images in the tables."""
    folders = layout.folders(competition, files)
    starts = tuple(f"{folder.lower()}/" if folder else "" for folder in folders)
    images = set(used)
    found: set[str] = set()
    ignored: dict[str, list[str]] = {}
    for path in files.paths:
        if path.lower().startswith(starts):
            if (place := files.absolute(path)) in images:
                found.add(place)
            else:
                ignored.setdefault(_why_unused(competition, files, path), []).append(path)
    for path, why in files.ignored.items():
        if path.lower().startswith(starts):
            ignored.setdefault(why, []).append(path)
    return FileCounts(tuple(folders), frozenset(found), {why: tuple(paths) for why, paths in ignored.items()})
