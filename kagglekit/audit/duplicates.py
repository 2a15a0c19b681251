"""Find copies and look-alikes by content, by perceptual hash and by similarity of features.

All pairs are compared in blocks, so memory grows with the number of images, not of pairs.

N: images, D: features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Indices, Mask
from kagglekit.base.console import Advance

SAME_BITS = 6
"""Largest difference, of 63 bits, of hashes of the same picture (resized, recompressed or mirrored)."""
LIKE_BITS = 14
LIKE_COSINE = 0.75
"""Smallest similarity of features at which a difference of `LIKE_BITS` is the same picture (cropped, brightened)."""
SAME_COSINE = 0.85
"""Smallest similarity of features of the same picture, or of two frames of a film, whatever the hashes."""
PLAUSIBLE = 0.5
"""Less similar features are never the same picture, even if hashes agree: simple shapes have similar hashes."""
STRUCTURE = 8.0
"""Standard deviation of brightness below which a picture is too uniform for its hash, or its features, to tell by
themselves: the features of two pictures of forest, water or haze are as similar as those of copies."""
MANY = 20
"""Median number of images with the same hash above which the images count as frames of films. Then only pairs closer
than the typical distance to the third nearest image count, because that is a neighbouring frame."""
CHANCE = 0.05
"""Share of images that hashes or features may bring as close to different pictures as the limits allow."""
_MARGIN_BITS = 8
_MARGIN_COSINE = 0.42
"""How much closer than a different picture a pair must be for hashes alone, in bits, and for features alone, as a share
of the distance."""
NO_FOLD = -2
"""The fold of images without one: test images and dropped images."""
_BLOCK = 1024
_SAMPLE = 256
"""Number of sampled images that determine typical distances."""
_THIRD = 3
_MOST_EDGES = 4_000_000
"""Number of pairs kept in memory before they are merged into groups."""
_MOST_NOTED = 200


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images to compare: content, hashes, features and splits."""

    contents: NDArray[np.int64]
    """(N,) number of the content, equal for identical files."""
    looks: NDArray[np.uint64]
    """(N,) perceptual hashes."""
    even: Mask
    """(N,) whether an image is so uniform that hash and features must agree."""
    mirrored: NDArray[np.uint64]
    """(N,) perceptual hashes of the mirrored images."""
    features: NDArray[np.float16] | None
    """(N, D) features, each row of length 1; None without features."""
    test: Mask
    """(N,) whether an image is a test image."""
    label: NDArray[np.int64]
    """(N,) class index; -1 for test images."""
    fold: NDArray[np.int64]
    """(N,) fold; -1 for images only used for training, `NO_FOLD` for those without a fold."""
    group: NDArray[np.int64]
    """(N,) group; -1 without groups."""


@dataclass(frozen=True)
class Thresholds:
    """How similar two images must be to count as look-alikes."""

    bits: int = SAME_BITS
    """Largest difference of hashes that count by themselves; negative if they never do."""
    cosine: float = SAME_COSINE
    """Smallest similarity of features that count by themselves."""
    like_bits: int = LIKE_BITS
    like_cosine: float = LIKE_COSINE
    """Limits for hashes and features that agree; `like_bits` is negative where hashes tell nothing."""
    films: bool = False
    """Whether the images are frames of films, or as similar as such."""


@dataclass(frozen=True)
class Pair:
    """Two images that look alike."""

    first: int
    second: int
    bits: int
    """Number of bits in which their perceptual hashes differ."""
    cosine: float
    """Cosine similarity of their features; NaN without features."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Copies and look-alikes, and those that cross labels, splits and folds."""

    limits: Thresholds
    groups: NDArray[np.int64]
    """(N,) group of look-alikes, directly or through others; an image without look-alikes is its own group."""
    crossing: dict[str, list[Pair]]
    """`test`, `label`, `fold` -> closest pairs that cross it."""
    count: dict[str, int]
    """`test`, `label`, `fold` -> number of pairs that cross it; `all` counts all pairs, `bytes` identical files."""
    crosses: dict[str, Mask]
    """`test`, `label`, `fold` -> (N,) whether an image belongs to a pair that crosses it."""
    nearest: Indices
    """(N,) index of the nearest training image by features; -1 if there is none."""
    nearest_elsewhere: Indices
    """(N,) index of the nearest one in another group (driver, patient); -1 without groups."""


