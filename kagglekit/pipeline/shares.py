"""Class shares: predictions of many images together are brought to the shares that classes have in training.

On a new driver or camera a model takes some classes for others, image after image. Where each of them has the classes
in known shares, that is undone. The step looks at all images that are predicted (it is transductive); it is judged on
held-out folds, each in the place of the test set.

N: images, M: test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kagglekit.base import shortlists
from kagglekit.base.arrays import Floats, Labels
from kagglekit.base.shortlists import Shortlists, Wide
from kagglekit.pipeline.gates import Gate, Judgement, Scored
from kagglekit.pipeline.predictions import Predictions
from kagglekit.runs.record import TRANSDUCTIVE
from kagglekit.tasks.task import Task, Truth

STEP = "class shares"
_LEAST_PER_CLASS = 10
"""Images per class that a scene needs to be matched alone; scenes with fewer are matched together."""
_ROUNDS = 200
_CLOSE = 1e-4
"""Largest error of a share, relative to it, at which rounds end."""
_FLOOR = 1e-9
"""Least probability that rounds begin with, so that every class can be raised."""


def matched(probabilities: Floats, shares: Floats) -> Floats:
    """Return probabilities (N, C) whose means over the images are `shares` (C,), each row still adding up to 1.

    Classes are scaled, then rows, by turns, until both fit (Sinkhorn and Knopp 1967). Of all such probabilities these
    differ least from the given ones, by Kullback-Leibler divergence.
    """
    scale = np.ones(len(shares))
    start = np.maximum(probabilities, _FLOOR)
    for _ in range(_ROUNDS):
        rows = start * scale
        rows /= rows.sum(axis=1, keepdims=True)
        ratio = rows.mean(axis=0) / shares
        if np.abs(ratio - 1).max() < _CLOSE:
            break
        scale /= ratio
        scale /= scale.sum()
    rows = start * scale
    found: Floats = rows / rows.sum(axis=1, keepdims=True)
    return found


def brought_to(probabilities: Floats, task: Task, truth: Truth) -> Floats:
    """Return probabilities (N, C) with the shares of some truth; fewer images than classes are left as they are."""
    if len(probabilities) < probabilities.shape[1]:
        return probabilities
    return matched(probabilities, of_training(task, truth))


def has_shares(task: Task, predictions: Predictions) -> bool:
    """Return whether there are shares to match: of classes or grades, and not of so many that lists are short."""
    return task.target.exclusive and not isinstance(predictions.oof, Shortlists)


def match(
    scored: Scored, test: Wide, predictions: Predictions, task: Task, judge: Callable[[Wide, Wide], Judgement]
) -> tuple[Scored, Wide, Gate]:
    """Match the class shares of each fold, and of the test set, in each of its scenes if scenes are told apart.

    A fold is matched to the shares of the training images outside it. Returns the rows and the predictions of the test
    set (M, C), with the step if it is kept, and its gate. `judge` compares predictions before and after.
    """
    known, truth = predictions.train["fold"].to_numpy(), task.truth(predictions.train["label"])
    one = np.zeros(len(scored.fold), np.int64), np.zeros(len(test), np.int64)
    scenes, test_scenes = predictions.scenes() if predictions.scenes else one
    oof = np.array(scored.probabilities, dtype=np.float64)
    for part in np.unique(scored.fold).tolist():
        here, outside = scored.fold == part, truth[known != part]
        oof[here] = _by_scene(oof[here], scenes[here], of_training(task, outside if len(outside) else truth))
    judgement = judge(scored.probabilities, oof)
    gate = Gate(STEP, None, judgement, note=TRANSDUCTIVE)
    if not judgement.kept:
        return scored, test, gate
    after = np.array(test, dtype=np.float64)
    read = ~shortlists.unknown(after)
    after[read] = _by_scene(after[read], test_scenes[read], of_training(task, truth))
    return replace(scored, probabilities=oof), after, gate


def of_training(task: Task, truth: Truth) -> Floats:
    """Return the share of each class, (C,), of which none is 0: one more image of each is assumed."""
    counted = task.prior(truth) * len(truth) + 1
    found: Floats = counted / counted.sum()
    return found


def _by_scene(rows: Floats, scenes: Labels, shares: Floats) -> Floats:
    """Return rows (N, C) matched in each scene that has enough images; those of the others together.

    Fewer images than classes have no shares, and are left as they are.
    """
    if not len(rows):
        return rows
    numbers, place, counts = np.unique(scenes, return_inverse=True, return_counts=True)
    small = counts < _LEAST_PER_CLASS * len(shares)
    belongs = np.where(small, -1, numbers)[place]
    after = np.empty_like(rows)
    for number in np.unique(belongs).tolist():
        some = rows[belongs == number]
        after[belongs == number] = matched(some, shares) if len(some) >= len(shares) else some
    return after
