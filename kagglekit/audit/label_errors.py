"""Find suspected label errors by confident learning on out-of-fold probabilities.

N: images, C: classes.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels" (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong."""

    index: int
    label: int
    """Class index of the label in the data."""
    suggested: int
    """Class index suggested by the model."""
    margin: float
    """Probability of the suggestion minus that of the label; higher is more suspect."""


def find(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[Suspect]:
    """Return the images that the model assigns to another class as confidently as that class's own images.

    The most suspect image comes first. `probabilities` (N, C) must be out-of-fold.
    """
    classes = probabilities.shape[1]
    usual = np.full(classes, np.inf)  # a class without images is never suggested
    for label in np.unique(truth):
        usual[label] = probabilities[truth == label, label].mean()
    confident = np.where(probabilities >= usual, probabilities, -1.0)  # (N, C)
    suggested = confident.argmax(axis=1)
    sure = confident.max(axis=1) >= 0
    own = probabilities[np.arange(len(truth)), truth]
    margin = probabilities[np.arange(len(truth)), suggested] - own
    indices = np.flatnonzero(sure & (suggested != truth) & (margin > 0))
    order = indices[np.argsort(-margin[indices], kind="stable")]
    return [Suspect(int(at), int(truth[at]), int(suggested[at]), float(margin[at])) for at in order]
