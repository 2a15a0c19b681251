"""Iterative stratification: split images that have several labels, so that each part has its share of each label.

Source: Sechidis, Tsoumakas and Vlahavas 2011, On the stratification of multi-label data; here on groups of images.

N images, L labels, U units (groups, or images without groups), K parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Indices


def split(
    labels: NDArray[np.bool_], groups: NDArray[Any] | None, shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Return the part of each image, (N,), of the sizes `shares` (K,), which sum to 1. Groups stay whole.

    The rarest labels are dealt out first, since they are the hardest to share.
    """
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    random = np.random.default_rng(seed)
    dealer = _Dealer(_sums(labels.astype(np.float64), units), np.bincount(units).astype(np.float64), shares, random)
    while (label := dealer.rarest()) is not None:
        dealer.deal(dealer.waiting(label), label)
    dealer.deal(dealer.waiting(None), None)
    return dealer.part[units]


def _sums(rows: Floats, units: Indices) -> Floats:
    """Return the sum of the rows (N, L) of each unit, (U, L)."""
    sums = np.zeros((int(units.max()) + 1, rows.shape[1]))
    np.add.at(sums, units, rows)
    return sums


class _Dealer:
    """Deals units out to the parts that lack most of what they have."""

    def __init__(self, counts: Floats, sizes: Floats, shares: Sequence[float], random: np.random.Generator) -> None:
        """`counts` (U, L) are the images of each label in each unit, `sizes` (U,) all its images."""
        self.part = np.full(len(counts), -1, np.int64)
        self._counts, self._sizes = counts, sizes
        self._lacks = np.outer(shares, counts.sum(axis=0))  # (K, L)
        self._lacks_images = np.array(shares) * sizes.sum()  # (K,)
        self._left = (counts > 0).sum(axis=0)  # (L,)
        self._order = random.permutation(len(counts))
        self._lots = random.random((len(counts), len(shares)))

    def rarest(self) -> int | None:
        """Return the label with the fewest waiting units; None if none is left."""
        if not self._left.any():
            return None
        return int(np.where(self._left > 0, self._left, np.iinfo(np.int64).max).argmin())

    def waiting(self, label: int | None) -> Indices:
        """Return the waiting units with a label, or all, the largest first: they are the hardest to place."""
        units = self._order[self.part[self._order] < 0]
        if label is not None:
            units = units[self._counts[units, label] > 0]
        return units[np.argsort(-self._sizes[units], kind="stable")]

    def deal(self, units: Indices, label: int | None) -> None:
        """Give each unit to the part that lacks most images of the label, then most images, then by lot."""
        for unit in units.tolist():
            lacks = self._lacks_images if label is None else self._lacks[:, label]
            part = int(np.lexsort((self._lots[unit], self._lacks_images, lacks))[-1])
            self.part[unit] = part
            has = np.flatnonzero(self._counts[unit])
            self._lacks[part, has] -= self._counts[unit, has]
            self._lacks_images[part] -= self._sizes[unit]
            self._left[has] -= 1
