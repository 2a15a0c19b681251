"""Losses of linear heads, with their derivatives: on a block of rows, for several fits at once.

B rows, F fits, C columns, K parts of the images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Mask
from kagglekit.tasks.activations import IDENTITY, SIGMOID, SOFTMAX, Activation

MANY_COLUMNS = 16


class Loss(ABC):
    """The loss whose minimum is where the predictions of an activation are, on average, the goals."""

    activation: ClassVar[Activation]

    def __init__(self, weights: Floats | None = None) -> None:
        """`weights` (C,) multiply the loss where a column is true; without them all count the same."""
        self.weights = weights if weights is None else weights.astype(np.float32)

    @abstractmethod
    def curvature(self, columns: int) -> float:
        """Return the second derivative by a score that fits of C columns should reckon with."""

    @abstractmethod
    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return the loss of each row under each fit, (B, F), summed over the columns.

        `scores` (B, F, C) become the derivative. `goals` are (B, C).
        """

    def start(self, sums: Floats, counts: Floats) -> tuple[Floats, Mask]:  # noqa: ARG002
        """Return the bias that a fit starts from, (K, C), and where it stays, because no finite one is best.

        `sums` (K, C) of the goals of each part, and `counts` (K,) of its rows.
        """
        return np.zeros(sums.shape), np.zeros(sums.shape, bool)


class CrossEntropy(Loss):
    """Log loss of one of several classes."""

    activation = SOFTMAX

    def curvature(self, columns: int) -> float:
        """Return the upper bound (Böhning 1992); with many classes, which are far below it, that of equal shares.

        With 99 classes fits took a half to a quarter of the steps that they took with the bound.
        """
        return 1 / 2 if columns < MANY_COLUMNS else 1 / columns

    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return the log losses."""
        scores -= scores.max(axis=2, keepdims=True)
        right = np.einsum("bfc,bc->bf", scores, goals)
        np.exp(scores, out=scores)
        total = scores.sum(axis=2)  # (B, F)
        scores /= total[:, :, None]
        scores -= goals[:, None]
        losses = np.asarray(np.log(total, dtype=np.float64) - right)
        if self.weights is not None:
            own = goals @ self.weights
            scores *= own[:, None, None]
            losses *= own[:, None]
        return losses


class BinaryCrossEntropy(Loss):
    """Log loss of each column by itself, towards goals from 0 to 1."""

    activation = SIGMOID

    def curvature(self, columns: int) -> float:  # noqa: ARG002
        """Return the upper bound."""
        return 1 / 4

    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return the sums of the columns' log losses."""
        small = np.exp(-np.abs(scores))
        losses = np.maximum(scores, 0) + np.log1p(small) - goals[:, None] * scores
        scores[...] = np.where(scores >= 0, 1, small) / (1 + small) - goals[:, None]
        if self.weights is not None:
            own = (1 + goals * (self.weights - 1))[:, None]
            scores *= own
            losses *= own
        return np.asarray(losses.sum(axis=2, dtype=np.float64))

    def start(self, sums: Floats, counts: Floats) -> tuple[Floats, Mask]:
        """Return the log odds of the shares, with half a row more on each side; columns that never change stay there.

        Without a single positive any smaller probability would be better, down to zero.
        """
        rows = counts[:, None]
        weights = 1.0 if self.weights is None else self.weights
        yes, no = sums * weights + 0.5, rows - sums + 0.5
        return SIGMOID.scores(yes / (yes + no)), (sums <= 0) | (sums >= rows)


class SquaredError(Loss):
    """Half the squared error, towards goals with mean 0 and standard deviation 1; an unknown goal, NaN, has none."""

    activation = IDENTITY

    def curvature(self, columns: int) -> float:  # noqa: ARG002
        """Return what it is everywhere."""
        return 1.0

    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return half the sums of the columns' squared errors."""
        unknown = np.isnan(goals)
        scores -= goals[:, None]
        if unknown.any():
            np.moveaxis(scores, 1, 2)[unknown] = 0
        return np.asarray(np.einsum("bfc,bfc->bf", scores, scores, dtype=np.float64) / 2)


_LOSSES: dict[str, type[Loss]] = {
    loss.activation.name: loss for loss in (CrossEntropy, BinaryCrossEntropy, SquaredError)
}


def of(activation: Activation, weights: Floats | None = None) -> Loss:
    """Return the loss of a final activation."""
    return _LOSSES[activation.name](weights)
