"""Downloading a competition's archive: gone on with after a cut, verified, and only then there."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from kagglekit import archives, data, storage
from kagglekit.console import Console
from kagglekit.datafiles import DataFiles
from kagglekit.errors import UserError
from kagglekit.kaggle import client, retries
from kagglekit.kaggle.failures import UnreachableError
from kagglekit.plugins import Plugin
from kagglekit.workspace import Workspace

if TYPE_CHECKING:
    import requests

_CHUNK = 2**18
_ZIP = b"PK"
"""What every zip begins with."""


def download(plugin: Plugin, console: Console) -> DataFiles:
    """Bring a competition's archive into its workspace and unpack it; return its files.

    What is there already is not fetched again. Raises UserError where Kaggle, the disk or the archive fail.
    """
    competition = plugin.competition()
    workspace = Workspace.of(competition.name)
    archive = workspace.data / f"{client.slug_of(competition)}.zip"
    workspace.data.mkdir(parents=True, exist_ok=True)
    lock = FileLock(workspace.data / f".{archive.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.say(f"another command is downloading {archive.name}: waiting for it")
        lock.acquire()
    try:
        if _is_there(archive):
            console.say(f"{archive.name} is there already; remove it to fetch it again")
        else:
            with client.connect(competition, console) as kaggle:
                fetch(kaggle, archive, console)
    finally:
        lock.release()
    return data.find(competition, None, workspace, console)


def _is_there(archive: Path) -> bool:
    """Say whether the archive, or what was unpacked from it, is there."""
    manifests = [storage.read_json(folder / archives.MANIFEST) for folder in archives.unpacked_folders(archive.parent)]
    return archive.exists() or any(manifest["archive"] == archive.name for manifest in manifests)


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


class CutError(Exception):
    """The bytes stopped coming; the next attempt goes on behind them."""


def fetch(kaggle: client.Kaggle, archive: Path, console: Console) -> None:
    """Download `archive`, in as many pieces as it takes, and verify it."""
    listed = kaggle.files()
    part = Part(archive)
    stuck, furthest = 0, part.size
    for attempt in itertools.count(1):
        try:
            with closing(kaggle.archive()) as source:
                _receive(kaggle, source, part, archive.name, console)
            break
        except CutError as error:
            stuck = 0 if part.size > furthest else stuck + 1
            furthest = max(furthest, part.size)
            if stuck == retries.ATTEMPTS:
                raise UnreachableError(
                    f"{error}, {stuck} times at {part.size / 1e6:.1f} MB of {archive.name}: what has arrived is kept; "
                    "type the command again to go on."
                ) from error
            pause = retries.wait_after(None, max(stuck, 1))
            console.say(f"{error} at {part.size / 1e6:.1f} MB: attempt {attempt + 1} in {pause:.0f} s")
            retries.sleep(pause)
    try:
        with console.progress(f"checking {archive.name}", archives.total_bytes(part.path), "B") as advance:
            members = archives.verify(part.path, archive.name, advance)
    except UserError:
        part.discard()
        raise
    _compare(listed, members, archive.name, console)
    part.become(archive)


def _receive(
    kaggle: client.Kaggle, source: requests.Response, part: Part, name: str, console: Console
) -> None:
    """Write what is missing of the archive that `source` would bring; raise CutError where the bytes end early."""
    version = Version.of(source)
    response = source
    if part.goes_on_with(version):
        if part.size == version.size:
            return
        source.close()
        response = _rest(kaggle, source.url, part, version)
    with closing(response):
        chunks = _chunks(response)
        if response.status_code == 206:
            console.say(f"going on at {part.size / 1e6:.1f} MB of {name}")
        else:
            chunks = _checked_start(chunks, response, kaggle)
            if part.size:
                console.say(f"{name} has changed at Kaggle since {part.size / 1e6:.1f} MB of it came: starting over")
            version = Version.of(response)
            part.start(version)
        _check_room(part, version)
        missing = 0 if version.size is None else version.size - part.size
        with console.progress(f"downloading {name}", missing, "B") as advance, part.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                advance(len(chunk))


def _rest(kaggle: client.Kaggle, url: str, part: Part, version: Version) -> requests.Response:
    """Return the response that goes on behind the part, or, where the file has changed, begins anew."""
    import requests

    try:
        rest = kaggle.rest_of(url, part.size, version.validator)
    except requests.RequestException as error:
        raise CutError(retries.reason(error)) from error
    starts = rest.headers.get("Content-Range", "").startswith(f"bytes {part.size}-")
    if rest.status_code == 200 or (rest.status_code == 206 and starts and version.has_part(Version.of(rest))):
        return rest
    rest.close()
    if rest.status_code in (206, 416):  # a range that was not asked for, or none: only a fresh start helps
        part.discard()
    raise CutError(f"Kaggle's storage does not go on ({rest.status_code})")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield bytes as they come, so that none is lost when no more do."""
    import urllib3

    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
    except (urllib3.exceptions.HTTPError, OSError) as error:
        timed_out = isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError)
        raise CutError("Kaggle stopped sending" if timed_out else "the connection was cut") from error


def _checked_start(chunks: Iterator[bytes], response: requests.Response, kaggle: client.Kaggle) -> Iterator[bytes]:
    """Return all chunks once they begin like an archive; raise UserError, which shows what came instead."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_ZIP):
            break
    if not start.startswith(_ZIP[: len(start)]):
        kind = response.headers.get("Content-Type", "no type given").partition(";")[0]
        shown = kaggle.context.shown(start[:60].decode("utf-8", "replace"))
        raise UserError(
            f"Kaggle sent no archive but {kind}, which begins with {shown!r}: log in to Kaggle in a browser and look "
            f"whether {kaggle.context.url}/data can be downloaded there; nothing of it was kept."
        )
    return itertools.chain([start], chunks)


def _check_room(part: Part, version: Version) -> None:
    """Raise UserError where the disk can't hold what is missing, and about as much again, unpacked."""
    if version.size is None:
        return
    need = 2 * version.size - part.size
    free = shutil.disk_usage(part.path.parent).free
    if need > free:
        raise UserError(
            f"the archive and what it unpacks to need about {need / 1e6:.1f} MB in {part.path.parent}, and "
            f"{free / 1e6:.1f} MB are free: free some, or let KAGGLEKIT_HOME name a folder on another disk."
        )


def _compare(listed: list[str], members: list[str], name: str, console: Console) -> None:
    """Warn where the archive lacks files that Kaggle lists."""
    there = {PurePosixPath(member).name for member in members}
    missing = [file for file in listed if PurePosixPath(file).name not in there]
    if missing:
        console.warn(f"{len(missing)} files that Kaggle lists are not in {name}, such as {missing[0]}")
