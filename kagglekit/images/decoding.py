"""Decoding and preprocessing: the only path from a file's bytes to a network's input.

H, W: height and width in pixels; images are uint8 RGB (H, W, 3). This module imports nothing from kagglekit: bundles
contain this file unchanged.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import math
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
Level = tuple[str, float, float]
"""Type of samples, such as uint16, and the values that are shown as black and white."""
Levels = tuple[Level, ...]
"""How images of more than 8 bits per channel are shown: one level per type of samples."""

cv2.setNumThreads(0)  # images are decoded in parallel already; OpenCV's own threads would compete for cores
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the quarantine list reports it
# users can't act on Pillow's warnings about files that it can read
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # the limit is the recipe's `max_megapixels`, checked before anything is decoded

PREPROCESSING_VERSION = 3
"""Increased whenever files would decode to different pixels; part of every feature's cache key.

If only rare files would, they belong in `is_read_otherwise`, so that the others keep their features and runs.
"""

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
    levels: Levels = ()
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


def decode(content: bytes, levels: Levels = ()) -> Pixels:
    """Decode an image file's bytes to RGB (H, W, 3); raise ImageError.

    EXIF orientation is applied, transparent pixels become white, more than 8 bits per channel become 8 by `levels`,
    bands beyond the third are left out unless they are alpha, and only the first frame is read.
    """
    if content.startswith(_JPEG):
        return _by_opencv(content)
    with _naming_damage():
        return _decoded(_bare(content), levels)


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Raise ImageError for whatever a decoder raises: damaged files meet the oddest errors."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(damage(error)) from error


def _decoded(content: bytes, levels: Levels) -> Pixels:
    image = _opened(content)
    sample = _sample_type(content, image)
    if _is_scaled(sample, levels):
        return _shown(*_samples(content, image, sample), levels)
    if image is not None and (_is_transparent(image) or _is_left_to_pillow(content, image)):
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
    image = _imdecode(content, _AS_RGB or cv2.IMREAD_COLOR)
    return np.asarray(image if _AS_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _imdecode(content: bytes, flags: int) -> Any:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"can't be decoded: {error.err}") from error
    if image is None:
        raise ImageError("is not an image, or is damaged")
    return image


_AS_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)
"""0 in OpenCV before 4.11, which older notebooks may have."""
_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CHECKED_BY_OPENCV = ("AVIF", "JPEG2000", "PNG", "WEBP")
"""Formats of which Pillow may show damaged files."""
_PNM = (b"P2", b"P3", b"P5", b"P6")


def _bare(content: bytes) -> bytes:
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


def _open(content: bytes) -> Image.Image | None:
    """Return Pillow's image with only the header read; None for a TIFF that only tifffile reads. Raises ImageError."""
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if _HEIC.match(content[:64]):
            return _open_heic(content)
        if content.startswith(_TIFF) and len(content) > 16:
            return None
        start = content[:64].lstrip().lower()
        web_page = start.startswith((b"<!doctype", b"<html"))
        raise ImageError("is a web page, not an image" if web_page else "is not an image, or is damaged") from None
    except Exception as error:
        raise ImageError(damage(error)) from error
    return None if image.format == "TIFF" and image.info.get("compression") in ("lzma", "webp", "zstd") else image


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


def _opened(content: bytes) -> Image.Image | None:
    try:
        return _open(content)
    except ImageError:  # OpenCV may still decode it
        return None


def decode_otherwise(content: bytes, levels: Levels = ()) -> Pixels:
    """Return what `decode` does, by Pillow where it can: a second opinion, for checks."""
    content = content if content.startswith(_JPEG) else _bare(content)
    image = _opened(content)
    if image is None or _is_scaled(_sample_type(content, image), levels):
        return decode(content, levels)
    return _by_pillow(image)


def _is_transparent(image: Image.Image) -> bool:
    if image.format == "TIFF" and image.mode == "RGBA" and not _has_alpha(image):
        return False
    # Pillow before 10.1, in older notebooks, lacks has_transparency_data
    by_parts = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    return bool(getattr(image, "has_transparency_data", by_parts))


