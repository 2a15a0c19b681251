"""Whether an estimate of a score is honest: intervals for a test set's score, and for the estimate's mean error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kagglekit.runs.record import Result

CONFIDENCE = 0.95


def expected(result: Result, of_test: float, *, named: bool) -> tuple[float, float] | None:
    """Return the interval in which a test set's score should be; None if the standard error is unknown.

    The estimate is from groups of rows that vary together (or from as many rows), and the test set has `of_test` of
    them. Both vary: the variance of a mean is inverse to the number of groups.

    The metrics that have a name end at 0 or 1, their best, and distances from it are skewed: a group that is hard to
    predict is further from the mean than an easy one can be. So their interval is wider on the worse side, as one of
    the distance's logarithm is, up to the second order.
    """
    if result.standard_error is None or result.clusters < 2:
        return None
    half = _quantile(result.clusters - 1) * result.standard_error * math.sqrt(1 + result.clusters / of_test)
    if not named:
        return result.out_of_fold - half, result.out_of_fold + half
    distance = result.out_of_fold if result.lower_is_better else 1 - result.out_of_fold
    skew = half**2 / (2 * distance) if distance > 0 else 0.0
    least, most = max(distance - half, 0.0), distance + half + skew
    return (least, most) if result.lower_is_better else (1 - most, 1 - least)


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
