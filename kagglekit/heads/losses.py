"""Losses of linear heads, with their derivatives: on a block of rows, for several fits at once.

B rows, F fits, D features, C columns of the target, K parts of the images; S scores of a row, as many as there are
columns, but for grades one less.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Mask
from kagglekit.heads.layers import Layer, Linear, Ordered, grade_logs, log_shares
from kagglekit.tasks.activations import IDENTITY, SIGMOID, SOFTMAX, Activation
from kagglekit.tasks.task import HUBER, Task

MANY_COLUMNS = 16
_OF_LACKING = 0.5
"""Rows that a grade without any counts as."""


class Loss(ABC):
    """The loss whose minimum is where the predictions of an activation are, on average, the goals."""

    activation: ClassVar[Activation]
    shares_weights: ClassVar[bool] = False
    """Whether all scores of a row have the same weights, and differ by their bias only."""
    prefix: ClassVar[str] = ""
    """What a head's log says before its strength."""

    def __init__(self, weights: Floats | None = None) -> None:
        """`weights` (C,) multiply the loss where a column is true; without them all count the same."""
        self.weights = weights if weights is None else weights.astype(np.float32)

    @abstractmethod
    def curvature(self, columns: int) -> float:
        """Return the second derivative by a score that fits of C columns should reckon with."""

    @abstractmethod
    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return the loss of each row under each fit, (B, F), summed over the columns.

        `scores` (B, F, S) become the derivative. `goals` are (B, C).
        """

    def of_bias(self, bias: Floats, sums: Floats) -> tuple[Floats, Floats]:  # noqa: ARG002
        """Return what a loss has besides that of its rows, (F,), and its derivative, (F, S).

        It depends on the bias (F, S), and on the sums (F, C) of the goals.
        """
        return np.zeros(len(bias)), np.zeros(bias.shape)

    def start(self, sums: Floats, counts: Floats) -> tuple[Floats, Mask]:  # noqa: ARG002
        """Return the bias that a fit starts from, (K, S), and where it stays, because no finite one is best.

        `sums` (K, C) of the goals of each part, and `counts` (K,) of its rows.
        """
        return np.zeros(sums.shape), np.zeros(sums.shape, bool)

    def predictions(self, scores: Floats) -> Floats:
        """Return the predictions (…, C) of scores (…, S)."""
        return self.activation.predictions(scores)

    def layers(self, weights: Floats32, bias: Floats) -> tuple[Layer, ...]:
        """Return the last layers of a head with these weights, (D, C), or (D, 1) if they are shared, and bias (S,)."""
        return Linear(weights=weights, bias=bias.astype(np.float32)), self.activation


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
        """Return the upper bound, which the squared error has everywhere."""
        return 1.0

    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return half the sums of the columns' squared errors."""
        _to_errors(scores, goals)
        return np.asarray(np.einsum("bfc,bfc->bf", scores, scores, dtype=np.float64) / 2)


class HuberError(SquaredError):
    """Huber's loss: half the squared error up to `HUBER`, then in proportion to the error."""

    prefix = "Huber "

    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return the sums of the columns' losses."""
        _to_errors(scores, goals)
        errors = np.abs(scores)
        np.clip(scores, -HUBER, HUBER, out=scores)
        return np.asarray((np.abs(scores) * (errors - np.abs(scores) / 2)).sum(axis=2, dtype=np.float64))


def _to_errors(scores: Floats32, goals: Floats32) -> None:
    """Make scores (B, F, C) the errors of goals (B, C); of an unknown goal, NaN, there is none."""
    unknown = np.isnan(goals)
    scores -= goals[:, None]
    if unknown.any():
        np.moveaxis(scores, 1, 2)[unknown] = 0


