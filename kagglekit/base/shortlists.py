"""Predictions of very many classes: the most probable ones of each row, and the mean of all others.

The probabilities of 840,000 images for 15,501 classes would take 104 GB, their short lists take 0.4 GB. What is done to
them (temperature, clip, decisions, scores) costs as much time as the lists are long, and gives short lists again.

N rows, C columns, K: length of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Floats32, Indices, Labels, Mask

if TYPE_CHECKING:
    import pandas as pd

MANY = 1000
"""With more columns, predictions are kept as short lists."""
LENGTH = 64
_BLOCK = 1 << 22
"""Most predictions of a block of rows as an array."""


@dataclass(frozen=True)
class Shortlists:
    """Predictions (N, C) that can be indexed as an array can: by rows, or by rows and columns."""

    places: NDArray[np.int32]
    """The columns with the highest predictions, best first, (N, K); of equals the first comes first."""
    values: Floats32
    """Their predictions, (N, K)."""
    rest: Floats
    """The mean of the other columns, which stands for each of them, (N,)."""
    columns: int
    """C."""

    @classmethod
    def of(cls, rows: Floats | Floats32) -> Shortlists:
        """Shorten an array (N, C) of more than `LENGTH` columns."""
        negative = -rows
        places = np.sort(np.argpartition(negative, LENGTH - 1, axis=1)[:, :LENGTH], axis=1)
        order = np.argsort(np.take_along_axis(negative, places, axis=1), axis=1, kind="stable")
        places = np.take_along_axis(places, order, axis=1)
        values = np.take_along_axis(rows, places, axis=1)
        np.put_along_axis(negative, places, 0.0, axis=1)
        rest = (0.0 - negative.sum(axis=1).astype(np.float64)) / (rows.shape[1] - LENGTH)
        return cls(places.astype(np.int32), values.astype(np.float32), rest, rows.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(N, C)."""
        return len(self.places), self.columns

    @property
    def size(self) -> int:
        """How many numbers stand for all predictions: fewer than those of an array."""
        return self.values.size + self.rest.size

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        """Return the rows at an index as short lists; at (rows, columns), the predictions of a column of each row."""
        if not isinstance(index, tuple):
            return Shortlists(self.places[index], self.values[index], self.rest[index], self.columns)
        rows, columns = index
        places = self.places[rows]
        here = places == np.broadcast_to(columns, len(places))[:, None]
        listed = np.where(here, self.values[rows], 0).sum(axis=1, dtype=np.float64)
        return np.where(here.any(axis=1), listed, self.rest[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the predictions as an array, (N, C)."""
        every = np.repeat(self.rest[:, None], self.columns, axis=1)
        np.put_along_axis(every, self.places.astype(np.int64), self.values.astype(np.float64), axis=1)
        return every if dtype is None else every.astype(dtype)

    def argmax(self, axis: int) -> Labels:  # noqa: ARG002
        """Return the column of the highest prediction of each row, (N,)."""
        return self.places[:, 0].astype(np.int64)

    def max(self, axis: int) -> Floats:  # noqa: ARG002
        """Return the highest prediction of each row, (N,)."""
        return self.values[:, 0].astype(np.float64)

    def sum(self, axis: int) -> Floats:
        """Return the sum of each row, (N,)."""
        listed: Floats = self.values.sum(axis=axis, dtype=np.float64)
        return np.asarray(listed + (self.columns - self.values.shape[1]) * self.rest)

    def changed(self, change: Callable[[Floats], Floats]) -> Shortlists:
        """Return the rows after a change of each prediction (N, K + 1) that keeps their order, divided by their sum."""
        after = change(np.column_stack([self.values, self.rest]))
        total = after[:, :-1].sum(axis=1) + (self.columns - self.values.shape[1]) * after[:, -1]
        after = after / total[:, None]
        return Shortlists(self.places, after[:, :-1].astype(np.float32), after[:, -1].copy(), self.columns)

    def packed(self) -> Floats:
        """Return all numbers as one array, (N, 2 K + 1)."""
        return np.column_stack([self.places, self.values, self.rest])

    @classmethod
    def unpacked(cls, numbers: Floats, columns: int) -> Shortlists:
        """Return what `packed` gave."""
        places, values = numbers[:, :LENGTH].astype(np.int32), numbers[:, LENGTH : 2 * LENGTH].astype(np.float32)
        return cls(places, values, numbers[:, -1].copy(), columns)

    def cells(self) -> dict[str, NDArray[Any]]:
        """Return the columns of a table: `place1`, …, `value1`, …, `rest`."""
        numbers = range(self.values.shape[1])
        places = {f"place{number + 1}": self.places[:, number] for number in numbers}
        return places | {f"value{number + 1}": self.values[:, number] for number in numbers} | {"rest": self.rest}

    @classmethod
    def of_cells(cls, table: pd.DataFrame, columns: int) -> Shortlists:
        """Return what `cells` made a table of."""
        places, values = (
            np.column_stack([table[f"{name}{number + 1}"].to_numpy() for number in range(LENGTH)])
            for name in ("place", "value")
        )
        return cls(places.astype(np.int32), values.astype(np.float32), table["rest"].to_numpy(np.float64), columns)


Wide = NDArray[Any] | Shortlists
"""Predictions (N, C), as an array or as short lists."""


def joined(parts: Sequence[Wide]) -> Wide:
    """Return the rows of all parts, one part below the other."""
    lists = [part for part in parts if isinstance(part, Shortlists)]
    if not lists:
        return np.concatenate([np.asarray(part) for part in parts])
    places, values, rest = (
        np.concatenate([getattr(part, name) for part in lists]) for name in ("places", "values", "rest")
    )
    return Shortlists(places, values, rest, lists[0].columns)


def arranged(parts: Iterable[tuple[Indices, Wide]], count: int, like: Wide | None = None) -> Wide:
    """Return `count` rows, which come in parts: where the rows of each belong, (B,), and the rows, (B, C).

    An array has the memory order of `like`, on which the last digits of sums of its rows depend.
    """
    found: NDArray[Any] | None = None
    lists: list[tuple[Indices, Wide]] = []
    for places, part in parts:
        if isinstance(part, Shortlists):
            lists.append((places, part))
            continue
        if found is None:
            found = np.empty_like(part if like is None else like, shape=(count, part.shape[1]))
        found[places] = part
    if found is not None:
        return found
    every: Wide = joined([part for _, part in lists])[np.argsort(np.concatenate([places for places, _ in lists]))]
    return every


def mean(parts: Iterable[Wide]) -> Wide:
    """Return the mean of several predictions of the same rows, (N, C); as short lists if one is."""
    total: NDArray[Any] | None = None
    lists: list[Shortlists] = []
    number = 0
    for part in parts:
        number += 1
        if isinstance(part, Shortlists):
            lists.append(part)
        else:
            total = part.astype(np.float64) if total is None else np.add(total, part, out=total)
    if lists:
        return _mean_of_lists(lists, total, number)
    assert total is not None, "there is at least one part"
    total /= number
    return total


def mixed(parts: Sequence[tuple[float, Wide]]) -> Wide:
    """Return the sum of several predictions of the same rows, (N, C), each times its weight; as short lists if one is.

    The weights sum to one.
    """
    if len(parts) == 1:
        return parts[0][1]
    if not any(isinstance(part, Shortlists) for _, part in parts):
        return np.asarray(sum(weight * np.asarray(part) for weight, part in parts))
    rows, columns = parts[0][1].shape
    step = max(1, _BLOCK // columns)
    blocks = [slice(start, start + step) for start in range(0, max(1, rows), step)]
    sums = (sum(weight * np.asarray(part[block]) for weight, part in parts) for block in blocks)
    return joined([Shortlists.of(np.asarray(total)) for total in sums])


def _mean_of_lists(lists: Sequence[Shortlists], others: NDArray[Any] | None, number: int) -> Shortlists:
    """Return the sum of lists and of `others`, if any, over the `number` of all."""
    step = max(1, _BLOCK // lists[0].columns)
    means: list[Wide] = []
    for start in range(0, max(1, len(lists[0])), step):
        block = slice(start, start + step)
        total = sum((np.asarray(part[block]) for part in lists), 0.0 if others is None else others[block])
        means.append(Shortlists.of(np.asarray(total / number)))
    found = joined(means)
    assert isinstance(found, Shortlists)
    return found


def turned(rows: Wide, columns: Sequence[int]) -> Wide:
    """Return rows whose column c is the column `columns[c]` of the given ones: a permutation, (C,)."""
    if isinstance(rows, Shortlists):
        places = np.argsort(columns)[rows.places].astype(np.int32)
        return Shortlists(places, rows.values, rows.rest, rows.columns)
    return np.asarray(rows[:, list(columns)])


def spread(rows: Wide, where: Mask) -> Wide:
    """Return the rows at the places of a mask (M,), and NaN at all others, (M, C)."""
    if isinstance(rows, Shortlists):
        first = Shortlists.of(np.full((1, rows.columns), np.nan))
        return joined([first, rows])[np.where(where, np.cumsum(where), 0)]
    found = np.full((len(where), rows.shape[1]), np.nan)
    found[where] = rows
    return found


def unknown(rows: Wide) -> Mask:
    """Return which rows have a NaN, (N,)."""
    if isinstance(rows, Shortlists):
        return np.asarray(np.isnan(rows.rest) | np.isnan(rows.values).any(axis=1))
    return np.asarray(np.isnan(rows).any(axis=1))


def filled(rows: Wide, row: Floats) -> Wide:
    """Return rows with one row (C,) in place of those that have a NaN."""
    without = unknown(rows)
    if isinstance(rows, Shortlists):
        every: Wide = joined([Shortlists.of(row[None]), rows])[np.where(without, 0, 1 + np.arange(len(rows)))]
        return every
    return np.where(without[:, None], row, rows)


def finite(predicted: Wide) -> bool:
    """Return whether no prediction is NaN or infinite."""
    parts = (predicted.values, predicted.rest) if isinstance(predicted, Shortlists) else (predicted,)
    return all(bool(np.isfinite(part).all()) for part in parts)
