"""Metrics of lists of the k most probable classes."""

from __future__ import annotations

from kagglekit.metrics import rows
from kagglekit.metrics.metric import Metric, rows_metric
from kagglekit.metrics.parameters import length


def mean_average_precision(k: int) -> Metric:
    """Return MAP@k: the mean over rows of the average precision of a list; of one class, 1 / its place in the list."""
    k = length("map", k)
    return rows_metric(
        rows.precision_rows, name=f"MAP@{k}", lower_is_better=False, needs="top", k=k, kinds=("classes", "labels")
    )


def top_error(k: int) -> Metric:
    """Return the share of rows whose class is not in their list."""
    k = length("top_error", k)
    return rows_metric(rows.missed_rows, name=f"top-{k} error", needs="top", k=k, kinds=("classes",))
