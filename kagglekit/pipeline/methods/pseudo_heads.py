"""Pseudo-labels: heads on frozen features learn anew, also from what the heads before them predict of test images.

No image is guessed by a head that has seen its label: those of a fold are, beside the test images, by the heads that
were fitted without it. So a fold stands in the place of the test set: new heads are judged on images of which they have
learnt their own guesses, as they have of the test images in the end. Judged on others, labels that were more than 80%
sure seemed to cost 0.007 of log loss on plant seedlings, and cost 0.046 on hidden images, in the mean of three seeds.

Linear heads learn probabilities, which need no threshold and let no class grow that is easily guessed; class means and
networks learn the likeliest class. Where a run is told that the test set has the class shares of training, guesses are
brought to these first. On hidden images of other shares that cost 0.27 of log loss on plant seedlings (refused by the
folds) and 0.008 on aptos (not refused in two seeds of three).

N: training images, R: readable test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from kagglekit.base import parallel
from kagglekit.base.arrays import Floats, Floats32, Mask
from kagglekit.base.console import Console
from kagglekit.data import folds
from kagglekit.heads import heads, prediction
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.pipeline import shares
from kagglekit.pipeline.methods.pseudo_labels import STEP
from kagglekit.recipe import HeadSettings
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Truth

TEST = -2
"""Stands for the fold of the test images."""
ROUNDS = 2
"""How often heads are fitted anew; a round is tried only on one that was kept."""

Fitted = Mapping[tuple[str, int], Head]
"""(member, fold that the head has not seen) -> head; that for `TEST` has seen all labels."""


def rounds_kept(run: Run) -> int:
    """Return how many rounds of pseudo-labels a finished run has kept."""
    return sum(step.kept and step.step.startswith(STEP) for step in run.finishing)


@dataclass(frozen=True, kw_only=True)
class Images:
    """The training images, then the readable test images, as the heads of each member see them."""

    seen: Mapping[str, Training]
    """Name of a member -> its rows, and the truth, (N + R,); that of test images is not read."""
    fold: folds.Fold
    """Fold of each image, (N + R,), `TEST` for test images."""
    same_shares: bool = False
    """Whether test images have the class shares of training."""

    @property
    def parts(self) -> list[int]:
        """The folds that are scored, and `TEST`."""
        return [part for part in np.unique(self.fold).tolist() if part != folds.TRAIN_ONLY]

    def predicted(self, fitted: Fitted, member: str, part: int, which: Mask) -> Floats:
        """Return what a member's head of a part predicts of some images, a mask (N + R,): (B, C)."""
        own = self.seen[member]
        return np.asarray(
            prediction.predict_rows(fitted[member, part], own.rows, np.flatnonzero(which), own.view_classes)
        )

    def oof(self, fitted: Fitted, member: str) -> Floats:
        """Return what a member predicts of the scored images, each by a head that has not seen its label, (N, C)."""
        scored = self.fold[(self.fold != TEST) & (self.fold != folds.TRAIN_ONLY)]
        found = np.empty((len(scored), len(self.seen[member].task.columns)))
        for part in np.unique(scored).tolist():
            found[scored == part] = self.predicted(fitted, member, part, self.fold == part)
        return found

    def test(self, fitted: Fitted, member: str) -> Floats:
        """Return what a member predicts of the test images, (R, C)."""
        return self.predicted(fitted, member, TEST, self.fold == TEST)

    def labelled(self, fitted: Fitted, part: int) -> tuple[Truth, Floats32]:
        """Return what the heads of a part guess together: the likeliest class (N + R,), and probabilities (N + R, C).

        Of images whose labels these heads have seen: the truth, and NaN.
        """
        unseen = (self.fold == part) | (self.fold == TEST)
        guessed = np.mean([self.predicted(fitted, member, part, unseen) for member in self.seen], axis=0)
        some = next(iter(self.seen.values()))
        if self.same_shares:
            guessed = shares.brought_to(guessed, some.task, some.truth[~unseen])
        truth = some.truth.copy()
        truth[unseen] = guessed.argmax(axis=1)
        guesses = np.full((len(truth), guessed.shape[1]), np.nan, np.float32)
        guesses[unseen] = guessed
        return truth, guesses


def fit_again(
    images: Images, fitted: Fitted, settings: HeadSettings, *, seed: int, threads: int, scratch: Path, console: Console
) -> dict[tuple[str, int], Head]:
    """Return heads fitted anew, on labels and pseudo-labels, with what was chosen for the heads before them.

    `scratch` is a folder for temporary files.
    """
    parts = images.parts
    with console.progress(STEP, len(fitted), "heads") as advance, threadpool_limits(1, user_api="blas"):
        labels = {part: images.labelled(fitted, part) for part in parts}

        def fit(name: tuple[str, int]) -> Head:
            member, part = name
            truth, guesses = labels[part]
            training = replace(images.seen[member], truth=truth, guesses=guesses)
            every = np.ones(len(truth), bool)
            return heads.fit_like(fitted[name], training, every, settings, seed=seed, scratch=scratch)

        # the mlp draws from torch's global random generator
        work = parallel.overlapped(fitted, fit, 1 if settings.head == "mlp" else threads)
        found = {}
        for name, head in zip(fitted, work, strict=True):
            found[name] = head
            advance(1)
    return found
