"""Statistics of predictions: confusion, scores by category and group, and calibration.

N: images, C: categories, K: cases (see `tasks.cases`), B: bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Indices, Labels
from kagglekit.base.shortlists import Wide
from kagglekit.pipeline import postprocess
from kagglekit.tasks.cases import NOWHERE, Cases, Confidence
from kagglekit.tasks.task import Task, Truth

BINS = 10


@dataclass(frozen=True)
class Confusion:
    """How often categories are predicted as others."""

    truth: Labels
    """True category of each pair that occurs, (P,)."""
    predicted: Labels
    """(P,)"""
    images: Labels
    """(P,)"""
    categories: int

    def matrix(self) -> NDArray[np.int64]:
        """Return counts by true category (rows) and predicted category (columns), (C, C)."""
        counts = np.zeros((self.categories, self.categories), np.int64)
        counts[self.truth, self.predicted] = self.images
        return counts


def confusion(found: Cases) -> Confusion:
    """Return the pairs of categories; none where an image is several cases: no category is then taken for another."""
    count, nothing = len(found.categories), np.zeros(0, np.int64)
    if not found.covers_images:
        return Confusion(nothing, nothing, nothing, count)
    pairs, images = np.unique(found.true * count + found.predicted, return_counts=True)
    return Confusion(pairs // count, pairs % count, images.astype(np.int64), count)


@dataclass(frozen=True)
class Confused:
    """A pair of classes: the true one and the wrongly predicted one."""

    truth: int
    predicted: int
    images: int
    share: float
    """Share of the images of the true class."""


def most_confused(found: Confusion, count: int) -> list[Confused]:
    """Return the most confused pairs of classes, at most `count`."""
    sizes = np.bincount(found.truth, weights=found.images, minlength=found.categories)
    wrong = np.flatnonzero(found.truth != found.predicted)
    order = wrong[np.argsort(-found.images[wrong], kind="stable")[:count]]
    return [
        Confused(int(own), int(other), int(images), images / sizes[own])
        for own, other, images in zip(found.truth[order], found.predicted[order], found.images[order], strict=True)
    ]


@dataclass(frozen=True)
class Slice:
    """Scores on a slice of the images: a category or a group."""

    name: str
    images: int
    accuracy: float
    """Share of correct predictions; for a category, its recall."""
    precision: float
    """Share of predictions of this category that are correct; NaN if there are none, and for groups."""
    loss: float
    """Mean loss."""
    share: float
    """Share of the total loss."""


def by_category(found: Cases) -> list[Slice]:
    """Return one row per category with images, in order."""
    right, total = found.right.astype(float), found.losses.sum()
    called = dict(_by_value(found.predicted))
    slices = []
    for index, own in _by_value(found.true):
        if index != NOWHERE:
            precision = float((found.true[called[index]] == index).mean()) if index in called else math.nan
            name = found.categories[index]
            slices.append(_slice(name, own, found.losses, right, total=total, precision=precision))
    return slices


def by_group(losses: Floats, correct: Floats, groups: NDArray[np.object_]) -> list[Slice]:
    """Return one row per group, largest loss first. `losses` and `correct` are of the images, (N,)."""
    total = losses.sum()
    slices = [_slice(str(name), here, losses, correct, total=total) for name, here in _by_value(groups)]
    return sorted(slices, key=lambda each: -each.loss)


def _by_value(values: NDArray[Any]) -> Iterator[tuple[Any, Indices]]:
    """Yield each value that occurs and its places, in order."""
    if not len(values):
        return
    order = np.argsort(values, kind="stable")
    different, starts = np.unique(values[order], return_index=True)
    yield from zip(different, np.split(order, starts[1:]), strict=True)


def _slice(
    name: str, here: Indices, losses: Floats, right: Floats, *, total: float, precision: float = math.nan
) -> Slice:
    own = losses[here]
    return Slice(
        name=name,
        images=len(own),
        accuracy=float(right[here].mean()),
        precision=precision,
        loss=float(own.mean()),
        share=float(own.sum() / max(total, 1e-300)),
    )


@dataclass(frozen=True)
class Bin:
    """Predictions with similar probabilities."""

    low: float
    high: float
    images: int
    confidence: float
    """Mean probability."""
    accuracy: float
    """Share that came true."""
    least: float
    """Lower end of the 95% interval of the accuracy."""
    most: float


def reliability(found: Confidence) -> list[Bin]:
    """Return the bins with predictions, sorted by confidence. Bins have equal widths, from the least value to 1.

    Intervals: E. B. Wilson, "Probable inference" (1927).
    """
    edges = np.linspace(found.least, 1, BINS + 1)
    index = np.clip(np.searchsorted(edges, found.values, side="left") - 1, 0, BINS - 1)
    bins = []
    for number in np.unique(index):
        here = index == number
        accuracy, count = float(found.right[here].mean()), int(here.sum())
        least, most = _wilson(accuracy, count)
        confidence = float(found.values[here].mean())
        bins.append(Bin(edges[number], edges[number + 1], count, confidence, accuracy, least, most))
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


def loss_by_value(task: Task, truth: Truth, probabilities: Wide, step: str) -> Mapping[float, float]:
    """Return candidate value -> loss of all rows after a finishing step with that value.

    The lowest loss is optimistic, because it is chosen on the same rows.
    """
    apply, _ = postprocess.STEPS[step]
    values = sorted(postprocess.candidate_values(step, truth, probabilities))
    return {value: float(task.losses(truth, apply(probabilities, value, task.activation)).mean()) for value in values}


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
