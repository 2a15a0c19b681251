"""Telling scenes apart by looks alone: the drivers, rooms or cameras that images show.

N images, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from kagglekit.base.arrays import Labels
from kagglekit.base.shortlists import Wide
from kagglekit.images.decoding import Pixels

_SMALL = (12, 9)
"""Width and height at which a scene is still recognised, but hardly what happens in it."""
_CLEAR = 0.2
"""Least silhouette of scenes; below, all images count as one scene."""
_AS_CLEAR = 0.7
"""Share of the best silhouette that more scenes must reach: two that are alike have less, parts of one far less."""
_VARIED = 0.5
"""Share of the effective number of classes that each scene must show. What happens makes clusters too, of few classes:
their images tell nothing of the classes that a scene lacks."""
_LOOKED_AT = 1500
"""Images from which the number of scenes is chosen."""


def tell_apart(images: Iterable[Pixels], shown: Labels, most: int, seed: int = 0) -> Labels:
    """Return the number of each image's scene, (N,), of at most `most` scenes; no labels are used.

    Images (H, W, 3) are clustered by k-means of tiny copies. The number of clusters is the largest at which they are
    about as clear as they can be (by silhouette, Rousseeuw 1987), and each shows many of the classes: `shown` (N,) is
    what a model takes images for.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    tiny = [cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA).ravel() for image in images]
    if not tiny:
        return np.zeros(0, np.int64)
    rows = np.stack(tiny).astype(np.float32) / 255  # (N, 9 * 12 * 3)
    places = np.random.default_rng(seed).permutation(len(rows))[:_LOOKED_AT]
    some, seen = rows[places], shown[places]
    different = len(np.unique(some, axis=0))
    found = []
    with threadpool_limits(1):  # the same sums on any machine
        for count in range(2, min(most, different - 1) + 1):
            clusters = KMeans(count, n_init=3, random_state=seed).fit(some)
            if _varied(clusters.labels_, seen):
                found.append((float(silhouette_score(some, clusters.labels_)), clusters))
        least = max(_CLEAR, _AS_CLEAR * max((clear for clear, _ in found), default=0.0))
        chosen = [clusters for clear, clusters in found if clear > least]
        return np.asarray(chosen[-1].predict(rows), np.int64) if chosen else np.zeros(len(rows), np.int64)


def _varied(scene: Labels, shown: Labels) -> bool:
    """Return whether every scene (N,) shows about as many classes, (N,), as all do."""
    least = _VARIED * _effective(shown)
    return all(_effective(shown[scene == number]) >= least for number in np.unique(scene))


def _effective(shown: Labels) -> float:
    """Return the effective number of classes, the exponential of their entropy."""
    share = np.unique(shown, return_counts=True)[1] / len(shown)
    return float(np.exp(-(share * np.log(share)).sum()))


def shown_by(predictions: Wide) -> Labels:
    """Return what images are taken for, (N,): the column with the largest prediction (N, C); of one, low to high."""
    if predictions.shape[1] > 1:
        return np.asarray(predictions.argmax(axis=1), np.int64)
    value = np.asarray(predictions)[:, 0]
    if not len(value):
        return np.zeros(0, np.int64)
    return np.searchsorted(np.quantile(value, [0.25, 0.5, 0.75]), value).astype(np.int64)
