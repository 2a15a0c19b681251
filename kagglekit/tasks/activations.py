"""Final activations: from the scores that a head or a network computes to predictions, and back.

C: columns of the target. Scores and predictions are (…, C).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from kagglekit.base.arrays import Floats, softmax

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

    def clipped(self, predictions: Floats, edge: float) -> Floats:
        """Return the predictions at least `edge` away from 0 and 1."""
        found: Floats = np.clip(predictions, edge, 1 - edge)
        return found

    def mean(self, predictions: Floats, axis: int) -> Floats:
        """Return the predictions of the mean score along an axis: for probabilities, the geometric mean."""
        return self.predictions(self.scores(predictions).mean(axis=axis))


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

    def predictions(self, scores: Floats) -> Floats:
        """Return the scores."""
        return scores

    def scores(self, predictions: Floats) -> Floats:
        """Return the predictions."""
        return predictions


SOFTMAX, SIGMOID, IDENTITY = Softmax(), Sigmoid(), Identity()
ACTIVATIONS: dict[str, Activation] = {each.name: each for each in (SOFTMAX, SIGMOID, IDENTITY)}
