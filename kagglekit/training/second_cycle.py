"""The second cycle of a fine-tuned model: it trains on, also towards what is guessed of images without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kagglekit.base.arrays import Indices
from kagglekit.tasks.task import Task
from kagglekit.training.phases import Phase

NAME = "pseudo-labels"
"""Name of the phase."""
EPOCHS = 2
_RATE = 0.3
"""Peak rate as a share of that of the phase before."""


def can_learn(task: Task) -> bool:
    """Return whether there is something to guess: one of not very many classes or grades."""
    return task.target.exclusive and not task.activation.keeps_lists(len(task.columns))


def phase(last: Phase) -> Phase:
    """Return the phase after the last one: the same layers, one cycle at a lower rate, which is not searched."""
    return replace(last, name=NAME, epochs=EPOCHS, rate=_RATE * last.rate, schedule="one-cycle", find=False)


def chosen(training: int, unseen: int, seed: int) -> Indices:
    """Return which of the `unseen` images are learnt: at most as many as have labels, so that epochs stay short."""
    return np.sort(np.random.default_rng(seed).permutation(unseen)[:training])


def longer(training: float, unseen: float) -> float:
    """Return how many times as long an epoch takes as one of the images with labels."""
    return 1 + min(unseen / training, 1.0)
