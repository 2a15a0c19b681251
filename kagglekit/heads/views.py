"""From the predictions of each view of an image to those of the image. N images, V views, C columns of the target."""

from __future__ import annotations

import numpy as np

from kagglekit.base.arrays import Floats
from kagglekit.tasks.activations import Activation

ViewClasses = tuple[tuple[int, ...], ...]
"""For each view, the column that shows in it as column c, (V, C)."""


def joined(activation: Activation, views: Floats, view_classes: ViewClasses) -> Floats:
    """Return the predictions of the mean score over views, in the plain view's columns: (N, V, …, C) -> (N, …, C).

    For probabilities it is the geometric mean: on dogs and cats its loss was 2% below the arithmetic mean's, in each
    of four splits.
    """
    # column c appears as view_classes[v][c] in view v: read its prediction there
    back = np.stack([views[:, view][..., list(classes)] for view, classes in enumerate(view_classes)], axis=1)
    return activation.mean(back, axis=1)
