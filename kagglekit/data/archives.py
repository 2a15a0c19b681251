"""Unpack archives as Kaggle and others deliver them: zip, tar and 7z, archives in archives, zipped CSV files.

Nothing is written outside the target folder. An archive is refused as a whole if a member's path leads outside, if it
has links or duplicate names, or if it looks like a zip bomb.
"""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from kagglekit.base import image_names, storage
from kagglekit.base.errors import UserError
from kagglekit.data.archive_formats import Archive, Member, UnreadableError, is_archive, open_archive, stem

MAX_RATIO = 100
"""Images hardly compress, CSV files about tenfold. A higher ratio, above `FREE_BYTES`, counts as a zip bomb."""
FREE_BYTES = 100 * 2**20
MAX_MEMBERS = 5_000_000
MAX_DEPTH = 3
MANIFEST = ".manifest.json"
"""File in the folder of each unpacked archive. A folder without it is incomplete, or not ours."""
_NAME_BYTES = 255
_DRIVE = re.compile(r"^[A-Za-z]:")
"""Start of a path of its own on Windows, also below a folder: `data/C:/x` is `C:/x` there."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Extraction:
    """An unpacked archive."""

    folder: Path
    fresh: bool
    """Whether this call unpacked it."""


class NoRoomError(UserError):
    """Raised when the disk is too small; the archive may be fine."""


def extract(archive: Path, into: Path, progress: Progress = lambda _: None, name: str = "") -> Extraction:
    """Unpack `archive` and the archives in it into `into/<stem>-<digest>`, once per content.

    The folder appears, with a manifest of members, only after all checksums match. `progress` is called with the
    number of bytes of each chunk. `name` is the archive's name if the file is named differently. Raises UserError for
    an unsafe or incomplete archive, and NoRoomError.
    """
    name = name or archive.name
    with open_archive(archive, name) as outer:
        folder = into / f"{stem(name)}-{storage.digest(outer.identity(), 8)}"
        if _is_whole(folder):
            return Extraction(folder, False)
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into / f".{folder.name}.lock"):
            if _is_whole(folder):  # another process has unpacked it
                return Extraction(folder, False)
            with storage.replacing_folder(folder) as temporary:
                allowed = FREE_BYTES + MAX_RATIO * archive.stat().st_size
                rows = _Unpacking(allowed, progress).unpack(outer, stem(name), temporary, 1)
                manifest = {"archive": name, "archive_bytes": archive.stat().st_size, "members": rows}
                storage.write_json(temporary / MANIFEST, manifest)
    return Extraction(folder, True)


def _is_whole(folder: Path) -> bool:
    """Return whether the folder of an unpacked archive has a manifest, and is as this version unpacks it.

    Earlier versions left tar and 7z archives packed, and backslashes in names. Raises UserError if members in the
    manifest are missing. Changed members are not detected.
    """
    manifest = storage.read_json(folder / MANIFEST)
    paths = [str(path) for path, *_ in manifest["members"]] if manifest else []
    if manifest is None or any(is_archive(path) or "\\" in path for path in paths):
        return False
    missing = [path for path in paths if not (folder / path).exists()]
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


def member_names(archive: Path) -> list[str]:
    """Return the names of an archive's files; archives in it count as one. Raises UserError if it can't be read."""
    with open_archive(archive, archive.name) as opened:
        return [member.name for member in opened.members() if not member.is_folder]


def total_bytes(archive: Path) -> int:
    """Return the unpacked size in bytes, archives in it still packed; 0 if that takes long or can't be told."""
    try:
        with open_archive(archive, archive.name) as opened:
            return sum(member.size for member in opened.members()) if opened.lists_at_once else 0
    except UserError:
        return 0


def holds_only_tables(archive: Path) -> bool:
    """Return whether an archive has CSV files, and neither images nor archives, which may contain some.

    Raises UserError if it can't be read.
    """
    found = False
    with open_archive(archive, archive.name) as opened:
        for member in opened.members():
            if image_names.is_image(member.name) or is_archive(member.name):
                return False
            found = found or member.name.lower().endswith((".csv", ".tsv"))
    return found


def _checked_members(archive: Archive, allowed: int) -> list[Member]:
    """Return the archive's files. Raises UserError for the first unsafe member, or if they are too many or too large.

    Members are checked as they are listed: to list the members of a bomb may take forever.
    """
    members: list[Member] = []
    seen: set[str] = set()
    size = 0
    for count, member in enumerate(archive.members(), 1):
        if count > MAX_MEMBERS:
            raise UserError(f"{archive.name} has more than {MAX_MEMBERS} members: it looks like a zip bomb.")
        _check_member(member, archive)
        if member.is_folder:
            continue
        if member.name in seen:
            raise UserError(f"{archive.name} has two members called {member.name!r}: nothing was unpacked.")
        seen.add(member.name)
        size += member.size
        if size > allowed:
            raise UserError(
                f"{archive.name} would unpack to {size} bytes or more: it looks like a zip bomb; nothing was unpacked."
            )
        members.append(member)
    return members


