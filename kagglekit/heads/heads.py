"""Heads on frozen features: regularised regression, also of ordered grades, a small network, or nearest class means.

N images, V views, D features, C columns of the target. Views are extra training rows; at prediction each view's
predictions are mapped back to the unmirrored columns and averaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from kagglekit.base.arrays import Floats32, Indices, Mask
from kagglekit.base.errors import UserError
from kagglekit.data import folds
from kagglekit.heads import losses, mlp, nearest, strengths, units
from kagglekit.heads.inner_fits import Apart, Together
from kagglekit.heads.layers import Head
from kagglekit.heads.linear import LinearPaths
from kagglekit.heads.linear_rows import LinearRows
from kagglekit.heads.losses import Loss
from kagglekit.heads.prediction import predict
from kagglekit.heads.row_file import blocks, read_once
from kagglekit.heads.training import INNER_FOLDS, Training
from kagglekit.recipe import HeadSettings
from kagglekit.tasks.activations import SOFTMAX
from kagglekit.tasks.task import Task

FEW = 20
"""Training images per class below which `auto` tries class means beside the regression, however wide the features."""
NARROW = 2048
"""Most features of which `auto` tries them with more images too: their time grows with the cube of the width."""
MANY = 1000
"""With more classes `auto` tries no regression: its time grows with images times classes, to hours. Of more labels
`_SAMPLED` choose the regularisation of all."""
_SAMPLED = 64
_EPOCHS, _REGRESSION = re.compile(r"(\d+) epochs"), re.compile(r"(.*)C (\S+?)(?: beyond the grid)?")
"""What a head says was chosen: of a network, and of a regression, after the prefix of its loss."""


def check(task: Task, settings: HeadSettings) -> None:
    """Raise UserError if the settings name a head that can't predict this."""
    if settings.head == "ordinal" and not task.ordered:
        kind = task.target.kind
        raise UserError(f"head = 'ordinal' is for grades, and this competition predicts {kind}: use auto or logistic.")
    if settings.head == "nearest" and task.activation is not SOFTMAX:
        kind = task.target.kind
        raise UserError(
            f"head = 'nearest' compares classes, and this competition predicts {kind}: use logistic or mlp."
        )


def fit(training: Training, part: Mask, settings: HeadSettings, seed: int, scratch: Path | None = None) -> Head:
    """Fit the head that the settings name on a part (N,) of the images; the others are not read.

    `scratch` is a folder for temporary files.
    """
    indices, training = np.flatnonzero(part), training.of_part(part)
    training = replace(training, rows=read_once(training.rows, indices))
    if settings.head == "mlp":
        return _fit_mlp(training, indices, settings, seed)
    chooses = settings.head == "auto" and training.activation is SOFTMAX
    if settings.head == "nearest" or (chooses and training.columns > MANY):
        return nearest.fit(training, indices, seed)[0]
    kinds = losses.of_head(settings.head, training.task)
    means = chooses and (len(indices) < FEW * training.columns or training.rows.shape[2] <= NARROW)
    return _fit_best(training, indices, settings.regularisation_grid, seed, scratch, kinds=kinds, means=means)


def fit_like(
    head: Head, training: Training, part: Mask, settings: HeadSettings, *, seed: int, scratch: Path | None = None
) -> Head:
    """Fit a head with what was chosen for another on a part (N,) of the images; the others are not read.

    `scratch` is a folder for temporary files.
    """
    indices, training = np.flatnonzero(part), training.of_part(part)
    training = replace(training, rows=read_once(training.rows, indices))
    means = nearest.fit_like(head, training, indices)
    if means is not None:
        return means
    if (trained := _EPOCHS.fullmatch(head.chosen)) is not None:
        *_, last = _epochs(training, indices, settings, seed, int(trained[1]))
        return last
    regression = _REGRESSION.fullmatch(head.chosen)
    assert regression is not None, f"a head says what was chosen, not {head.chosen!r}"
    kinds = [kind for kind in losses.of_head("auto", training.task) if kind.prefix == regression[1]]
    return _fit_best(training, indices, (float(regression[2]),), seed, scratch, kinds=kinds)


def fit_linear(training: Training, part: Mask, grid: Sequence[float], seed: int, scratch: Path | None = None) -> Head:
    """Fit a linear head on a part (N,) of the images; choose its inverse regularisation strength from `grid`.

    `scratch` is a folder for temporary files.
    """
    kinds = losses.of_head("logistic", training.task)
    return _fit_best(training.of_part(part), np.flatnonzero(part), grid, seed, scratch, kinds=kinds)


