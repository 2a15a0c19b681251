"""Download a competition's archive. Resumes after interruptions, and verifies the archive before renaming it."""

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
from kagglekit.data.archive_formats import UnreadableError
from kagglekit.data.project import Project
from kagglekit.kaggle import client, retries
from kagglekit.kaggle.errors import UnreachableError
from kagglekit.kaggle.partial_file import Part, Version

if TYPE_CHECKING:
    import requests

_CHUNK = 2**18
_ZIP = b"PK"
"""First bytes of every zip archive."""


def download(project: Project, console: Console) -> DataFiles:
    """Download a competition's archive into its workspace, unpack it and return its files.

    An existing archive is not downloaded again. Raises UserError if Kaggle, the disk or the archive fails.
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
            Part(archive).discard()  # leftover of a command killed after unpacking
            console.say(f"{there} already exists; remove it to download it again")
        else:
            with client.connect(competition, console) as kaggle:
                fetch(kaggle, archive, console)
    finally:
        lock.release()
    return project.find_data(None, console)


def _there(archive: Path) -> Path | None:
    """Return the archive if it exists, else the folder it was unpacked to, else None."""
    if archive.exists():
        return archive
    unpacked = archives.unpacked_folders(archive.parent)
    return next((folder for folder in unpacked if archives.archive_of(folder) == archive.name), None)


class CutError(Exception):
    """Raised when the transfer ends early; the next attempt resumes it.

    `answer` is the server's response, if any: it may ask to wait.
    """

    def __init__(self, reason: str, answer: requests.Response | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


def fetch(kaggle: client.Kaggle, archive: Path, console: Console) -> None:
    """Download `archive`, resuming as often as needed, and unpack it next to itself, which checks every member.

    The archive gets its name only after that. A broken archive is deleted; one that only other tools unpack, or
    that is too large for the disk, is kept.
    """
    listed = kaggle.files()
    part = receive(kaggle, archive, console)
    try:
        with console.progress(
            f"checking and unpacking {archive.name}", archives.total_bytes(part.path), "B"
        ) as advance:
            archives.extract(part.path, archive.parent, advance, archive.name)
    except archives.NoRoomError:
        raise
    except UnreadableError:
        part.become(archive)
        raise
    except UserError:
        part.discard()
        raise
    _compare(listed, archives.member_names(part.path), archive.name, console)
    part.become(archive)


def receive(kaggle: client.Kaggle, archive: Path, console: Console) -> Part:
    """Download the missing bytes of `archive`. Return the file, not yet verified."""
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
                    f"{error}, {max(stuck, 1)} times at {part.size / 1e6:.1f} MB of {archive.name}: these bytes "
                    f"are kept; repeat the command in {pause:.0f} s to resume."
                ) from error
            console.say(f"{error} at {part.size / 1e6:.1f} MB: attempt {attempt + 1} in {pause:.0f} s")
            retries.sleep(pause)
        else:
            return part
    raise AssertionError("itertools.count ends nowhere")


def _receive(kaggle: client.Kaggle, source: requests.Response, part: Part, name: str, console: Console) -> None:
    """Append the missing bytes of the archive that `source` streams. Raises CutError if the transfer ends early."""
    version = Version.of(source)
    response = source
    if part.matches(version):
        if part.size == version.size:
            return
        source.close()
        response = _rest(kaggle, source.url, part, version)
    with closing(response):
        chunks = _chunks(response)
        if response.status_code == 206:
            console.say(f"resuming at {part.size / 1e6:.1f} MB of {name}")
        else:
            chunks = _checked_start(chunks, response, kaggle)
            if part.size:
                console.say(f"{name} has changed at Kaggle since {part.size / 1e6:.1f} MB arrived: starting over")
            version = Version.of(response)
            part.start(version)
        _check_room(part, version)
        missing = 0 if version.size is None else version.size - part.size
        with console.progress(f"downloading {name}", missing, "B") as advance, part.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                advance(len(chunk))
        if version.size not in (None, part.size):
            raise CutError("the transfer ended early")


def _rest(kaggle: client.Kaggle, url: str, part: Part, version: Version) -> requests.Response:
    """Return a response with the bytes after the part, or with the whole file if it has changed."""
    import requests

    try:
        rest = kaggle.rest_of(url, part.size, version.validator)
    except requests.RequestException as error:
        raise CutError(retries.reason(error)) from error
    starts = rest.headers.get("Content-Range", "").startswith(f"bytes {part.size}-")
    if rest.status_code == 200 or (rest.status_code == 206 and starts and version.has_part(Version.of(rest))):
        return rest
    rest.close()
    if rest.status_code in (206, 416):  # a wrong range or none: start over
        part.discard()
    raise CutError(f"Kaggle's storage does not resume ({rest.status_code})", rest)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield bytes as they arrive, so that no bytes are lost if the connection breaks."""
    import urllib3

    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
    except (urllib3.exceptions.HTTPError, OSError) as error:
        timed_out = isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError)
        raise CutError("Kaggle stopped sending" if timed_out else "the connection was cut") from error


def _checked_start(chunks: Iterator[bytes], response: requests.Response, kaggle: client.Kaggle) -> Iterator[bytes]:
    """Return all chunks if they start like a zip archive. Otherwise raise UserError, which shows the start."""
    kind = response.headers.get("Content-Type", "no type given").partition(";")[0]
    start: bytes = response.content if kind == "application/json" else b""  # the official client has already read it
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_ZIP):
            break
    if not start.startswith(_ZIP):
        shown = kaggle.context.shown(start[:4096].decode("utf-8", "replace"))[:60]
        raise UserError(
            f"Kaggle sent {kind} instead of an archive; it starts with {shown!r}: log in to Kaggle in a browser and "
            f"check that {kaggle.context.url}/data can be downloaded there; nothing was kept."
        )
    return itertools.chain([start], chunks)


def _check_room(part: Part, version: Version) -> None:
    """Raise UserError if the disk is too small for the missing bytes and an unpacked copy of about the same size."""
    if version.size is None:
        return
    need = 2 * version.size - part.size
    free = shutil.disk_usage(part.path.parent).free
    if need > free:
        raise UserError(
            f"the archive and its unpacked files need about {need / 1e6:.1f} MB in {part.path.parent}, and only "
            f"{free / 1e6:.1f} MB are free: free some, or set KAGGLEKIT_HOME to a folder on another disk."
        )


def _compare(listed: list[str], members: Iterable[str], name: str, console: Console) -> None:
    """Warn if the archive lacks files that Kaggle lists."""
    there = {PurePosixPath(member).name for member in members}
    missing = [file for file in listed if PurePosixPath(file).name not in there]
    if missing:
        console.warn(f"{len(missing)} files that Kaggle lists are not in {name}, for example {missing[0]}")