def _has_alpha(image: Any) -> bool:
    """Return whether a TIFF declares its fourth band as alpha. If it does not, the band may be near infrared."""
    return not _ALPHA.isdisjoint(image.tag_v2.get(_EXTRA_SAMPLES, ()))


_BITS, _PHOTOMETRIC, _ORIENTATION, _PLANES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 262, 274, 284, 338, 339
"""TIFF tags; EXIF has the same number for the orientation."""
_MIN_IS_WHITE, _SEPARATE = 0, 2
_ALPHA = {1, 2}
"""Values of ExtraSamples: premultiplied and straight alpha."""


def _is_left_to_pillow(content: bytes, image: Image.Image) -> bool:
    """Return whether OpenCV would show an image otherwise: a turned AVIF, or PNM with an own value for white."""
    if image.format in ("AVIF", "HEIF"):
        return image.format == "HEIF" or image.getexif().get(_ORIENTATION, 1) != 1
    return content.startswith(_PNM) and _white_of_pnm(content) not in (255, 65535)


def _white_of_pnm(content: bytes) -> int:
    words = re.sub(rb"#[^\n]*", b"", content[:1024]).split(maxsplit=4)
    return int(words[3]) if len(words) > 3 else 255


def is_read_otherwise(content: bytes) -> bool:
    """Return whether earlier versions decoded an image to other pixels, so that it is another image to caches."""
    if not content.startswith((*_TIFF, *_PNM)) and content[4:8] != b"ftyp":
        return False
    try:
        image = _opened(content)
        return image is not None and _is_shown_otherwise(content, image)
    except Exception:  # noqa: BLE001  damaged, so there are no pixels
        return False


def _is_shown_otherwise(content: bytes, image: Image.Image) -> bool:
    if image.format == "TIFF":
        return _sample_type(content, image) == "int16" or (image.mode == "RGBA" and not _has_alpha(image))
    return _is_left_to_pillow(content, image)


