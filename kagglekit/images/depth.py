"""Images of more than 8 bits per channel: their samples, and the range that is shown as black to white.

H, W: height and width in pixels. Bundles contain this file unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING or __package__:
    from kagglekit.images import opening
else:  # in a bundle, whose modules lie side by side
    import opening

_MIN_IS_WHITE, _SEPARATE = 0, 2
"""Values of the TIFF tags for colours and planes."""
Level = tuple[str, float, float]
"""Type of samples, such as uint16, and the values that are shown as black and white."""
Levels = tuple[Level, ...]
"""How images of more than 8 bits per channel are shown: one level per type of samples."""


def sample_type(content: bytes, image: Image.Image | None) -> str:
    """Return the type of an image's samples, such as uint16; uint8 for up to 8 bits."""
    if image is None:
        return "unknown" if content.startswith(opening.TIFF) else "uint8"
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        bits, kind = max(tags.get(opening.BITS, (1,))), tags.get(opening.SAMPLE_FORMAT, (1,))[0]
        return "uint8" if bits <= 8 else f"{ {2: 'int', 3: 'float'}.get(kind, 'uint') }{bits}"
    if image.format == "PNG":
        return "uint16" if content[24] == 16 else "uint8"
    if content.startswith(opening.PNM) and opening.white_of_pnm(content) == 65535:
        return "uint16"
    return "float32" if image.mode == "F" else "uint8"


def is_scaled(sample: str, levels: Levels) -> bool:
    """Return whether samples are scaled; 16 bits without own levels lose their lower 8."""
    return sample not in ("uint8", "uint16") or any(sample == name for name, _, _ in levels)


def samples_of(content: bytes, image: Image.Image | None, sample: str) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return the samples as stored, upright, (H, W, 1 or 3), and the opacity (H, W) of an image with transparency."""
    tags: Any = getattr(image, "tag_v2", {})
    if image is None or tags.get(opening.PLANES) == _SEPARATE:  # of which OpenCV makes noise
        return _by_tifffile(content)
    try:
        if sample != "uint16":
            return np.asarray(opening.upright(image))[:, :, None], None
        samples = _deep_by_opencv(content, is_grey=image.mode.startswith("I"))
    except opening.ImageError:
        if image.format != "TIFF":
            raise
        return _by_tifffile(content)
    samples = _inverted(samples) if tags.get(opening.PHOTOMETRIC) == _MIN_IS_WHITE else samples
    return samples, _opacity(image, samples) if opening.is_transparent(image) else None


def _deep_by_opencv(content: bytes, *, is_grey: bool) -> NDArray[Any]:
    """Return 16 bits per channel, (H, W, 1 or 3)."""
    if is_grey:
        return np.asarray(opening.imdecode(content, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH))[:, :, None]
    image = opening.imdecode(
        content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    )  # OpenCV 5 mixes up the channels of a TIFF as RGB
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _inverted(samples: NDArray[Any]) -> NDArray[Any]:
    return -samples if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max - samples


def _opacity(image: Image.Image, samples: NDArray[Any]) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return np.where(samples[:, :, 0] == image.info["transparency"], 0, 255).astype(np.uint8)
    return np.asarray(opening.upright(image).convert("RGBA").getchannel("A"), dtype=np.uint8)


def shown(samples: NDArray[Any], opacity: NDArray[np.uint8] | None, levels: Levels) -> NDArray[np.uint8]:
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


@opening.naming_damage()
def used_values(content: bytes) -> Used | None:
    """Return the values that an image uses; None for at most 8 bits. Raises ImageError."""
    if content.startswith(opening.JPEG):
        return None
    content = opening.bare(content)
    image = opening.opened(content)
    sample = sample_type(content, image)
    if sample == "uint8":
        return None
    samples, _ = samples_of(content, image, sample)
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
    """Return what `samples_of` does, of a TIFF that neither Pillow nor OpenCV reads."""
    with opening.tiff_page(content) as page:
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > len(content):
            raise opening.ImageError("is truncated")
        samples = page.asarray()
        samples = np.moveaxis(samples, page.axes.index("S"), -1) if "S" in page.axes else samples[..., None]
        samples = samples.reshape(-1, *samples.shape[-3:])[0]
        name = page.photometric.name
        if name == "MINISWHITE":
            samples = _inverted(samples)
        elif name not in ("MINISBLACK", "RGB", "YCBCR"):
            raise opening.ImageError(f"is a TIFF of {name} colours and {page.compression.name} compression: convert it")
        turned = _TURNED[page.tags.valueof(opening.ORIENTATION, 1)](samples)
        extra = [place for place, kind in enumerate(page.extrasamples) if kind in opening.ALPHA]
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
