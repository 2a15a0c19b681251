"""Reading image files from disk, and their usual shape."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kagglekit.base import image_names, storage
from kagglekit.base.errors import UserError
from kagglekit.images import decoding
from kagglekit.images.decoding import ImageError

_LOOKED_AT = 64
"""Approximate number of images to sample for the usual shape."""


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


def decode(path: str, digest: bytes) -> decoding.Pixels:
    """Decode an image file to (H, W, 3); raise UserError if it has changed since the scan."""
    try:
        content, _ = read_bytes(path)
    except decoding.ImageError as error:
        raise UserError(f"{path} {error}, though it could be read before: run the command again.") from error
    if hashlib.blake2b(content, digest_size=16).digest() != digest:
        raise UserError(f"{path} has changed during the run: run the command again.")
    return decoding.decode(content)


def usual_shape(paths: Sequence[str]) -> tuple[int, int]:
    """Return the median height and width of a sample of the image files; only headers are read."""
    shapes = []
    for path in paths[:: max(len(paths) // _LOOKED_AT, 1)]:
        with Image.open(place(path)) as image:
            shapes.append((image.height, image.width))
    return int(np.median([tall for tall, _ in shapes])), int(np.median([wide for _, wide in shapes]))
