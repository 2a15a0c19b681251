"""Metrics as Kaggle computes them: by name in a plugin, with what each needs, its rows and its standard error.

Importing this room loads no numpy: plugins import it.
"""

from kagglekit.metrics.decisions import plain_decision
from kagglekit.metrics.errors import clustered_error
from kagglekit.metrics.metric import KINDS, Kind, Metric, Needs, Predicted, Truth
from kagglekit.metrics.names import resolve
from kagglekit.metrics.rows import correct_rows, log_loss_rows

__all__ = [
    "KINDS",
    "Kind",
    "Metric",
    "Needs",
    "Predicted",
    "Truth",
    "clustered_error",
    "correct_rows",
    "log_loss_rows",
    "plain_decision",
    "resolve",
]
