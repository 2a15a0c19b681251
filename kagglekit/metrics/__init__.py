"""Metrics as Kaggle computes them: by name in a plugin, with what each needs, its rows and its standard error.

Importing this room loads no numpy: plugins import it.
"""

from kagglekit.metrics.decided import accuracy, balanced_accuracy, f1, fbeta, qwk, weighted_recall
from kagglekit.metrics.decisions import plain_decision
from kagglekit.metrics.errors import clustered_error
from kagglekit.metrics.lists import mean_average_precision, top_error
from kagglekit.metrics.metric import KINDS, Kind, Metric, Needs, Predicted, Truth, UndefinedScoreError
from kagglekit.metrics.names import known, labels_in, resolve
from kagglekit.metrics.numbers import mae, mcrmse, r2, rmse
from kagglekit.metrics.probable import log_loss, pf1
from kagglekit.metrics.ranked import auc, average_precision, gap
from kagglekit.metrics.rows import correct_rows, log_loss_rows

__all__ = [
    "KINDS",
    "Kind",
    "Metric",
    "Needs",
    "Predicted",
    "Truth",
    "UndefinedScoreError",
    "accuracy",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "clustered_error",
    "correct_rows",
    "f1",
    "fbeta",
    "gap",
    "known",
    "labels_in",
    "log_loss",
    "log_loss_rows",
    "mae",
    "mcrmse",
    "mean_average_precision",
    "pf1",
    "plain_decision",
    "qwk",
    "r2",
    "resolve",
    "rmse",
    "top_error",
    "weighted_recall",
]
