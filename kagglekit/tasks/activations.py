"""Final activations: from the scores that a head or a network computes to predictions, and back.

D: features, C: columns of the target. Scores and predictions are (…, C).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, softmax
from kagglekit.base.shortlists import MANY, Shortlists, Wide

_TINY = 1e-15
"""Lower bound of probabilities before a logarithm."""


class Activation(ABC):
    """A final activation and its inverse."""

    name: ClassVar[str]
    """Its name in files."""

    @abstractmethod
    def predictions(self, scores: Floats) -> Floats:
        """Return the predictions of scores (…, C)."""

    @abstractmethod
    def scores(self, predictions: Floats) -> Floats:
        """Return scores (…, C) that give these predictions."""

    def first(self, predictions: NDArray[Any], count: int) -> list[int]:
        """Return the columns of an image's predictions (C,) to show: the most probable first."""
        columns: list[int] = predictions.argsort()[::-1][:count].tolist()
        return columns

    def text(self, prediction: float) -> str:
        """Return a prediction for people."""
        return f"{prediction:.1%}"

    def clipped(self, predictions: Floats, edge: float) -> Floats:
        """Return the predictions at least `edge` away from 0 and 1."""
        found: Floats = np.clip(predictions, edge, 1 - edge)
        return found

    def linear(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Return the linear map (D, C), (C,) to scores, of the one that a linear head with this activation has."""
        return weights, bias

    def mean(self, predictions: Floats, axis: int) -> Floats:
        """Return the predictions of the mean score along an axis: for probabilities, the geometric mean."""
        return self.predictions(self.scores(predictions).mean(axis=axis))

    def keeps_lists(self, columns: int) -> bool:  # noqa: ARG002
        """Return whether predictions of so many columns are kept as short lists."""
        return False

    def kept(self, predictions: Floats) -> Wide:
        """Return predictions (N, C) in the form in which they are kept: those of very many classes as short lists."""
        return Shortlists.of(predictions) if self.keeps_lists(predictions.shape[1]) else predictions

    def changed(self, predictions: Wide, change: Callable[[Floats], Floats]) -> Wide:
        """Return predictions (N, C) in their form after a change of each that keeps their order."""
        return change(np.asarray(predictions))


class Softmax(Activation):
    """Probabilities that sum to one."""

    name = "softmax"

    def predictions(self, scores: Floats) -> Floats:
        """Return the softmax."""
        return softmax(scores)

    def scores(self, predictions: Floats) -> Floats:
        """Return the logarithms."""
        logs: Floats = np.log(np.clip(predictions, _TINY, None))
        return logs

    def clipped(self, predictions: Floats, edge: float) -> Floats:
        """Return the predictions at least `edge` away from 0 and 1, divided by their sum."""
        clipped = super().clipped(predictions, edge)
        found: Floats = clipped / clipped.sum(axis=-1, keepdims=True)
        return found

    def keeps_lists(self, columns: int) -> bool:
        """Return whether there are very many classes."""
        return columns > MANY

    def changed(self, predictions: Wide, change: Callable[[Floats], Floats]) -> Wide:
        """Return them after the change, with sums of one."""
        return predictions.changed(change) if isinstance(predictions, Shortlists) else change(predictions)


class Sigmoid(Activation):
    """A probability, or share, for each column."""

    name = "sigmoid"

    def predictions(self, scores: Floats) -> Floats:
        """Return the logistic function of each score, without overflow."""
        found: Floats = np.exp(np.minimum(scores, 0)) / (1 + np.exp(-np.abs(scores)))
        return found

    def scores(self, predictions: Floats) -> Floats:
        """Return the log odds."""
        logs: Floats = np.log(np.clip(predictions, _TINY, None)) - np.log(np.clip(1 - predictions, _TINY, None))
        return logs


class Identity(Activation):
    """Numbers: the scores themselves."""

    name = "identity"

    def first(self, predictions: NDArray[Any], count: int) -> list[int]:  # noqa: ARG002
        """Return all columns, in their order: no number is more probable than another."""
        return list(range(len(predictions)))

    def text(self, prediction: float) -> str:
        """Return a number for people."""
        return f"{prediction:.4g}"

    def predictions(self, scores: Floats) -> Floats:
        """Return the scores."""
        return scores

    def scores(self, predictions: Floats) -> Floats:
        """Return the predictions."""
        return predictions


@dataclass(frozen=True)
class Standardised(Activation):
    """Numbers, of scores with mean 0 and standard deviation 1."""

    name = "standardised"

    means: Sequence[float]
    """Mean of each number, (C,)."""
    scales: Sequence[float]
    """Standard deviation of each number, (C,)."""

    def predictions(self, scores: Floats) -> Floats:
        """Return the numbers."""
        numbers: Floats = scores * np.array(self.scales) + np.array(self.means)
        return numbers

    def scores(self, predictions: Floats) -> Floats:
        """Return the standardised numbers."""
        standardised: Floats = (predictions - np.array(self.means)) / np.array(self.scales)
        return standardised

    def linear(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Return the linear map to standardised numbers, of one to numbers."""
        return weights / np.array(self.scales), self.scores(bias)


SOFTMAX, SIGMOID, IDENTITY = Softmax(), Sigmoid(), Identity()
ACTIVATIONS: dict[str, Activation] = {each.name: each for each in (SOFTMAX, SIGMOID, IDENTITY)}
