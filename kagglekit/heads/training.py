"""What heads learn from. N images, V views, D features, C columns of the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Floats32, Indices, Labels, Mask
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.heads import losses
from kagglekit.heads.losses import Loss
from kagglekit.heads.row_file import Rows
from kagglekit.tasks.activations import Activation
from kagglekit.tasks.task import Strata, Task, Truth

INNER_FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training images. Views are extra rows, with the truth that they show."""

    task: Task
    """What is predicted."""
    rows: Rows
    """Features, (N, V, D)."""
    truth: Truth
    """What is known of each image, (N,) or (N, C)."""
    groups: NDArray[np.object_] | None
    """Group of each image, (N,), or None."""
    view_classes: tuple[tuple[int, ...], ...]
    """For each view, the column that shows in it as column c, (V, C)."""
    balance: float = 0.0
    """How much more rare columns count, from 0 to 1."""
    guesses: Floats32 | None = None
    """Probabilities that linear heads learn in place of the truth, (N, C); NaN for images whose truth is known."""
    kind: type[Loss] | None = None
    """The loss of linear heads; None is the usual one of the final activation."""

    def of_part(self, part: Mask) -> Training:
        """Return the same images with the task as a part of them, (N,), knows it."""
        return replace(self, task=self.task.learnt_from(self.truth, part))

    def of_columns(self, columns: Sequence[int]) -> Training | None:
        """Return the same images with some of the columns, and those that they become in other views.

        None if these columns are not independent of the others.
        """
        own = sorted({classes[column] for classes in self.view_classes for column in columns} | set(columns))
        task = self.task.of_columns(own)
        if task is None:
            return None
        places = {column: place for place, column in enumerate(own)}
        seen = tuple(tuple(places[classes[column]] for column in own) for classes in self.view_classes)
        return replace(self, task=task, truth=self.truth[:, own], view_classes=seen)

    @property
    def activation(self) -> Activation:
        """The final activation of heads."""
        return self.task.activation

    @property
    def columns(self) -> int:
        """Number of columns, C."""
        return len(self.view_classes[0])

    def goals(self, indices: Indices) -> Floats32:
        """Return what each view of the images at `indices` (N,) should give, (N, V, C)."""
        truth = self.truth[indices]
        found = np.stack([self.task.goals(self.task.mirrored(truth, columns)) for columns in self.view_classes], axis=1)
        if self.guesses is not None:
            own = self.guesses[indices]
            guessed = np.flatnonzero(~np.isnan(own[:, 0]))
            for view, columns in enumerate(self.view_classes):
                found[guessed[:, None], view, np.asarray(columns)] = own[guessed]
        return found

    def shown(self, indices: Indices) -> Labels:
        """Return the class that each view of the images at `indices` (N,) shows, (N, V), of one of several classes."""
        truth = self.truth[indices]
        return np.stack([self.task.mirrored(truth, columns) for columns in self.view_classes], axis=1)

    def loss(self, indices: Indices) -> Loss:
        """Return the loss of linear heads that learn from the images at `indices` (N,)."""
        kind = self.kind or losses.usual(self.task)
        return kind(self.task.weights(self.truth[indices], self.balance))

    def losses(self, indices: Indices, predictions: Wide) -> Floats:
        """Return the proper loss of each image at `indices` (N,), (N,)."""
        return self.task.losses(self.truth[indices], predictions)

    def clusters(self, indices: Indices) -> Labels:
        """Return the cluster of each image, (N,): its group, or the image itself if there are no groups."""
        if self.groups is None or len(np.unique(self.groups[indices])) < 2:
            return np.arange(len(indices))
        return np.unique(self.groups[indices], return_inverse=True)[1].astype(np.int64)

    def inner_parts(self, indices: Indices, seed: int) -> folds.Fold:
        """Return the inner fold of each image at `indices`, (N,), for choices that must not see other images.

        Without groups, the only image of a class is TRAIN_ONLY, as outside: a fit that judged it would not have seen
        its class.
        """
        strata = self.task.strata(self.truth[indices])
        return _inner_parts(strata, None if self.groups is None else self.groups[indices], seed)


def _inner_parts(strata: Strata, groups: NDArray[np.object_] | None, seed: int) -> folds.Fold:
    if groups is not None and len(np.unique(groups)) >= 2:
        count = min(INNER_FOLDS, len(np.unique(groups)))
        if strata.ndim == 1 and np.unique(strata, return_counts=True)[1].max() < count:  # too few to stratify
            strata = np.zeros(len(strata), np.int64)
        return folds.split(strata, groups, count, seed)
    most = min(INNER_FOLDS, len(strata))
    if strata.ndim == 2:
        return folds.split(strata, None, most, seed)
    sizes = np.unique(strata, return_counts=True)[1]
    if (sizes > 1).sum() < 2:  # too few to stratify
        return folds.split(np.zeros(len(strata), np.int64), None, most, seed)
    return folds.split(strata, None, min(INNER_FOLDS, int(sizes[sizes > 1].min())), seed)
