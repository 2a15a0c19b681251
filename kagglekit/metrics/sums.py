"""Scores that are functions of sums over rows: resamples cost one matrix product.

N rows, G clusters, B resamples, S sums, C classes, L labels. This module loads numpy: import it inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from kagglekit.base.arrays import Floats, Labels, Mask
from kagglekit.metrics.metric import Predicted, Resamples, Truth

_BLOCK = 1 << 24
"""Most numbers of resamples that are in memory at a time."""

Combine = Callable[[Floats], Floats]
"""Sums (B, S) -> scores (B,); NaN where undefined."""


def resampled(statistics: Any, combine: Combine, resamples: Resamples) -> Floats:
    """Return the score of each resample, (B,), from each row's statistics, dense or sparse (N, S)."""
    counts, num_rows = resamples.counts, len(resamples.clusters)
    one_each = np.ones(num_rows), (resamples.clusters, np.arange(num_rows))
    by_cluster = sparse.csr_matrix(sparse.csr_matrix(one_each, (counts.shape[1], num_rows)) @ statistics)
    step = max(1, _BLOCK // max(statistics.shape[1], counts.shape[1]))
    scores = np.empty(len(counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        for start in range(0, len(counts), step):
            block = slice(start, start + step)
            scores[block] = combine(counts[block].astype(np.float64) @ by_cluster)
    return scores


def sparse_rows(columns: Sequence[tuple[Labels, Floats]], width: int) -> Any:
    """Return a sparse matrix (N, width) from pairs of each row's column, (N,), and its value there, (N,)."""
    row = np.tile(np.arange(len(columns[0][0])), len(columns))
    column, value = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return sparse.csr_matrix((value, (row, column)), (len(columns[0][0]), width))


def hits(truth: Truth, decided: Predicted, num_classes: int) -> Any:
    """Return each row's right, true and decided classes or labels as ones in a sparse matrix (N, 3 C)."""
    ones = np.ones(len(truth))
    if truth.ndim == 1:
        right = (truth == decided).astype(np.float64)
        return sparse_rows(
            [(truth, right), (num_classes + truth, ones), (2 * num_classes + decided, ones)], 3 * num_classes
        )
    true, set_ = np.asarray(truth, bool), np.asarray(decided, bool)
    return sparse.hstack([sparse.csr_matrix(flags, dtype=np.float64) for flags in (true & set_, true, set_)], "csr")


def split(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Split sums (B, 3 C) of `hits` into the numbers of right, true and decided, (B, C) each."""
    right, true, decided = np.split(sums, 3, axis=1)
    return right, true, decided


def num_classes(truth: Truth, decided: Predicted, least: int = 1) -> int:
    """Return the number of labels; of classes, one more than the highest that occurs, and not below `least`."""
    if truth.ndim == 2:
        return int(truth.shape[1])
    return max(least, int(truth.max(initial=0)) + 1, int(decided.max(initial=0)) + 1)


def mean_where(values: Floats, where: Mask) -> Floats:
    """Return the mean of each row of values (B, C) over the places of a mask (B, C); NaN where it has none, (B,)."""
    found: Floats = np.where(where, values, 0.0).sum(axis=1) / where.sum(axis=1)
    return found
