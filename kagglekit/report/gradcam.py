"""Grad-CAM of one network, for any layout of its last features.

With a linear head on globally averaged channels, as on most frozen backbones, Grad-CAM is the exact class activation
map: its mean over all positions is the score of the class, up to a constant. Gradients are computed from the score to
the last feature maps only.

N: images, D: channels, h x w: positions of the last feature maps, C: classes.

Sources: Selvaraju et al., "Grad-CAM" (2017); Zhou et al., "Learning deep features for discriminative localization"
(2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]


def evidence(model: Any, batch: Any, maps: Any, head: Callable[[Any], Any], labels: Any) -> Maps | None:
    """Return the evidence for `labels` (N,) at each position, (N, h, w); None if features have no positions.

    `maps` is the output of `forward_features` for `batch` (N, 3, H, W). `head` turns it into scores (N, C).
    """
    grid = model.forward_intermediates(batch[:1], indices=1, output_fmt="NCHW", intermediates_only=True)[-1].shape[-2:]
    layout = _Layout.of(model, maps, tuple(grid))
    if layout is None:
        return None
    found = _by_position(layout, maps, head, labels)
    if not found.abs().max() and hasattr(model, "blocks"):
        # the score depends on a class token only, which attends to the positions in the last block
        found = _before_last_block(model, batch, layout, head, labels)
    return _values(found)


def evidence_in(maps: Any, head: Callable[[Any], Any], labels: Any) -> Maps:
    """Return the same of maps (N, D, h, w) of earlier layers, which `head` turns into scores (N, C)."""
    return _values(_by_position(_Layout("maps", tuple(maps.shape[-2:])), maps, head, labels))


def _by_position(layout: _Layout, maps: Any, head: Callable[[Any], Any], labels: Any) -> Any:
    from captum.attr import LayerGradCam

    tail = _tail(layout, head)
    return LayerGradCam(tail, tail.maps).attribute(maps.detach(), target=labels)


def _values(found: Any) -> Maps:
    values = found.detach().cpu().numpy()[:, 0]
    return np.asarray(values * values[0].size, np.float32)  # a position of a coarse grid covers more of the image


def _tail(layout: _Layout, head: Callable[[Any], Any]) -> Any:
    """Return a module of all that follows the last features. Its layer `maps` outputs them as (N, D, h, w)."""
    from torch import nn

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, features: Any) -> Any:
            return head(layout.back(self.maps(layout.images(features)), features))

    return Tail().eval()


def _before_last_block(model: Any, batch: Any, layout: _Layout, head: Callable[[Any], Any], labels: Any) -> Any:
    from captum.attr import LayerGradCam
    from torch import nn

    class Watched(nn.Module):
        """The last block, with its input as feature maps in the layer `maps`."""

        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.block, self.maps = block, nn.Identity()

        def forward(self, tokens: Any, *more: Any, **named: Any) -> Any:
            return self.block(layout.back(self.maps(layout.images(tokens)), tokens), *more, **named)

    class Whole(nn.Module):
        def forward(self, images: Any) -> Any:
            return head(model.forward_features(images))

    last = model.blocks[-1]
    watched = model.blocks[-1] = Watched(last)
    whole = Whole()
    whole.watched = watched
    try:
        return LayerGradCam(whole, watched.maps).attribute(batch, target=labels)
    finally:
        model.blocks[-1] = last


@dataclass(frozen=True)
class _Layout:
    """The memory layout of a network's last features."""

    kind: str
    """`maps` (N, D, h, w), `last` (N, h, w, D) or `tokens` (N, P + h * w, D)."""
    grid: tuple[int, ...]
    prefix: int = 0

    @classmethod
    def of(cls, model: Any, features: Any, grid: tuple[int, ...]) -> _Layout | None:
        if features.ndim == 4:
            return cls("maps" if features.shape[1] == model.num_features else "last", grid)
        prefix = getattr(model, "num_prefix_tokens", 0)
        if features.ndim == 3 and features.shape[1] == prefix + grid[0] * grid[1]:
            return cls("tokens", grid, prefix)
        return None

    def images(self, features: Any) -> Any:
        """Return the features as maps (N, D, h, w)."""
        if self.kind == "maps":
            return features
        if self.kind == "last":
            return features.permute(0, 3, 1, 2)
        return features[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)

    def back(self, maps: Any, features: Any) -> Any:
        """Return maps (N, D, h, w) in the layout of `features`, with its prefix tokens."""
        import torch

        if self.kind == "maps":
            return maps
        if self.kind == "last":
            return maps.permute(0, 2, 3, 1)
        return torch.cat([features[:, : self.prefix], maps.flatten(2).transpose(1, 2)], dim=1)
