"""One of several classes, ordered or not. N images, C classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Labels, class_indices
from kagglekit.base.shortlists import Wide
from kagglekit.tasks import cases, label_errors
from kagglekit.tasks.activations import SOFTMAX
from kagglekit.tasks.cases import Cases, Confidence
from kagglekit.tasks.decisions import CutPoints, Decision, MostProbable, TopLists
from kagglekit.tasks.label_errors import Suspect
from kagglekit.tasks.seconds import ACCURACY
from kagglekit.tasks.targets import SEPARATOR, Classes
from kagglekit.tasks.task import Decided, Strata, Task, Truth

_EPSILON = 1e-15


class OneOf(Task):
    """One of several classes. The truth is (N,): class indices."""

    activation = SOFTMAX
    loss = "log loss"
    metric = "log_loss"

    def fault(self, label: str) -> str:
        """Return a remark on a label that is no class, or more than one."""
        if label in self.known:
            return ""
        several = label.split(SEPARATOR)
        if len(several) > 1 and self.known.issuperset(several):
            return f"{label!r} has {len(several)} classes, and exactly one is declared"
        return f"label {label!r} is not one of the classes {shown(self.columns)}"

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

    def weights(self, truth: Truth, balance: float) -> Floats | None:
        """Return the weights of classes, (C,); their mean over the images is 1. One that does not occur has 1."""
        if not balance:
            return None
        counts = np.bincount(_indices(truth), minlength=len(self.columns))
        weights = np.maximum(counts, 1.0) ** -balance
        weights /= (weights * counts).sum() / len(truth)
        return np.where(counts > 0, weights, 1.0)

    def goals(self, truth: Truth) -> Floats32:
        """Return one-hot rows, (N, C)."""
        rows = np.zeros((len(truth), len(self.columns)), np.float32)
        rows[np.arange(len(truth)), _indices(truth)] = 1
        return rows

    def mirrored(self, truth: Truth, columns: Sequence[int]) -> Labels:
        """Return the classes that mirrored images show, (N,)."""
        return np.asarray(columns, dtype=np.int64)[_indices(truth)]

    def seen(self, truth: Truth, predictions: Wide) -> Floats:
        """Return the probability of each row's class, (N, 1), divided by the sum of all, as Kaggle does it."""
        own = predictions[np.arange(len(truth)), _indices(truth)] / predictions.sum(axis=1)
        return np.asarray(own)[:, None]

    def losses_of(self, truth: Truth, seen: Floats) -> Floats:  # noqa: ARG002
        """Return each row's log loss, (N,)."""
        right = np.clip(seen[:, 0], _EPSILON, 1 - _EPSILON)
        return np.asarray(-np.log(right), dtype=np.float64)

    def slopes(self, truth: Truth, seen: Floats) -> Floats:  # noqa: ARG002
        """Return the derivative of each row's log loss, (N, 1)."""
        return np.asarray(-1 / np.clip(seen, _EPSILON, None))

    def guessing(self, truth: Truth) -> float:
        """Return the entropy of the classes: rows of all of them would take much memory."""
        shares = self.prior(truth)
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    def counts(self, truth: Truth) -> list[tuple[str, int]]:
        """Return (class, images), in the order of classes."""
        counts = np.bincount(_indices(truth), minlength=len(self.columns)).tolist()
        return list(zip(self.target.captions, counts, strict=True))

    def cases(self, truth: Truth, predictions: Wide, decided: Decided) -> Cases:
        """Return one case an image, by class."""
        names = tuple(self.target.meanings.values())
        return cases.of_images(names, _indices(truth), decided, predictions, self.losses(truth, predictions))

    def confidence(self, truth: Truth, predictions: Wide, decided: Decided) -> Confidence:
        """Return the probability of each decision."""
        values = predictions[np.arange(len(truth)), decided]
        return Confidence(values=values, right=decided == truth, least=1 / len(self.columns))

    def correct(self, truth: Truth, decided: Decided) -> Floats:
        """Return 1 where the class is right, (N,)."""
        return np.asarray(decided == truth, dtype=np.float64)

    def suspects(self, truth: Truth, predictions: Wide) -> list[Suspect]:
        """Return images that may be of another class."""
        return label_errors.among_classes(_indices(truth), predictions, self.columns)

    def words(self, decided: Decided) -> list[str]:
        """Return the names of the classes, (N,)."""
        names = list(self.target.meanings.values())
        return [names[index] for index in decided]

    def second(self, truth: Truth, decided: Decided) -> tuple[str, float]:
        """Return the share of right rows."""
        return ACCURACY, float((decided == truth).mean())

    def usual(self) -> Decision:
        """Return the most probable class."""
        return MostProbable()

    def lists(self, k: int) -> Decision:
        """Return the decision that lists the k most probable classes."""
        unseen = self.target.unseen if isinstance(self.target, Classes) else ""
        return TopLists(k=k, unseen=self.columns.index(unseen) if unseen else -1)


class Graded(OneOf):
    """Ordered classes."""

    metric = "qwk"
    ordered = True

    def usual(self) -> Decision:
        """Return the mean grade, rounded half up."""
        return CutPoints(cuts=tuple(grade + 0.5 for grade in range(len(self.columns) - 1)))


def shown(names: Sequence[str]) -> str:
    """Return a list of names for a message, its end left out if it is long."""
    return str(list(names)) if len(names) <= 10 else f"[{', '.join(map(repr, names[:10]))}, …]"


def _indices(truth: Truth) -> Labels:
    assert truth.ndim == 1, "one-of tasks have one class an image"
    return np.asarray(truth, dtype=np.int64)
