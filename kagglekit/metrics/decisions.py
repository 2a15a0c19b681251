"""The plain decision: what a metric needs, from predictions, with nothing fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats, Labels
    from kagglekit.metrics.metric import Metric, Predicted


def plain_decision(metric: Metric, predictions: Floats, kind: str = "classes") -> Predicted:
    """Return what `metric` needs, from the predictions (N, C) for a target of this kind.

    A class is the most probable one, a label is set at 0.5, a grade is the mean grade rounded half up, and a list has
    the k most probable classes; of equals the first wins.
    """
    import numpy as np

    if metric.needs == "top":
        return _best_of(predictions, metric.k)
    if metric.needs != "decisions":
        return predictions
    if kind == "labels":
        return np.asarray(predictions >= 0.5)
    if kind == "grades":
        mean = predictions @ np.arange(predictions.shape[1]) / predictions.sum(axis=1)
        return np.asarray(np.floor(mean + 0.5), dtype=np.int64)
    return np.asarray(predictions.argmax(axis=1), dtype=np.int64)


def _best_of(predictions: Floats, k: int) -> Labels:
    """Return the classes of the k highest predictions (N, C), best first, filled up with -1, (N, k)."""
    import numpy as np

    best = np.argsort(-predictions, axis=1, kind="stable")[:, :k]
    return np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=-1)