def _by_pillow(image: Image.Image) -> Pixels:
    """Return an image upright and on white, (H, W, 3)."""
    upright = _upright(image)
    if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would clip; one level may be transparent
        grey = np.asarray(upright)
        clear = grey == image.info.get("transparency", -1)
        return np.repeat(np.where(clear, 255, grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if not _is_transparent(image):
        return np.asarray(upright.convert("RGB"), dtype=np.uint8)
    upright = upright.convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"), dtype=np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF data is no damage of the picture."""
    try:
        image.getexif()
    except Exception:  # noqa: BLE001  Pillow raises whatever its parsers do
        return image
    return ImageOps.exif_transpose(image)


def _sample_type(content: bytes, image: Image.Image | None) -> str:
    """Return the type of an image's samples, such as uint16; uint8 for up to 8 bits."""
    if image is None:
        return "unknown" if content.startswith(_TIFF) else "uint8"
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        bits, kind = max(tags.get(_BITS, (1,))), tags.get(_SAMPLE_FORMAT, (1,))[0]
        return "uint8" if bits <= 8 else f"{ {2: 'int', 3: 'float'}.get(kind, 'uint') }{bits}"
    if image.format == "PNG":
        return "uint16" if content[24] == 16 else "uint8"
    if content.startswith(_PNM) and _white_of_pnm(content) == 65535:
        return "uint16"
    return "float32" if image.mode == "F" else "uint8"


def _is_scaled(sample: str, levels: Levels) -> bool:
    """Return whether samples are scaled; 16 bits without own levels lose their lower 8."""
    return sample not in ("uint8", "uint16") or any(sample == name for name, _, _ in levels)


def _samples(content: bytes, image: Image.Image | None, sample: str) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return the samples as stored, upright, (H, W, 1 or 3), and the opacity (H, W) of an image with transparency."""
    tags: Any = getattr(image, "tag_v2", {})
    if image is None or tags.get(_PLANES) == _SEPARATE:  # of which OpenCV makes noise
        return _by_tifffile(content)
    try:
        if sample != "uint16":
            return np.asarray(_upright(image))[:, :, None], None
        samples = _deep_by_opencv(content, is_grey=image.mode.startswith("I"))
    except ImageError:
        if image.format != "TIFF":
            raise
        return _by_tifffile(content)
    samples = _inverted(samples) if tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE else samples
    return samples, _opacity(image, samples) if _is_transparent(image) else None


def _deep_by_opencv(content: bytes, *, is_grey: bool) -> NDArray[Any]:
    """Return 16 bits per channel, (H, W, 1 or 3)."""
    if is_grey:
        return np.asarray(_imdecode(content, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH))[:, :, None]
    image = _imdecode(
        content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    )  # OpenCV 5 mixes up the channels of a TIFF as RGB
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _inverted(samples: NDArray[Any]) -> NDArray[Any]:
    return -samples if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max - samples


def _opacity(image: Image.Image, samples: NDArray[Any]) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return np.where(samples[:, :, 0] == image.info["transparency"], 0, 255).astype(np.uint8)
    return np.asarray(_upright(image).convert("RGBA").getchannel("A"), dtype=np.uint8)


def _shown(samples: NDArray[Any], opacity: NDArray[np.uint8] | None, levels: Levels) -> Pixels:
    """Show samples (H, W, 1 or 3) by the levels of their type, or by their own; uint8 as they are."""
    if samples.dtype == np.uint8:
        shown = samples
    elif samples.dtype == np.uint16:  # through a table, which takes a third of the time
        shown = _scaled(np.arange(65536), *_black_and_white(samples, levels))[samples]
    else:
        shown = _scaled(samples, *_black_and_white(samples, levels))
    if opacity is not None:
        shown = np.rint(255 - (255 - shown) * (opacity[:, :, None] / np.float32(255))).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], 3)))


def _scaled(samples: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    values = np.nan_to_num(samples.astype(np.float32), nan=black)
    shares = (values - black) * np.float32(255 / (white - black))
    return np.asarray(np.rint(np.clip(shares, 0, 255)), dtype=np.uint8)


def _black_and_white(samples: NDArray[Any], levels: Levels) -> tuple[float, float]:
    name = samples.dtype.name
    usual = () if name != "uint16" else (("uint16", 0.0, 65535.0),)
    known = [level for level in (*levels, *usual) if level[0] == name]
    _, black, white = known[0] if known else _level_of(_used(samples))
    return black, white


@dataclass(frozen=True)
class Used:
    """The values that an image of more than 8 bits uses."""

    sample: str
    """Type of the samples, such as uint16."""
    low: float
    """All but one thousandth of the values are at least this high, and at most `high`."""
    high: float


@_naming_damage()
def used_values(content: bytes) -> Used | None:
    """Return the values that an image uses; None for at most 8 bits. Raises ImageError."""
    if content.startswith(_JPEG):
        return None
    content = _bare(content)
    image = _opened(content)
    sample = _sample_type(content, image)
    if sample == "uint8":
        return None
    samples, _ = _samples(content, image, sample)
    return None if samples.dtype == np.uint8 else _used(samples)


def _used(samples: NDArray[Any]) -> Used:
    some = samples.ravel()[:: samples.size // _ENOUGH | 1]
    values = some[np.isfinite(some)]
    if not values.size:
        return Used(samples.dtype.name, 0.0, 0.0)
    low, high = np.quantile(values, (0.001, 0.999), method="nearest")
    return Used(samples.dtype.name, float(low), float(high))


_ENOUGH = 2**18
"""Number of values that tell which ones an image uses."""


def levels_of(images: Iterable[Used]) -> Levels:
    """Return the levels of a data set, by what its images use; one image in a hundred may use more.

    16 bits that are used fully need none.
    """
    by_type: dict[str, list[Used]] = {}
    for image in images:
        by_type.setdefault(image.sample, []).append(image)
    found = []
    for sample, some in sorted(by_type.items()):
        low = float(np.quantile([image.low for image in some], 0.01, method="lower"))
        high = float(np.quantile([image.high for image in some], 0.99, method="higher"))
        found.append(_level_of(Used(sample, low, high)))
    return tuple(level for level in found if level != ("uint16", 0.0, 65535.0))


def _level_of(used: Used) -> Level:
    """Return the smallest power of two above the values, from zero; or the values, if negative or far from zero."""
    if used.low < 0 or used.low > used.high / 2:
        return used.sample, used.low, max(used.high, used.low + 1)
    if used.sample.startswith("float"):
        return used.sample, 0.0, 2.0 ** math.ceil(math.log2(used.high)) if used.high else 1.0
    return used.sample, 0.0, 2.0 ** max(int(used.high).bit_length(), 1) - 1


def _by_tifffile(content: bytes) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return what `_samples` does, of a TIFF that neither Pillow nor OpenCV reads."""
    with _tiff_page(content) as page:
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > len(content):
            raise ImageError("is truncated")
        samples = page.asarray()
        samples = np.moveaxis(samples, page.axes.index("S"), -1) if "S" in page.axes else samples[..., None]
        samples = samples.reshape(-1, *samples.shape[-3:])[0]
        name = page.photometric.name
        if name == "MINISWHITE":
            samples = _inverted(samples)
        elif name not in ("MINISBLACK", "RGB", "YCBCR"):
            raise ImageError(f"is a TIFF of {name} colours and {page.compression.name} compression: convert it")
        turned = _TURNED[page.tags.valueof(_ORIENTATION, 1)](samples)
        extra = [place for place, kind in enumerate(page.extrasamples) if kind in _ALPHA]
        bands = turned.shape[-1] - len(page.extrasamples)
        opacity = turned[..., bands + extra[0]] if extra and turned.dtype == np.uint8 else None
        return turned[..., : 3 if turned.shape[-1] - len(extra) >= 3 else 1], opacity


_TURNED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""Orientation -> what shows a stored picture (H, W, bands) upright."""


@contextmanager
def _tiff_page(content: bytes) -> Iterator[Any]:
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


@_naming_damage()
def check_size(content: bytes, max_megapixels: int) -> tuple[Header, Image.Image | None]:
    """Return the header and Pillow's image, if Pillow reads it; raise ImageError if unreadable or too large."""
    image, size = _open(content), 0
    if image is None:
        with _tiff_page(content) as page:
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


def inspect(content: bytes, max_megapixels: int) -> Header:
    """Decode an image file's bytes completely and return its header; raise ImageError with the reason if that fails.

    Images of more than `max_megapixels` are not decoded.
    """
    header, _ = decode_twice(content, max_megapixels)
    return header


def decode_twice(content: bytes, max_megapixels: int, levels: Levels = ()) -> tuple[Header, Pixels]:
    """Decode with two decoders; raise ImageError with the reason unless both find the file complete.

    A decoder may show damage as grey stripes instead of failing; which damage depends on its version.
    """
    content = _bare(content)
    header, image = check_size(content, max_megapixels)
    try:
        if image is not None:
            image.load()
    except Exception as error:
        raise ImageError(damage(error)) from error
    if header.format == "PNG" and b"IEND" not in content:  # Pillow accepts it, and OpenCV's library prints a message
        raise ImageError("is truncated")
    return header, decode(content, levels)


def decode_whole(content: bytes, max_megapixels: int, levels: Levels = ()) -> Pixels:
    """Decode an image file that was not inspected to (H, W, 3); raise ImageError with the reason.

    A JPEG without an end marker is decoded by both decoders: the first may show grey stripes.
    """
    if not content:
        raise ImageError("is empty")
    if content.startswith(_JPEG) and content.rfind(_END_OF_JPEG, -_LAST_BYTES) >= 0:
        check_size(content, max_megapixels)
        return decode(content)
    _, image = decode_twice(content, max_megapixels, levels)
    return image


_END_OF_JPEG = b"\xff\xd9"
_LAST_BYTES = 256
"""Number of bytes at the end of a file to search for a JPEG's end marker: some cameras write a few after it."""
