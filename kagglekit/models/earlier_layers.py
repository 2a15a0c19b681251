"""Features of a timm model's earlier layers: means over the maps, or over the tokens of patches, of two of them.

N images, H x W pixels, D channels and h x w positions of a map, E features of earlier layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kagglekit.models import efficientnet_lite


def maps(model: Any, pixels: Any) -> tuple[Any, list[Any]]:
    """Return the last maps or tokens of a timm model, and the maps (N, D, h, w) of its earlier layers.

    `pixels` are normalised, (N, 3, H, W).
    """
    if efficientnet_lite.is_lite(model.pretrained_cfg["architecture"]):
        return efficientnet_lite.maps(model, pixels)
    last, found = model.forward_intermediates(pixels, indices=_places(model))
    return last, list(found)


def pooled(earlier: Sequence[Any]) -> Any:
    """Return the features of earlier layers, (N, E): the means of their maps, side by side."""
    import torch

    return torch.cat([each.mean((2, 3)) for each in earlier], dim=1)


def are_given(model: Any, pixels: Any) -> bool:
    """Return whether `maps` gives earlier layers, and last maps like those of the model itself, for such pixels."""
    import torch

    if not hasattr(model, "forward_intermediates") or len(getattr(model, "feature_info", ())) < 3:
        return False
    with torch.inference_mode():
        last, earlier = maps(model, pixels)
        own = model.forward_features(pixels)
    if not isinstance(own, torch.Tensor):  # of several branches
        return False
    alike = last.shape == own.shape and torch.allclose(last, own, rtol=1e-3, atol=1e-4)
    return bool(alike and all(each.ndim == 4 for each in earlier))


def _places(model: Any) -> list[int]:
    """Return which of its intermediate maps are used: two stages before the last.

    If all have one size, as the blocks of a plain transformer, those after half and three quarters of them.
    """
    sizes = [stage["reduction"] for stage in model.feature_info]
    depth = len(sizes)
    return [depth // 2 - 1, depth * 3 // 4 - 1] if len(set(sizes)) == 1 else [depth - 3, depth - 2]
