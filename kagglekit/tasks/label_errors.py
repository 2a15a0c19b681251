"""Find suspected label errors by confident learning on out-of-fold probabilities.

N: images, C: classes.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAST_IMAGES = 10
"""Images with and without a label below which it is not judged."""


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong."""

    index: int
    label: str
    """Label in the data; of several, the doubtful one."""
    suggested: str
    """What the model suggests."""
    margin: float
    """Probability of the suggestion minus that of the label; higher is more suspect."""


def among_classes(truth: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[str]) -> list[Suspect]:
    """Return the images that the model assigns to another class as confidently as that class's own images.

    The most suspect image comes first. `truth` (N,) are class indices; `probabilities` (N, C) must be out-of-fold.
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
    return [Suspect(int(at), labels[truth[at]], labels[suggested[at]], float(margin[at])) for at in order]


def among_labels(
    truth: NDArray[np.float64], probabilities: NDArray[np.float64], labels: Sequence[str]
) -> list[Suspect]:
    """Return images with a label too many or too few, each label judged as a class of its own, most suspect first.

    `truth` (N, C) is 0 or 1; `probabilities` (N, C) must be out-of-fold. An image is listed once, by its most suspect
    label. A label that few images have is not judged: no model has learnt it.
    """
    worst: dict[int, Suspect] = {}
    for column, label in enumerate(labels):
        has = int((truth[:, column] > 0.5).sum())
        if min(has, len(truth) - has) < _LEAST_IMAGES:
            continue
        two = np.stack([1 - probabilities[:, column], probabilities[:, column]], axis=1)
        for one in among_classes((truth[:, column] > 0.5).astype(np.int64), two, (f"not {label}", label)):
            if one.index not in worst or one.margin > worst[one.index].margin:
                worst[one.index] = one
    return sorted(worst.values(), key=lambda one: -one.margin)
