"""Heads on frozen features: regularised multinomial logistic regression, or a small network.

N images, V views, D features, C classes, F fits on inner folds. Views are extra training rows; at prediction
each view's probabilities are mapped back to the unmirrored classes and averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Floats32, Indices, Labels, Mask, softmax
from kagglekit.data import folds
from kagglekit.heads import mlp
from kagglekit.heads.layers import Head
from kagglekit.heads.logistic import COLUMNS, LogisticPaths, LogisticRows
from kagglekit.heads.row_file import Rows, read
from kagglekit.metrics import clustered_error, log_loss_rows
from kagglekit.recipe import HeadSettings

INNER_FOLDS = 3
PATIENCE = 2


@dataclass(frozen=True)
class Training:
    """Training images: their rows (N, V, D), labels (N,), groups (N,) or None."""

    rows: Rows
    labels: Labels
    groups: NDArray[np.object_] | None
    view_classes: tuple[tuple[int, ...], ...]
    """For each view, the class that an image of class c shows in it, (V, C)."""

    def shown(self, indices: Indices) -> Labels:
        """Return the class that each view of the images at `indices` (N,) shows, (N, V)."""
        return np.array(self.view_classes)[:, self.labels[indices]].T

    def flat(self, indices: Indices) -> tuple[Floats32, Labels]:
        """Return each view of the images at `indices` as a separate row, in memory, with the class that it shows."""
        rows = self.rows[indices]
        return rows.reshape(-1, rows.shape[2]), self.shown(indices).reshape(-1)

    def clusters(self, indices: Indices) -> Labels:
        """Return the cluster of each image, (N,): its group, or the image itself if there are no groups."""
        if self.groups is None or len(np.unique(self.groups[indices])) < 2:
            return np.arange(len(indices))
        return np.unique(self.groups[indices], return_inverse=True)[1].astype(np.int64)

    def inner_parts(self, indices: Indices, seed: int) -> folds.Fold:
        """Return the inner fold of each image at `indices`, (N,), for choices that must not see other images."""
        return _inner_parts(self.labels[indices], None if self.groups is None else self.groups[indices], seed)


def _inner_parts(labels: Labels, groups: NDArray[np.object_] | None, seed: int) -> folds.Fold:
    if groups is not None and len(np.unique(groups)) >= 2:
        return folds.split(labels, groups, min(INNER_FOLDS, len(np.unique(groups))), seed)
    rarest = int(np.unique(labels, return_counts=True)[1].min())
    if rarest < 2:  # too few to stratify by class
        return folds.split(np.zeros_like(labels), None, INNER_FOLDS, seed)
    return folds.split(labels, None, min(INNER_FOLDS, rarest), seed)


def fit(training: Training, part: Mask, settings: HeadSettings, seed: int, scratch: Path | None = None) -> Head:
    """Fit the head that the settings name on a part (N,) of the images; the others are not read.

    `scratch` is a folder for temporary files.
    """
    if settings.head == "mlp":
        return _fit_mlp(training, np.flatnonzero(part), settings, seed)
    return fit_logistic(training, part, settings.regularisation_grid, seed, scratch)


def fit_logistic(training: Training, part: Mask, grid: Sequence[float], seed: int, scratch: Path | None = None) -> Head:
    """Fit a logistic head on a part (N,) of the images; choose its inverse regularisation strength from `grid`.

    `scratch` is a folder for temporary files.
    """
    indices = np.flatnonzero(part)
    classes = len(training.view_classes[0])
    rows = LogisticRows(training.rows, indices, training.shown(indices), classes, scratch)
    try:
        grid = sorted(grid)
        strength = grid[0] if len(grid) == 1 else _choose(training, rows, indices, grid, seed)
        whole = LogisticPaths(rows, np.ones((1, len(indices)), bool))
        whole.advance([0], [strength])
        return whole.head(0, f"C {strength:g}")
    finally:
        rows.close()


def predict(head: Head, rows: Floats32, view_classes: tuple[tuple[int, ...], ...]) -> Floats:
    """Return probabilities from all views, mapped back to the plain view's classes: (N, V, D) -> (N, C).

    Views are combined by their geometric mean: on dogs and cats its loss was 2% below the arithmetic mean's, in
    each of four splits.
    """
    count, views, width = rows.shape
    flat = head.probabilities(rows.reshape(-1, width)).reshape(count, views, -1)  # (N, V, C)
    return joined(flat, view_classes)


def joined(views: Floats, view_classes: tuple[tuple[int, ...], ...]) -> Floats:
    """Return the geometric mean over views of the plain view's class probabilities: (N, V, …, C) -> (N, …, C)."""
    # class c appears as view_classes[v][c] in view v: read its probability there
    back = np.stack([views[:, view][..., list(classes)] for view, classes in enumerate(view_classes)], axis=1)
    return softmax(np.log(np.clip(back, 1e-15, None)).mean(axis=1))


