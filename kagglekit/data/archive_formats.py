"""Zip, tar and 7z archives behind one interface: what is in them, and their bytes."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, ClassVar, Protocol, Self

from kagglekit.base import storage
from kagglekit.base.errors import UserError

SUFFIXES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_TAR_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix.startswith(".t"))
_SPLIT = re.compile(r"\.(z\d\d|(zip|7z|tar)\.\d{3})$", re.IGNORECASE)
_ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_END_BYTES = 65557
"""Largest size of a zip's last record, with its comment."""
_CHUNK = 2**20
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError)


def is_archive(name: str) -> bool:
    """Return whether a name has the suffix of an archive, and is not hidden: `._train.zip` is a Mac's note on one."""
    return name.lower().endswith(SUFFIXES) and not PurePosixPath(name).name.startswith(".")


def is_part(name: str) -> bool:
    """Return whether a name is that of one part of a split archive."""
    return _SPLIT.search(name) is not None


def stem(name: str) -> str:
    """Return an archive's name without its suffix: `train` for `train.tar.gz`."""
    suffix = max((each for each in SUFFIXES if name.lower().endswith(each)), key=len, default=Path(name).suffix)
    return name[: -len(suffix)] if suffix else name


class UnreadableError(UserError):
    """An archive that kagglekit can't unpack, and another tool can."""


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive."""

    raw: str
    """Name as stored, however bad it is."""
    size: int
    """Unpacked size in bytes."""
    is_folder: bool = False
    flaw: str = ""
    """Why it can't be unpacked: `is a link`, `is encrypted`."""

    @property
    def name(self) -> str:
        """Name with forward slashes: tools on Windows write backslashes."""
        return self.raw.replace("\\", "/")


class Sink(Protocol):
    """A file that a member is written to."""

    def write(self, data: bytes) -> object:
        """Write some bytes."""

    def close(self) -> None:
        """End the file."""


class Archive(ABC):
    """An open archive. All methods raise UserError for damaged data."""

    tool: ClassVar[str]
    """Command that unpacks what kagglekit can't."""
    lists_at_once: ClassVar[bool] = True
    """Whether members are listed without reading the whole archive."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @abstractmethod
    def members(self) -> Iterator[Member]:
        """Yield the members, in the archive's order."""

    @abstractmethod
    def identity(self) -> Any:
        """Return JSON values that change with the content, without reading it all."""

    @abstractmethod
    def extract(self, open_sink: Callable[[str], Sink]) -> None:
        """Write the members that are files to sinks, which `open_sink` opens by the member's raw name."""

    @property
    def cure(self) -> str:
        """What to do with an archive that only its own tool unpacks."""
        return f"unpack it with `{self.tool} {PurePosixPath(self.name).name}`, and name the folder with --data"

    @contextmanager
    def reading(self, member: str = "") -> Iterator[None]:
        """Turn errors of damaged data into UserError; those of the disk pass."""
        try:
            yield
        except (OSError, *_BROKEN) as error:
            if getattr(error, "errno", None) is not None:
                raise
            what = f"member {member!r} is damaged" if member else "it is damaged or incomplete"
            raise UserError(f"{self.name}: {what} ({_reason(error)}): download it again.") from error


def open_archive(path: Path, name: str) -> Archive:
    """Open an archive by its content; `name` is what messages call it. Raises UserError."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise UserError(f"{name} is a web page, not an archive: download it again while logged in.")
    if is_part(name):
        raise UnreadableError(f"{name} is one part of a split archive: {unpack_split(path.name)}.")
    if start.startswith(_SEVEN_ZIP):
        return SevenZip(path, name)
    if start.startswith(_COMPRESSED) or start[257:262] == b"ustar" or name.lower().endswith(_TAR_SUFFIXES):
        return Tar(path, name)
    return Zip(path, name)


def unpack_split(part: str) -> str:
    """Return what to do with a split archive, of which one part is called `part`."""
    first = re.sub(r"\.z\d\d$", ".zip", part, flags=re.IGNORECASE)
    return f"unpack all of it with `7z x {first}`, and name the folder with --data"


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(":")


def _not_an_archive(name: str, kind: str, error: Exception) -> UserError:
    if not is_archive(name):
        return UserError(f"{name} is not a zip, tar or 7z archive: unpack it, and name the folder.")
    return UserError(f"{name} is not a whole {kind} archive ({_reason(error)}): download it again.")


class Zip(Archive):
    """A zip archive."""

    tool = "7z x"

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        if _is_last_part(path):
            raise UnreadableError(f"{name} is the last part of a split archive: {unpack_split(path.name)}.")
        try:
            self._file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise _not_an_archive(name, "zip", error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def members(self) -> Iterator[Member]:
        """Yield the members, in the order of the directory."""
        for info in self._file.infolist():
            # zipfile cuts `filename` at a NUL
            raw = info.orig_filename if info.filename and "\0" in info.orig_filename else info.filename
            is_folder = raw.endswith("/") or (raw.endswith("\\") and not info.file_size)
            yield Member(raw, info.file_size, is_folder, _zip_flaw(info))

    def identity(self) -> Any:
        """Return names, sizes and checksums."""
        return [[m.filename, m.file_size, m.CRC] for m in self._file.infolist() if not m.filename.endswith("/")]

    def extract(self, open_sink: Callable[[str], Sink]) -> None:
        """Write the files one by one."""
        for member, info in zip(self.members(), self._file.infolist(), strict=True):
            if member.is_folder:
                continue
            with self.reading(info.filename), self._file.open(info) as source:
                _copy(source, open_sink(member.raw))


def _zip_flaw(info: zipfile.ZipInfo) -> str:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in _ZIP_METHODS:
        known = {9: "deflate64", 93: "zstandard"}.get(info.compress_type, f"method {info.compress_type}")
        return f"is compressed with {known}, which Python can't read"
    return ""


def _is_last_part(path: Path) -> bool:
    """Return whether a zip's last record says that the archive has other parts."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    return at >= 0 and end[at + 4 : at + 6] not in (b"\0\0", b"\xff\xff", b"")


