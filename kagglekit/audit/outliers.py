"""Find outliers among images: tiny, blank, dark, bright, odd in colour or shape.

N: images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kagglekit.images.appearance import Appearance

TINY = 32
"""Shorter side, in pixels, below which a network sees only a blur."""
_SMALL_SHARE = 0.2
"""Share of the median shorter side below which an image is small."""
_BLANK = 1.0
"""Contrast (0 to 127) below which an image is a single colour. Photographs of haze or water have 1.4 and more."""
_DARK, _BRIGHT = 16.0, 240.0
"""Mean brightness (0 to 255) below which an image is nearly black, and above which it is nearly white."""
_GREY = 2.0
"""Mean distance from grey below which an image has no colours."""
_RARE = 0.05
"""Share of grey or of coloured images up to which they count as odd."""
_TINT = 8.0
"""Number of robust standard deviations of the mean colour above which a tint is odd."""
_LONG = 3.0
"""Ratio to the median aspect ratio above which a shape is odd."""


@dataclass(frozen=True)
class Odd:
    """An odd image and the reason."""

    index: int
    reason: str


def find(images: Sequence[Appearance]) -> list[Odd]:
    """Return the odd images, sorted by index. An image may appear with several reasons."""
    if not images:
        return []
    sides = np.array([(image.height, image.width) for image in images], np.float64)
    shorter, aspect = sides.min(axis=1), sides[:, 1] / sides[:, 0]
    usual, usual_aspect = float(np.median(shorter)), float(np.median(aspect))
    contrast, brightness, colour = (
        np.array([getattr(image, name) for image in images]) for name in ("contrast", "brightness", "colour")
    )
    blank = contrast < _BLANK
    grey = (colour < _GREY) & ~blank
    stretch = np.maximum(aspect / usual_aspect, usual_aspect / aspect)
    tint = _tints(images)
    reasons: list[tuple[NDArray[np.bool_], str]] = [
        (shorter < TINY, "tiny: {height} x {width} pixels"),
        (
            (shorter >= TINY) & (shorter < _SMALL_SHARE * usual),
            f"{{height}} x {{width}} pixels; the median shorter side is {usual:.0f}",
        ),
        (blank, "blank: a single colour"),
        (~blank & (brightness < _DARK), "nearly black"),
        (~blank & (brightness > _BRIGHT), "nearly white"),
        (grey & (grey.mean() <= _RARE), "grey, while others are coloured"),
        (~grey & ~blank & (grey.mean() >= 1 - _RARE), "coloured, while others are grey"),
        (~blank & ~grey & (grey.mean() < 1 - _RARE) & (tint > _TINT), "oddly tinted"),
        (stretch > _LONG, "oddly shaped: {height} x {width} pixels"),
    ]
    odd = [
        Odd(index, text.format(height=images[index].height, width=images[index].width))
        for where, text in reasons
        for index in np.flatnonzero(where).tolist()
    ]
    return sorted(odd, key=lambda found: found.index)


def _tints(images: Sequence[Appearance]) -> NDArray[np.float64]:
    """Return the distance of each mean colour from the median, in robust standard deviations, (N,)."""
    colours = np.array([(image.red, image.green, image.blue) for image in images])
    away = np.linalg.norm(colours - np.median(colours, axis=0), axis=1)
    spread = max(float(np.median(away)) * 1.25, 1.0)
    return np.asarray(away / spread)
