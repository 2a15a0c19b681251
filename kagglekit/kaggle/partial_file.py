"""The bytes of a download that have arrived, and which file of Kaggle's they are the beginning of."""

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
    """What tells two files of one address apart; bytes of two versions are never mixed."""

    etag: str
    modified: str
    size: int | None
    """Bytes of the whole file, where the server says it."""

    @classmethod
    def of(cls, response: requests.Response) -> Version:
        """Read it from a response with the whole file, or with the rest of one."""
        headers = response.headers
        size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
        return cls(headers.get("ETag", ""), headers.get("Last-Modified", ""), int(size) if size.isdecimal() else None)

    def has_part(self, part: Version) -> bool:
        """Say whether a response with a part of a file is of this version, by all that it says of itself."""
        same = (part.etag in ("", self.etag), part.modified in ("", self.modified), part.size in (None, self.size))
        return all(same)

    @property
    def validator(self) -> str:
        """What If-Range may hold: a strong ETag, else the date; nothing where the server gives neither."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Part:
    """The bytes that have arrived, beside the archive under a name of its own, and the version they belong to."""

    def __init__(self, archive: Path) -> None:
        """Nothing is made on disk yet."""
        self.path = archive.with_name(f".{archive.name}.part")
        self._record = archive.with_name(f".{archive.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def goes_on_with(self, version: Version) -> bool:
        """Say whether what has arrived is the beginning of this version."""
        known = storage.read_json(self._record) if self.size else None
        fits = version.size is None or self.size <= version.size
        return bool(version.validator) and known == asdict(version) and fits

    def start(self, version: Version) -> None:
        """Begin anew: first without bytes, then with the version that the next ones belong to."""
        self.path.write_bytes(b"")
        storage.write_json(self._record, asdict(version))

    def discard(self) -> None:
        """Remove what has arrived."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def become(self, archive: Path) -> None:
        """Take the archive's name: from now on it counts as there."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(archive)
        self._record.unlink(missing_ok=True)
