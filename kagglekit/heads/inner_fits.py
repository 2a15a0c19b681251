"""Linear fits on inner folds of a head's training images, each judged on the images that it has not seen.

N images, F inner folds.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from kagglekit.base.arrays import Floats, Indices, Mask
from kagglekit.heads.linear import COLUMNS, LinearPaths
from kagglekit.heads.linear_rows import LinearRows
from kagglekit.heads.prediction import joined, predict_rows
from kagglekit.heads.training import Training


class Together:
    """Fits that share each pass over the rows of all images and their decomposition."""

    def __init__(self, training: Training, rows: LinearRows, indices: Indices, held: Mask) -> None:
        """`rows` are those of the images at `indices` (N,); `held` (F, N) says which of them each fit does not see."""
        self._training, self._indices, self._held = training, indices, held
        self._paths = LinearPaths(rows, training.loss(indices), ~held)

    def losses(self, strength: float) -> Floats:
        """Return the loss of each image that a fit has not seen, under that fit, (M,)."""
        count = len(self._held)
        self._paths.advance(range(count), [strength] * count)
        losses = np.empty(len(self._indices))
        together = max(1, COLUMNS // self._training.columns)
        for start in range(0, count, together):
            self._judge(range(start, min(start + together, count)), losses)
        return losses[self._held.any(axis=0)]

    def _judge(self, fits: range, losses: Floats) -> None:
        training = self._training
        for block, by_view in self._paths.predictions(fits):
            predictions = joined(training.activation, by_view, training.view_classes).transpose(1, 0, 2)
            for fit, rows in zip(fits, predictions, strict=True):
                here = self._held[fit, block]
                losses[block][here] = training.losses(self._indices[block][here], rows[here])


class Apart:
    """Fits with rows of their own, in fewer coordinates: faster if there are fewer rows than features."""

    def __init__(
        self, training: Training, indices: Indices, held: Mask, scratch: Path | None, stack: ExitStack
    ) -> None:
        """`held` (F, N) says which images at `indices` (N,) each fit does not see; `stack` closes the rows."""
        self._training, self._indices, self._held = training, indices, held
        self._paths = []
        for part in ~held:
            rows = LinearRows(training.rows, training.goals, indices[part], training.task, scratch)
            stack.enter_context(closing(rows))
            self._paths.append(LinearPaths(rows, training.loss(indices[part]), np.ones((1, part.sum()), bool)))

    def losses(self, strength: float) -> Floats:
        """Return the loss of each image that a fit has not seen, under that fit, (M,)."""
        training = self._training
        losses = np.empty(len(self._indices))
        for paths, held in zip(self._paths, self._held, strict=True):
            paths.advance([0], [strength])
            unseen = self._indices[held]
            predictions = predict_rows(paths.head(0, ""), training.rows, unseen, training.view_classes)
            losses[held] = training.losses(unseen, predictions)
        return losses[self._held.any(axis=0)]
