"""The files of a competition's data, by their path in the layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kagglekit.base import image_names, walking
from kagglekit.base.errors import UserError

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class DataFiles:
    """A mapping from relative to absolute paths, of one folder or of several merged ones."""

    paths: Mapping[str, Path]
    """Relative path with forward slashes, as `image_names.to_text` -> absolute path, sorted by relative path."""
    origin: str
    """Name of the data in messages: the folder or archive that the user named."""
    remarks: list[str] = field(default_factory=list, compare=False)
    """What was assumed about the files that were read so far, to be said once."""
    ignored: Mapping[str, str] = field(default_factory=dict)
    """Relative path -> reason, for files that are no data, such as hidden ones."""
    _not_images: dict[Path, str] = field(default_factory=dict)
    """Absolute path -> reason, for files whose content was looked at; empty for images."""

    @classmethod
    def from_folders(cls, folders: Iterable[Path], origin: str, skip: frozenset[str] = frozenset()) -> DataFiles:
        """List the files of `folders`. For equal relative paths, the first folder wins.

        Top-level folders named in `skip` are left out. Raises UserError if a folder can't be listed.
        """
        paths: dict[str, Path] = {}
        ignored: dict[str, str] = {}
        for folder in folders:
            for entry in listed(folder, skip):
                relative = image_names.to_text(entry.relative)
                if entry.ignored:
                    ignored.setdefault(relative, entry.ignored)
                else:
                    paths.setdefault(relative, entry.path)
        return cls(dict(sorted(paths.items())), origin, ignored=ignored)

    def below(self, prefix: str) -> DataFiles:
        """Return the files below the folder `prefix`, with paths relative to it."""
        start = f"{prefix}/"
        paths = {path[len(start) :]: file for path, file in self.paths.items() if path.startswith(start)}
        ignored = {path[len(start) :]: why for path, why in self.ignored.items() if path.startswith(start)}
        return DataFiles(paths, self.origin, self.remarks, ignored, self._not_images)

    def absolute(self, path: str) -> str:
        """Return the absolute path of a relative one, as tables hold it: with forward slashes, and as `to_text`."""
        return image_names.to_text(self.paths[path].as_posix())

    def is_image(self, path: str) -> bool:
        """Return whether the file at a relative path is an image, by its extension, else by its first bytes."""
        return not self.why_no_image(path)

    def why_no_image(self, path: str) -> str:
        """Return why the file at a relative path is no image; empty if it is one."""
        if image_names.is_image(path):
            return ""
        file = self.paths[path]
        if file not in self._not_images:
            self._not_images[file] = why_no_image(file)
        return self._not_images[file]

    def below_each(self, depth: int) -> Iterator[DataFiles]:
        """Yield the files below each folder down to `depth` levels, upper ones first."""
        paths, ignored = _by_folder(self.paths, depth), _by_folder(self.ignored, depth)
        for folder in sorted(paths, key=lambda folder: (folder.count("/"), folder)):
            yield DataFiles(paths[folder], self.origin, self.remarks, ignored.get(folder, {}), self._not_images)

    def without_double(self, folders: Iterable[str]) -> DataFiles:
        """Return the files as if those of the folder `train/train`, for example, were in `train`."""
        starts = {f"{folder}/": len(folder) - len(folder.rpartition("/")[2]) for folder in folders}
        paths = {}
        for path, file in self.paths.items():
            cut = next((cut for start, cut in starts.items() if path.startswith(start)), 0)
            paths[path[cut:]] = file
        return DataFiles(dict(sorted(paths.items())), self.origin, self.remarks, self.ignored, self._not_images)

    def first(self, candidates: Iterable[str]) -> Path | None:
        """Return the first candidate that exists, or None. Case is ignored at the top level."""
        lower = {path.lower(): file for path, file in self.paths.items() if "/" not in path}
        for candidate in candidates:
            found = self.paths.get(candidate) or lower.get(candidate.lower())
            if found is not None:
                return found
        return None


def _by_folder(values: Mapping[str, _Value], depth: int) -> dict[str, dict[str, _Value]]:
    """Return folder -> path below it -> value, for the folders down to `depth` levels."""
    found: dict[str, dict[str, _Value]] = defaultdict(dict)
    for path, value in values.items():
        end = -1
        for _ in range(depth):
            end = path.find("/", end + 1)
            if end < 0:
                break
            found[path[:end]][path[end + 1 :]] = value
    return found


def why_no_image(file: Path) -> str:
    """Return why a file is no image, by its extension, else by its first bytes; empty if it is one."""
    if image_names.is_image(file.name):
        return ""
    try:
        return "" if walking.holds_image(file) else "not an image"
    except OSError:
        return "unreadable"


def listed(folder: Path, skip: frozenset[str] = frozenset()) -> Iterator[walking.Entry]:
    """Yield all files below a folder. Raises UserError if one of its folders can't be listed."""
    try:
        yield from walking.walk(folder, skip)
    except OSError as error:
        raise UserError(
            f"{error.filename} can't be listed ({error.strerror}), and its images would be missing: make it readable."
        ) from error
