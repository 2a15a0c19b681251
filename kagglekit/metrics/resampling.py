"""Resamples of whole clusters that lose no rare class. N rows, G clusters, B resamples, P (thing, cluster) pairs.

A thing is what a score needs some row to have: a class, a label or its absence, a number above its mean or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Labels
from kagglekit.metrics.metric import Resamples, Truth

_RARE = 25
"""A thing in fewer clusters than this is rare. One in 25 clusters is lost by one resample in 10^11."""
_MOST_THINGS = 100
"""With more things none decides the score alone, and a stratum each would leave nothing to resample."""
_BLOCK = 1 << 23
"""Most counts that are in memory at a time."""


@dataclass(frozen=True)
class _Strata:
    """Clusters sorted by stratum, (G,), with each place's first cluster and number of clusters in its stratum."""

    order: Labels
    first: Labels
    size: Labels


def draw(truth: Truth, clusters: Labels, number: int, seed: int) -> Iterator[Resamples]:
    """Yield blocks of resamples of clusters (N,), `number` in all. The same seed gives the same resamples.

    They are stratified by the rarest class of each cluster, and each has at least one cluster with every rare class.
    A class that only one cluster has is thus in all of them alike: the spread of scores lacks what it would vary.
    """
    random = np.random.default_rng(seed)
    names, places = np.unique(clusters, return_inverse=True)
    groups, clusters = len(names), places.astype(np.int64)
    things, members = _rare(truth, clusters)
    strata = _strata(things, members, groups)
    step = max(1, _BLOCK // max(1, groups))
    for start in range(0, number, step):
        counts = np.empty((min(step, number - start), groups), np.uint16)
        for row in counts:
            chosen = strata.first + (random.random(groups) * strata.size).astype(np.int64)
            row[:] = np.bincount(strata.order[chosen], minlength=groups)
            _give_back(row, things, members, random)
        yield Resamples(clusters, counts)


def _rare(truth: Truth, clusters: Labels) -> tuple[Labels, Labels]:
    """Return the pairs (thing, cluster that has it) of the rare things, sorted by thing, (P,) each."""
    pairs = [np.unique(clusters[flags]) for flags in _things(truth)]
    kept = [members for members in pairs if 0 < len(members) < _RARE]
    things = np.repeat(np.arange(len(kept)), [len(members) for members in kept])
    return things, np.concatenate([np.empty(0, np.int64), *kept])


def _things(truth: Truth) -> Iterator[NDArray[np.bool_]]:
    """Yield, for each thing, the rows that have it, (N,); nothing if there are too many things."""
    if truth.ndim == 1:
        classes = np.unique(truth)
        if len(classes) <= _MOST_THINGS:
            yield from (truth == one for one in classes)
    elif truth.shape[1] <= _MOST_THINGS // 2:
        for column in truth.T:
            high = column > np.nanmean(column)  # unknown numbers are neither
            yield from (high, column <= np.nanmean(column))


def _strata(things: Labels, members: Labels, groups: int) -> _Strata:
    """Return the strata: a cluster belongs to its rarest thing, or to all clusters without a rare one."""
    stratum = np.full(groups, -1)
    sizes = np.bincount(things, minlength=1)
    for thing in np.argsort(-sizes, kind="stable"):
        stratum[members[things == thing]] = thing  # the rarest comes last
    order = np.argsort(stratum, kind="stable")
    _, first, size = np.unique(stratum[order], return_index=True, return_counts=True)
    return _Strata(order, np.repeat(first, size), np.repeat(size, size))


def _give_back(counts: NDArray[np.uint16], things: Labels, members: Labels, random: np.random.Generator) -> None:
    """Add a cluster of each thing that a resample, (G,), has lost: its clusters may all be in rarer things' strata."""
    if len(things) == 0:
        return
    has = np.bincount(things, weights=counts[members])
    for thing in np.flatnonzero(has == 0):
        counts[random.choice(members[things == thing])] += 1
