"""Cases: what a report counts and shows. A case is an image; with several columns, an image and a column.

N images, K cases.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from kagglekit.base.arrays import Floats, Indices, Labels, Mask
from kagglekit.base.shortlists import Shortlists, Wide

NOWHERE = -1
"""The category of a label that an image does not have, or was not given."""


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Cases by category: a class, a label, or a range of numbers."""

    categories: tuple[str, ...]
    """Names for people."""
    images: Indices
    """Row of each case's image, (K,)."""
    true: Labels
    """Category that the case belongs to, (K,), or NOWHERE."""
    predicted: Labels
    """Category that it was predicted to belong to, (K,), or NOWHERE."""
    right: Mask
    """Whether the prediction is right, or for numbers, whether its error is below the median, (K,)."""
    confidence: Floats
    """Probability of the prediction, (K,); for numbers, the negative error."""
    margin: Floats
    """Probability by which the prediction beats the next best, (K,); NaN for numbers."""
    of_truth: Floats
    """Probability of the truth, (K,); NaN for numbers."""
    losses: Floats
    """Proper loss, (K,)."""
    columns: Labels
    """Column of the predictions that explains the prediction, (K,)."""

    @property
    def shown_in(self) -> Labels:
        """Category in which the case is shown, (K,): the true one, else the predicted one."""
        return np.where(self.true == NOWHERE, self.predicted, self.true)

    @property
    def covers_images(self) -> bool:
        """Whether each image is one case, so that categories can be confused."""
        one_each = bool((self.images == np.arange(len(self.images))).all())
        return one_each and NOWHERE not in self.true and NOWHERE not in self.predicted


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """Probabilities whose calibration can be judged, M of them."""

    values: Floats
    """(M,)"""
    right: Mask
    """Whether each came true, (M,)."""
    least: float
    """Smallest possible value."""


def of_images(categories: tuple[str, ...], true: Labels, predicted: Labels, predictions: Wide, losses: Floats) -> Cases:
    """Return one case an image. `true` and `predicted` (N,) are columns of the probabilities (N, C)."""
    rows = np.arange(len(true))
    return Cases(
        categories=categories,
        images=rows,
        true=true,
        predicted=predicted,
        right=true == predicted,
        confidence=predictions[rows, predicted],
        margin=_margins(predictions),
        of_truth=predictions[rows, true],
        losses=losses,
        columns=predicted,
    )


def _margins(predictions: Wide) -> Floats:
    """Return the highest minus the second highest probability of each row, (N,)."""
    if isinstance(predictions, Shortlists):
        return (predictions.values[:, 0] - predictions.values[:, 1]).astype(np.float64)
    if predictions.shape[1] < 2:
        return np.zeros(len(predictions))
    top = np.partition(predictions, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def of_labels(categories: tuple[str, ...], truth: Floats, given: Mask, predictions: Floats, losses: Floats) -> Cases:
    """Return one case for each label that an image has or was given. All are (N, C)."""
    has = truth > 0.5
    images, columns = np.nonzero(has | given)
    own, called = has[images, columns], given[images, columns]
    probability = predictions[images, columns]
    return Cases(
        categories=categories,
        images=images,
        true=np.where(own, columns, NOWHERE),
        predicted=np.where(called, columns, NOWHERE),
        right=own & called,
        confidence=np.where(called, probability, 1 - probability),
        margin=np.abs(2 * probability - 1),
        of_truth=np.where(own, probability, 1 - probability),
        losses=losses[images, columns],
        columns=columns,
    )


def of_numbers(names: tuple[str, ...], truth: Floats, predictions: Floats, losses: Floats, ranges: int = 5) -> Cases:
    """Return a case for each known number, of (N, C). One number is sorted into ranges with as many images each."""
    images, columns = np.nonzero(~np.isnan(truth))
    if truth.shape[1] == 1:
        edges = np.unique(np.quantile(truth, np.linspace(0, 1, ranges + 1)))
        edges = edges if len(edges) > 1 else np.array([edges[0], edges[0]])
        categories = tuple(f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges))
        true, predicted = (_range(values[:, 0], edges) for values in (truth, predictions))
    else:
        categories, true, predicted = names, columns, columns
    errors = np.abs(truth - predictions)
    usual = [np.median(own[~np.isnan(own)]) if (~np.isnan(own)).any() else 0.0 for own in errors.T]
    close = errors <= np.array(usual)
    unknown = np.full(len(images), np.nan)
    return Cases(
        categories=categories,
        images=images,
        true=true,
        predicted=predicted,
        right=close[images, columns],
        confidence=-errors[images, columns],
        margin=unknown,
        of_truth=unknown,
        losses=losses[images, columns],
        columns=columns,
    )


def _range(values: Floats, edges: Floats) -> Labels:
    return np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2).astype(np.int64)
