"""Scores of single rows. N rows, C classes, L labels; probabilities are (N, C) or (N, L)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats, Labels
    from kagglekit.base.shortlists import Wide
    from kagglekit.metrics.metric import Predicted, Truth

KAGGLE_EPSILON = 1e-15


def log_loss_rows(truth: Truth, probabilities: Wide) -> Floats:
    """Return each row's log loss, (N,): of classes, or the mean of the labels' binary log losses.

    The probabilities of classes are divided by their sum. All are clipped to [1e-15, 1 - 1e-15], in float64.
    Source: Kaggle's multi-class log loss; for two classes it equals the binary log loss.
    """
    import numpy as np

    from kagglekit.base.shortlists import Shortlists

    if truth.ndim == 2:
        return np.asarray(label_losses(truth, probabilities).mean(axis=1), dtype=np.float64)
    rows = probabilities if isinstance(probabilities, Shortlists) else np.asarray(probabilities, dtype=np.float64)
    own = rows[np.arange(len(truth)), truth] / rows.sum(axis=1)
    return np.asarray(-np.log(np.clip(own, KAGGLE_EPSILON, 1 - KAGGLE_EPSILON)), dtype=np.float64)


def label_losses(truth: Truth, probabilities: Wide) -> Floats:
    """Return the binary log loss of each label in each row, (N, L)."""
    import numpy as np

    rows = np.clip(np.asarray(probabilities, dtype=np.float64), KAGGLE_EPSILON, 1 - KAGGLE_EPSILON)
    return np.asarray(-np.where(truth, np.log(rows), np.log(1 - rows)), dtype=np.float64)


def correct_rows(truth: Labels, probabilities: Floats) -> Floats:
    """Return 1.0 where the most probable class is the true one, else 0.0, (N,)."""
    import numpy as np

    return right_rows(truth, np.asarray(probabilities).argmax(axis=1))


def right_rows(truth: Truth, decided: Predicted) -> Floats:
    """Return 1.0 where the decision is the truth, for every label, else 0.0, (N,)."""
    import numpy as np

    right = np.asarray(decided == truth)
    return np.asarray(right if truth.ndim == 1 else right.all(axis=1), dtype=np.float64)


def fbeta_rows(truth: Truth, decided: Predicted, beta: float) -> Floats:
    """Return each row's F-beta, (N,), of its labels (N, L); 0 where nothing is true and nothing decided."""
    import numpy as np

    true, own = np.asarray(truth, bool), np.asarray(decided, bool)
    ones = np.ones(true.shape[1], np.float32)  # a product adds up short rows faster than `sum`
    right, number, guessed = ((flags @ ones).astype(np.float64) for flags in (true & own, true, own))
    below = beta**2 * number + guessed
    return np.asarray((1 + beta**2) * right / np.where(below > 0, below, 1), dtype=np.float64)


def precision_rows(truth: Truth, lists: Predicted) -> Floats:
    """Return each row's average precision of its list (N, k), (N,); 0 where no label is true.

    Source: Kaggle's MAP@k: the precisions at the true guesses, divided by the lesser of k and the true labels' number.
    """
    import numpy as np

    right, true = _right_guesses(truth, lists)
    precisions = right.cumsum(axis=1) / np.arange(1, lists.shape[1] + 1)
    most = np.minimum(true, lists.shape[1])
    return np.asarray((precisions * right).sum(axis=1) / np.maximum(most, 1), dtype=np.float64)


def missed_rows(truth: Labels, lists: Predicted) -> Floats:
    """Return 1.0 where the true class is not in the list (N, k), else 0.0, (N,)."""
    import numpy as np

    right, _ = _right_guesses(truth, lists)
    return np.asarray(~right.any(axis=1), dtype=np.float64)


def _right_guesses(truth: Truth, lists: Predicted) -> tuple[Predicted, Predicted]:
    """Return which guesses are right, (N, k), and how many are true, (N,). -1 is no guess and never right."""
    import numpy as np

    if truth.ndim == 1:
        return (lists == truth[:, None]) & (lists >= 0), (truth >= 0).astype(np.int64)
    flags = np.asarray(truth, bool)
    return np.take_along_axis(flags, np.maximum(lists, 0), axis=1) & (lists >= 0), flags.sum(axis=1)
