"""Choose the pictures to show: the five views of fast.ai's first lesson, by true category.

K: cases (see `tasks.cases`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kagglekit.base.arrays import Indices
from kagglekit.tasks.cases import Cases

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
    View("most-uncertain", "Most uncertain", "The two most probable decisions are nearly tied.", explained=True),
)
_OF_NUMBERS = (
    View("random-correct", "Random close", "A random sample; errors are below the median.", explained=False),
    View("random-incorrect", "Random far", "A random sample; errors are above the median.", explained=True),
    View("most-correct", "Closest", "The smallest errors.", explained=False),
    View("most-incorrect", "Furthest", "The largest errors.", explained=True),
)


def views_of(found: Cases) -> tuple[View, ...]:
    """Return the views; predictions without probabilities are close or far instead of right or wrong."""
    return _OF_NUMBERS if np.isnan(found.margin).all() else VIEWS


@dataclass(frozen=True)
class Row:
    """The pictures of one view and one category."""

    category: int
    cases: Indices
    """Chosen cases, by index."""
    of: int
    """Number of cases to choose from."""


def choose(found: Cases, seed: int) -> Mapping[str, list[Row]]:
    """Return key of the view -> one row per category with cases, in order.

    With many categories, only those with the largest mean loss are shown. The same seed chooses the same pictures.
    """
    views = views_of(found)
    shown = categories_shown(found)
    each = int(np.clip(MOST_PICTURES // (len(VIEWS) * len(shown)), _LEAST_EACH, _MOST_EACH))
    random = np.random.default_rng(seed)
    # the most wrong numbers have the largest errors, the most wrong classes the highest confidence
    wrongness = found.confidence if views is VIEWS else -found.confidence
    chosen: dict[str, list[Row]] = {view.key: [] for view in views}
    for category in shown:
        here = found.shown_in == category
        correct, incorrect, own = (np.flatnonzero(some) for some in (here & found.right, here & ~found.right, here))
        for key, pool, order in (
            ("random-correct", correct, random.permutation(len(correct))),
            ("random-incorrect", incorrect, random.permutation(len(incorrect))),
            ("most-correct", correct, np.argsort(-found.confidence[correct], kind="stable")),
            ("most-incorrect", incorrect, np.argsort(-wrongness[incorrect], kind="stable")),
            ("most-uncertain", own, np.argsort(found.margin[own], kind="stable")),
        ):
            if key in chosen:
                chosen[key].append(Row(category, pool[order[:each]], len(pool)))
    return chosen


def categories_shown(found: Cases) -> list[int]:
    """Return the categories to show, in order: all, or those with the largest mean loss."""
    categories, place = np.unique(found.shown_in, return_inverse=True)
    most = MOST_PICTURES // (len(VIEWS) * _LEAST_EACH)
    mean = np.bincount(place, weights=found.losses) / np.bincount(place)
    return sorted(categories[np.argsort(-mean, kind="stable")[:most]].tolist())
