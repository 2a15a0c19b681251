"""Filters of a network's first layer, and its strongest channels for a picture.

K: filters, S: stages, D: channels of a stage, h x w: positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.images.decoding import Preprocessing
from kagglekit.pages import pictures
from kagglekit.report.saliency import Prepared, normalised

MOST_FILTERS = 64
STAGES = 5
CHANNELS = 4
"""Number of channels shown per stage."""
_FILTER, _CHANNEL = 24, 48
"""Smallest sides of the tile of a filter and of a channel, in pixels."""


def filters(model: Any) -> str | None:
    """Return the filters of the first layer as one picture; None if its input is not RGB."""
    name = (model.pretrained_cfg or {}).get("first_conv")
    try:
        weights = model.get_submodule(name).weight.detach().float().cpu().numpy()  # (K, 3, h, w)
    except (AttributeError, TypeError):
        return None
    if weights.ndim != 4 or weights.shape[1] != 3:
        return None
    strongest = np.argsort(-np.abs(weights).sum(axis=(1, 2, 3)), kind="stable")[:MOST_FILTERS]
    shown = [_tile(weights[place]) for place in strongest]
    columns = 16 if len(shown) > 16 else len(shown)
    return pictures.tiles([shown[start : start + columns] for start in range(0, len(shown), columns)])


def _tile(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw a filter, (3, h, w) -> (H, W, 3); zero weights are grey."""
    scaled = 0.5 + weights.transpose(1, 2, 0) / (2 * max(float(np.abs(weights).max()), 1e-12))
    times = -(-_FILTER // scaled.shape[0])
    pixels = np.round(255 * scaled).astype(np.uint8)
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


@dataclass(frozen=True)
class StageChannels:
    """The strongest channels of a stage for a picture."""

    title: str
    picture: str
    channels: list[int]


def strongest_channels(model: Any, preprocessing: Preprocessing, image: Prepared) -> list[StageChannels]:
    """Return the channels with the largest mean absolute output, for some stages from early to late."""
    import torch

    with torch.no_grad():
        seen = normalised([image], preprocessing).to(next(model.parameters()).device)
        maps = [
            each[0].cpu().numpy()
            for each in model.forward_intermediates(seen, output_fmt="NCHW", intermediates_only=True)
        ]  # S maps (D, h, w)
    places = np.unique(np.linspace(0, len(maps) - 1, STAGES).round().astype(int))
    stages = []
    for place in places:
        values = np.abs(maps[place])
        best = np.argsort(-values.mean(axis=(1, 2)), kind="stable")[:CHANNELS]
        _, tall, wide = values.shape
        title = f"stage {place + 1} of {len(maps)}: {len(values)} channels of {tall} × {wide}"
        stages.append(
            StageChannels(title, pictures.tiles([[_answer(values[channel]) for channel in best]]), best.tolist())
        )
    return stages


def _answer(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw the output of a channel, (h, w) -> (H, W, 4)."""
    tall, wide = values.shape
    scale = _CHANNEL / max(tall, wide)
    size = (max(round(wide * scale), 1), max(round(tall * scale), 1))
    shown = cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    return pictures.coloured(shown / max(float(shown.max()), 1e-12))
