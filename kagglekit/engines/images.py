"""Image files: reading them, and finding out whether they are whole."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from kagglekit import storage
from kagglekit.engines.decoding import ImageError, Pixels, damage, decode

MAX_ASPECT = 100
"""Longer side by shorter; scaling the shorter one to a backbone's input would make anything longer immense."""
_LOOKED_AT = 64
"""Images whose shapes tell what is usual."""


def read_bytes(path: str | os.PathLike[str]) -> tuple[bytes, list[int]]:
    """Return a file's bytes and its `storage.full_stamp`; raise ImageError where it can't be read or is empty."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"can't be read: {error}") from error
    if not content:
        raise ImageError("is empty")
    return content, storage.full_stamp(status)


@dataclass(frozen=True)
class Header:
    """What an image file is."""

    format: str
    """Such as JPEG."""
    pixels: int


def check_size(content: bytes, max_megapixels: int) -> Image.Image:
    """Return an image file as Pillow opens it, of which only the header has been read; raise ImageError."""
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        start = content[:64].lstrip().lower()
        web_page = start.startswith((b"<!doctype", b"<html"))
        raise ImageError("is a web page, not an image" if web_page else "is not an image, or is damaged") from None
    except Exception as error:
        raise ImageError(damage(error)) from error
    width, height = image.size
    if width * height > max_megapixels * 1_000_000:
        size = f"is {width} x {height} pixels, more than {max_megapixels} million"
        raise ImageError(f"{size} (setting max_megapixels)")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"is {width} x {height} pixels, one side more than {MAX_ASPECT} times the other")
    return image


def inspect(content: bytes, max_megapixels: int) -> Header:
    """Decode an image file's bytes completely, and return what it is; raise ImageError with the reason if it can't be.

    Two decoders must agree that it is whole: which damage one of them lets pass as grey stripes depends on its
    version. Images of more than `max_megapixels` are not decoded.
    """
    image = check_size(content, max_megapixels)
    width, height = image.size
    try:
        image.load()
    except Exception as error:
        raise ImageError(damage(error)) from error
    if image.format == "PNG" and b"IEND" not in content:  # Pillow lets it pass, and OpenCV's library shouts
        raise ImageError("is truncated")
    decode(content)
    return Header(image.format or "unknown", width * height)


def usual_shape(paths: Sequence[str]) -> tuple[int, int]:
    """Return the median height and width of some of the image files, of which only the headers are read."""
    shapes = []
    for path in paths[:: max(len(paths) // _LOOKED_AT, 1)]:
        with Image.open(path) as image:
            shapes.append((image.height, image.width))
    return int(np.median([tall for tall, _ in shapes])), int(np.median([wide for _, wide in shapes]))


def read_whole(path: str | os.PathLike[str], max_megapixels: int) -> Pixels:
    """Read and decode an image file that nobody has audited, (H, W, 3); raise ImageError with the reason.

    A JPEG that does not end as one is looked at by the second decoder too: the first may show grey stripes.
    """
    content, _ = read_bytes(path)
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9", -_END_OF_JPEG) >= 0:
        check_size(content, max_megapixels)
    else:
        inspect(content, max_megapixels)
    return decode(content)


_END_OF_JPEG = 256
"""Last bytes of a file, among which a JPEG's end is looked for: some cameras write a few more."""
