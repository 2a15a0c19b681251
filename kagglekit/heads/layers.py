"""A head: the layers from features to probabilities, as data.

N rows, D features, M hidden units, C classes. numpy predicts with a head and torch explains it, both here; the export
writes it as ONNX (`deploy/onnx_graph.py`). A new kind of layer is a class here and a case in each of the three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Floats32, softmax

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Standardise:
    """Subtract the mean of each feature, and divide by its scale."""

    mean: Floats32
    """(D,)"""
    scale: Floats32
    """(D,)"""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear map with a bias."""

    weights: Floats32
    """(D, M), or (D, C) where it is the last one."""
    bias: Floats32
    """(M,), or (C,)."""


@dataclass(frozen=True)
class Relu:
    """Replace what is below zero by zero."""


@dataclass(frozen=True)
class Softmax:
    """Turn scores into probabilities that sum to one: the closing activation."""


Layer = Standardise | Linear | Relu | Softmax


@dataclass(frozen=True)
class Head:
    """A fitted classifier of rows."""

    layers: tuple[Layer, ...]
    """From first to last; the last is the closing activation."""
    chosen: str
    """What was chosen inside the training part, for the log."""

    def probabilities(self, rows: Floats32) -> Floats:
        """(N, D) -> (N, C)."""
        found: NDArray[Any] = rows
        for layer in self.layers:
            found = _by_numpy(layer, found)
        return found

    def linear(self) -> tuple[Floats, Floats]:
        """Return weights (D, C) and bias (C,) that give the same scores in one linear map of the rows as they are.

        Raises ValueError for a head that is no linear map.
        """
        match self.layers:
            case (Standardise(mean=mean, scale=scale), Linear(weights=weights, bias=bias), Softmax()):
                folded = weights.astype(np.float64) / scale[:, None]
                return folded, bias - mean @ folded
        raise ValueError(f"not a linear head: {', '.join(type(layer).__name__ for layer in self.layers)}")


def _by_numpy(layer: Layer, rows: NDArray[Any]) -> NDArray[Any]:
    match layer:
        case Standardise():
            return np.asarray((rows - layer.mean) / layer.scale)
        case Linear():
            return np.asarray(rows @ layer.weights + layer.bias)
        case Relu():
            return np.asarray(np.maximum(rows, 0))
        case Softmax():
            return softmax(rows.astype(np.float64))


def scores_by_torch(head: Head, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from rows (N, D) to scores (N, C), those before the closing activation, for gradients."""
    steps = [_by_torch(layer, device) for layer in head.layers[:-1]]

    def scores(rows: torch.Tensor) -> torch.Tensor:
        for step in steps:
            rows = step(rows)
        return rows

    return scores


def _by_torch(layer: Layer, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    def constant(array: Floats32) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    match layer:
        case Standardise():
            mean, scale = constant(layer.mean), constant(layer.scale)
            return lambda rows: (rows - mean) / scale
        case Linear():
            weights, bias = constant(layer.weights), constant(layer.bias)
            return lambda rows: rows @ weights + bias
        case Relu():
            return torch.relu
        case Softmax():
            return lambda rows: torch.softmax(rows, dim=1)
