"""Downloading a competition's archive: gone on with after a cut, verified, and only then there."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import archives
from kagglekit.data.project import Project
from kagglekit.kaggle import client, retries
from kagglekit.kaggle.errors import UnreachableError
from kagglekit.kaggle.partial_file import Part, Version

if TYPE_CHECKING:
    import requests

_CHUNK = 2**18
_ZIP = b"PK"
"""What every zip begins with."""


def download(project: Project, console: Console) -> DataFiles:
    """Bring a competition's archive into its workspace and unpack it; return its files.

    What is there already is not fetched again. Raises UserError where Kaggle, the disk or the archive fail.
    """
    competition, workspace = project.competition, project.workspace
    archive = workspace.data / f"{client.slug_of(competition)}.zip"
    workspace.data.mkdir(parents=True, exist_ok=True)
    lock = FileLock(workspace.data / f".{archive.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.say(f"another command is downloading {archive.name}: waiting for it")
        lock.acquire()
    try:
        there = _there(archive)
        if there is not None:
            Part(archive).discard()  # of a command that was killed when all was unpacked
            console.say(f"{there} is there already; remove it to fetch it again")
        else:
            with client.connect(competition, console) as kaggle:
                fetch(kaggle, archive, console)
    finally:
        lock.release()
    return project.find_data(None, console)


def _there(archive: Path) -> Path | None:
    """Return the archive if it is there, else what was unpacked from it."""
    if archive.exists():
        return archive
    unpacked = archives.unpacked_folders(archive.parent)
    return next((folder for folder in unpacked if archives.archive_of(folder) == archive.name), None)


class CutError(Exception):
    """The bytes stopped coming; the next attempt goes on behind them.

    `answer` is what the server says instead, if it says something: it may ask for time.
    """

    def __init__(self, reason: str, answer: requests.Response | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


def fetch(kaggle: client.Kaggle, archive: Path, console: Console) -> None:
    """Download `archive`, in as many pieces as it takes, and unpack it beside itself, which checks every member.

    Only then it takes its name. What is no whole archive is removed; what there is no room to unpack stays.
    """
    listed = kaggle.files()
    part = receive(kaggle, archive, console)
    try:
        with console.progress(
            f"checking and unpacking {archive.name}", archives.total_bytes(part.path), "B"
        ) as advance:
            unpacked = archives.extract(part.path, archive.parent, advance, archive.name)
    except archives.NoRoomError:
        raise
    except UserError:
        part.discard()
        raise
    _compare(listed, unpacked.members, archive.name, console)
    part.become(archive)


def receive(kaggle: client.Kaggle, archive: Path, console: Console) -> Part:
    """Bring all bytes of `archive` that are not here yet; return them, not checked yet."""
    part = Part(archive)
    stuck, furthest = 0, part.size
    for attempt in itertools.count(1):
        try:
            with closing(kaggle.archive()) as source:
                _receive(kaggle, source, part, archive.name, console)
        except CutError as error:
            stuck = 0 if part.size > furthest else stuck + 1
            furthest = max(furthest, part.size)
            pause = retries.wait_after(error.answer, max(stuck, 1))
            if stuck == retries.ATTEMPTS or pause > retries.PATIENCE:
                raise UnreachableError(
                    f"{error}, {max(stuck, 1)} times at {part.size / 1e6:.1f} MB of {archive.name}: what has arrived "
                    f"is kept; type the command again in {pause:.0f} s to go on."
                ) from error
            console.say(f"{error} at {part.size / 1e6:.1f} MB: attempt {attempt + 1} in {pause:.0f} s")
            retries.sleep(pause)
        else:
            return part
    raise AssertionError("itertools.count ends nowhere")


def _receive(kaggle: client.Kaggle, source: requests.Response, part: Part, name: str, console: Console) -> None:
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
                console.say(f"{name} at Kaggle is not the one that {part.size / 1e6:.1f} MB are here of: starting over")
            version = Version.of(response)
            part.start(version)
        _check_room(part, version)
        missing = 0 if version.size is None else version.size - part.size
        with console.progress(f"downloading {name}", missing, "B") as advance, part.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                advance(len(chunk))
        if version.size not in (None, part.size):
            raise CutError("fewer bytes came than were promised")


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
    raise CutError(f"Kaggle's storage does not go on ({rest.status_code})", rest)


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
    kind = response.headers.get("Content-Type", "no type given").partition(";")[0]
    start: bytes = response.content if kind == "application/json" else b""  # which the official client has read
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_ZIP):
            break
    if not start.startswith(_ZIP):
        shown = kaggle.context.shown(start[:4096].decode("utf-8", "replace"))[:60]
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


def _compare(listed: list[str], members: Iterable[str], name: str, console: Console) -> None:
    """Warn where the archive lacks files that Kaggle lists."""
    there = {PurePosixPath(member).name for member in members}
    missing = [file for file in listed if PurePosixPath(file).name not in there]
    if missing:
        console.warn(f"{len(missing)} files that Kaggle lists are not in {name}, such as {missing[0]}")
