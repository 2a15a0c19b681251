"""Opening an image file: its format, its size, its damage, and what says how it is shown.

Bundles contain this file unchanged.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

cv2.setNumThreads(0)  # images are decoded in parallel already; OpenCV's own threads would compete for cores
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the quarantine list reports it
# users can't act on Pillow's warnings about files that it can read
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # the limit is the recipe's `max_megapixels`, checked before anything is decoded

MAX_ASPECT = 100
"""Maximum ratio of the sides: a longer image would become huge when its shorter side is scaled to the input size."""


class ImageError(ValueError):
    """An image that can't be read; the message is the reason."""


def damage(error: Exception) -> str:
    """Return what is wrong with a file, given Pillow's exception."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return "is truncated" if "truncated" in reason.lower() else f"is damaged: {reason}"


@contextmanager
def naming_damage() -> Iterator[None]:
    """Raise ImageError for whatever a decoder raises: damaged files meet the oddest errors."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(damage(error)) from error


JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNM = (b"P2", b"P3", b"P5", b"P6")


def bare(content: bytes) -> bytes:
    """Return a PNG without the chunks that don't show, such as text and colour profiles; other files as they are.

    Decoders print warnings about them, and refuse an image if they are large or damaged.
    """
    if not content.startswith(_PNG):
        return content
    kept, place, name = [content[: len(_PNG)]], len(_PNG), b""
    while name != b"IEND" and place + 12 <= len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        name = content[place + 4 : place + 8]
        if name[:1].isupper() or name in _SHOWN or (name == b"eXIf" and _is_whole(content[place + 4 : end])):
            kept.append(content[place:end])
        place = end
    return b"".join(kept if name == b"IEND" else [*kept, content[place:]])


_SHOWN = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""Optional chunks that show: transparency, and animation, whose first frame may be another picture."""


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")


def open_image(content: bytes) -> Image.Image | None:
    """Return Pillow's image with only the header read; None for a TIFF that only tifffile reads. Raises ImageError."""
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if _HEIC.match(content[:64]):
            return _open_heic(content)
        if content.startswith(TIFF) and len(content) > 16:
            return None
        start = content[:64].lstrip().lower()
        web_page = start.startswith((b"<!doctype", b"<html"))
        raise ImageError("is a web page, not an image" if web_page else "is not an image, or is damaged") from None
    except Exception as error:
        raise ImageError(damage(error)) from error
    for name in _XMP:
        image.info.pop(name, None)
    return None if image.format == "TIFF" and image.info.get("compression") in ("lzma", "webp", "zstd") else image


_XMP = ("xmp", "XML:com.adobe.xmp")
"""Pillow turns an image by it if there is no EXIF orientation; OpenCV and browsers don't."""
_HEIC = re.compile(rb"....ftyp(....)*?(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)


def _open_heic(content: bytes) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError("is HEIC, which needs pillow-heif: pip install pillow-heif") from None
    pillow_heif.register_heif_opener()
    try:
        return Image.open(io.BytesIO(content))
    except Exception as error:
        raise ImageError(damage(error)) from error


def opened(content: bytes) -> Image.Image | None:
    """Return Pillow's image with only the header read; None if Pillow can't open it."""
    try:
        return open_image(content)
    except ImageError:  # OpenCV may still decode it
        return None


def imdecode(content: bytes, flags: int) -> Any:
    """Return what OpenCV decodes with these flags. Raises ImageError."""
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"can't be decoded: {error.err}") from error
    if image is None:
        raise ImageError("is not an image, or is damaged")
    return image


@contextmanager
def tiff_page(content: bytes) -> Iterator[Any]:
    """Open the first page of a TIFF. Raises ImageError, which says what to install if that helps."""
    try:
        import tifffile
    except ImportError:
        raise ImageError("is a TIFF that needs tifffile: pip install tifffile imagecodecs") from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the quarantine list reports it
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            yield file.pages.first
    except ImageError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise ImageError("is a TIFF that needs imagecodecs: pip install imagecodecs") from None
        raise ImageError(damage(error)) from error


BITS, PHOTOMETRIC, ORIENTATION, PLANES, _EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 262, 274, 284, 338, 339
"""TIFF tags; EXIF has the same number for the orientation."""
ALPHA = {1, 2}
"""Values of ExtraSamples: premultiplied and straight alpha."""


def is_transparent(image: Image.Image) -> bool:
    """Return whether pixels may be transparent."""
    if image.format == "TIFF" and image.mode == "RGBA" and not has_alpha(image):
        return False
    # Pillow before 10.1, in older notebooks, lacks has_transparency_data
    by_parts = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    return bool(getattr(image, "has_transparency_data", by_parts))


def has_alpha(image: Any) -> bool:
    """Return whether a TIFF declares its fourth band as alpha. If it does not, the band may be near infrared."""
    return not ALPHA.isdisjoint(image.tag_v2.get(_EXTRA_SAMPLES, ()))


def white_of_pnm(content: bytes) -> int:
    """Return the value of white that the header of a PNM file declares."""
    words = re.sub(rb"#[^\n]*", b"", content[:1024]).split(maxsplit=4)
    return int(words[3]) if len(words) > 3 else 255


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF data is no damage of the picture."""
    try:
        image.getexif()
    except Exception:  # noqa: BLE001  Pillow raises whatever its parsers do
        return image
    return ImageOps.exif_transpose(image)


@dataclass(frozen=True)
class Header:
    """An image file's format and size."""

    format: str
    """For example JPEG."""
    pixels: int


@naming_damage()
def check_size(content: bytes, max_megapixels: int) -> tuple[Header, Image.Image | None]:
    """Return the header and Pillow's image, if Pillow reads it; raise ImageError if unreadable or too large."""
    image, size = open_image(content), 0
    if image is None:
        with tiff_page(content) as page:
            width, height, size = page.imagewidth, page.imagelength, page.nbytes
    else:
        width, height = image.size
    if width * height > max_megapixels * 1_000_000:
        pixels = f"is {width} x {height} pixels, more than {max_megapixels} million"
        raise ImageError(f"{pixels} (setting max_megapixels)")
    if size > _BYTES_PER_PIXEL * max_megapixels * 1_000_000:
        most = f"more than {max_megapixels} million pixels take"
        raise ImageError(f"is {size / 1e6:.0f} MB when decoded, {most} (setting max_megapixels)")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"is {width} x {height} pixels, one side more than {MAX_ASPECT} times the other")
    return Header("TIFF" if image is None else image.format or "unknown", width * height), image


_BYTES_PER_PIXEL = 12
"""Three floats: bands count too where the limit is a number of pixels."""
