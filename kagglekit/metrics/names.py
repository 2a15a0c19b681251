"""The metric that a plugin means."""

from __future__ import annotations

from collections.abc import Callable

from kagglekit.metrics import rows
from kagglekit.metrics.metric import Metric, Predicted, Truth


def _mean_log_loss(truth: Truth, probabilities: Predicted) -> float:
    return float(rows.log_loss_rows(truth, probabilities).mean())


def _accuracy(truth: Truth, decided: Predicted) -> float:
    return float(rows.right_rows(truth, decided).mean())


METRICS = {
    "log_loss": Metric(name="log loss", score=_mean_log_loss, per_row=rows.log_loss_rows, kinds=("classes",)),
    "accuracy": Metric(
        name="accuracy",
        score=_accuracy,
        per_row=rows.right_rows,
        lower_is_better=False,
        needs="decisions",
        kinds=("classes", "grades"),
    ),
}


def resolve(metric: str | Metric | Callable[[Truth, Predicted], float]) -> Metric:
    """Return the Metric for a name, a Metric, or a callable (truth, probabilities (N, C)); lower is better.

    Raises ValueError for an unknown name.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(name=getattr(metric, "__name__", "metric").replace("_", " "), score=metric)
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(sorted(METRICS))}, a Metric or a callable")
    return METRICS[metric]
