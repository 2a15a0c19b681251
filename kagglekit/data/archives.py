"""Unpack archives as Kaggle delivers them: zips, zips in zips, zipped CSV files.

Nothing is written outside the target folder. An archive is refused as a whole if a member's path leads outside, if it
has links or duplicate names, or if it looks like a zip bomb.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from kagglekit.base import image_names, storage
from kagglekit.base.errors import UserError

MAX_RATIO = 100
"""Images hardly compress, CSV files about tenfold. A higher ratio, above `FREE_BYTES`, counts as a zip bomb."""
FREE_BYTES = 100 * 2**20
MAX_MEMBERS = 5_000_000
MAX_DEPTH = 3
MANIFEST = ".manifest.json"
"""File in the folder of each unpacked archive. A folder without it is incomplete, or not ours."""
_CHUNK = 2**20
_NAME_BYTES = 255
_DRIVE = re.compile(r"^[A-Za-z]:")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Extraction:
    """An unpacked archive."""

    folder: Path
    fresh: bool
    """Whether this call unpacked it."""
    members: tuple[str, ...]
    """Names of the archive's own members; zips among them are unpacked too."""


class NoRoomError(UserError):
    """Raised when the disk is too small; the archive may be fine."""


def extract(archive: Path, into: Path, progress: Progress = lambda _: None, name: str = "") -> Extraction:
    """Unpack `archive` and the zips in it into `into/<stem>-<digest>`, once per content.

    The folder appears, with a manifest of members, only after all checksums match. `progress` is called with the
    number of bytes of each chunk. `name` is the archive's name if the file is named differently. Raises UserError for
    an unsafe or incomplete zip, and NoRoomError.
    """
    name = name or archive.name
    with _open(archive, name) as outer:
        members = _checked_members(outer, name)
        names = tuple(member.filename for member in members)
        listing = [[m.filename, m.file_size, m.CRC] for m in members]
        folder = into / f"{Path(name).stem}-{storage.digest(listing, 8)}"
        if _is_whole(folder):
            return Extraction(folder, False, names)
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into / f".{folder.name}.lock"):
            if _is_whole(folder):  # another process has unpacked it
                return Extraction(folder, False, names)
            with storage.replacing_folder(folder) as temporary:
                allowed = FREE_BYTES + MAX_RATIO * archive.stat().st_size
                rows = _Unpacking(allowed, progress).unpack(outer, name, temporary, 1)
                manifest = {"archive": name, "archive_bytes": archive.stat().st_size, "members": rows}
                storage.write_json(temporary / MANIFEST, manifest)
    return Extraction(folder, True, names)


def _is_whole(folder: Path) -> bool:
    """Return whether the folder of an unpacked archive has a manifest.

    Raises UserError if members in the manifest are missing. Changed members are not detected.
    """
    manifest = storage.read_json(folder / MANIFEST)
    if manifest is None:
        return False
    missing = [path for path, *_ in manifest["members"] if not (folder / path).exists()]
    if missing:
        raise UserError(
            f"{len(missing)} files of {manifest['archive']} are missing from {folder}, for example {missing[0]}: "
            "remove that folder and repeat the command."
        )
    return True


def unpacked_folders(into: Path) -> list[Path]:
    """Return the folders of unpacked archives, newest first."""
    manifests = sorted(into.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path.parent for path in manifests]


def archive_of(folder: Path) -> str:
    """Return the name of the archive that was unpacked to `folder`."""
    return str(storage.read_json(folder / MANIFEST)["archive"])


