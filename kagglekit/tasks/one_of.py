"""One of several classes, ordered or not. N images, C classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Labels, class_indices
from kagglekit.tasks.activations import SOFTMAX
from kagglekit.tasks.task import Decided, Strata, Task, Truth

_EPSILON = 1e-15


class OneOf(Task):
    """One of several classes. The truth is (N,): class indices."""

    activation = SOFTMAX
    loss = "log loss"
    metric = "log_loss"

    def wrong(self, labels: Sequence[str]) -> str:
        """Return a remark on the first label that is no class."""
        known = set(self.columns)
        unknown = next((label for label in labels if label not in known), None)
        return "" if unknown is None else f"label {unknown!r} is not one of the classes {shown(self.columns)}"

    def truth(self, labels: Iterable[str]) -> Labels:
        """Return class indices, (N,)."""
        return class_indices(labels, self.columns)

    def unused(self, truth: Truth) -> list[str]:
        """Return the classes without any image."""
        there = np.bincount(_indices(truth), minlength=len(self.columns)) > 0
        return [name for name, used in zip(self.columns, there, strict=True) if not used]

    def strata(self, truth: Truth) -> Strata:
        """Return the labels of the classes, (N,)."""
        names: list[Any] = list(self.columns)
        return np.array([names[index] for index in _indices(truth)], dtype=object)

    def prior(self, truth: Truth) -> Floats:
        """Return the share of each class, (C,)."""
        return np.bincount(_indices(truth), minlength=len(self.columns)) / len(truth)

    def goals(self, truth: Truth) -> Floats32:
        """Return one-hot rows, (N, C)."""
        rows = np.zeros((len(truth), len(self.columns)), np.float32)
        rows[np.arange(len(truth)), _indices(truth)] = 1
        return rows

    def mirrored(self, truth: Truth, columns: Sequence[int]) -> Labels:
        """Return the classes that mirrored images show, (N,)."""
        return np.asarray(columns, dtype=np.int64)[_indices(truth)]

    def losses(self, truth: Truth, predictions: Floats) -> Floats:
        """Return each row's log loss as Kaggle computes it, (N,)."""
        rows = predictions / predictions.sum(axis=1, keepdims=True)
        right = np.clip(rows[np.arange(len(truth)), _indices(truth)], _EPSILON, 1 - _EPSILON)
        return np.asarray(-np.log(right), dtype=np.float64)

    def decide(self, predictions: Floats) -> Decided:
        """Return the most probable class of each row, (N,)."""
        return np.asarray(predictions.argmax(axis=1), dtype=np.int64)


class Graded(OneOf):
    """Ordered classes."""

    metric = "qwk"

    def decide(self, predictions: Floats) -> Decided:
        """Return the rounded mean grade of each row, (N,)."""
        mean = predictions @ np.arange(len(self.columns)) / predictions.sum(axis=1)
        return np.asarray(np.floor(mean + 0.5), dtype=np.int64)


def shown(names: Sequence[str]) -> str:
    """Return a list of names for a message, its end left out if it is long."""
    return str(list(names)) if len(names) <= 10 else f"[{', '.join(map(repr, names[:10]))}, …]"


def _indices(truth: Truth) -> Labels:
    assert truth.ndim == 1, "one-of tasks have one class an image"
    return np.asarray(truth, dtype=np.int64)
