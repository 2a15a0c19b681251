"""Images that are unlike the others: tiny, blank, dark, bright, odd-coloured, oddly shaped.

N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kagglekit.images.appearance import Appearance

TINY = 32
"""Pixels of the shorter side below which a network sees a blur."""
_SMALL_SHARE = 0.2
"""Of the usual shorter side."""
_BLANK = 4.0
"""Contrast, of 127, below which nothing is to be seen."""
_DARK, _BRIGHT = 16.0, 240.0
"""Mean brightness of an image that is nearly black, or nearly white."""
_GREY = 2.0
"""Mean distance from grey of an image without colours."""
_RARE = 0.05
"""Share of grey images among coloured ones, or coloured among grey, that makes them odd."""
_TINT = 8.0
"""Robust standard deviations of the mean colour that make a tint odd."""
_LONG = 3.0
"""Times that an image is longer, or wider, than is usual."""


@dataclass(frozen=True)
class Odd:
    """An image with the reason why it is odd."""

    place: int
    reason: str


def find(images: Sequence[Appearance]) -> list[Odd]:
    """Return the odd images in their order; one may be odd for several reasons."""
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
            f"{{height}} x {{width}} pixels, where {usual:.0f} is usual",
        ),
        (blank, "blank: one colour all over"),
        (~blank & (brightness < _DARK), "nearly black"),
        (~blank & (brightness > _BRIGHT), "nearly white"),
        (grey & (grey.mean() <= _RARE), "grey, where others have colours"),
        (~grey & ~blank & (grey.mean() >= 1 - _RARE), "coloured, where others are grey"),
        (~blank & ~grey & (grey.mean() < 1 - _RARE) & (tint > _TINT), "oddly tinted"),
        (stretch > _LONG, "oddly shaped: {height} x {width} pixels"),
    ]
    odd = [
        Odd(place, text.format(height=images[place].height, width=images[place].width))
        for where, text in reasons
        for place in np.flatnonzero(where).tolist()
    ]
    return sorted(odd, key=lambda found: found.place)


def _tints(images: Sequence[Appearance]) -> NDArray[np.float64]:
    """Return how far each image's mean colour is from the usual one, in robust standard deviations, (N,)."""
    colours = np.array([(image.red, image.green, image.blue) for image in images])
    away = np.linalg.norm(colours - np.median(colours, axis=0), axis=1)
    spread = max(float(np.median(away)) * 1.25, 1.0)
    return np.asarray(away / spread)
