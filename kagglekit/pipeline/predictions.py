"""What every method returns: probabilities by id."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kagglekit.base.arrays import Floats


@dataclass(frozen=True)
class Candidate:
    """Other probabilities of the same rows, which must prove themselves out-of-fold to be taken."""

    name: str
    oof: Floats
    """(N, C)"""
    test: Floats
    """(M, C)"""
    alone: bool = False
    """Whether an image is predicted without others and without chance, so that an exported file can do it."""


@dataclass(frozen=True)
class Predictions:
    """Probabilities by id, before finishing."""

    train: pd.DataFrame
    """The readable training images, with `fold`."""
    oof: Floats
    """Out-of-fold probabilities of the scored training images, (N, C)."""
    test: Floats
    """Probabilities of the rows of `Tables.asked`, (M, C); NaN where an image could not be read."""
    prior: Floats
    """Class shares in the training images, (C,): the prediction for images that could not be read."""
    candidates: tuple[Candidate, ...] = ()
    """Such as test-time augmentation; each is judged against what was kept before."""
