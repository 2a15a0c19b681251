"""Scores of single rows. N rows, C classes; probabilities are (N, C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats, Labels
    from kagglekit.metrics.metric import Predicted, Truth

KAGGLE_EPSILON = 1e-15


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

    return right_rows(truth, np.asarray(probabilities).argmax(axis=1))


def right_rows(truth: Truth, decided: Predicted) -> Floats:
    """Return 1.0 where the decision is the truth, else 0.0, (N,)."""
    import numpy as np

    return np.asarray(decided == truth, dtype=np.float64)