def find(images: Images, advance: Advance) -> Found:
    """Compare all pairs. `advance` is called after each of `num_blocks(N)` blocks."""
    search = _Search(images)
    for rows, columns in blocks(len(images.looks)):
        search.compare(rows, columns)
        advance(1)
    return search.found()


def limits(images: Images) -> Thresholds:
    """Return the thresholds for look-alikes, from a sample of the images."""
    some = np.random.default_rng(0).permutation(len(images.looks))[:_SAMPLE]
    alike = np.zeros(len(some), np.int64)
    for close in _Close.to_all(images, some):
        alike += (close.by_hash(SAME_BITS) & ~close.same).sum(axis=1)  # identical files count as one image
    if np.median(alike) > MANY:
        return _between_frames(images, some)
    return _beyond_chance(images, some)


def _between_frames(images: Images, some: Indices) -> Thresholds:
    """Return thresholds for frames of films: closer than the typical third nearest image."""
    bits: list[NDArray[np.uint8]] = []
    cosines: list[NDArray[np.float32]] = []
    for close in _Close.to_all(images, some):
        bits.append(np.sort(np.where(close.same, 64, close.bits), axis=1)[:, :_THIRD])
        if close.cosine is not None:
            cosines.append(-np.sort(-np.where(close.same, -1, close.cosine), axis=1)[:, :_THIRD])
    usual = -np.sort(-np.concatenate(cosines, axis=1), axis=1)[:, _THIRD - 1] if cosines else np.zeros(1)
    nearest = np.sort(np.concatenate(bits, axis=1), axis=1)[:, _THIRD - 1]
    return Thresholds(
        bits=int(np.clip(np.median(nearest) - 1, 0, SAME_BITS)),
        cosine=max(SAME_COSINE, float(np.median(usual))),
        like_cosine=max(LIKE_COSINE, float(np.median(usual))),
        films=True,
    )


def _beyond_chance(images: Images, some: Indices) -> Thresholds:
    """Return thresholds that different pictures of these images seldom reach; the fixed ones or stricter.

    Hashes tell which pictures are different for the features, and features for the hashes. The second nearest counts,
    because the nearest may be a copy all the same.
    """
    typical = float(np.median(_Close.of(images, some, some).bits))
    apart = min(LIKE_BITS + 1, typical)  # where all hashes are close, the farther half are of different pictures
    near = np.full((len(some), 2), -1.0)
    for close in _Close.to_all(images, some):
        if close.cosine is None:
            return Thresholds()
        different = close.telling & ~close.same & (close.bits >= apart)
        near = np.sort(np.concatenate([near, np.where(different, close.cosine, -1)], axis=1), axis=1)[:, -2:]
    second = near[near[:, 0] > -1, 0]
    if not len(second):
        return Thresholds()
    usual, reached = np.quantile(second, (0.5, 1 - CHANCE)).tolist()
    bits = _bits_of_different(images, some, max(usual, PLAUSIBLE))
    telling = bits >= _MARGIN_BITS  # else any two pictures may have the same hash, and only features tell
    return Thresholds(
        bits=min(SAME_BITS, bits - _MARGIN_BITS),
        cosine=max(SAME_COSINE, reached + (1 - reached) * _MARGIN_COSINE),
        like_bits=min(LIKE_BITS, bits - 1) if telling else -1,
        like_cosine=max(LIKE_COSINE, reached),
    )