def _check_member(member: Member, archive: Archive) -> None:
    path = member.name
    reason, cure = member.flaw, f"; {archive.cure}" if member.flaw else ""
    if not path:
        reason = "has no name"
    elif path.startswith("/") or _DRIVE.match(path):
        reason = "has an absolute name"
    elif ".." in PurePosixPath(path).parts or any(map(_DRIVE.match, PurePosixPath(path).parts)):
        reason = "leads out of the data folder"
    elif "\0" in path:
        reason = "has a NUL in its name"
    elif any(len(os.fsencode(part)) > _NAME_BYTES for part in PurePosixPath(path).parts):
        reason = f"has a name of more than {_NAME_BYTES} bytes"
    if reason:
        kind = UnreadableError if member.flaw else UserError
        raise kind(f"{archive.name}: member {member.raw!r:.80} {reason}: nothing was unpacked{cure}.")


@dataclass
class _File:
    """A file that a member is written to."""

    path: Path
    """Path of the file, which must not exist yet."""
    progress: Progress
    size: int = 0
    crc: int = 0

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("xb")

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)
        self.progress(len(data))
        return len(data)

    def close(self) -> None:
        self._file.close()


@dataclass
class _Unpacking:
    """Unpacks an archive with all its nested archives; the limits apply to the total."""

    allowed: int
    """Bytes that may still be unpacked before the archive counts as a zip bomb."""
    progress: Progress

    def unpack(self, archive: Archive, title: str, target: Path, depth: int) -> list[list[object]]:
        """Unpack one level, then its nested archives. Return manifest rows [path, bytes, CRC].

        Images without a folder get one that is called `title`.
        """
        if depth > MAX_DEPTH:
            raise UserError(f"{archive.name} is nested more than {MAX_DEPTH} archives deep: it looks like a zip bomb.")
        members = _checked_members(archive, self.allowed)
        self._check_size(members, archive.name, target)
        folder = target / title if _is_flat(members) else target
        rows: list[list[object]] = []
        for file in self._write(archive, folder):
            within = file.path.relative_to(target)
            if not is_archive(file.path.name):
                rows.append([within.as_posix(), file.size, file.crc])
                continue
            with open_archive(file.path, f"{archive.name}: {within.as_posix()}") as inner:
                inner_rows = self.unpack(inner, stem(file.path.name), file.path.parent, depth + 1)
            file.path.unlink()  # only our temporary copy: the user's archive still contains it
            rows += [[(within.parent / str(row[0])).as_posix(), *row[1:]] for row in inner_rows]
        return rows

    def _check_size(self, members: list[Member], name: str, target: Path) -> None:
        size = sum(m.size for m in members)
        self.allowed -= size
        # a nested archive takes twice its space while it is unpacked
        need = size + sum(m.size for m in members if is_archive(m.name))
        free = shutil.disk_usage(target).free
        if need > free:
            raise NoRoomError(
                f"{name} needs {need / 1e6:.1f} MB in {target.parent}, and only {free / 1e6:.1f} MB are free: free "
                "some, or set KAGGLEKIT_HOME to a folder on another disk."
            )

    def _write(self, archive: Archive, folder: Path) -> list[_File]:
        """Write an archive's files below `folder`. Return them in the archive's order."""
        written: list[_File] = []

        def open_sink(name: str) -> _File:
            path = folder.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)
            try:
                written.append(_File(path, self.progress))
            except (FileExistsError, NotADirectoryError) as error:
                raise _clash(archive, name, path, written) from error
            return written[-1]

        try:
            archive.extract(open_sink)
        finally:  # py7zr leaves a file open where it fails
            for file in written:
                file.close()
        return written


def _clash(archive: Archive, name: str, path: Path, written: list[_File]) -> UserError:
    """Return the error for a member whose `path` exists already."""
    twins = [file.path for file in written if file.path != path and str(file.path).lower() == str(path).lower()]
    why = "; this disk does not tell upper case from lower: set KAGGLEKIT_HOME to one that does" if twins else ""
    return UserError(f"{archive.name}: member {name!r} would overwrite another member: nothing was unpacked{why}.")


def _is_flat(members: list[Member]) -> bool:
    """Return whether an archive has only images and no folder; they then get a folder with the archive's name."""
    paths = [PurePosixPath(member.name) for member in members]  # without the `./` of `tar -C train .`
    own = [path for path in paths if path.parts[:1] != ("__MACOSX",)]
    return len(own) > 1 and all(len(path.parts) == 1 and image_names.is_image(path.name) for path in own)
