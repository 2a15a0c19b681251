"""The scan: read and decode every image file once, before anything uses it.

Results are cached by path, size and time stamps, so the next command reads only new or changed files. Files with the
same content are the same image.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from kagglekit.base import native_output, parallel, storage
from kagglekit.base.console import Console
from kagglekit.images import appearance, decoding, depth, files
from kagglekit.images.appearance import Appearance
from kagglekit.images.depth import Levels, Used

SCAN_VERSION = 2
"""Increased whenever a file would be judged differently."""
_INDEX_VERSION = 6
"""Increased whenever the stored columns change."""
_SAVE_EVERY = 10.0
"""Seconds of work that a killed command may lose."""


@dataclass(frozen=True, kw_only=True)
class Seen(Appearance):
    """A readable image file when it was last read, and its appearance."""

    size: int
    changed: int
    """Modification time in ns."""
    touched: int
    """Inode change time in ns: it reveals renames and reset modification times."""
    digest: bytes
    """Hash of the content, 16 bytes."""
    pixels: int
    format: str
    """Format of the content, such as JPEG, whatever the file extension."""
    sample: str = ""
    """Type of the samples, such as uint16; empty for at most 8 bits per channel."""
    low: float = 0.0
    """Values that the image uses if it has more than 8 bits per channel, as in `depth.Used`."""
    high: float = 0.0
    levels: str = ""
    """Levels that the appearance was computed with if there are more than 8 bits per channel."""


_COLUMNS = tuple(Seen.__dataclass_fields__)


class Index:
    """The cache of the scan: path -> `Seen`, in one parquet file.

    It holds only readable images. The others are read again each time, since they are few and a later decoder may
    read them.
    """

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`, which need not exist; each decoder version has its own index."""
        made_by = {name: version(name) for name in ("opencv-python-headless", "pillow")}
        made_by |= {"scan": str(SCAN_VERSION), "index": str(_INDEX_VERSION)}
        self._path = folder / f"scan-{storage.digest(made_by, 8)}.parquet"
        self._entries = self._load()
        self._new: dict[str, Seen] = {}

    def _load(self) -> dict[str, Seen]:
        from pyarrow import parquet

        if not self._path.is_file():
            return {}
        columns = parquet.read_table(self._path).to_pydict()
        rows = zip(*(columns[name] for name in _COLUMNS), strict=True)
        return {
            path: Seen(**dict(zip(_COLUMNS, row, strict=True))) for path, row in zip(columns["path"], rows, strict=True)
        }

    def get(self, path: str) -> Seen | None:
        """Return the entry of a file, or None if the file is new or has changed."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        try:
            fresh = storage.full_stamp(files.place(path).stat()) == [entry.size, entry.changed, entry.touched]
        except OSError:
            return None
        return entry if fresh else None

    def put(self, path: str, seen: Seen) -> None:
        """Add the entry of a file."""
        self._entries[path] = self._new[path] = seen

    def save(self) -> None:
        """Write new entries, and keep those that another command has written meanwhile."""
        import pyarrow
        from pyarrow import parquet

        if not self._new:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._path}.lock"):
            entries = self._load() | self._new
            columns: dict[str, list[object]] = {"path": list(entries)}
            columns |= {name: [getattr(seen, name) for seen in entries.values()] for name in _COLUMNS}
            with storage.replacing(self._path) as temporary:
                parquet.write_table(pyarrow.table(columns), temporary)
        self._new.clear()


@dataclass(frozen=True)
class Scan:
    """The result for a list of image files, by position."""

    digests: list[str]
    """Content hash of each file, in hexadecimal; empty if it could not be read at all."""
    unreadable: Mapping[int, str]
    """Position -> reason."""
    seen: list[Seen | None]
    """Entry of each file; None if it is unreadable."""
    levels: Levels
    """How images of more than 8 bits per channel are shown."""


@dataclass(frozen=True)
class _Looked:
    path: str
    seen: Seen | None
    digest: bytes = b""
    reason: str = ""


def scan(paths: Sequence[str], folder: Path, megapixels: int, workers: int, console: Console, *, training: int) -> Scan:
    """Read every new or changed file, and return the result for all files.

    The first `training` paths are training images: they decide the levels of all. `folder` holds the index; images of
    more than `megapixels` are not decoded.
    """
    index = Index(folder)
    entries = {path: index.get(path) for path in paths}
    looked: dict[str, _Looked] = {}

    def look_at(some: Sequence[str], levels: Levels) -> None:
        if some:
            look = partial(_look, megapixels=megapixels, levels=levels)
            looked.update(_look_at(some, index, look, workers, console))
            entries.update({path: looked[path].seen for path in some})

    look_at([path for path, seen in entries.items() if seen is None or seen.pixels > megapixels * 1e6], ())
    levels = _levels([entries[path] for path in paths[:training]], console)
    deep = [(path, seen.levels) for path, seen in entries.items() if seen is not None and seen.sample]
    look_at([path for path, used in deep if used != str(levels)], levels)
    _mention_wrong_endings(entries, console)
    digests, unreadable = [], {}
    for number, path in enumerate(paths):
        seen = entries[path]
        if seen is None:
            unreadable[number] = looked[path].reason
        digests.append((looked[path].digest if seen is None else seen.digest).hex())
    return Scan(digests, unreadable, [entries[path] for path in paths], levels)


def _levels(training: Sequence[Seen | None], console: Console) -> Levels:
    """Return the levels of the data set, and print them."""
    used = [Used(seen.sample, seen.low, seen.high) for seen in training if seen is not None and seen.sample]
    levels = depth.levels_of(used)
    for sample, black, white in levels:
        kind = {"uint16": "16-bit"}.get(sample, sample)
        console.say(f"{kind} images: {black:.6g} to {white:.6g} is shown as black to white")
    return levels


def _look_at(
    paths: Sequence[str], index: Index, look: Callable[[str], _Looked], workers: int, console: Console
) -> dict[str, _Looked]:
    """Read and decode files in parallel; add the readable ones to the index."""
    with native_output.decoders_silenced() as printed:
        looked = _look_at_all(paths, index, look, workers, console)
    if printed:
        console.say(f"scan: image libraries printed {len(printed)} messages, for example: {printed[0]}")
    return looked


def _look_at_all(
    paths: Sequence[str], index: Index, look: Callable[[str], _Looked], workers: int, console: Console
) -> dict[str, _Looked]:
    looked: dict[str, _Looked] = {}
    saved = time.monotonic()
    with console.progress("scan", len(paths), "images") as advance:
        try:
            for result in parallel.overlapped(paths, look, workers):
                looked[result.path] = result
                if result.seen is not None:
                    index.put(result.path, result.seen)
                if time.monotonic() - saved > _SAVE_EVERY:
                    index.save()
                    saved = time.monotonic()
                advance(1)
        finally:
            index.save()
    return looked


def _look(path: str, megapixels: int, levels: Levels) -> _Looked:
    digest = b""
    try:
        content, (size, changed, touched) = files.read_bytes(path)
        digest = files.digest(content)
        header, pixels = decoding.decode_twice(content, megapixels, levels)
        used = depth.used_values(content)
    except decoding.ImageError as error:
        return _Looked(path, None, digest, str(error))
    seen = Seen(
        **vars(appearance.look(pixels)),
        size=size,
        changed=changed,
        touched=touched,
        digest=digest,
        pixels=header.pixels,
        format=header.format,
        **({} if used is None else vars(used) | {"levels": str(levels)}),
    )
    return _Looked(path, seen, digest)


_JPEG = ("JPEG", "MPO")  # phones store a second picture in a JPEG file
_FORMATS = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".png": ("PNG",),
    ".bmp": ("BMP",),
    ".gif": ("GIF",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".webp": ("WEBP",),
    ".avif": ("AVIF",),
    ".heic": ("HEIF",),
    ".heif": ("HEIF",),
}


def _mention_wrong_endings(entries: Mapping[str, Seen | None], console: Console) -> None:
    """Tell the user about wrong file extensions; such files are read by their content."""
    wrong = [(path, seen.format) for path, seen in entries.items() if seen is not None and _is_misnamed(path, seen)]
    if wrong:
        path, found = wrong[0]
        console.say(
            f"scan: {len(wrong)} images are not what their ending says, for example {path} ({found}): read anyway"
        )


def _is_misnamed(path: str, seen: Seen) -> bool:
    return seen.format not in _FORMATS.get(Path(path).suffix.lower(), (seen.format,))
