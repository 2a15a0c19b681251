"""Pictures for a page: small files as data URIs.

H, W: height and width in pixels.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kagglekit.base.errors import UserError
from kagglekit.images import decoding, files
from kagglekit.images.decoding import Pixels
from kagglekit.images.depth import Levels

_OVERLAY = 40
"""Longer side of an attention map, in pixels; browsers scale it smoothly."""
_QUALITY = 82


def read_again(path: str, content: str, levels: Levels) -> Pixels | None:
    """Return the pixels (H, W, 3) of an image file, or None if it is missing or its hash is not `content`."""
    try:
        return files.decode(path, bytes.fromhex(content), levels)
    except (UserError, decoding.ImageError):
        return None


def photo(image: Pixels, longest: int) -> str:
    """Return an image (H, W, 3) as a JPEG whose longer side is at most `longest` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _uri(picture, "JPEG", quality=_QUALITY, optimize=True)


def sheet(path: Path, widest: int) -> str:
    """Return an image file as a JPEG at most `widest` pixels wide."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((widest, 10 * widest), Image.Resampling.LANCZOS)
    return _uri(picture, "JPEG", quality=_QUALITY, optimize=True)


def overlay(evidence: NDArray[np.float32]) -> str:
    """Return an attention map (h, w) as a PNG overlay: transparent where it is zero, bright where it is strongest."""
    height, width = evidence.shape
    scale = _OVERLAY / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    smooth = np.asarray(Image.fromarray(evidence).resize(size, Image.Resampling.BICUBIC))
    strength = np.clip(smooth / max(float(smooth.max()), 1e-12), 0, 1).astype(np.float32)
    rgba = coloured(strength)
    rgba[..., 3] = np.round(255 * 0.75 * strength**0.8)
    return _uri(Image.fromarray(rgba, "RGBA"), "PNG", optimize=True)


def coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map values from 0 to 1, (H, W), to RGBA colours of increasing lightness, (H, W, 4)."""
    import matplotlib

    return np.asarray(matplotlib.colormaps["inferno"](values, bytes=True), np.uint8)


def tiles(rows: list[list[NDArray[np.uint8]]], gap: int = 2) -> str:
    """Return rows of pictures of equal size, each (H, W, 3 or 4), as one PNG with transparent gaps."""
    height, width, depth = rows[0][0].shape
    columns = max(len(row) for row in rows)
    sheet_ = np.zeros((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for row_index, row in enumerate(rows):
        for column, tile in enumerate(row):
            top, left = row_index * (height + gap), column * (width + gap)
            sheet_[top : top + height, left : left + width, :depth] = tile
            if depth < 4:
                sheet_[top : top + height, left : left + width, 3] = 255
    return _uri(Image.fromarray(sheet_, "RGBA"), "PNG", optimize=True)


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode()}"