class _StrictInfo(tarfile.TarInfo):
    """A tar header. tarfile itself takes a damaged one for the end of the archive, and drops the rest silently."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if bytes(buf).strip(b"\0"):
                raise tarfile.ReadError(f"a member's header is damaged: {error}") from error
            raise


class Tar(Archive):
    """A tar archive, compressed or not."""

    tool = "tar -xf"
    lists_at_once = False

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        try:
            self._file = tarfile.open(path, tarinfo=_StrictInfo)  # noqa: SIM115  closed by `close`
        except _BROKEN as error:
            raise _not_an_archive(name, "tar", error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def members(self) -> Iterator[Member]:
        """Yield the members. A compressed archive is read to its end for that."""
        with self.reading():
            for info in self._file:
                flaw = "is a link" if info.issym() or info.islnk() else "" if info.isfile() else "is a device"
                yield Member(info.name, info.size, info.isdir(), "" if info.isdir() else flaw)

    def identity(self) -> Any:
        """Return size and both ends: compressed formats end in checksums. Without these, the time counts too."""
        with self.path.open("rb") as file:
            start = file.read(_CHUNK)
            file.seek(max(0, self.path.stat().st_size - _CHUNK))
            ends = [zlib.crc32(start), zlib.crc32(file.read(_CHUNK))]
        checked = start.startswith(_COMPRESSED)
        return [self.path.stat().st_size, *ends] if checked else [*storage.stamp(self.path), *ends]

    def extract(self, open_sink: Callable[[str], Sink]) -> None:
        """Write the files in the archive's order: going back would decompress it from the start."""
        with tarfile.open(self.path, tarinfo=_StrictInfo) as file:
            for info in file:
                if info.isdir():
                    continue
                with self.reading(info.name):
                    source = file.extractfile(info)
                    assert source is not None, "members that are no files are refused before"
                    _copy(source, open_sink(info.name))


class SevenZip(Archive):
    """A 7z archive; needs py7zr."""

    tool = "7z x"

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        try:
            import py7zr
        except ImportError as error:
            raise UserError(
                f"{name} needs py7zr: `pip install py7zr` and repeat the command, or {self.cure}."
            ) from error
        self._errors = py7zr.exceptions
        with ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))  # given a path, py7zr would decompress in threads
            with self.reading():
                self._file = opened.enter_context(py7zr.SevenZipFile(file))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    @contextmanager
    def reading(self, member: str = "") -> Iterator[None]:
        """Turn errors of damaged data into UserError; those of the disk pass."""
        with super().reading(member):
            try:
                yield
            except (self._errors.PasswordRequired, self._errors.UnsupportedCompressionMethodError) as error:
                raise UnreadableError(f"{self.name} can't be read ({_reason(error)}): {self.cure}.") from error
            except self._errors.ArchiveError as error:
                raise EOFError(str(error)) from error

    def members(self) -> Iterator[Member]:
        """Yield the members."""
        encrypted = "is encrypted" if self._file.password_protected else ""
        for info in self._file.list():
            flaw = encrypted if info.is_file or info.is_directory else "is a link"
            yield Member(info.filename, info.uncompressed, info.is_directory, flaw)

    def identity(self) -> Any:
        """Return names, sizes and checksums."""
        return [[info.filename, info.uncompressed, info.crc32] for info in self._file.list()]

    def extract(self, open_sink: Callable[[str], Sink]) -> None:
        """Write all files in one pass: many share one compressed block."""
        base = self.path.parent.absolute()
        with self.reading():
            self._file.extractall(base, factory=_Outputs(base, open_sink))


@dataclass(frozen=True)
class _Outputs:
    """What py7zr asks for a file for each member, with `base` before its name."""

    base: Path
    open_sink: Callable[[str], Sink]

    def create(self, filename: str) -> _Output:
        return _Output(self.open_sink(Path(filename).relative_to(self.base).as_posix()))


class _Output:
    """A sink as py7zr wants it; nothing is read back."""

    def __init__(self, sink: Sink) -> None:
        self.write, self.close = sink.write, sink.close

    def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
        return 0


def _copy(source: IO[bytes], sink: Sink) -> None:
    with closing(sink):
        while chunk := source.read(_CHUNK):
            sink.write(chunk)
