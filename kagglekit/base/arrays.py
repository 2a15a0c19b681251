"""Array types used in the whole package, and functions on arrays that every room needs.

N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_NORMAL = 1.4826
"""Standard deviation of normal values, in median absolute deviations."""
Floats = NDArray[np.float64]
"""Probabilities, losses, scores."""
Floats32 = NDArray[np.float32]
"""Features, logits, weights: what networks and heads compute with."""
Labels = NDArray[np.int64]
"""Each row's class, as an index into the competition's classes."""
Indices = NDArray[np.int64]
"""Selected rows, by index."""
Mask = NDArray[np.bool_]
"""Whether each row is selected."""


def softmax(scores: Floats) -> Floats:
    """Return the softmax over the last axis, (…, C)."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def class_indices(labels: Iterable[str], classes: Sequence[str]) -> Labels:
    """Return the class index of each of N labels, (N,); raise KeyError for an unknown label."""
    indices = {label: index for index, label in enumerate(classes)}
    return np.array([indices[label] for label in labels], dtype=np.int64)


def centres(columns: Floats) -> Floats:
    """Return the mean of each column of (N, C), (C,), without unknown values, which are NaN; 0 if there is no other."""
    known = ~np.isnan(columns)
    if known.all():
        return np.asarray(columns.mean(axis=0))
    return np.asarray(np.where(known, columns, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def spreads(columns: Floats) -> Floats:
    """Return the standard deviation of each column of (N, C), (C,); 1 for one that never changes, to divide by.

    That of 0.1 a thousand times is not 0, but a rounding error. Unknown values, which are NaN, are left out.
    """
    known = ~np.isnan(columns)
    if known.all():
        changes, deviations = columns.max(axis=0) > columns.min(axis=0), columns.std(axis=0)
    else:
        changes = np.fmax.reduce(columns, axis=0) > np.fmin.reduce(columns, axis=0)
        deviations = np.sqrt(centres((columns - centres(columns)) ** 2))
    found: Floats = np.where(changes, deviations, 1.0)
    return found


def medians(columns: Floats) -> Floats:
    """Return the median of each column of (N, C), (C,), without unknown values, which are NaN; 0 if all are."""
    return np.array([np.median(known) if len(known) else 0.0 for known in _known(columns)])


def robust_spreads(columns: Floats) -> Floats:
    """Return the scaled median absolute deviation of each column of (N, C), (C,): of normal values the standard one.

    Where more than half of the values are equal it is the standard deviation, as of `spreads`.
    """
    known = (np.abs(values - np.median(values)) if len(values) else np.zeros(1) for values in _known(columns))
    deviations = np.array([_NORMAL * np.median(each) for each in known])
    return np.where(deviations > 0, deviations, spreads(columns))


def _known(columns: Floats) -> Iterator[Floats]:
    return (column[~np.isnan(column)] for column in columns.T)
