"""Unpacking archives as Kaggle delivers them: zips, zips in zips, zipped CSV files.

Nothing is written outside the target; a member that tries, a link, a second member of one name, or a
bomb is refused before anything is unpacked.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kagglekit import storage
from kagglekit.errors import UserError

MAX_RATIO = 100
"""Images hardly compress; a CSV does, ten times. More than this, above `FREE_BYTES`, is a bomb."""
FREE_BYTES = 100 * 2**20
MAX_MEMBERS = 5_000_000
MAX_DEPTH = 3
_CHUNK = 2**20
_DRIVE = re.compile(r"^[A-Za-z]:")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Extraction:
    """An unpacked archive: its folder, and whether this call unpacked it."""

    folder: Path
    fresh: bool


def extract(archive: Path, into: Path, progress: Progress = lambda _: None) -> Extraction:
    """Unpack `archive` and the zips in it into `into/<stem>-<digest>`; done once for the same content.

    The folder appears when it is whole, with a manifest of members beside it. `progress` gets the number
    of bytes read from members as they come. Raises UserError for what is no safe, whole zip.
    """
    with _open(archive, archive.name) as outer:
        members = _checked_members(outer, archive.name)
        listing = [[m.filename, m.file_size, m.CRC] for m in members]
        folder = into / f"{archive.stem}-{storage.digest(listing, 8)}"
        manifest = into / f"{folder.name}.json"
        if folder.is_dir() and manifest.is_file():
            return Extraction(folder, fresh=False)
        _check_disk(members, into, archive)
        with storage.replacing_folder(folder) as temporary:
            rows = _unpack(outer, archive.name, temporary, progress, 1)
        storage.write_json(
            manifest, {"archive": archive.name, "archive_bytes": archive.stat().st_size, "members": rows}
        )
    return Extraction(folder, fresh=True)


def _open(source: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        with source.open("rb") as file:
            start = file.read(64).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            raise UserError(f"{name} is a web page, not an archive: download it again while logged in.") from error
        raise UserError(f"{name} is not a whole zip archive ({error}): download it again.") from error


def _checked_members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """Return the archive's files, or raise UserError for the first one that is not safe."""
    members = [m for m in archive.infolist() if not m.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{name} has {len(members)} members, more than {MAX_MEMBERS}: it looks like a zip bomb.")
    seen: set[str] = set()
    for member in members:
        _check_member(member, name)
        key = member.filename.casefold()
        if key in seen:
            raise UserError(f"{name} has two members called {member.filename!r}: nothing was unpacked.")
        seen.add(key)
    size = sum(m.file_size for m in members)
    packed = sum(m.compress_size for m in members)
    if size > FREE_BYTES + MAX_RATIO * packed:
        raise UserError(
            f"{name} would unpack {packed} bytes to {size}: it looks like a zip bomb; nothing was unpacked."
        )
    return members


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    # orig_filename is what the archive says; zipfile has already cleaned filename
    path = member.orig_filename.replace("\\", "/")
    reason = ""
    if path.startswith("/") or _DRIVE.match(path):
        reason = "has an absolute name"
    elif ".." in PurePosixPath(path).parts:
        reason = "leads out of the data folder"
    elif "\0" in path:
        reason = "has a NUL in its name"
    elif stat.S_ISLNK(member.external_attr >> 16):
        reason = "is a link"
    elif member.flag_bits & 1:
        reason = "is encrypted"
    if reason:
        raise UserError(f"{name}: member {member.orig_filename!r} {reason}: nothing was unpacked.")


def _check_disk(members: list[zipfile.ZipInfo], into: Path, archive: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    # a nested archive lies there twice while it is unpacked
    need = sum(m.file_size * (2 if m.filename.lower().endswith(".zip") else 1) for m in members)
    free = shutil.disk_usage(into).free
    if need > free:
        raise UserError(f"{archive.name} needs {need / 1e9:.1f} GB in {into}, and {free / 1e9:.1f} GB are free.")


def _unpack(archive: zipfile.ZipFile, name: str, target: Path, progress: Progress, depth: int) -> list[list[object]]:
    """Unpack one level and then the zips found in it; return manifest rows [path, bytes, CRC]."""
    if depth > MAX_DEPTH:
        raise UserError(f"{name} is an archive in more than {MAX_DEPTH} archives: it looks like a zip bomb.")
    rows: list[list[object]] = []
    for member in _checked_members(archive, name):
        path = target.joinpath(*PurePosixPath(member.filename).parts)
        _write_member(archive, member, path, name, progress)
        if not member.filename.lower().endswith(".zip"):
            rows.append([member.filename, member.file_size, member.CRC])
            continue
        with _open(path, f"{name}: {member.filename}") as inner:
            inner_target = _inner_target(inner, path)
            below = inner_target.relative_to(target).as_posix()
            inner_rows = _unpack(inner, member.filename, inner_target, progress, depth + 1)
        path.unlink()  # our own temporary copy; the user's archive still holds it
        rows += [[f"{below}/{row[0]}" if below != "." else row[0], *row[1:]] for row in inner_rows]
    return rows


def _inner_target(inner: zipfile.ZipFile, path: Path) -> Path:
    """Unpack beside the inner archive, or into a folder of its name when it is a bare heap of files."""
    names = [m.filename for m in inner.infolist() if not m.is_dir()]
    heap = len(names) > 1 and not any("/" in name for name in names)
    return path.with_suffix("") if heap else path.parent


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, name: str, progress: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(member) as source, path.open("xb") as sink:
            while chunk := source.read(_CHUNK):
                sink.write(chunk)
                progress(len(chunk))
    except FileExistsError as error:
        raise UserError(f"{name}: {member.filename!r} would overwrite another member: nothing was unpacked.") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UserError(f"{name}: member {member.filename!r} is damaged ({error}): download it again.") from error


def total_bytes(archive: Path) -> int:
    """Return the bytes that unpacking writes at the first level; 0 where `archive` is no zip."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return sum(m.file_size for m in opened.infolist())
    except zipfile.BadZipFile:
        return 0
