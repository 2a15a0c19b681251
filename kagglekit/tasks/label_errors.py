"""Find suspected label errors by confident learning on out-of-fold probabilities.

N: images, C: classes.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels" (2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Labels
from kagglekit.base.shortlists import Shortlists, Wide

_LEAST_IMAGES = 10
"""Images with and without a label below which it is not judged."""
_BLOCK = 1 << 22
"""Most probabilities that are looked at together."""


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


def among_classes(truth: Labels, probabilities: Wide, labels: Sequence[str]) -> list[Suspect]:
    """Return the images that the model assigns to another class as confidently as that class's own images.

    The most suspect image comes first. `truth` (N,) are class indices; `probabilities` (N, C) must be out-of-fold.
    """
    if not len(truth):
        return []
    own = probabilities[np.arange(len(truth)), truth]
    usual = np.full(probabilities.shape[1], np.inf)  # a class without images is never suggested
    for label, rows in _by_class(truth):
        usual[label] = own[rows].mean()
    step = max(1, _BLOCK // probabilities.shape[1])
    parts = [_suggestions(probabilities[start : start + step], usual) for start in range(0, len(truth), step)]
    suggested, confidence = map(np.concatenate, zip(*parts, strict=True))
    margin = probabilities[np.arange(len(truth)), suggested] - own
    indices = np.flatnonzero((confidence >= 0) & (suggested != truth) & (margin > 0))
    order = indices[np.argsort(-margin[indices], kind="stable")]
    return [Suspect(int(at), labels[truth[at]], labels[suggested[at]], float(margin[at])) for at in order]


def _by_class(truth: Labels) -> Iterator[tuple[int, Labels]]:
    """Yield each class and its rows, in order."""
    order = np.argsort(truth, kind="stable")
    classes, starts = np.unique(truth[order], return_index=True)
    yield from zip(classes.tolist(), np.split(order, starts[1:]), strict=True)


def _suggestions(probabilities: Wide, usual: Floats) -> tuple[Labels, Floats]:
    """Return the class of each row with the highest probability that is usual for it, and that, or -1; (N,) each."""
    if isinstance(probabilities, Shortlists):
        places, values = probabilities.places.astype(np.int64), probabilities.values.astype(np.float64)
    else:
        places, values = np.arange(probabilities.shape[1])[None], probabilities
    confident = np.where(values >= usual[places], values, -1.0)
    best = confident.argmax(axis=1)
    return np.broadcast_to(places, values.shape)[np.arange(len(values)), best], confident.max(axis=1)


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
