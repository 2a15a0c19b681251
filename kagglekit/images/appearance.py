"""Describe an image in a few numbers, to find near-duplicates and outliers.

H, W: height and width in pixels; images are uint8 RGB (H, W, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.images.decoding import Pixels

_SIDE = 32
"""Side in pixels of the small grey image that is hashed."""
_WAVES = 8
"""Number of horizontal and of vertical DCT frequencies that the hash keeps."""


@dataclass(frozen=True)
class Appearance:
    """Statistics and perceptual hashes of an image."""

    height: int
    width: int
    looks: bytes
    """Perceptual hash, 8 bytes: similar images differ in few bits."""
    mirrored: bytes
    """Hash of the mirrored image."""
    brightness: float
    """Mean, from 0 to 255."""
    contrast: float
    """Standard deviation of the channel that varies most, from 0 to 127."""
    structure: float
    """Standard deviation of the small grey image that is hashed; near 0, the hashes are meaningless."""
    red: float
    """Mean of red minus brightness; green and blue likewise."""
    green: float
    blue: float
    colour: float
    """Mean distance from grey; 0 for a grey image."""


def look(image: Pixels) -> Appearance:
    """Describe an image (H, W, 3).

    The hash is pHash: the lowest frequencies, thresholded at their median. Source: C. Zauner, "Implementation and
    benchmarking of perceptual image hash functions" (2010).
    """
    small = cv2.resize(_halved(image), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)  # (32, 32, 3)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    waves = cv2.dct(grey)[:_WAVES, :_WAVES]
    odd = np.where(np.arange(_WAVES) % 2, -1, 1)  # mirroring flips the sign of odd horizontal frequencies
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
    """Halve the image repeatedly while it is much larger than the small image.

    This takes half the time of one large step, and averaging averages gives the same mean.
    """
    while min(image.shape[:2]) >= 6 * _SIDE:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _hash(waves: NDArray[np.float32]) -> bytes:
    flat = waves.ravel()
    bits = flat > np.median(flat[1:])
    bits[0] = False  # the mean brightness says nothing about content
    return np.packbits(bits).tobytes()
