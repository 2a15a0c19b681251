"""Units in which numbers lie around 0 with a spread of 1, so that one learning rate and one grid fit all.

Probabilities stay as they are. C columns of the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kagglekit.base.arrays import Floats, Floats32
from kagglekit.heads.layers import Head, Linear
from kagglekit.tasks.activations import IDENTITY
from kagglekit.tasks.task import Task


class Units:
    """The units of the goals themselves."""

    def standard(self, goals: Floats32) -> Floats32:
        """Return goals (…, C) in these units."""
        return goals

    def restored(self, scores: Floats) -> Floats:
        """Return scores (…, C) in the units of the goals."""
        return scores

    def folded(self, head: Head) -> Head:
        """Return a head that gives scores in these units with its last linear layer in the units of the goals."""
        return head


@dataclass(frozen=True, kw_only=True)
class _Standard(Units):
    """Units of a mean and a spread of each column."""

    mean: Floats32
    scale: Floats32

    def standard(self, goals: Floats32) -> Floats32:
        return (goals - self.mean) / self.scale

    def restored(self, scores: Floats) -> Floats:
        return scores * self.scale + self.mean

    def folded(self, head: Head) -> Head:
        *before, last, activation = head.layers
        assert isinstance(last, Linear)
        linear = Linear(weights=last.weights * self.scale, bias=last.bias * self.scale + self.mean)
        return replace(head, layers=(*before, linear, activation))


def of(task: Task, goals: Iterator[Floats32]) -> Units:
    """Return the units of all goals, which come in blocks (…, C); they are only read if the task needs it."""
    if task.activation is not IDENTITY:
        return Units()
    every = np.concatenate([block.reshape(-1, block.shape[-1]) for block in goals]).astype(np.float64)
    mean, scale = task.unit(every)
    return _Standard(mean=mean.astype(np.float32), scale=scale.astype(np.float32))
