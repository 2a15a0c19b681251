"""Reading image files from disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from kagglekit.base import image_names, storage
from kagglekit.base.errors import UserError
from kagglekit.images import decoding, earlier
from kagglekit.images.decoding import ImageError
from kagglekit.images.depth import Levels


def place(path: str | Path) -> Path:
    """Return where a file is; text is a path as tables have it, `image_names.to_text`."""
    return Path(image_names.from_text(path)) if isinstance(path, str) else path


def read_bytes(path: str | Path) -> tuple[bytes, list[int]]:
    """Return a file's bytes and its `storage.full_stamp`; raise ImageError if it can't be read or is empty."""
    try:
        with place(path).open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"can't be read: {error}") from error
    if not content:
        raise ImageError("is empty")
    return content, storage.full_stamp(status)


def digest(content: bytes) -> bytes:
    """Return the hash of an image's content, 16 bytes.

    Images that earlier versions decoded to different pixels have a different hash from theirs.
    """
    hashed = hashlib.blake2b(content, digest_size=16)
    if earlier.is_read_otherwise(content):
        hashed.update(b"decoded differently")
    return hashed.digest()


def decode(path: str, content_hash: bytes, levels: Levels = ()) -> decoding.Pixels:
    """Decode an image file to (H, W, 3); raise UserError if it has changed since the scan."""
    try:
        content, _ = read_bytes(path)
    except decoding.ImageError as error:
        raise UserError(f"{path} {error}, though it could be read before: run the command again.") from error
    if digest(content) != content_hash:
        raise UserError(f"{path} has changed during the run: run the command again.")
    return decoding.decode(content, levels)