def predict_rows(head: Head, rows: Rows, indices: Indices, view_classes: tuple[tuple[int, ...], ...]) -> Floats:
    """Predict the images at `indices` (N,) of rows that need not be in memory: (N, C)."""
    if not len(indices):
        return np.empty((0, len(view_classes[0])))
    return np.concatenate([predict(head, block, view_classes) for block in read(rows, indices)])


def _choose(training: Training, rows: LogisticRows, indices: Indices, grid: Sequence[float], seed: int) -> float:
    """Return the strongest regularisation whose log loss is within one standard error of the best one's.

    A weaker one that wins by chance costs more than it gains: on dogs and cats this rule gave 0.0284, the plain
    minimum 0.0293 (mean of four splits). Strengths are tried from strong to weak regularisation, until `PATIENCE`
    in a row have not improved the loss: the weakest take the longest.
    """
    inner = training.inner_parts(indices, seed)
    held = np.stack([inner == part for part in np.unique(inner)])  # (F, N)
    paths = LogisticPaths(rows, ~held)
    losses: list[Floats] = []
    best = 0
    for strength in grid:
        paths.advance(range(len(held)), [strength] * len(held))
        losses.append(_held_out_losses(training, paths, indices, held))
        if losses[-1].mean() < losses[best].mean():
            best = len(losses) - 1
        if len(losses) - 1 - best >= PATIENCE:
            break
    clusters = training.clusters(indices)
    excesses = [rows_ - losses[best] for rows_ in losses[:best]]
    fine = [excess.mean() <= clustered_error(excess, clusters) for excess in excesses]
    return grid[[*fine, True].index(True)]


def _held_out_losses(training: Training, paths: LogisticPaths, indices: Indices, held: Mask) -> Floats:
    """Return each image's log loss under the fit that has not seen it, (N,), which `held` (F, N) marks."""
    losses = np.empty(len(indices))
    labels = training.labels[indices]
    together = max(1, COLUMNS // len(training.view_classes[0]))
    for start in range(0, len(held), together):
        some = range(start, min(start + together, len(held)))
        for block, probabilities in paths.probabilities(some):
            for fit_, rows in zip(some, joined(probabilities, training.view_classes).transpose(1, 0, 2), strict=True):
                here = held[fit_, block]
                losses[block][here] = log_loss_rows(labels[block][here], rows[here])
    return losses


def _fit_mlp(training: Training, indices: Indices, settings: HeadSettings, seed: int) -> Head:
    """Choose the number of epochs on one inner fold, then train that long on all rows."""
    held = training.inner_parts(indices, seed) == 0
    rows, labels = training.rows[indices[held]], training.labels[indices[held]]
    classes = len(training.view_classes[0])
    network = mlp.Settings(classes, settings.mlp_width, settings.mlp_dropout, seed)
    losses = [
        float(log_loss_rows(labels, predict(head, rows, training.view_classes)).mean())
        for head in mlp.epochs(*training.flat(indices[~held]), network, settings.mlp_epochs)
    ]
    best = int(np.argmin(losses)) + 1
    *_, last = mlp.epochs(*training.flat(indices), network, best)
    return last