def _bits_of_different(images: Images, some: Indices, cosine: float) -> int:
    """Return the difference of hashes below which few images have two others whose features are less similar."""
    fewest = np.full((len(some), 2), 64)
    for close in _Close.to_all(images, some):
        if close.cosine is not None:
            different = close.telling & ~close.same & (close.cosine < cosine)
            fewest = np.sort(np.concatenate([fewest, np.where(different, close.bits, 64)], axis=1), axis=1)[:, :2]
    return int(np.quantile(fewest[:, 1], CHANCE))


@dataclass(frozen=True)
class _Close:
    """Similarities of some images (rows) to others (columns). All arrays are (rows, columns)."""

    same: Mask
    """Whether the files are identical."""
    telling: Mask
    """Whether neither image is uniform."""
    bits: NDArray[np.uint8]
    """Number of differing bits of the hashes; the smaller one of plain and mirrored."""
    cosine: NDArray[np.float32] | None
    """Cosine similarity of the features; None without features."""

    @classmethod
    def to_all(cls, images: Images, rows: Indices) -> Iterator[_Close]:
        """Yield the similarities of some images to all, in blocks of columns."""
        for start in range(0, len(images.looks), _BLOCK):
            yield cls.of(images, rows, slice(start, min(start + _BLOCK, len(images.looks))))

    @classmethod
    def of(cls, images: Images, rows: slice | Indices, columns: slice | Indices) -> _Close:
        looks = images.looks[rows][:, None]
        plain = np.bitwise_count(looks ^ images.looks[None, columns])
        mirrored = np.bitwise_count(looks ^ images.mirrored[None, columns])
        cosine = None
        if images.features is not None:
            cosine = images.features[rows].astype(np.float32) @ images.features[columns].astype(np.float32).T
        return cls(
            same=images.contents[rows][:, None] == images.contents[None, columns],
            telling=~images.even[rows][:, None] & ~images.even[None, columns],
            bits=np.minimum(plain, mirrored),
            cosine=cosine,
        )

    def within(self, limits: Thresholds) -> Mask:
        """Return a mask of the pairs that look alike."""
        near = self.by_hash(limits.bits)
        if self.cosine is not None:
            near |= self.telling & (self.cosine >= limits.cosine)
            alike = np.where(self.telling, limits.like_cosine, max(limits.like_cosine, SAME_COSINE))
            near |= (self.bits.astype(np.int64) <= limits.like_bits) & (self.cosine >= alike)
        return near | self.same

    def by_hash(self, bits: int) -> Mask:
        """Return a mask of the pairs whose hashes differ in so many bits at most, by which they look alike."""
        near = self.telling & (self.bits.astype(np.int64) <= bits)
        return near if self.cosine is None else near & (self.cosine >= PLAUSIBLE)


