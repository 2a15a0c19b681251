"""Telling scenes apart by looks alone: the drivers, rooms or cameras that images show.

N images, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from kagglekit.base.arrays import Labels
from kagglekit.images.decoding import Pixels

_SMALL = (12, 9)
"""Width and height at which a scene is still recognised, but hardly what happens in it."""
_CLEAR = 0.25
"""Least silhouette of scenes; below, all images count as one scene."""
_LOOKED_AT = 1500
"""Images from which the number of scenes is chosen."""


def tell_apart(images: Iterable[Pixels], most: int, seed: int = 0) -> Labels:
    """Return the number of each image's scene, (N,), of at most `most` scenes; no labels are used.

    Images (H, W, 3) are clustered by k-means of tiny copies; the number of clusters has the best silhouette
    (Rousseeuw 1987).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    tiny = [cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA).ravel() for image in images]
    if not tiny:
        return np.zeros(0, np.int64)
    rows = np.stack(tiny).astype(np.float32) / 255  # (N, 9 * 12 * 3)
    some = rows[np.random.default_rng(seed).permutation(len(rows))[:_LOOKED_AT]]
    different = len(np.unique(some, axis=0))
    best, chosen = _CLEAR, None
    with threadpool_limits(1):  # the same sums on any machine
        for count in range(2, min(most, different - 1) + 1):
            clusters = KMeans(count, n_init=3, random_state=seed).fit(some)
            clear = silhouette_score(some, clusters.labels_)
            if clear > best:
                best, chosen = clear, clusters
    return np.zeros(len(rows), np.int64) if chosen is None else chosen.predict(rows).astype(np.int64)
