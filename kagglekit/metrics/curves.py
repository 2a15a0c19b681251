"""Areas under curves of resamples: rows are sorted once, and a resample costs one pass over them.

N rows, C classes, L labels, T distinct scores, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Labels, Mask
from kagglekit.metrics.metric import Predicted, Resamples, Truth

Measure = Callable[[Floats, Floats], float]
"""(positive rows, negative rows at or above each score, from the highest, after a 0; (1 + T,) each) -> the measure.

It may divide by zero, which gives NaN.
"""


def measured(measure: Measure, flags: Mask, scores: Floats, resamples: Resamples) -> Floats:
    """Return the measure of each resample, (B,), of rows that are positive or not, (N,), with scores (N,)."""
    order = np.argsort(-scores, kind="stable")
    ranked, places, positive = scores[order], resamples.clusters[order], flags[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # equal scores count together
    ends = None if last.all() else np.flatnonzero(last)
    found = np.empty(len(resamples.counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        for resample, counts in enumerate(resamples.counts):
            weights = counts.take(places)
            everything, above = _cumulated(weights, ends), _cumulated(weights * positive, ends)
            found[resample] = measure(above, everything - above)
    return found


def area(pieces: Sequence[tuple[float, float, float]]) -> Measure:
    """Return the measure that adds up pieces of the area under the ROC curve: (lowest rate, highest rate, weight).

    A piece is what lies between two true positive rates, right of the curve.
    """

    def measure(positive: Floats, negative: Floats) -> float:
        if positive[-1] == 0 or negative[-1] == 0:
            return float("nan")
        if tuple(pieces) == ((0.0, 1.0, 1.0),):
            outside = (np.diff(positive) * (negative[1:] + negative[:-1])).sum() / 2
            return float(1 - outside / (positive[-1] * negative[-1]))
        rate, other = positive / positive[-1], negative / negative[-1]
        return sum(weight * _between(rate, other, low, high) for low, high, weight in pieces)

    return measure


def _between(rate: Floats, other: Floats, low: float, high: float) -> float:
    """Return the area right of the curve between two true positive rates."""
    rises = rate[1:] > rate[:-1]
    start, end = rate[:-1][rises], rate[1:][rises]
    before, after = other[:-1][rises], other[1:][rises]
    bottom, top = np.maximum(start, low), np.minimum(end, high)
    middle = before + (after - before) * ((bottom + top) / 2 - start) / (end - start)
    return float(np.where(top > bottom, (top - bottom) * (1 - middle), 0.0).sum())


def average_precision(positive: Floats, negative: Floats) -> float:
    """Return the mean precision at the positive rows; NaN if there are none."""
    return float(_precisions(positive, negative) / positive[-1])


def _precisions(positive: Floats, negative: Floats) -> float:
    """Return the sum of the precisions at the positive rows."""
    number = positive + negative
    precision = positive / np.where(number > 0, number, 1)
    return float((np.diff(positive) * precision[1:]).sum())


def global_average_precision(truth: Labels, predicted: Floats, resamples: Resamples) -> Floats:
    """Return the precisions at the right best guesses over the number of rows with a class, (B,)."""
    right = predicted.argmax(axis=1) == truth
    together = measured(_precisions, right, predicted.max(axis=1), resamples)
    counts = resamples.counts
    classed = np.bincount(resamples.clusters, weights=truth >= 0, minlength=counts.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(together / (counts @ classed))


def of_one(name: str, truth: Truth, predicted: Predicted, positive: int, *, named: bool) -> tuple[Mask, Floats]:
    """Return which rows are positive, (N,), and their scores, (N,), of one class or label.

    Of several labels, the positive one must be `named`.
    """
    if truth.ndim == 2 and (named or truth.shape[1] == 1):
        column = positive if named else 0
        return np.asarray(truth[:, column], bool), predicted[:, column]
    if predicted.shape[1] > 2 or truth.ndim == 2:
        raise ValueError(f"{name} is for two classes or one label, not {predicted.shape[1]}")
    return truth == positive, predicted[:, positive]


def mean_measured(measure: Measure, truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
    """Return the mean over classes or labels, leaving out those without a measure, (B,)."""
    total, number = np.zeros(len(resamples.counts)), np.zeros(len(resamples.counts))
    for column in range(predicted.shape[1]):
        flags = _flags(truth, column)
        if flags.any():
            found = measured(measure, flags, predicted[:, column], resamples)
            total += np.nan_to_num(found, nan=0.0)
            number += ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / number)


def measured_together(measure: Measure, truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
    """Return the measure over all decisions, one per row and class or label, (B,)."""
    width = predicted.shape[1]
    flags = np.stack([_flags(truth, column) for column in range(width)], axis=1).ravel()
    together = Resamples(np.repeat(resamples.clusters, width), resamples.counts)
    return measured(measure, flags, predicted.ravel(), together)


def one_sided(truth: Truth, width: int) -> list[int]:
    """Return the classes or labels that all rows have, or none."""
    return [column for column in range(width) if len(np.unique(_flags(truth, column))) < 2]


def _flags(truth: Truth, column: int) -> Mask:
    return np.asarray(truth == column if truth.ndim == 1 else truth[:, column], bool)


def _cumulated(weights: NDArray[Any], ends: NDArray[np.int64] | None) -> Floats:
    """Return the sums of weights (N,) up to each end, or each row, after a 0, (1 + T,)."""
    total = weights.astype(np.float64).cumsum()
    return np.concatenate([[0.0], total if ends is None else total[ends]])
