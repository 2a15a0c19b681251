"""Atomic file writes: temporary name, fsync, rename."""

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
    """Return a one-line cure for a full or unwritable disk; None for other errors."""
    where = f" ({error.filename or home()})"
    if error.errno in _NO_SPACE:
        return (
            f"no space is left on the disk{where}: free some, or set KAGGLEKIT_HOME to a folder on another disk; "
            "finished work is kept: repeat the command to resume."
        )
    if error.errno in _NO_ACCESS:
        return f"{error.strerror}{where}: make it accessible, or set KAGGLEKIT_HOME to a folder that you own."
    if error.errno in _NO_PLACE:
        return f"{error.strerror}{where}: move it away, or set KAGGLEKIT_HOME to another folder."
    return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block succeeds."""
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
    """Yield a temporary folder that becomes `folder` if the block succeeds; an existing one is set aside.

    The caller holds a lock. Leftovers of killed commands are removed.
    """
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        shutil.rmtree(left)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if hasattr(os, "sync"):  # thousands of files: one flush of all is faster than one per file
            os.sync()
        if folder.exists():  # not ours, or incomplete: never deleted
            folder.rename(folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.aside"))
        temporary.rename(folder)
        _sync(folder.parent)
    finally:
        for left in folder.parent.glob(f".{folder.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows can't open a folder
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes only writable files
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Bytes of file names that are not UTF-8 become escapes that JSON understands."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the file's value, or None if there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def digest(value: Any, length: int = 16) -> str:
    """Return a hexadecimal digest of a JSON value, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=16).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def full_stamp(status: os.stat_result) -> list[int]:
    """Return [size, modification time in ns, inode change time in ns], which differ even if two files swap names."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamp(path: Path) -> list[int]:
    """Return [size, modification time in ns]: enough to tell that a file is still the one that was hashed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
