"""Statistics of predictions: confusion, scores by class and group, and calibration.

N: images, C: classes, B: bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit import metrics
from kagglekit.base.arrays import Floats, Labels
from kagglekit.pipeline import postprocess

BINS = 10


def confusion(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix: counts by true class (rows) and predicted class (columns), (C, C)."""
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class Confused:
    """A pair of classes: the true one and the wrongly predicted one."""

    truth: int
    predicted: int
    images: int
    share: float
    """Share of the images of the true class."""


def most_confused(matrix: NDArray[np.int64], count: int) -> list[Confused]:
    """Return the most confused pairs of classes, at most `count`."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [np.unravel_index(index, wrong.shape) for index in order]
    sizes = matrix.sum(axis=1)
    return [Confused(int(a), int(b), int(wrong[a, b]), wrong[a, b] / sizes[a]) for a, b in pairs if wrong[a, b]]


@dataclass(frozen=True)
class Slice:
    """Scores on a slice of the images: a class or a group."""

    name: str
    images: int
    accuracy: float
    """Share of correct predictions; for a class, its recall."""
    precision: float
    """Share of predictions of this class that are correct; NaN if there are none, and for groups."""
    loss: float
    """Mean log loss."""
    share: float
    """Share of the total log loss."""


def by_class(truth: Labels, probabilities: Floats, names: Sequence[str]) -> list[Slice]:
    """Return one row per class with images, in class order."""
    predicted = probabilities.argmax(axis=1)
    rows = _rows(truth, probabilities)
    slices = []
    for index in np.unique(truth):
        called = predicted == index
        precision = float((truth[called] == index).mean()) if called.any() else math.nan
        slices.append(_slice(names[index], truth == index, *rows, precision))
    return slices


def by_group(truth: Labels, probabilities: Floats, groups: NDArray[np.object_]) -> list[Slice]:
    """Return one row per group, largest loss first."""
    rows = _rows(truth, probabilities)
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    indices = np.split(order, starts[1:])
    slices = [_slice(str(name), here, *rows, math.nan) for name, here in zip(names, indices, strict=True)]
    return sorted(slices, key=lambda each: -each.loss)


def _rows(truth: Labels, probabilities: Floats) -> tuple[Floats, Floats]:
    """Return the log loss of each row, and whether it is correct, (N,) each."""
    return metrics.log_loss_rows(truth, probabilities), metrics.correct_rows(truth, probabilities)


def _slice(name: str, here: NDArray[Any], losses: Floats, right: Floats, precision: float) -> Slice:
    return Slice(
        name=name,
        images=len(losses[here]),
        accuracy=float(right[here].mean()),
        precision=precision,
        loss=float(losses[here].mean()),
        share=float(losses[here].sum() / max(losses.sum(), 1e-300)),
    )


@dataclass(frozen=True)
class Bin:
    """Images with similar probabilities of the predicted class."""

    low: float
    high: float
    images: int
    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    least: float
    """Lower end of the 95% interval of the accuracy."""
    most: float


def reliability(truth: Labels, probabilities: Floats) -> list[Bin]:
    """Return the bins with images, sorted by confidence. Bins have equal widths, from 1 / C to 1.

    Intervals: E. B. Wilson, "Probable inference" (1927).
    """
    confidence, right = probabilities.max(axis=1), metrics.correct_rows(truth, probabilities)
    edges = np.linspace(1 / probabilities.shape[1], 1, BINS + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    bins = []
    for number in np.unique(index):
        here = index == number
        accuracy, count = float(right[here].mean()), int(here.sum())
        least, most = _wilson(accuracy, count)
        bins.append(Bin(edges[number], edges[number + 1], count, float(confidence[here].mean()), accuracy, least, most))
    return bins


def _wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # rounding errors must not put the share outside its interval
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy over bins.

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities" (2015).
    """
    total = sum(entry.images for entry in bins)
    return sum(entry.images * abs(entry.confidence - entry.accuracy) for entry in bins) / total


def loss_by_value(truth: Labels, probabilities: Floats, step: str) -> Mapping[float, float]:
    """Return candidate value -> log loss of all rows after a finishing step with that value.

    The lowest loss is optimistic, because it is chosen on the same rows.
    """
    apply, _ = postprocess.STEPS[step]
    values = sorted(postprocess.candidate_values(step, truth, probabilities))
    return {value: float(metrics.log_loss_rows(truth, apply(probabilities, value)).mean()) for value in values}


@dataclass(frozen=True)
class Worst:
    """A row with a large loss."""

    index: int
    loss: float
    so_far: float
    """Cumulative share of the total loss up to this row."""


def worst_rows(losses: Floats, count: int) -> list[Worst]:
    """Return the `count` rows with the largest loss, largest first."""
    order = np.argsort(-losses, kind="stable")[:count]
    shares = np.minimum(np.cumsum(losses[order]) / max(losses.sum(), 1e-300), 1.0)
    return [Worst(int(index), float(losses[index]), float(share)) for index, share in zip(order, shares, strict=True)]