class CumulativeLink(Loss):
    """Log loss of ordered grades with proportional odds: P(grade > k) is the logistic function of score k.

    The scores of a row are those of one linear map, less an increasing cut point each, so that probabilities are
    positive and always move from lower to higher grades. Where a grade lies between two cut points, the probability is
    a product: that of being above the lower one, that of being below the upper one, and a factor that depends on their
    distance only. The loss is convex, and infinite where cut points are not in order.

    Source: McCullagh 1980, Regression models for ordinal data; convexity: Pratt 1981.
    """

    activation = SOFTMAX
    shares_weights = True
    prefix = "ordinal "

    def curvature(self, columns: int) -> float:
        """Return the upper bound: a quarter for each cut point that a grade lies at."""
        return 1 / 4 if columns == 2 else 1 / 2

    def rows(self, scores: Floats32, goals: Floats32) -> Floats:
        """Return the log losses without the factors that depend on distances of cut points."""
        above, below = goals[:, None, 1:], goals[:, None, :-1]  # is the lower, or the upper, cut point of the grade
        if self.weights is not None:
            above, below = above * self.weights[1:], below * self.weights[:-1]
        small = np.exp(-np.abs(scores))
        losses = (np.maximum(scores, 0) + np.log1p(small)) * (above + below) - scores * above
        scores[...] = np.where(scores >= 0, 1, small) / (1 + small) * (above + below) - above
        return np.asarray(losses.sum(axis=2, dtype=np.float64))

    def of_bias(self, bias: Floats, sums: Floats) -> tuple[Floats, Floats]:
        """Return the factors that depend on distances of cut points, and half a mean row of each grade without any.

        Without it the best probability of such a grade would be zero.
        """
        counts, lacking = self._counts(sums)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            distances = bias[:, :-1] - bias[:, 1:]
            values = -np.where(distances > 0, np.log(-np.expm1(-distances)), -np.inf) * counts[:, 1:-1]
            slopes = counts[:, 1:-1] / np.expm1(distances)
        derivative = np.zeros(bias.shape)
        derivative[:, :-1] -= slopes
        derivative[:, 1:] += slopes
        above, below = lacking[:, 1:], lacking[:, :-1]
        derivative += SIGMOID.predictions(bias) * (above + below) - above
        ends = np.logaddexp(0, bias) * (above + below) - bias * above
        return values.sum(axis=1) + ends.sum(axis=1), derivative

    def start(self, sums: Floats, counts: Floats) -> tuple[Floats, Mask]:
        """Return the log odds of being above each cut point."""
        counts, _ = self._counts(sums)
        above = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        below = counts.cumsum(axis=1)[:, :-1]
        return np.log(above / below), np.zeros(above.shape, bool)

    def _counts(self, sums: Floats) -> tuple[Floats, Floats]:
        """Return the weighted rows of each grade, and those of them that are no images', (F, C) each."""
        lacking = np.where(sums > 0, 0.0, _OF_LACKING)
        return (sums if self.weights is None else sums * self.weights) + lacking, lacking

    def predictions(self, scores: Floats) -> Floats:
        """Return the probability of each grade."""
        return SOFTMAX.predictions(grade_logs(scores, log_shares(-scores)))

    def layers(self, weights: Floats32, bias: Floats) -> tuple[Layer, ...]:
        """Return the linear map to one number, and the cut points."""
        return Linear(weights=weights, bias=np.zeros(1, np.float32)), Ordered(cuts=-bias), self.activation


_LOSSES: dict[str, type[Loss]] = {
    loss.activation.name: loss for loss in (CrossEntropy, BinaryCrossEntropy, SquaredError)
}


def usual(task: Task) -> type[Loss]:
    """Return the usual loss of a task."""
    return HuberError if task.absolute else _LOSSES[task.activation.name]


def of_head(head: str, task: Task) -> tuple[type[Loss], ...]:
    """Return the losses that a setting `head` lets regression try."""
    if head == "ordinal":
        return (CumulativeLink,)
    also: tuple[type[Loss], ...] = (CumulativeLink,) if task.ordered else (SquaredError,) if task.absolute else ()
    return (usual(task), *also) if head == "auto" else (usual(task),)
