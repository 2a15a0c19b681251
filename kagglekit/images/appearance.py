"""What an image looks like, in a few numbers: for finding copies of it, and images that are odd.

H, W: height and width in pixels; images are uint8 RGB (H, W, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.images.decoding import Pixels

_SIDE = 32
"""Of the small grey picture that the hash is made from."""
_WAVES = 8
"""Frequencies across and down that it keeps."""


@dataclass(frozen=True)
class Appearance:
    """An image in a few numbers."""

    height: int
    width: int
    looks: bytes
    """Perceptual hash, 8 bytes: two images that look alike differ in few bits."""
    mirrored: bytes
    """That of the mirrored image."""
    brightness: float
    """Mean, from 0 to 255."""
    contrast: float
    """Standard deviation of the colour that varies most, from 0 to 127."""
    structure: float
    """Standard deviation of the small grey picture that the hashes are made from: without any they say nothing."""
    red: float
    """How much red there is more than brightness, on average; so are the next two."""
    green: float
    blue: float
    colour: float
    """Mean distance from grey; 0 for a grey image."""


def look(image: Pixels) -> Appearance:
    """Describe an image (H, W, 3).

    The hash is pHash: the signs of the lowest frequencies against their median. Source: C. Zauner, "Implementation and
    benchmarking of perceptual image hash functions" (2010).
    """
    small = cv2.resize(_halved(image), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)  # (32, 32, 3)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    waves = cv2.dct(grey)[:_WAVES, :_WAVES]
    odd = np.where(np.arange(_WAVES) % 2, -1, 1)  # a mirrored image's odd waves across change their sign
    tint = small - grey[..., None]
    red, green, blue = tint.mean(axis=(0, 1)).tolist()
    return Appearance(
        height=image.shape[0],
        width=image.shape[1],
        looks=_hash(waves),
        mirrored=_hash(waves * odd),
        brightness=float(grey.mean()),
        contrast=float(cv2.meanStdDev(image)[1].max()),
        structure=float(grey.std()),
        red=red,
        green=green,
        blue=blue,
        colour=float(np.abs(tint).max(axis=2).mean()),
    )


def _halved(image: Pixels) -> Pixels:
    """Return the image at half its sides again and again, while that leaves many times what is wanted.

    It takes half the time of one step from large to small, and means over squares of four are means of means.
    """
    while min(image.shape[:2]) >= 6 * _SIDE:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _hash(waves: NDArray[np.float32]) -> bytes:
    flat = waves.ravel()
    bits = flat > np.median(flat[1:])
    bits[0] = False  # the mean brightness says nothing of what is to be seen
    return np.packbits(bits).tobytes()
