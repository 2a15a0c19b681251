"""A head as data: the layers from features to predictions.

N rows, D features, M hidden units, C columns of the target, S = C - 1 cut points of grades. A head runs in numpy to
predict and in torch to explain, both here; `deploy/onnx_graph.py` writes it as ONNX. A new kind of layer needs a class
here and a case in each of the three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Floats32
from kagglekit.tasks.activations import Activation

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
    """(D, M), or (D, C) in the last layer."""
    bias: Floats32
    """(M,), or (C,) in the last layer."""


@dataclass(frozen=True)
class Relu:
    """Replace negative values by zero."""


@dataclass(frozen=True)
class Unit:
    """Scale each row to length 1."""


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """From one number, (N, 1), to the logarithms of the probabilities of ordered grades, (N, C).

    The log odds of a grade above a cut point are the number less the cut point.
    """

    cuts: Floats
    """Increasing, (S,)."""

    @property
    def shares(self) -> Floats32:
        """The part of the logarithms that does not depend on the number, (C,): distances lose digits as float32."""
        return log_shares(self.cuts).astype(np.float32)


Step = Standardise | Linear | Relu | Unit | Ordered
Layer = Step | Activation


@dataclass(frozen=True)
class Head:
    """A fitted model of feature rows."""

    layers: tuple[Layer, ...]
    """From first to last; the last is the final activation."""
    chosen: str
    """The hyperparameters chosen on the training part, for the log."""

    @property
    def activation(self) -> Activation:
        """The final activation."""
        last = self.layers[-1]
        assert isinstance(last, Activation), "every head ends with its activation"
        return last

    def predictions(self, rows: Floats32) -> Floats:
        """Return predictions, such as class probabilities: (N, D) -> (N, C)."""
        return self.activation.predictions(self.scores(rows).astype(np.float64))

    def scores(self, rows: Floats32) -> Floats32:
        """Return the scores before the final activation: (N, D) -> (N, C)."""
        for layer in self.layers:
            if not isinstance(layer, Activation):
                rows = _by_numpy(layer, rows)
        return rows

    def linear(self) -> tuple[Floats, Floats]:
        """Return weights (D, C) and bias (C,) of one linear map of the raw rows that gives the same scores.

        Raises ValueError if the head is not linear.
        """
        match self.layers:
            case (Standardise(mean=mean, scale=scale), Linear(weights=weights, bias=bias), Activation()):
                folded = weights.astype(np.float64) / scale[:, None]
                return folded, bias - mean @ folded
        raise ValueError(f"not a linear head: {', '.join(type(layer).__name__ for layer in self.layers)}")


def _by_numpy(layer: Step, rows: Floats32) -> Floats32:
    match layer:
        case Standardise():
            return np.asarray((rows - layer.mean) / layer.scale)
        case Linear():
            return np.asarray(rows @ layer.weights + layer.bias)
        case Relu():
            return np.asarray(np.maximum(rows, 0))
        case Unit():
            return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
        case Ordered():
            return grade_logs(rows - layer.cuts.astype(np.float32), layer.shares)


def grade_logs(scores: NDArray[Any], shares: NDArray[Any]) -> NDArray[Any]:
    """Return the logarithms of the probabilities of grades, (…, C), from log odds of being above cut points, (…, S).

    The probability of a grade is that of being above the cut point before it, times that of being below the one after
    it, times a share that depends on their distance only, whose logarithms are `shares`. A difference of two
    probabilities would lose all digits far from the cut points.
    """
    before = [(0, 0)] * (scores.ndim - 1)
    above = np.pad(-np.logaddexp(0, -scores), [*before, (1, 0)])
    below = np.pad(-np.logaddexp(0, scores), [*before, (0, 1)])
    return np.asarray(above + below + shares)


def log_shares(cuts: Floats) -> Floats:
    """Return the logarithms of the shares of `grade_logs`, (…, C), for increasing cut points (…, S)."""
    between = np.log(-np.expm1(-np.diff(cuts, axis=-1)))
    return np.pad(between, [(0, 0)] * (cuts.ndim - 1) + [(1, 1)])


def scores_by_torch(head: Head, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from rows (N, D) to scores (N, C) before the final activation, for gradients."""
    steps = [_by_torch(layer, device) for layer in head.layers if not isinstance(layer, Activation)]

    def scores(rows: torch.Tensor) -> torch.Tensor:
        for step in steps:
            rows = step(rows)
        return rows

    return scores


def _by_torch(layer: Step, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
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
        case Unit():
            return torch.nn.functional.normalize
        case Ordered():
            cuts, shares = constant(layer.cuts.astype(np.float32)), constant(layer.shares)
            return lambda rows: _grade_logs_by_torch(rows - cuts, shares)


def _grade_logs_by_torch(scores: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import logsigmoid, pad

    return pad(logsigmoid(scores), (1, 0)) + pad(logsigmoid(-scores), (0, 1)) + shares
