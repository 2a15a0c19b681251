"""Decoding and preprocessing: the only path from a file's bytes to a network's input.

H, W: height and width in pixels; images are uint8 RGB (H, W, 3). This module imports nothing from kagglekit: bundles
contain this file unchanged.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]

cv2.setNumThreads(0)  # images are decoded in parallel already; OpenCV's own threads would compete for cores
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the quarantine list reports it
# users can't act on Pillow's warnings about files that it can read
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # the limit is the recipe's `max_megapixels`, checked before anything is decoded

PREPROCESSING_VERSION = 3
"""Increased whenever a file would decode to different pixels; part of every feature's cache key."""

MAX_ASPECT = 100
"""Maximum ratio of the sides: a longer image would become huge when its shorter side is scaled to the input size."""

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


class ImageError(ValueError):
    """An image that can't be read; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """A backbone's preprocessing; stored with the backbone."""

    size: tuple[int, int]
    """Height and width that the backbone sees."""
    crop: Literal["centre", "squash"]
    """`centre`: scale the shorter side to size / crop_share; `squash`: scale both sides; then crop the centre."""
    crop_share: float
    """Share of the scaled image's sides that the crop keeps (timm's crop_pct)."""
    interpolation: str
    """Pillow's filter: bilinear, bicubic, lanczos or nearest; always antialiased."""
    mean: tuple[float, float, float]
    """Subtracted from RGB in [0, 1]; done inside the exported graph."""
    std: tuple[float, float, float]
    """Divides RGB after the mean; done inside the exported graph."""

    def __post_init__(self) -> None:
        if self.interpolation not in _RESAMPLING:
            raise ValueError(f"interpolation {self.interpolation!r} is not one of {', '.join(_RESAMPLING)}")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Preprocessing:
        """Return the Preprocessing from its `dataclasses.asdict`, as stored in JSON."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        return cls(**values)

    def cropped(self, crop: str) -> Preprocessing:
        """Return a copy with a recipe's crop: `model` changes nothing, `squash` keeps the whole image."""
        if crop == "model":
            return self
        if crop == "squash":
            return dataclasses.replace(self, crop="squash", crop_share=1.0)
        return dataclasses.replace(self, crop="centre")

    def apply(self, image: Pixels) -> Pixels:
        """Scale and crop (H, W, 3) to (*size, 3).

        It uses Pillow's filters because OpenCV's do not antialias: on photographs OpenCV's area filter changed the
        top-1 class of one image in twenty, and saved no time.
        """
        height, width = self.size
        tall, wide = image.shape[:2]
        target_tall, target_wide = int(height / self.crop_share), int(width / self.crop_share)
        if self.crop == "squash":
            scaled = self._scaled(image, target_wide, target_tall)
        elif target_tall / tall >= target_wide / wide:  # for square targets: the image is wide
            scaled = self._scaled(image, max(int(target_tall * wide / tall), width), target_tall)
        else:
            scaled = self._scaled(image, target_wide, max(int(target_wide * tall / wide), height))
        top = round((scaled.shape[0] - height) / 2)
        left = round((scaled.shape[1] - width) / 2)
        return scaled[top : top + height, left : left + width]

    def seen(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Return the region of an image that `apply` keeps, as shares of its sides: (top, left, height, width)."""
        if self.crop == "squash":
            tall, wide = self.crop_share, self.crop_share
        else:
            scale = max(int(self.size[0] / self.crop_share) / height, int(self.size[1] / self.crop_share) / width)
            tall, wide = self.size[0] / (height * scale), self.size[1] / (width * scale)
        return (1 - tall) / 2, (1 - wide) / 2, tall, wide

    def _scaled(self, image: Pixels, width: int, height: int) -> Pixels:
        if image.shape[:2] == (height, width):
            return image
        resized = Image.fromarray(image).resize((width, height), _RESAMPLING[self.interpolation])
        return np.asarray(resized, dtype=np.uint8)


def decode(content: bytes) -> Pixels:
    """Decode an image file's bytes to RGB (H, W, 3); raise ImageError.

    EXIF orientation is applied, transparent pixels become white, 16 bits per channel become 8, and only the first
    frame is read.
    """
    try:
        if has_transparency(content):
            return _on_white(content)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _AS_RGB or cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"can't be decoded: {error.err}") from error
    if image is None:
        raise ImageError("is not an image, or is damaged")
    return np.asarray(image if _AS_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


_AS_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)
"""0 in OpenCV before 4.11, which older notebooks may have."""
_JPEG = b"\xff\xd8"


def has_transparency(content: bytes) -> bool:
    """Return whether an image has transparency, which OpenCV would drop."""
    if content.startswith(_JPEG):
        return False
    try:
        image = Image.open(io.BytesIO(content))
        # Pillow before 10.1, in older notebooks, lacks has_transparency_data
        by_parts = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
        return bool(getattr(image, "has_transparency_data", by_parts))
    except Exception:  # noqa: BLE001  OpenCV may still decode it
        return False


def _on_white(content: bytes) -> Pixels:
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip; one level is transparent
            return _grey_on_white(np.asarray(image), image.info["transparency"])
        upright = image.convert("RGBA")
    except Exception as error:
        raise ImageError(damage(error)) from error
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"), dtype=np.uint8)


def _grey_on_white(grey: NDArray[np.uint16], clear: int) -> Pixels:
    """Convert 16-bit grey (H, W) to RGB (H, W, 3), white where the level is `clear`."""
    shown = np.where(grey == clear, 255, grey >> 8).astype(np.uint8)
    return np.repeat(shown[:, :, None], 3, axis=2)


def damage(error: Exception) -> str:
    """Return what is wrong with a file, given Pillow's exception."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return "is truncated" if "truncated" in reason.lower() else f"is damaged: {reason}"


@dataclass(frozen=True)
class Header:
    """An image file's format and size."""

    format: str
    """For example JPEG."""
    pixels: int


def check_size(content: bytes, max_megapixels: int) -> Image.Image:
    """Return Pillow's image with only the header read; raise ImageError if it can't be read or is too large."""
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
    """Decode an image file's bytes completely and return its header; raise ImageError with the reason if that fails.

    Images of more than `max_megapixels` are not decoded.
    """
    header, _ = decode_twice(content, max_megapixels)
    return header


def decode_twice(content: bytes, max_megapixels: int) -> tuple[Header, Pixels]:
    """Decode with two decoders; raise ImageError with the reason unless both find the file complete.

    A decoder may show damage as grey stripes instead of failing; which damage depends on its version.
    """
    image = check_size(content, max_megapixels)
    width, height = image.size
    try:
        image.load()
    except Exception as error:
        raise ImageError(damage(error)) from error
    if image.format == "PNG" and b"IEND" not in content:  # Pillow accepts it, and OpenCV's library prints a message
        raise ImageError("is truncated")
    return Header(image.format or "unknown", width * height), decode(content)


def decode_whole(content: bytes, max_megapixels: int) -> Pixels:
    """Decode an image file that was not inspected to (H, W, 3); raise ImageError with the reason.

    A JPEG without an end marker is decoded by both decoders: the first may show grey stripes.
    """
    if not content:
        raise ImageError("is empty")
    if content.startswith(_JPEG) and content.rfind(_END_OF_JPEG, -_LAST_BYTES) >= 0:
        check_size(content, max_megapixels)
        return decode(content)
    _, image = decode_twice(content, max_megapixels)
    return image


_END_OF_JPEG = b"\xff\xd9"
_LAST_BYTES = 256
"""Number of bytes at the end of a file to search for a JPEG's end marker: some cameras write a few after it."""
