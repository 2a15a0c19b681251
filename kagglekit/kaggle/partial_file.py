"""A partial download, and the version of its file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base import storage

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Version:
    """The version of a file at an address. Bytes of two versions are never mixed."""

    etag: str
    modified: str
    size: int | None
    """Size of the whole file in bytes; None if the server does not report it."""

    @classmethod
    def of(cls, response: requests.Response) -> Version:
        """Return the version in a response with the whole file or a range of it."""
        headers = response.headers
        size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
        return cls(headers.get("ETag", ""), headers.get("Last-Modified", ""), int(size) if size.isdecimal() else None)

    def has_part(self, part: Version) -> bool:
        """Return whether a partial response may belong to this version, because no header contradicts it."""
        same = (part.etag in ("", self.etag), part.modified in ("", self.modified), part.size in (None, self.size))
        return all(same)

    @property
    def validator(self) -> str:
        """Value of If-Range: a strong ETag, else the date; empty if the server sends neither."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Part:
    """The bytes that have arrived, in a file next to the archive, and their version."""

    def __init__(self, archive: Path) -> None:
        """Name the files. Nothing is created on disk yet."""
        self.path = archive.with_name(f".{archive.name}.part")
        self._record = archive.with_name(f".{archive.name}.part.json")

    @property
    def size(self) -> int:
        """Number of bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def matches(self, version: Version) -> bool:
        """Return whether the bytes that have arrived belong to this version."""
        known = storage.read_json(self._record) if self.size else None
        fits = version.size is None or self.size <= version.size
        return bool(version.validator) and known == asdict(version) and fits

    def start(self, version: Version) -> None:
        """Start over: empty the file, then record the version of the next bytes."""
        self.path.write_bytes(b"")
        storage.write_json(self._record, asdict(version))

    def discard(self) -> None:
        """Delete the bytes and their record."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def become(self, archive: Path) -> None:
        """Rename the complete file to `archive`."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(archive)
        self._record.unlink(missing_ok=True)
