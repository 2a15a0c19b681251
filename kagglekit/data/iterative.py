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
    dealer = _Dealer(_sums(labels, units), np.bincount(units).astype(np.float64), shares, random)
    while (label := dealer.rarest()) is not None:
        dealer.deal(dealer.waiting(label), label)
    dealer.deal(dealer.waiting(None), None)
    return dealer.part[units]


def _sums(labels: NDArray[np.bool_], units: Indices) -> Any:
    """Return how many images of each unit have each label, a sparse matrix (U, L): images have few of the labels."""
    from scipy import sparse

    images, columns = np.nonzero(labels)
    shape = int(units.max()) + 1, labels.shape[1]
    return sparse.csr_matrix((np.ones(len(images)), (units[images], columns)), shape)


class _Dealer:
    """Deals units out to the parts that lack most of what they have."""

    def __init__(self, counts: Any, sizes: Floats, shares: Sequence[float], random: np.random.Generator) -> None:
        """`counts` (U, L), sparse, are the images of each label in each unit, `sizes` (U,) all its images."""
        units = counts.shape[0]
        self.part = np.full(units, -1, np.int64)
        self._counts, self._with_label, self._sizes = counts, counts.tocsc(), sizes
        self._lacks = np.outer(shares, np.asarray(counts.sum(axis=0)).ravel())  # (K, L)
        self._lacks_images = np.array(shares) * sizes.sum()  # (K,)
        self._left = np.diff(self._with_label.indptr).astype(np.int64)  # (L,)
        self._turn = np.argsort(random.permutation(units))
        self._lots = random.random((units, len(shares)))

    def rarest(self) -> int | None:
        """Return the label with the fewest waiting units; None if none is left."""
        if not self._left.any():
            return None
        return int(np.where(self._left > 0, self._left, np.iinfo(np.int64).max).argmin())

    def waiting(self, label: int | None) -> Indices:
        """Return the waiting units with a label, or all, the largest first: they are the hardest to place."""
        units = np.arange(len(self.part)) if label is None else self._with_label.indices[_span(self._with_label, label)]
        units = units[self.part[units] < 0]
        return np.asarray(units[np.lexsort((self._turn[units], -self._sizes[units]))])

    def deal(self, units: Indices, label: int | None) -> None:
        """Give each unit to the part that lacks most images of the label, then most images, then by lot."""
        for unit in units.tolist():
            lacks = self._lacks_images if label is None else self._lacks[:, label]
            part = int(np.lexsort((self._lots[unit], self._lacks_images, lacks))[-1])
            self.part[unit] = part
            own = _span(self._counts, unit)
            has = self._counts.indices[own]
            self._lacks[part, has] -= self._counts.data[own]
            self._lacks_images[part] -= self._sizes[unit]
            self._left[has] -= 1


def _span(matrix: Any, line: int) -> slice:
    """Return where a line of a sparse matrix stands among its entries."""
    return slice(matrix.indptr[line], matrix.indptr[line + 1])
