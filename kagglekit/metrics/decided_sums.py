"""Recall, F-beta and kappa of decisions, from sums over rows.

N rows, C classes, L labels, B resamples. Truth and decisions: classes and grades (N,) int64, labels (N, L) bool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kagglekit.base.arrays import Floats, Labels
from kagglekit.metrics import sums
from kagglekit.metrics.metric import Predicted, Resamples, Truth


def balanced_accuracy(truth: Labels, decided: Labels, resamples: Resamples) -> Floats:
    """Return the mean recall of the classes that occur, (B,)."""

    def combine(totals: Floats) -> Floats:
        right, true, _ = sums.split(totals)
        return sums.mean_where(right / true, true > 0)

    return sums.resampled(sums.hits(truth, decided, sums.num_classes(truth, decided)), combine, resamples)


def weighted_recall(
    truth: Truth,
    decided: Predicted,
    groups: Sequence[Sequence[int]],
    weights: Sequence[float],
    resamples: Resamples,
) -> Floats:
    """Return the weighted mean of the mean recalls of groups of classes or labels, (B,)."""

    def combine(totals: Floats) -> Floats:
        right, true, decided_as = sums.split(totals)
        recall, occurs = right / np.maximum(true, 1), true + decided_as > 0
        means = [sums.mean_where(recall[:, list(group)], occurs[:, list(group)]) for group in groups]
        return np.asarray(np.average(means, axis=0, weights=weights))

    width = sums.num_classes(truth, decided, 1 + max(max(group) for group in groups))
    return sums.resampled(sums.hits(truth, decided, width), combine, resamples)


def fbeta(truth: Truth, decided: Predicted, beta: float, resamples: Resamples, *, macro: bool) -> Floats:
    """Return F-beta over all decisions or, with `macro`, its mean over classes or labels, (B,)."""

    def combine(totals: Floats) -> Floats:
        right, true, decided_as = sums.split(totals)
        if truth.ndim == 2:  # as scikit-learn: every label, but no class that is absent
            return fbeta_of_counts(right, true, decided_as, beta=beta, macro=macro)
        ratio = _ratio(right, true, decided_as, beta)
        return sums.mean_where(ratio, true + decided_as > 0) if macro else _micro(right, true, decided_as, beta)

    return sums.resampled(sums.hits(truth, decided, sums.num_classes(truth, decided)), combine, resamples)


def fbeta_of_counts(right: Floats, true: Floats, decided: Floats, *, beta: float, macro: bool) -> Floats:
    """Return F-beta, (B,), from how often each label is right, true and decided, (B, L)."""
    if not macro:
        return _micro(right, true, decided, beta)
    return np.asarray(_ratio(right, true, decided, beta).mean(axis=1))


def _micro(right: Floats, true: Floats, decided: Floats, beta: float) -> Floats:
    return _ratio(right.sum(axis=1), true.sum(axis=1), decided.sum(axis=1), beta)


def _ratio(right: Floats, true: Floats, decided: Floats, beta: float) -> Floats:
    below = beta**2 * true + decided
    found: Floats = (1 + beta**2) * right / np.where(below > 0, below, 1)
    return found


def quadratic_kappa(truth: Labels, decided: Labels, resamples: Resamples) -> Floats:
    """Return 1 minus the mean squared distance of the pairs over that of pairs drawn by chance, (B,)."""
    true, given = truth.astype(np.float64), decided.astype(np.float64)
    statistics = np.stack([np.ones(len(true)), true, given, true**2 + given**2, (true - given) ** 2], axis=1)

    def combine(totals: Floats) -> Floats:
        number, first, second, squares, distance = totals.T
        by_chance = squares - 2 * first * second / number
        return np.where(by_chance > 0, 1 - distance / by_chance, np.nan)

    return sums.resampled(statistics, combine, resamples)
