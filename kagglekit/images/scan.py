"""The scan: read and decode every image file once, before anything uses it.

Results are cached by path, size and time stamps, so the next command reads only new or changed files. Files with the
same content are the same image.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from kagglekit.base import parallel, storage
from kagglekit.base.console import Console
from kagglekit.images import appearance, decoding, files
from kagglekit.images.appearance import Appearance

SCAN_VERSION = 2
"""Increased whenever a file would be judged differently."""
_INDEX_VERSION = 5
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


@dataclass(frozen=True)
class _Looked:
    path: str
    seen: Seen | None
    digest: bytes = b""
    reason: str = ""


def scan(paths: Sequence[str], folder: Path, megapixels: int, workers: int, console: Console) -> Scan:
    """Read every new or changed file, and return the result for all files.

    `folder` holds the index; images of more than `megapixels` are not decoded.
    """
    index = Index(folder)
    entries = {path: index.get(path) for path in paths}
    todo = [path for path, seen in entries.items() if seen is None or seen.pixels > megapixels * 1e6]
    looked = _look_at(todo, index, megapixels, workers, console) if todo else {}
    entries |= {path: result.seen for path, result in looked.items()}
    _mention_wrong_endings(entries, console)
    digests, unreadable = [], {}
    for number, path in enumerate(paths):
        seen = entries[path]
        if seen is None:
            unreadable[number] = looked[path].reason
        digests.append((looked[path].digest if seen is None else seen.digest).hex())
    return Scan(digests, unreadable, [entries[path] for path in paths])


def _look_at(paths: Sequence[str], index: Index, megapixels: int, workers: int, console: Console) -> dict[str, _Looked]:
    """Read and decode files in parallel; add the readable ones to the index."""
    looked: dict[str, _Looked] = {}
    saved = time.monotonic()
    with console.progress("scan", len(paths), "images") as advance:
        try:
            for result in parallel.overlapped(paths, lambda path: _look(path, megapixels), workers):
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


def _look(path: str, megapixels: int) -> _Looked:
    digest = b""
    try:
        content, (size, changed, touched) = files.read_bytes(path)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        header, pixels = decoding.decode_twice(content, megapixels)
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
