"""Nearest class means by cosine similarity: for many classes with few images each.

Rows are turned into coordinates in which images of one class scatter alike in all directions, and scaled to length 1.
On leaves (99 classes, 5 images each) the log loss was 0.445, and 0.105 ± 0.027 less than that of the logistic head, on
the same folds in a third of the time.

N images, V views, D features, C classes; B images or rows in a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Indices, Labels
from kagglekit.data import folds
from kagglekit.heads.layers import Head, Linear, Unit
from kagglekit.heads.prediction import joined
from kagglekit.heads.row_file import blocks
from kagglekit.heads.training import Training
from kagglekit.tasks.activations import SOFTMAX

SHRINKAGES = (0.1, 0.3, 0.6, 1.0)
"""How far the scatter within classes is taken to be the same in all directions; 1: entirely."""
TEMPERATURES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
"""By what cosine similarities are divided before the softmax."""


def fit(training: Training, indices: Indices, seed: int) -> tuple[Head, float]:
    """Fit a head on the images at `indices` (N,); choose shrinkage and temperature on inner folds.

    Returns the head, and the mean loss of the images that inner fits did not see.
    """
    inner = training.inner_parts(indices, seed)
    losses = np.zeros((len(SHRINKAGES), len(TEMPERATURES)))
    for part in folds.scored(inner):
        fitted = _heads(training, indices[inner != part], SHRINKAGES)
        for number, head in enumerate(fitted):
            losses[number] += _losses(training, head, indices[inner == part])
    row, column = np.unravel_index(losses.argmin(), losses.shape)
    shrinkage, temperature = SHRINKAGES[row], TEMPERATURES[column]
    (head,) = _heads(training, indices, [shrinkage])
    judged = np.count_nonzero(inner != folds.TRAIN_ONLY)
    return _tempered(head, temperature, f"class means, shrinkage {shrinkage:g} temperature {temperature:g}"), float(
        losses.min() / judged
    )


def _tempered(head: Head, temperature: float, chosen: str) -> Head:
    *before, means, activation = head.layers
    assert isinstance(means, Linear)
    return Head((*before, Linear(weights=means.weights / np.float32(temperature), bias=means.bias), activation), chosen)


def _losses(training: Training, head: Head, indices: Indices) -> Floats:
    """Return the summed loss of the images at `indices` (N,) at each temperature."""
    losses = np.zeros(len(TEMPERATURES))
    for block in blocks(len(indices)):
        rows = training.rows[indices[block]]
        scores = head.scores(rows.reshape(-1, rows.shape[2])).astype(np.float64).reshape(*rows.shape[:2], -1)
        for number, temperature in enumerate(TEMPERATURES):
            by_view = SOFTMAX.predictions(scores / temperature)
            predictions = joined(SOFTMAX, by_view, training.view_classes)
            losses[number] += training.losses(indices[block], predictions).sum()
    return losses


def _heads(training: Training, indices: Indices, shrinkages: Sequence[float]) -> list[Head]:
    """Return a head for each shrinkage, with cosine similarities as scores."""
    centre, squares, axes = _scatter(training, indices)
    heads = []
    for shrinkage in shrinkages:
        widths = np.sqrt((1 - shrinkage) * squares + shrinkage * squares.mean())
        turn = (axes / widths).astype(np.float32)
        layers = (Linear(weights=turn, bias=(-centre @ turn).astype(np.float32)), Unit())
        means = _class_means(training, indices, Head((*layers, SOFTMAX), ""))
        length = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        last = Linear(weights=(means / length).T.astype(np.float32), bias=np.zeros(training.columns, np.float32))
        heads.append(Head((*layers, last, SOFTMAX), ""))
    return heads


def _scatter(training: Training, indices: Indices) -> tuple[Floats, Floats, Floats]:
    """Return the mean row (D,), the variances within classes along their axes (D,), and the axes (D, D) of raw rows.

    Features are first divided by their standard deviation.
    """
    from scipy.linalg import eigh

    features = training.rows.shape[2]
    gram, sums = np.zeros((features, features)), np.zeros((training.columns, features))
    counts = np.zeros(training.columns, np.int64)
    shift = training.rows[indices[:1]].reshape(-1, features).mean(axis=0)  # keeps the squares small
    for rows, labels in _flat(training, indices):
        shifted = rows - shift
        gram += shifted.T @ shifted
        np.add.at(sums, labels, shifted)
        counts += np.bincount(labels, minlength=training.columns)
    total = counts.sum()
    mean = sums.sum(axis=0) / total
    # a constant feature must not cause a division by zero
    scale = np.sqrt(np.maximum(gram.diagonal() / total - mean**2, 1e-12))
    between = (sums / np.maximum(counts, 1)[:, None]).T @ sums
    within = (gram - between) / total / np.outer(scale, scale)
    squares, axes = eigh(within.astype(np.float32), driver="evd", overwrite_a=True, check_finite=False)
    return mean + shift, np.maximum(squares.astype(np.float64), 1e-12), axes / scale[:, None]


def _class_means(training: Training, indices: Indices, turn: Head) -> Floats:
    """Return the sum of the turned rows of each class, (C, D)."""
    sums = np.zeros((training.columns, training.rows.shape[2]))
    for rows, labels in _flat(training, indices):
        np.add.at(sums, labels, turn.scores(rows))
    return sums


def _flat(training: Training, indices: Indices) -> Iterator[tuple[Floats32, Labels]]:
    """Yield the views of the images at `indices` as rows (B, D), and the class that each shows, (B,), in blocks."""
    for block in blocks(len(indices)):
        rows = training.rows[indices[block]]
        yield rows.reshape(-1, rows.shape[2]), training.goals(indices[block]).argmax(axis=2).reshape(-1)
