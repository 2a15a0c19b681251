"""Metrics as Kaggle computes them. N images, C classes; probabilities are float64 (N, C).

Importing this module loads no numpy: plugins import it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats, Labels

KAGGLE_EPSILON = 1e-15


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a competition scores predictions."""

    name: str
    """Name in tables."""
    score: Callable[[Labels, Floats], float]
    """(truth (N,), probabilities (N, C)) -> the score of all rows."""
    lower_is_better: bool = True
    """Whether a smaller score wins."""
    per_row: Callable[[Labels, Floats], Floats] | None = None
    """(truth (N,), probabilities (N, C)) -> (N,), if the score is their mean; gives exact standard errors."""


def log_loss_rows(truth: Labels, probabilities: Floats) -> Floats:
    """Return each row's log loss, (N,): rows divided by their sum, clipped to [1e-15, 1 - 1e-15], in float64.

    Source: Kaggle's multi-class log loss; for two classes it equals the binary log loss.
    """
    import numpy as np

    rows = np.asarray(probabilities, dtype=np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    rows = np.clip(rows, KAGGLE_EPSILON, 1 - KAGGLE_EPSILON)
    return np.asarray(-np.log(rows[np.arange(len(truth)), truth]), dtype=np.float64)


def correct_rows(truth: Labels, probabilities: Floats) -> Floats:
    """Return 1.0 where the most probable class is the true one, else 0.0, (N,)."""
    import numpy as np

    return np.asarray(np.asarray(probabilities).argmax(axis=1) == truth, dtype=np.float64)


def clustered_error(rows: Floats, clusters: Labels) -> float:
    """Return the standard error of the mean of `rows` (N,), whose values correlate within `clusters` (N,).

    It is NaN for a single cluster.

    Source: the cluster-robust variance of a mean, with the G / (G - 1) correction for G clusters.
    """
    import numpy as np

    sums = np.bincount(clusters, weights=rows - rows.mean())
    sums = sums[np.bincount(clusters) > 0]
    count = len(sums)
    if count < 2:
        return float("nan")
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(rows))


def _mean_log_loss(truth: Labels, probabilities: Floats) -> float:
    return float(log_loss_rows(truth, probabilities).mean())


def _accuracy(truth: Labels, probabilities: Floats) -> float:
    return float(correct_rows(truth, probabilities).mean())


METRICS = {
    "log_loss": Metric(name="log loss", score=_mean_log_loss, per_row=log_loss_rows),
    "accuracy": Metric(name="accuracy", score=_accuracy, per_row=correct_rows, lower_is_better=False),
}


def resolve(metric: str | Metric | Callable[[Labels, Floats], float]) -> Metric:
    """Return the Metric for a name, a Metric, or a callable (lower is better).

    Raises ValueError for an unknown name.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(name=getattr(metric, "__name__", "metric").replace("_", " "), score=metric)
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(sorted(METRICS))}, a Metric or a callable")
    return METRICS[metric]