def _fit_best(
    training: Training,
    indices: Indices,
    grid: Sequence[float],
    seed: int,
    scratch: Path | None,
    *,
    kinds: Sequence[type[Loss]],
    means: bool = False,
) -> Head:
    """Fit a regression with one of these losses, or class means, on the images at `indices` (N,).

    It is what predicts held-out ones of them best.
    """
    by_kind = [replace(training, kind=kind) for kind in kinds]
    with closing(LinearRows(training.rows, training.goals, indices, training.task, scratch)) as rows:
        if len(kinds) == 1 and len(grid) == 1 and not means:
            return _linear(by_kind[0], rows, indices, grid[0], grid)
        some = _some_labels(training, indices, seed)
        if some is not None:
            return _linear(by_kind[0], rows, indices, _strength(some, indices, grid, seed, scratch), grid)
        choices = [(*_choose(each, rows, indices, grid, seed), each) for each in by_kind]
        strength, loss, best = min(choices, key=lambda choice: choice[1])
        if means:
            head, loss_of_means = nearest.fit(training, indices, seed)
            if loss_of_means < loss:
                return head
        return _linear(best, rows, indices, strength, grid)


def _some_labels(training: Training, indices: Indices, seed: int) -> Training | None:
    """Return the same images with a sample of very many labels that images at `indices` (N,) have; else None."""
    if training.columns <= MANY or training.truth.ndim < 2:
        return None
    there = np.flatnonzero(training.truth[indices].sum(axis=0) >= INNER_FOLDS)
    if not len(there):  # all labels are too rare to tell
        return None
    random = np.random.default_rng(seed)
    return training.of_columns(random.choice(there, min(_SAMPLED, len(there)), replace=False).tolist())


def _strength(training: Training, indices: Indices, grid: Sequence[float], seed: int, scratch: Path | None) -> float:
    """Return the strength for the images at `indices` (N,)."""
    with closing(LinearRows(training.rows, training.goals, indices, training.task, scratch)) as rows:
        return _choose(training, rows, indices, grid, seed)[0]


def _linear(training: Training, rows: LinearRows, indices: Indices, strength: float, grid: Sequence[float]) -> Head:
    loss = training.loss(indices)
    whole = LinearPaths(rows, loss, np.ones((1, rows.shape[0]), bool))
    whole.advance([0], [strength])
    beyond = "" if min(grid) <= strength <= max(grid) else " beyond the grid"
    return whole.head(0, f"{loss.prefix}C {strength:g}{beyond}")


def _choose(
    training: Training, rows: LinearRows, indices: Indices, grid: Sequence[float], seed: int
) -> tuple[float, float]:
    """Return the strength for the images at `indices` (N,), whose rows are `rows`, and its loss on held-out ones."""
    inner = training.inner_parts(indices, seed)
    held = np.stack([inner == part for part in folds.scored(inner)])  # (F, N)
    clusters = training.clusters(indices)[held.any(axis=0)]
    if not rows.are_few:
        return strengths.choose(Together(training, rows, indices, held), sorted(grid), clusters)
    with ExitStack() as stack:
        return strengths.choose(Apart(training, indices, held, rows.scratch, stack), sorted(grid), clusters)


def _fit_mlp(training: Training, indices: Indices, settings: HeadSettings, seed: int) -> Head:
    """Choose the number of epochs on one inner fold, then train that long on all images."""
    held = training.inner_parts(indices, seed) == 0
    judged = indices[held]
    rows = training.rows[judged]
    errors = [
        float(training.losses(judged, predict(head, rows, training.view_classes)).mean())
        for head in _epochs(training, indices[~held], settings, seed, settings.mlp_epochs)
    ]
    *_, last = _epochs(training, indices, settings, seed, int(np.argmin(errors)) + 1)
    return last


def _epochs(training: Training, indices: Indices, settings: HeadSettings, seed: int, count: int) -> Iterator[Head]:
    """Train a network on the images at `indices` (N,) and yield the head after each epoch."""
    rows = training.rows[indices]
    views = rows.shape[1]
    every = [indices[block] for block in blocks(len(indices))]
    scale = units.of(training.task, (training.goals(some) for some in every))

    def goals(flat: Indices) -> Floats32:
        images, view = np.divmod(flat, views)
        return scale.standard(training.goals(indices[images])[np.arange(len(flat)), view])

    sums = sum(scale.standard(training.goals(some)).sum(axis=(0, 1), dtype=np.float64) for some in every)
    loss = training.loss(indices)
    bias, _ = loss.start(np.array([sums]), np.array([len(indices) * views], np.float64))
    network = mlp.Settings(
        activation=training.activation,
        columns=training.columns,
        width=settings.mlp_width,
        dropout=settings.mlp_dropout,
        seed=seed,
        bias=bias[0].astype(np.float32),
        huber=training.task.absolute,
        weights=loss.weights,
    )
    for head in mlp.epochs(rows.reshape(-1, rows.shape[2]), goals, network, count):
        yield scale.folded(head)