def total_bytes(archive: Path) -> int:
    """Return the unpacked size in bytes, nested zips still packed; 0 if `archive` is not a zip."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return sum(m.file_size for m in opened.infolist())
    except (zipfile.BadZipFile, UnicodeDecodeError):
        return 0


def holds_images(archive: Path) -> bool:
    """Return whether a zip contains images, or nested zips, which may contain some."""
    with _open(archive, archive.name) as opened:
        return any(image_names.is_image(name) or name.lower().endswith(".zip") for name in opened.namelist())


def _open(source: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        with source.open("rb") as file:
            start = file.read(64).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            raise UserError(f"{name} is a web page, not an archive: download it again while logged in.") from error
        if not name.lower().endswith(".zip"):
            raise UserError(f"{name} is not a zip archive: unpack it, and name the folder.") from error
        raise UserError(f"{name} is not a whole zip archive ({error}): download it again.") from error


def _checked_members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """Return the archive's files. Raises UserError for the first unsafe member."""
    if len(archive.infolist()) > MAX_MEMBERS:
        count = len(archive.infolist())
        raise UserError(f"{name} has {count} members, more than {MAX_MEMBERS}: it looks like a zip bomb.")
    for member in archive.infolist():
        _check_member(member, name)
    members = [member for member in archive.infolist() if not member.is_dir()]
    seen: set[str] = set()
    for member in members:
        key = member.filename.casefold()
        if key in seen:
            raise UserError(f"{name} has two members called {member.filename!r}: nothing was unpacked.")
        seen.add(key)
    return members


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    # orig_filename is the raw name; zipfile has already cleaned filename
    path = member.orig_filename.replace("\\", "/")
    reason = ""
    if not member.filename:
        reason = "has no name"
    elif path.startswith("/") or _DRIVE.match(path):
        reason = "has an absolute name"
    elif ".." in PurePosixPath(path).parts:
        reason = "leads out of the data folder"
    elif "\0" in path:
        reason = "has a NUL in its name"
    elif any(len(os.fsencode(part)) > _NAME_BYTES for part in PurePosixPath(path).parts):
        reason = f"has a name of more than {_NAME_BYTES} bytes"
    elif stat.S_ISLNK(member.external_attr >> 16):
        reason = "is a link"
    elif member.flag_bits & 1:
        reason = "is encrypted"
    if reason:
        raise UserError(f"{name}: member {member.orig_filename!r:.80} {reason}: nothing was unpacked.")


@dataclass
class _Unpacking:
    """Unpacks an archive with all its nested archives; the limits apply to the total."""

    allowed: int
    """Bytes that may still be unpacked before the archive counts as a zip bomb."""
    progress: Progress

    def unpack(self, archive: zipfile.ZipFile, name: str, target: Path, depth: int) -> list[list[object]]:
        """Unpack one level, then its nested zips. Return manifest rows [path, bytes, CRC]."""
        if depth > MAX_DEPTH:
            raise UserError(f"{name} is nested more than {MAX_DEPTH} archives deep: it looks like a zip bomb.")
        members = _checked_members(archive, name)
        self._check_size(members, name, target)
        folder = target / Path(name).stem if _is_flat(members) else target
        prefix = "" if folder == target else f"{folder.name}/"
        rows: list[list[object]] = []
        for member in members:
            path = folder.joinpath(*PurePosixPath(member.filename).parts)
            self._write(archive, member, path, name)
            if not member.filename.lower().endswith(".zip"):
                rows.append([prefix + member.filename, member.file_size, member.CRC])
                continue
            with _open(path, f"{name}: {member.filename}") as inner:
                inner_rows = self.unpack(inner, member.filename, path.parent, depth + 1)
            path.unlink()  # only our temporary copy: the user's archive still contains it
            parent = PurePosixPath(member.filename).parent
            rows += [[(parent / str(row[0])).as_posix(), *row[1:]] for row in inner_rows]
        return rows

    def _check_size(self, members: list[zipfile.ZipInfo], name: str, target: Path) -> None:
        size = sum(m.file_size for m in members)
        self.allowed -= size
        if self.allowed < 0:
            raise UserError(f"{name} would unpack to {size} bytes: it looks like a zip bomb; nothing was unpacked.")
        # a nested archive takes twice its space while it is unpacked
        need = size + sum(m.file_size for m in members if m.filename.lower().endswith(".zip"))
        free = shutil.disk_usage(target).free
        if need > free:
            raise NoRoomError(
                f"{name} needs {need / 1e6:.1f} MB in {target.parent}, and only {free / 1e6:.1f} MB are free: free "
                "some, or set KAGGLEKIT_HOME to a folder on another disk."
            )

    def _write(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, name: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("xb") as sink:
                while chunk := _read(source, name, member.filename):
                    sink.write(chunk)
                    self.progress(len(chunk))
        except (FileExistsError, NotADirectoryError) as error:
            clash = f"{name}: member {member.filename!r} would overwrite another member"
            raise UserError(f"{clash}: nothing was unpacked.") from error
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise _damaged(name, member.filename, error) from error


def _read(source: IO[bytes], name: str, member: str) -> bytes:
    """Read a chunk. Raises UserError if the compressed data is damaged."""
    try:
        return source.read(_CHUNK)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(name, member, error) from error
    except OSError as error:
        if error.errno is not None:  # the disk failed, not the archive
            raise
        raise _damaged(name, member, error) from error


def _damaged(name: str, member: str, error: Exception) -> UserError:
    return UserError(f"{name}: member {member!r} is damaged ({error}): download it again.")


def _is_flat(members: list[zipfile.ZipInfo]) -> bool:
    """Return whether an archive has only images and no folder; they then get a folder with the archive's name."""
    names = [m.filename for m in members if not m.filename.startswith("__MACOSX/")]
    return len(names) > 1 and all("/" not in name and image_names.is_image(name) for name in names)
