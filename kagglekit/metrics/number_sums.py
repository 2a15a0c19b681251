"""Errors of numbers (N, K), from sums over rows. Unknown true numbers are NaN. B resamples."""

from __future__ import annotations

import numpy as np

from kagglekit.base.arrays import Floats
from kagglekit.metrics import sums
from kagglekit.metrics.metric import Resamples


def root_mean_square(truth: Floats, numbers: Floats, resamples: Resamples) -> Floats:
    """Return the root mean squared error over all known numbers, (B,)."""
    return _mean(truth, _differences(truth, numbers) ** 2, resamples, root=True)


def mean_absolute(truth: Floats, numbers: Floats, resamples: Resamples) -> Floats:
    """Return the mean absolute error over all known numbers, (B,)."""
    return _mean(truth, np.abs(_differences(truth, numbers)), resamples, root=False)


def columnwise_root_mean_square(truth: Floats, numbers: Floats, resamples: Resamples) -> Floats:
    """Return the mean over columns of their root mean squared errors, (B,)."""
    statistics = np.hstack([_differences(truth, numbers) ** 2, np.isfinite(truth)])

    def combine(totals: Floats) -> Floats:
        squares, known = np.split(totals, 2, axis=1)
        found: Floats = np.sqrt(squares / known).mean(axis=1)
        return found

    return sums.resampled(statistics, combine, resamples)


def determination(truth: Floats, numbers: Floats, resamples: Resamples) -> Floats:
    """Return the mean over columns of 1 minus squared errors over squared deviations from the mean, (B,)."""
    known = np.isfinite(truth)
    middle = np.where(known, truth, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    shifted = np.where(known, truth - middle, 0.0)  # so that squares lose no digits
    statistics = np.hstack([_differences(truth, numbers) ** 2, known, shifted, shifted**2])
    scale = (shifted**2).max(axis=0, initial=0)

    def combine(totals: Floats) -> Floats:
        errors, number, linear, squares = np.split(totals, 4, axis=1)
        deviations = squares - linear**2 / number
        varied = deviations > 1e-12 * scale * number
        found: Floats = np.where(varied, 1 - errors / deviations, np.nan).mean(axis=1)
        return found

    return sums.resampled(statistics, combine, resamples)


def _differences(truth: Floats, numbers: Floats) -> Floats:
    """Return the errors, (N, K); 0 where the truth is unknown."""
    if truth.shape != numbers.shape:
        raise ValueError(f"the numbers have the shape {numbers.shape}, and the truth {truth.shape}")
    return np.where(np.isfinite(truth), numbers - truth, 0.0)


def _mean(truth: Floats, losses: Floats, resamples: Resamples, *, root: bool) -> Floats:
    statistics = np.stack([losses.sum(axis=1), np.isfinite(truth).sum(axis=1)], axis=1)

    def combine(totals: Floats) -> Floats:
        means: Floats = totals[:, 0] / totals[:, 1]
        return np.sqrt(means) if root else means

    return sums.resampled(statistics, combine, resamples)
