"""Standard errors of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats, Labels


def clustered_error(rows: Floats, clusters: Labels) -> float:
    """Return the standard error of the mean of `rows` (N,), whose values correlate within `clusters` (N,).

    It is NaN for a single cluster.

    Source: the cluster-robust variance of a mean, with the G / (G - 1) correction for G clusters.
    """
    import numpy as np

    sums = np.bincount(clusters, weights=rows - rows.mean())
    sums = sums[np.bincount(clusters) > 0]
    count = len(sums)
    if count < 2:
        return float("nan")
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(rows))