def num_blocks(count: int) -> int:
    """Return the number of blocks of pairs of `count` images."""
    sides = -(-count // _BLOCK)
    return sides * (sides + 1) // 2


def blocks(count: int) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks (rows, columns) that cover each pair once."""
    starts = range(0, count, _BLOCK)
    for first in starts:
        for second in starts[first // _BLOCK :]:
            yield slice(first, min(first + _BLOCK, count)), slice(second, min(second + _BLOCK, count))


class _Search:
    """A search in progress: groups, closest pairs and nearest neighbours so far."""

    def __init__(self, images: Images) -> None:
        self._images = images
        count = len(images.looks)
        self._edges: list[NDArray[np.int64]] = []
        self._limits = limits(images)
        self._groups = np.arange(count)
        self._noted: dict[str, list[tuple[float, Pair]]] = {"test": [], "label": [], "fold": []}
        self._crosses = {name: np.zeros(count, bool) for name in self._noted}
        self._count = dict.fromkeys(("all", "bytes", "test", "label", "fold"), 0)
        self._best = {name: np.full(count, -2.0, np.float32) for name in ("any", "elsewhere")}
        self._index = {name: np.full(count, -1, np.int64) for name in ("any", "elsewhere")}

    def compare(self, rows: slice, columns: slice) -> None:
        """Compare all images of `rows` with all of `columns`."""
        close = _Close.of(self._images, rows, columns)
        near = close.within(self._limits)
        bits, cosine = close.bits, close.cosine
        if cosine is not None:
            self._remember_nearest(rows, columns, cosine)
        if rows == columns:
            near = np.triu(near, 1)
        first, second = np.nonzero(near)
        self._note(rows.start + first, columns.start + second, bits[near], None if cosine is None else cosine[near])

    def _note(
        self, first: Indices, second: Indices, bits: NDArray[np.uint8], cosine: NDArray[np.float32] | None
    ) -> None:
        """Add K pairs to the groups, and keep the closest pairs of each kind of crossing. Arrays are (K,)."""
        if not len(first):
            return
        images = self._images
        self._edges.append(np.stack([first, second]))
        if sum(edges.shape[1] for edges in self._edges) > _MOST_EDGES:
            self._join()
        one_train = ~images.test[first] & ~images.test[second]
        crossing = {
            "test": images.test[first] != images.test[second],
            "label": one_train & (images.label[first] != images.label[second]),
            "fold": one_train
            & (images.fold[first] != images.fold[second])
            & (np.minimum(images.fold[first], images.fold[second]) > NO_FOLD),
        }
        same = images.contents[first] == images.contents[second]
        self._count["all"] += len(first)
        self._count["bytes"] += int(same.sum())
        # closest first: identical files, then by bits, then by features
        distance = np.where(same, -1.0, bits - (0.0 if cosine is None else cosine))
        for name, crosses in crossing.items():
            indices = np.flatnonzero(crosses)
            self._count[name] += len(indices)
            self._crosses[name][first[indices]] = self._crosses[name][second[indices]] = True
            for index in indices[np.argsort(distance[indices], kind="stable")[:_MOST_NOTED]]:
                close = float("nan") if cosine is None else float(cosine[index])
                pair = Pair(int(first[index]), int(second[index]), int(bits[index]), close)
                self._noted[name].append((float(distance[index]), pair))
            self._noted[name] = sorted(self._noted[name], key=lambda noted: noted[0])[:_MOST_NOTED]

    def _remember_nearest(self, rows: slice, columns: slice, cosine: NDArray[np.float32]) -> None:
        """Update the nearest training image of each training image. Identical files are no evidence of a leak."""
        images = self._images
        barred = images.test[rows, None] | images.test[None, columns]
        barred |= images.contents[rows, None] == images.contents[None, columns]
        elsewhere = barred | (images.group[rows, None] == images.group[None, columns])
        for name, without in (("any", barred), ("elsewhere", elsewhere)):
            close = np.where(without, -2.0, cosine)
            self._keep(name, rows, close.max(axis=1), columns.start + close.argmax(axis=1))
            self._keep(name, columns, close.max(axis=0), rows.start + close.argmax(axis=0))

    def _keep(self, name: str, where: slice, close: NDArray[np.float32], indices: Indices) -> None:
        better = close > self._best[name][where]
        self._best[name][where][better] = close[better]
        self._index[name][where][better] = indices[better]

    def _join(self) -> None:
        """Merge the pairs so far into groups."""
        import scipy.sparse

        count = len(self._groups)
        chains = [*self._edges, np.stack([np.arange(count), self._groups])]
        first, second = np.concatenate(chains, axis=1)
        graph = scipy.sparse.coo_matrix((np.ones(len(first), bool), (first, second)), shape=(count, count))
        _, parts = scipy.sparse.csgraph.connected_components(graph, directed=False)
        roots = np.full(parts.max() + 1, count)
        np.minimum.at(roots, parts, np.arange(count))  # the first image gives a group its number
        self._groups, self._edges = roots[parts], []

    def found(self) -> Found:
        """Return the result."""
        if self._edges:
            self._join()
        return Found(
            limits=self._limits,
            crosses=self._crosses,
            groups=self._groups,
            crossing={name: [pair for _, pair in noted] for name, noted in self._noted.items()},
            count=self._count,
            nearest=self._index["any"],
            nearest_elsewhere=self._index["elsewhere"],
        )
