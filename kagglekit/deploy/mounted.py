"""The files of a competition as Kaggle mounts them, those in zip archives as if unpacked.

Bundles contain this file unchanged.
"""

from __future__ import annotations

import io
import lzma
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from kagglekit.base import image_names, walking
else:  # in a bundle, whose modules lie side by side
    import image_names
    import walking

Read = Callable[[], bytes]
"""Reads a file. Raises UnreadableError."""
_MAX_DEPTH = 3


class UnreadableError(ValueError):
    """A file that can't be read; the message is the reason."""


def find_files(data: Path) -> dict[str, Read]:
    """Return all files of data below a folder, by relative path. Raises SystemExit if a folder can't be listed.

    An archive that can't be read is left out, with a warning.
    """
    found: dict[str, Read] = {}
    try:
        entries = sorted((entry for entry in walking.walk(data) if not entry.ignored), key=lambda e: e.relative)
    except OSError as error:
        raise SystemExit(f"{error.filename} can't be listed: {error.strerror}") from error
    for entry in entries:
        name = image_names.to_text(entry.relative)
        found[name] = _reader(entry.path.read_bytes)
        if entry.path.suffix.lower() == ".zip":
            for member, read in _members(partial(zipfile.ZipFile, entry.path), PurePosixPath(name), 1):
                found.setdefault(member, read)
    return found


def _members(opener: Callable[[], zipfile.ZipFile], place: PurePosixPath, depth: int) -> Iterator[tuple[str, Read]]:
    """Yield the files of an archive at `place` and of its nested archives, with their paths as if unpacked there.

    Images without a folder get a folder with the archive's name.
    """
    try:
        archive = _opened(opener, depth)
    except UnreadableError as error:
        print(f"WARNING: {place} {error}: it is left out")
        return
    turn = threading.Lock()  # several threads read one file
    members = _data_of(archive, place)
    is_heap = len(members) > 1 and not any("/" in name or name.lower().endswith((".csv", ".zip")) for name in members)
    folder = place.with_suffix("") if is_heap else place.parent
    for name, info in members.items():
        read = _reader(_member(archive, info, turn))
        if name.lower().endswith(".zip"):
            yield from _members(partial(_in_memory, read), folder / name, depth + 1)
        else:
            yield (folder / name).as_posix(), read


def _opened(opener: Callable[[], zipfile.ZipFile], depth: int) -> zipfile.ZipFile:
    if depth > _MAX_DEPTH:
        raise UnreadableError(f"is nested more than {_MAX_DEPTH} archives deep")
    with _naming_the_reason():
        return opener()


def _in_memory(read: Read) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(read()))


def _data_of(archive: zipfile.ZipFile, place: PurePosixPath) -> dict[str, zipfile.ZipInfo]:
    """Return the files of data in an archive by name, with forward slashes: tools on Windows write backslashes."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        ignored = any(map(walking.ignored_because, name.split("/"))) or walking.ignored_file_because(name)
        if name.endswith("/") or ignored:
            continue
        if name in members:
            print(f"WARNING: {place} has two members called {name!r}: the last one is used")
        members[name] = info
    return members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, turn: threading.Lock) -> Read:
    def read() -> bytes:
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableError("is encrypted")
        with turn:
            return archive.read(info)

    return read


_ENCRYPTED = 1


def _reader(read: Read) -> Read:
    def reading() -> bytes:
        with _naming_the_reason():
            return read()

    return reading


@contextmanager
def _naming_the_reason() -> Iterator[None]:
    """Raise UnreadableError for whatever reading a file or a member of an archive raises."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        raise UnreadableError(f"is damaged: {error or type(error).__name__}") from error
    except (OSError, NotImplementedError) as error:
        raise UnreadableError(f"can't be read: {getattr(error, 'strerror', None) or error}") from error
