"""Choose the pictures to show: the five views of fast.ai's first lesson, by true class.

N: images, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kagglekit.base.arrays import Floats, Indices, Labels

MOST_PICTURES = 240
"""Largest number of pictures on a page."""
_MOST_EACH = 8
_LEAST_EACH = 2


@dataclass(frozen=True)
class View:
    """A rule for choosing pictures."""

    key: str
    title: str
    meaning: str
    explained: bool
    """Whether to show attention maps, as for wrong and uncertain pictures."""


VIEWS = (
    View("random-correct", "Random correct", "A random sample of correct predictions.", explained=False),
    View("random-incorrect", "Random incorrect", "A random sample of wrong predictions.", explained=True),
    View("most-correct", "Most correct", "Correct, with the highest confidence.", explained=False),
    View("most-incorrect", "Most incorrect", "Wrong, with the highest confidence.", explained=True),
    View("most-uncertain", "Most uncertain", "The two most probable classes are nearly tied.", explained=True),
)


@dataclass(frozen=True)
class Row:
    """The pictures of one view and one true class."""

    label: int
    indices: Indices
    of: int
    """Number of pictures to choose from."""


def choose(truth: Labels, probabilities: Floats, losses: Floats, seed: int) -> Mapping[str, list[Row]]:
    """Return key of the view -> one row per class with images, in class order.

    With many classes, only those with the largest mean loss are shown. The same seed chooses the same pictures.
    """
    shown = classes_shown(truth, losses)
    each = int(np.clip(MOST_PICTURES // (len(VIEWS) * len(shown)), _LEAST_EACH, _MOST_EACH))
    random = np.random.default_rng(seed)
    right = probabilities.argmax(axis=1) == truth
    confidence = probabilities.max(axis=1)
    top = np.sort(probabilities, axis=1)
    margin = top[:, -1] - top[:, -2]
    chosen: dict[str, list[Row]] = {view.key: [] for view in VIEWS}
    for label in shown:
        here = truth == label
        correct, incorrect, own = (np.flatnonzero(some) for some in (here & right, here & ~right, here))
        for key, pool, order in (
            ("random-correct", correct, random.permutation(len(correct))),
            ("random-incorrect", incorrect, random.permutation(len(incorrect))),
            ("most-correct", correct, np.argsort(-confidence[correct], kind="stable")),
            ("most-incorrect", incorrect, np.argsort(-confidence[incorrect], kind="stable")),
            ("most-uncertain", own, np.argsort(margin[own], kind="stable")),
        ):
            chosen[key].append(Row(label, pool[order[:each]], len(pool)))
    return chosen


def classes_shown(truth: Labels, losses: Floats) -> list[int]:
    """Return the classes to show, in class order: all, or those with the largest mean loss."""
    labels = np.unique(truth)
    most = MOST_PICTURES // (len(VIEWS) * _LEAST_EACH)
    mean = np.array([losses[truth == label].mean() for label in labels])
    return sorted(labels[np.argsort(-mean, kind="stable")[:most]].tolist())
