"""Whether an estimate of a score is honest: intervals for a test set's score, and for the estimate's mean error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95


def expected(score: float, error: float | None, clusters: int, of_test: int) -> tuple[float, float] | None:
    """Return the interval in which a test set's score should be; None if the standard error is unknown.

    `error` is that of the estimate, from `clusters` groups of rows that vary together (or as many rows); the test set
    has `of_test`. Both vary: the variance of a mean is inverse to the number of groups.
    """
    if error is None or clusters < 2:
        return None
    half = _quantile(clusters - 1) * error * math.sqrt(1 + clusters / of_test)
    return score - half, score + half


def mean_interval(differences: Sequence[float], test_to_train: float) -> tuple[float, float, float]:
    """Return the mean difference, and its interval, of several random splits of one set of images.

    The splits share images, so their differences do not vary independently. `test_to_train` is the number of test
    images over that of training images. Source: Nadeau and Bengio 2003, Inference for the generalization error.
    """
    count, mean = len(differences), float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) * math.sqrt(1 / count + test_to_train)
    half = _quantile(count - 1) * error
    return mean, mean - half, mean + half


def together(differences: Sequence[float], errors: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean difference, and its interval, of several runs on one test set, of which each has its error."""
    mean, half = float(np.mean(differences)), _quantile(math.inf) * float(np.sqrt(np.mean(np.square(errors))))
    return mean, mean - half, mean + half


def _quantile(freedom: float) -> float:
    """Return how many standard errors an interval reaches to each side, by Student's distribution."""
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
