"""Weighted log losses and probabilistic F1, from sums over rows. N rows, C classes, L labels, B resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kagglekit.base.arrays import Floats, Labels, Mask
from kagglekit.metrics import rows, sums
from kagglekit.metrics.metric import Resamples, Truth


def weighted_label_loss(
    truth: Truth, probabilities: Floats, weights: Sequence[float], factor: float, resamples: Resamples
) -> Floats:
    """Return the mean over rows of the weighted mean over labels, (B,); true labels weigh `factor` times as much."""
    by_place = np.where(truth, factor, 1.0) * np.asarray(weights)
    losses = np.average(rows.label_losses(truth, probabilities), axis=1, weights=by_place)
    statistics = np.stack([losses, np.ones(len(truth))], axis=1)
    return sums.resampled(statistics, lambda totals: totals[:, 0] / totals[:, 1], resamples)


def weighted_class_loss(truth: Labels, probabilities: Floats, weights: Sequence[float], resamples: Resamples) -> Floats:
    """Return the weighted mean over the classes that occur of each class's mean log loss, (B,)."""
    width = len(weights)
    losses = rows.log_loss_rows(truth, probabilities)
    statistics = sums.sparse_rows([(truth, losses), (width + truth, np.ones(len(truth)))], 2 * width)

    def combine(totals: Floats) -> Floats:
        lost, number = np.split(totals, 2, axis=1)
        weight = np.where(number > 0, np.asarray(weights), 0.0)
        means = lost / np.maximum(number, 1)
        found: Floats = (means * weight).sum(axis=1) / weight.sum(axis=1)
        return found

    return sums.resampled(statistics, combine, resamples)


def probabilistic_f1(positive: Mask, probability: Floats, resamples: Resamples) -> Floats:
    """Return the probabilistic F1, (B,), of the probabilities (N,) of the positive class; 0 if all of them are 0."""
    share = np.clip(probability, 0, 1)
    statistics = np.stack([share * positive, share, positive.astype(np.float64)], axis=1)

    def combine(totals: Floats) -> Floats:
        right, decided, true = totals.T
        return np.where(true > 0, 2 * right / (decided + true), np.nan)

    return sums.resampled(statistics, combine, resamples)
