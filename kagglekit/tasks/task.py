"""Tasks: all that depends on what is predicted. Nothing else asks what kind of target there is.

N images, C columns of the target. The truth of one-of tasks is (N,) int64: the index of each image's column; of all
others (N, C) float64. Predictions are (N, C) float64: probabilities, shares or numbers; or short lists of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Floats32, Indices, Mask, centres, spreads
from kagglekit.base.shortlists import Wide
from kagglekit.tasks.activations import Activation
from kagglekit.tasks.cases import Cases, Confidence
from kagglekit.tasks.decisions import Decision, TopLists
from kagglekit.tasks.label_errors import Suspect
from kagglekit.tasks.targets import Target

Truth = NDArray[Any]
"""What is known of training images: (N,) int64 or (N, C) float64."""
Strata = NDArray[Any]
"""By what folds are stratified: (N,) names or numbers, or (N, L) booleans."""
Decided = NDArray[Any]
"""What is submitted of each image: (N,) column indices of one-of tasks, else (N, C) booleans or numbers.

Lists are (N, k): column indices, where -1 is no guess.
"""
Rows = Mask | Indices | slice
"""Some of the rows of an array."""


HUBER = 0.5
"""Error in robust spreads of the numbers above which Huber's loss grows in proportion to it."""


class Task(ABC):
    """All that depends on what is predicted."""

    activation: ClassVar[Activation]
    """From the scores of a head or a network to predictions."""
    loss: str
    """Name of the proper loss, by which models are chosen."""
    metric: ClassVar[str]
    """The metric of a competition that declares none."""
    ordered: ClassVar[bool] = False
    """Whether the columns are grades, from the lowest to the highest."""
    absolute: bool = False
    """Whether the proper loss is Huber's, which grows in proportion to large errors."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.columns = target.columns
        """What is predicted of an image, (C,)."""
        self.known = frozenset(target.columns)
        """The same, to look them up."""

    @property
    def network_activation(self) -> Activation:
        """From the scores of a fine-tuned network to predictions."""
        return self.activation

    def learnt_from(self, truth: Truth, rows: Rows) -> Task:  # noqa: ARG002
        """Return the task of a model that knows only these rows of the truth: its numbers are in units of theirs."""
        return self

    def unit(self, values: Floats) -> tuple[Floats, Floats]:
        """Return what is subtracted from numbers (N, C) that are learnt, and what they are divided by, (C,) each."""
        return centres(values), spreads(values)

    def of_columns(self, columns: Sequence[int]) -> Task | None:  # noqa: ARG002
        """Return the task of some of the columns, if they are independent of the others; else None."""
        return None

    def weights(self, truth: Truth, balance: float) -> Floats | None:  # noqa: ARG002
        """Return what the loss of images is multiplied by in training where a column is true, (C,).

        `balance` is from 0 to 1: not at all, or until all that there is of `truth` counts the same. None: nothing is.
        """
        return None

    @property
    def units(self) -> Floats:
        """In what units differences of predictions are judged, (C,)."""
        return np.ones(len(self.columns))

    # --- the column `label` of a table of training images

    @abstractmethod
    def fault(self, label: str) -> str:
        """Return why a label of a table is wrong; empty if it is not."""

    def faults(self, labels: Iterable[str]) -> dict[str, str]:
        """Return label -> why it is wrong, for the wrong labels of a table."""
        found = {label: self.fault(label) for label in dict.fromkeys(labels)}
        return {label: why for label, why in found.items() if why}

    @abstractmethod
    def truth(self, labels: Iterable[str]) -> Truth:
        """Return the truth of labels without a fault."""

    @abstractmethod
    def unused(self, truth: Truth) -> list[str]:
        """Return the columns without any image: the data is probably incomplete."""

    def absent(self, labels: Iterable[str]) -> list[str]:
        """Return the same of labels without a fault, whose truth may be large."""
        return self.unused(self.truth(labels))

    # --- splits and priors

    @abstractmethod
    def strata(self, truth: Truth) -> Strata:
        """Return by what folds are stratified: a stratum for each image (N,), or any of several (N, L)."""

    @abstractmethod
    def prior(self, truth: Truth) -> Floats:
        """Return what is predicted of an image that can't be read, (C,)."""

    # --- training

    @abstractmethod
    def goals(self, truth: Truth) -> Floats32:
        """Return the values that the scores' activation should have, (N, C): what a model is trained towards."""

    @abstractmethod
    def mirrored(self, truth: Truth, columns: Sequence[int]) -> Truth:
        """Return the truth of mirrored images. `columns` has the column that each becomes, (C,)."""

    def losses(self, truth: Truth, predictions: Wide) -> Floats:
        """Return the proper loss of each row, (N,)."""
        return self.losses_of(truth, self.seen(truth, predictions))

    @abstractmethod
    def seen(self, truth: Truth, predictions: Wide) -> Floats:
        """Return what the proper loss sees of predictions, (N, J): that of a mean is the mean of what it sees."""

    @abstractmethod
    def losses_of(self, truth: Truth, seen: Floats) -> Floats:
        """Return the proper loss of what it sees of each row, (N,)."""

    @abstractmethod
    def slopes(self, truth: Truth, seen: Floats) -> Floats:
        """Return the derivative of each row's loss by what it sees, (N, J)."""

    def guessing(self, truth: Truth) -> float:
        """Return the loss of predicting the prior of every image."""
        return float(self.losses(truth, np.broadcast_to(self.prior(truth), (len(truth), len(self.columns)))).mean())

    # --- what a report shows

    @abstractmethod
    def counts(self, truth: Truth) -> list[tuple[str, int]]:
        """Return (category, images) of the training images: of a class, a label, a range of numbers."""

    @abstractmethod
    def cases(self, truth: Truth, predictions: Wide, decided: Decided) -> Cases:
        """Return what a report counts and shows."""

    @abstractmethod
    def confidence(self, truth: Truth, predictions: Wide, decided: Decided) -> Confidence | None:
        """Return the probabilities whose calibration can be judged; None for numbers."""

    @abstractmethod
    def correct(self, truth: Truth, decided: Decided) -> Floats:
        """Return 1 for each row that is entirely right, 0 for others, (N,); NaN for numbers, which never are."""

    @abstractmethod
    def suspects(self, truth: Truth, predictions: Wide) -> list[Suspect]:
        """Return images whose labels may be wrong, most suspect first; out-of-fold `predictions` contradict them."""

    @abstractmethod
    def words(self, decided: Decided) -> list[str]:
        """Return truth or decisions in words, (N,)."""

    # --- decisions

    @abstractmethod
    def usual(self) -> Decision:
        """Return the usual decision: the most probable class, labels of one half or more, the rounded mean grade."""

    def lists(self, k: int) -> Decision:
        """Return the decision that lists the k most probable columns."""
        return TopLists(k=k)

    @abstractmethod
    def second(self, truth: Truth, decided: Decided) -> tuple[str, float]:
        """Return what people ask for besides the metric, such as the accuracy: its name in `seconds`, and its value."""

    def decide(self, predictions: Wide) -> Decided:
        """Return what the usual decision makes of predictions (N, C)."""
        return self.usual().apply(predictions)
