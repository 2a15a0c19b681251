"""Files that are either whole or not there: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kagglekit.base.workspace import home

_FULL = 2**20
"""Free bytes below which a disk counts as full."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE})
_NO_PLACE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG})


def explain(error: OSError) -> str | None:
    """Return what the user can do about a full or unwritable disk in one line; None for other troubles."""
    place = f" ({error.filename or home()})"
    if error.errno in _NO_SPACE:
        return (
            f"no space is left on the disk{place}: free some, or let KAGGLEKIT_HOME name a folder on another disk; "
            "what is finished is kept, and the same command goes on from there."
        )
    if error.errno in _NO_ACCESS:
        return f"{error.strerror}{place}: make it accessible, or let KAGGLEKIT_HOME name a folder that you own."
    if error.errno in _NO_PLACE:
        return f"{error.strerror}{place}: move it away, or let KAGGLEKIT_HOME name another folder."
    return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except Exception as error:
        # numpy and safetensors fail without saying why
        if getattr(error, "errno", None) is None and shutil.disk_usage(path.parent).free < _FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block ends well; one that is there is set aside.

    One command at a time: the caller holds a lock. What killed commands left behind is removed.
    """
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        shutil.rmtree(left)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if hasattr(os, "sync"):  # thousands of files: one flush of all is quicker than one a file
            os.sync()
        if folder.exists():  # not ours, or no longer whole: never deleted
            folder.rename(folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.aside"))
        temporary.rename(folder)
        _sync(folder.parent)
    finally:
        for left in folder.parent.glob(f".{folder.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows can't open a folder
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the file's value, or None where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def digest(value: Any, length: int = 16) -> str:
    """Return a hexadecimal digest of a JSON value, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def full_stamp(status: os.stat_result) -> list[int]:
    """Return [size, time of change in ns, time of renaming or change in ns]: two files that swap names differ."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamp(path: Path) -> list[int]:
    """Return [size, time of change in ns]: enough to see that a file is still the one that was hashed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
