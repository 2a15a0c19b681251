"""The predictions that every method returns.

N: scored images, M: test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from kagglekit.base.arrays import Floats, Labels
from kagglekit.base.shortlists import Wide


@dataclass(frozen=True)
class Candidate:
    """Other probabilities of the same rows. They are used only if they prove better out-of-fold."""

    name: str
    oof: Wide
    """Out-of-fold probabilities of the scored training images, (N, C)."""
    test: Wide
    """Probabilities of the test images, (M, C)."""
    alone: bool = False
    """Whether the prediction of an image is deterministic and needs no other images: only then can it be exported."""
    note: str = ""
    """What else is to be known of it, in a word."""
    changes: str | None = None
    """Name of the candidate that it changes, empty for the predictions without any: it is tried only on that. None: it
    is tried in any case."""
    recalibrates: bool = False
    """Whether it changes how sure predictions are, so that both are compared with their best temperatures."""


@dataclass(frozen=True)
class Predictions:
    """Probabilities by id, before finishing."""

    train: pd.DataFrame
    """The readable training images, with `fold`."""
    oof: Wide
    """Out-of-fold probabilities of the scored training images, (N, C)."""
    test: Wide
    """Probabilities of the rows of `Tables.requested`, (M, C); NaN for unreadable images."""
    prior: Floats
    """Share of each class in the training images, (C,): the prediction for unreadable images."""
    candidates: tuple[Candidate, ...] = ()
    """Alternatives, such as test-time augmentation; each is compared with the best so far."""
    scenes: Callable[[], tuple[Labels, Labels]] | None = None
    """Returns scenes: of scored training images, told apart within a fold, (N,), and of test images, (M,)."""
    name: str = "predictions"
    """What the predictions without alternatives are called."""
    note: str = ""
    """What else is to be known of these, in a word."""
