"""The predictions of groups of images, from those of their images. It needs only numpy.

N images, M pairs (image, group), G groups, C columns of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN, MAX, NOISY_OR = "mean", "max", "noisy-or"
WAYS = (MEAN, MAX, NOISY_OR)
"""How the predictions of a group are made: their mean, the largest, or the probability that any of them is true, if
they were independent."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Members:
    """Which images belong to which groups."""

    names: tuple[str, ...]
    """The groups, (G,)."""
    images: Array
    """Row of each pair's image, (M,), sorted by group."""
    groups: Array
    """Place of each pair's group, (M,)."""

    @classmethod
    def of(cls, own: Sequence[Sequence[str]]) -> Members:
        """Return the members of the groups that each image has, in the order of their first images."""
        place = {name: number for number, name in enumerate(dict.fromkeys(name for names in own for name in names))}
        pairs = sorted((place[name], image) for image, names in enumerate(own) for name in names)
        groups, images = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return cls(tuple(place), images, groups)

    def combined(self, predictions: Array, way: str, positive: int = -1) -> Array:
        """Return the predictions of the groups, (G, C), from those of the images, (N, C).

        Rows with NaN are left out; a group of nothing else has NaN. `positive` is the column that counts, of two of
        which exactly one is true.
        """
        rows = predictions[self.images]
        known = ~np.isnan(rows).any(axis=1)
        there, starts = np.unique(self.groups[known], return_index=True)
        found = np.full((len(self.names), predictions.shape[1]), np.nan)
        if len(there):
            found[there] = _reduced(rows[known], starts, way)
        if positive >= 0:
            found[:, 1 - positive] = 1 - found[:, positive]
        return found


def _reduced(rows: Array, starts: Array, way: str) -> Array:
    """Return one row for each group; `rows` are sorted by group, and groups begin at `starts`."""
    if way == MAX:
        return np.asarray(np.maximum.reduceat(rows, starts, axis=0))
    if way == NOISY_OR:
        with np.errstate(divide="ignore"):  # a certain image makes its group certain
            return np.asarray(-np.expm1(np.add.reduceat(np.log1p(-rows), starts, axis=0)))
    sizes = np.diff(np.append(starts, len(rows)))
    return np.asarray(np.add.reduceat(rows, starts, axis=0) / sizes[:, None])
