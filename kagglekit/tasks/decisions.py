"""Decisions: from predictions to what is submitted.

N images, C columns of the target, k: length of a list. This module imports nothing of kagglekit: bundles contain this
file unchanged.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 22
"""Most predictions that a decision looks at together."""
_TINY = 1e-15

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Decision(ABC):
    """What is decided for an image depends on its own predictions only."""

    kind: ClassVar[str]
    """Its name in files."""

    def apply(self, predictions: Any) -> Array:
        """Return what is decided for predictions (N, C): (N,) or (N, …).

        They are an array, or short lists: `places` (N, K) and `values` (N, K) of the K best columns of each row.
        """
        decide = self._block if isinstance(predictions, np.ndarray) else self._listed
        return np.concatenate([decide(rows) for rows in _blocks(predictions)])

    @abstractmethod
    def _block(self, rows: Array) -> Array: ...

    def _listed(self, lists: Any) -> Array:
        """Return what is decided for short lists."""
        return self._block(np.asarray(lists))

    @abstractmethod
    def text(self) -> str:
        """Return the fitted values for people; empty if there are none."""

    def to_plain(self) -> dict[str, Any]:
        """Return the decision as a JSON object."""
        return {"kind": self.kind} | dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class MostProbable(Decision):
    """The most probable class of each row, (N,) int64; of equals the first wins."""

    kind = "most probable"

    weights: tuple[float, ...] = ()
    """Factors of the probabilities, (C,); none are ones."""

    def _block(self, rows: Array) -> Array:
        weighted = rows * np.asarray(self.weights) if self.weights else rows
        return np.asarray(weighted.argmax(axis=1), dtype=np.int64)

    def _listed(self, lists: Any) -> Array:
        weighted = lists.values * np.asarray(self.weights)[lists.places] if self.weights else lists.values
        return np.take_along_axis(lists.places, weighted.argmax(axis=1)[:, None], axis=1)[:, 0].astype(np.int64)

    def text(self) -> str:
        """Return the smallest and the largest factor."""
        return _range(self.weights)


@dataclass(frozen=True, kw_only=True)
class Thresholds(Decision):
    """The labels whose probability is at least their threshold, (N, C) booleans."""

    kind = "thresholds"

    thresholds: tuple[float, ...]
    """Threshold of each label, (C,)."""
    one_of: tuple[tuple[int, ...], ...] = ()
    """Sets of labels of which each image gets exactly one: the most probable."""
    at_least_one: bool = False
    """Whether an image without any gets the label that is nearest to its threshold."""

    def _block(self, rows: Array) -> Array:
        thresholds = np.asarray(self.thresholds)
        decided = rows >= thresholds
        every = np.arange(len(rows))
        for some in self.one_of:
            best = np.asarray(some)[rows[:, some].argmax(axis=1)]
            decided[:, some] = False
            decided[every, best] = True
        if self.at_least_one:
            none = ~decided.any(axis=1)
            decided[none, (rows[none] / np.maximum(thresholds, _TINY)).argmax(axis=1)] = True
        return np.asarray(decided)

    def text(self) -> str:
        """Return the threshold, or the smallest and the largest."""
        return _range(self.thresholds)


@dataclass(frozen=True, kw_only=True)
class CutPoints(Decision):
    """The grade of each row, (N,) int64: the number of cut points that its mean grade reaches."""

    kind = "cut points"

    cuts: tuple[float, ...]
    """Increasing, (C - 1,)."""

    def _block(self, rows: Array) -> Array:
        return np.searchsorted(np.asarray(self.cuts), mean_grades(rows), side="right").astype(np.int64)

    def text(self) -> str:
        """Return the cut points."""
        return ", ".join(f"{cut:.3g}" for cut in self.cuts)


@dataclass(frozen=True, kw_only=True)
class TopLists(Decision):
    """The k most probable columns of each row, best first, (N, k) int64; -1 is no guess. Of equals the first wins."""

    kind = "top lists"

    k: int
    unseen: int = -1
    """The class of images that belong to no other, if any."""
    threshold: float = 0.0
    """The least probability that this class has in each row."""

    def _block(self, rows: Array) -> Array:
        if self.unseen >= 0 and self.threshold > 0:
            rows = rows.copy()
            rows[:, self.unseen] = np.maximum(rows[:, self.unseen], self.threshold)
        return best_of(rows, self.k)

    def _listed(self, lists: Any) -> Array:
        places, values = lists.places, lists.values
        if self.unseen >= 0 and self.threshold > 0:
            own = np.maximum(lists[:, self.unseen], self.threshold)
            values = np.column_stack([own, np.where(places == self.unseen, -1, values)])
            places = np.column_stack([np.full(len(places), self.unseen), places])
        best = best_of(values, min(self.k, values.shape[1]))
        found = np.take_along_axis(places, best, axis=1).astype(np.int64)
        return np.pad(found, ((0, 0), (0, self.k - found.shape[1])), constant_values=-1)

    def text(self) -> str:
        """Return the threshold of the class of images that belong to no other."""
        return f"{self.threshold:.3g}" if self.threshold > 0 else ""


@dataclass(frozen=True, kw_only=True)
class Range(Decision):
    """The numbers within the range, (N, C) float64."""

    kind = "range"

    low: float | None = None
    high: float | None = None

    def _block(self, rows: Array) -> Array:
        low, high = (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
        return np.clip(np.asarray(rows, dtype=np.float64), low, high)

    def text(self) -> str:
        """Return nothing: the range is declared."""
        return ""


KINDS: dict[str, type[Decision]] = {each.kind: each for each in (MostProbable, Thresholds, CutPoints, TopLists, Range)}


def from_plain(plain: Mapping[str, Any]) -> Decision:
    """Return the decision that `Decision.to_plain` described."""
    values = {name: _tuples(value) for name, value in plain.items()}
    return KINDS[values.pop("kind")](**values)


def as_written(fitted: Decision, usual: Decision) -> Decision:
    """Return the fitted decision if it is of the kind that a format writes, which has a usual one; lists keep its k."""
    if isinstance(fitted, TopLists) and isinstance(usual, TopLists):
        return dataclasses.replace(fitted, k=usual.k)
    return fitted if type(fitted) is type(usual) else usual


def labels_of(decided: Array, columns: Sequence[str]) -> list[str]:
    """Return what is decided of each row as labels, separated by `|`; numbers have none."""
    if decided.dtype.kind == "f":
        return [""] * len(decided)
    if decided.ndim == 1:
        return [columns[place] for place in decided.tolist()]
    chosen = map(np.flatnonzero, decided) if decided.dtype == bool else (row[row >= 0] for row in decided)
    return ["|".join(columns[place] for place in places.tolist()) for places in chosen]


def mean_grades(rows: Array) -> Array:
    """Return the mean grade of each row of probabilities (N, C), (N,)."""
    rows = np.asarray(rows)
    return np.asarray(rows @ np.arange(rows.shape[1]) / rows.sum(axis=1), dtype=np.float64)


def best_of(rows: Array, k: int) -> Array:
    """Return the columns of the k highest values of each row (N, C), best first, filled up with -1, (N, k)."""
    width = min(k, rows.shape[1])
    if width == rows.shape[1] or not len(rows):
        best = np.argsort(-rows, axis=1, kind="stable")[:, :width]
    else:
        best = np.sort(np.argpartition(-rows, width - 1, axis=1)[:, :width], axis=1)
        found = np.take_along_axis(rows, best, axis=1)
        lowest = found.min(axis=1, keepdims=True)
        tied = (rows >= lowest).sum(axis=1) > width  # the partition may have taken any of the equals
        best = np.take_along_axis(best, np.argsort(-found, axis=1, kind="stable"), axis=1)
        best[tied] = np.argsort(-rows[tied], axis=1, kind="stable")[:, :width]
    return np.pad(best.astype(np.int64), ((0, 0), (0, k - width)), constant_values=-1)


def _blocks(rows: Any) -> Iterator[Any]:
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, max(1, len(rows)), step):
        yield rows[start : start + step]


def _range(values: tuple[float, ...]) -> str:
    if not values:
        return ""
    least, most = f"{min(values):.3g}", f"{max(values):.3g}"
    return least if least == most else f"{least} to {most}"


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
