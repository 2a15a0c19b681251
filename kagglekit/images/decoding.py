"""Decoding and preprocessing: the only path from a file's bytes to a network's input.

H, W: height and width in pixels; images are uint8 RGB (H, W, 3). Bundles contain this file unchanged, beside
`depth.py` and `opening.py`, the only parts of kagglekit that it imports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING or __package__:
    from kagglekit.images import depth, opening
else:  # in a bundle, whose modules lie side by side
    import depth
    import opening

ImageError = opening.ImageError
Pixels = NDArray[np.uint8]

PREPROCESSING_VERSION = 3
"""Increased whenever files would decode to different pixels; part of every feature's cache key.

If only rare files would, they belong in `earlier.is_read_otherwise`, so that the others keep their features and runs.
"""

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


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
    levels: depth.Levels = ()
    """How images of more than 8 bits are decoded: the levels of the training images, for `decode`."""

    def __post_init__(self) -> None:
        if self.interpolation not in _RESAMPLING:
            raise ValueError(f"interpolation {self.interpolation!r} is not one of {', '.join(_RESAMPLING)}")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Preprocessing:
        """Return the Preprocessing from its `to_plain`, as stored in JSON."""
        return cls(**{key: _as_tuples(value) for key, value in plain.items()})

    def to_plain(self) -> dict[str, Any]:
        """Return all fields; without levels if there are none, as earlier versions stored it."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "levels" or value}

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


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(each) for each in value) if isinstance(value, list) else value


def decode(content: bytes, levels: depth.Levels = ()) -> Pixels:
    """Decode an image file's bytes to RGB (H, W, 3); raise ImageError.

    EXIF orientation is applied, but as in browsers not one that only XMP or a PNG's text has. Transparent pixels become
    white, more than 8 bits per channel become 8 by `levels`, bands beyond the third are left out unless they are alpha,
    and only the first frame is read.
    """
    if content.startswith(opening.JPEG):
        return _by_opencv(content)
    with opening.naming_damage():
        return _decoded(opening.bare(content), levels)


def _decoded(content: bytes, levels: depth.Levels) -> Pixels:
    image = opening.opened(content)
    sample = depth.sample_type(content, image)
    if depth.is_scaled(sample, levels):
        return depth.shown(*depth.samples_of(content, image, sample), levels)
    if image is not None and (opening.is_transparent(image) or is_left_to_pillow(content, image)):
        return _by_pillow(image)
    try:
        return _by_opencv(content)
    except ImageError:
        if image is not None and image.format == "GIF":
            return _by_opencv(content + (b";" if content.endswith(b"\0") else b"\0;"))  # it may lack its end
        if image is None or image.format in _CHECKED_BY_OPENCV:
            raise
    return _by_pillow(image)


def _by_opencv(content: bytes) -> Pixels:
    image = opening.imdecode(content, _AS_RGB or cv2.IMREAD_COLOR)
    return np.asarray(image if _AS_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


_AS_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)
"""0 in OpenCV before 4.11, which older notebooks may have."""
_CHECKED_BY_OPENCV = ("AVIF", "JPEG2000", "PNG", "WEBP")
"""Formats of which Pillow may show damaged files."""


def decode_otherwise(content: bytes, levels: depth.Levels = ()) -> Pixels:
    """Return what `decode` does, by Pillow where it can: a second opinion, for checks."""
    content = content if content.startswith(opening.JPEG) else opening.bare(content)
    image = opening.opened(content)
    if image is None or depth.is_scaled(depth.sample_type(content, image), levels):
        return decode(content, levels)
    return _by_pillow(image)


def is_left_to_pillow(content: bytes, image: Image.Image) -> bool:
    """Return whether OpenCV would show an image otherwise: a turned AVIF, or PNM with an own value for white."""
    if image.format in ("AVIF", "HEIF"):
        return image.format == "HEIF" or image.getexif().get(opening.ORIENTATION, 1) != 1
    return content.startswith(opening.PNM) and opening.white_of_pnm(content) not in (255, 65535)


def _by_pillow(image: Image.Image) -> Pixels:
    """Return an image upright and on white, (H, W, 3)."""
    upright = opening.upright(image)
    if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would clip; one level may be transparent
        grey = np.asarray(upright)
        clear = grey == image.info.get("transparency", -1)
        return np.repeat(np.where(clear, 255, grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if not opening.is_transparent(image):
        return np.asarray(upright.convert("RGB"), dtype=np.uint8)
    upright = upright.convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"), dtype=np.uint8)


def inspect(content: bytes, max_megapixels: int) -> opening.Header:
    """Decode an image file's bytes completely and return its header; raise ImageError with the reason if that fails.

    Images of more than `max_megapixels` are not decoded.
    """
    header, _ = decode_twice(content, max_megapixels)
    return header


def decode_twice(content: bytes, max_megapixels: int, levels: depth.Levels = ()) -> tuple[opening.Header, Pixels]:
    """Decode with two decoders; raise ImageError with the reason unless both find the file complete.

    A decoder may show damage as grey stripes instead of failing; which damage depends on its version.
    """
    content = opening.bare(content)
    header, image = opening.check_size(content, max_megapixels)
    try:
        if image is not None:
            image.load()
    except Exception as error:
        raise ImageError(opening.damage(error)) from error
    if header.format == "PNG" and b"IEND" not in content:  # Pillow accepts it, and OpenCV's library prints a message
        raise ImageError("is truncated")
    return header, decode(content, levels)


def decode_whole(content: bytes, max_megapixels: int, levels: depth.Levels = ()) -> Pixels:
    """Decode an image file that was not inspected to (H, W, 3); raise ImageError with the reason.

    A JPEG without an end marker is decoded by both decoders: the first may show grey stripes.
    """
    if not content:
        raise ImageError("is empty")
    if content.startswith(opening.JPEG) and content.rfind(_END_OF_JPEG, -_LAST_BYTES) >= 0:
        opening.check_size(content, max_megapixels)
        return decode(content)
    _, image = decode_twice(content, max_megapixels, levels)
    return image


_END_OF_JPEG = b"\xff\xd9"
_LAST_BYTES = 256
"""Number of bytes at the end of a file to search for a JPEG's end marker: some cameras write a few after it."""
