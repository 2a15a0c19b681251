"""Linear regressions on wide, correlated features, logistic or ridge: several at once, along a regularisation grid.

N images, V views, D features, C columns of the target; K fits, each on a part of the same images; R, the rank of their
rows; S scores of a row and W vectors of weights, one for each score or one for all. A fit with strength C minimises
C * sum(loss) + |w|^2 / 2 on features that are standardised on its own part; the bias is not regularised. Plain L-BFGS
needs hundreds of steps on features of a convolutional network, which are strongly correlated. Here it works in
coordinates in which an estimate of the Hessian (X'X times the curvature of the loss, for few columns an upper bound) is
the identity, and needs about twenty. All fits step together and share each pass over the rows on disk, and one
decomposition of their common rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Mask
from kagglekit.heads.layers import Head, Standardise
from kagglekit.heads.linear_rows import LinearRows
from kagglekit.heads.losses import MANY_COLUMNS, Loss
from kagglekit.heads.minimise import Minimiser

_STEPS = 200
_TOLERANCE = 1e-6
"""Change of the mean objective at which a fit has converged."""
COLUMNS = 512
"""Maximum number of scores per row computed at once: further fits take turns, to save memory with many columns."""


class LinearPaths:
    """Fits on parts of the same rows, each along the regularisation grid with warm starts."""

    def __init__(self, rows: LinearRows, loss: Loss, parts: Mask) -> None:
        """`parts` (K, N) says which images each fit learns from."""
        self._rows, self._loss = rows, loss
        self._parts = parts
        self._counts = parts.sum(axis=1) * rows.shape[1]
        self._share = parts.mean(axis=1)
        # The spread of a feature in a part differs a little from that in all rows, and the penalty is on weights at the
        # part's own scale. At the scale of all rows it was too weak: inner folds saw the spread of held-out drivers.
        self._penalty = None if parts.all() else rows.spreads(parts) ** 2  # (K, D)
        self._sums = rows.sums(parts)  # (K, C)
        self._bias, self._fixed = loss.start(self._sums, self._counts)  # (K, S)
        width = 1 if loss.shares_weights else rows.columns
        self._weights = np.zeros((len(parts), rows.shape[2], width))  # (K, R, W), in principal coordinates

    def advance(self, fits: Sequence[int], strengths: Sequence[float]) -> None:
        """Fit each of `fits` at its inverse regularisation strength."""
        together = max(1, COLUMNS // self._rows.columns)
        for start in range(0, len(fits), together):
            self._advance(list(fits[start : start + together]), np.array(strengths[start : start + together]))

    def _advance(self, fits: list[int], strengths: Floats) -> None:
        bend = self._loss.curvature(self._rows.columns)
        width = self._weights.shape[2]
        curvature = strengths[:, None] * self._share[fits, None] * self._rows.curvature * bend  # (F, R)
        unit = 1 / np.sqrt(curvature + 1)[:, :, None]  # (F, D, 1)
        bias_unit = 1 / np.sqrt(strengths * self._counts[fits] * bend)[:, None]  # (F, 1)
        starts = zip(self._weights[fits] / unit, self._bias[fits] / bias_unit, strict=True)
        searches = [Minimiser(np.concatenate([w.ravel(), b]), _TOLERANCE, _STEPS) for w, b in starts]
        place = self._weights[0].size  # of the bias
        going = list(range(len(fits)))
        while going:
            points = np.stack([searches[index].point for index in going])  # (G, R * W + S)
            weights = points[:, :place].reshape(len(going), -1, width) * unit[going]
            bias = points[:, place:] * bias_unit[going]
            values, by_weights, by_bias = self._objective(
                [fits[index] for index in going], strengths[going], weights, bias
            )
            slopes = (by_weights * unit[going]).reshape(len(going), -1)
            gradients = np.concatenate([slopes, by_bias * bias_unit[going]], axis=1)
            for number, index in enumerate(going):
                searches[index].tell(float(values[number]), gradients[number])
            going = [index for index in going if not searches[index].done]
        for index, fit in enumerate(fits):
            best = searches[index].best
            self._weights[fit] = best[:place].reshape(-1, width) * unit[index]
            self._bias[fit] = best[place:] * bias_unit[index]

    def _objective(
        self, fits: list[int], strengths: Floats, weights: Floats, bias: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return each fit's mean objective (F,), and its gradients: weights (F, R, W), bias (F, S)."""
        losses, by_weights, by_bias = self._losses(fits, weights, bias)
        pull = self._pull(fits, weights)
        scale = strengths * self._counts[fits]
        values = (strengths * losses + (pull * weights).sum(axis=(1, 2)) / 2) / scale
        by_weights = (strengths[:, None, None] * by_weights + pull) / scale[:, None, None]
        return values, by_weights, by_bias * (strengths / scale)[:, None]

    def _pull(self, fits: list[int], weights: Floats) -> Floats:
        """Return the gradient of the L2 penalty on the weights of standardised features, (F, R, W)."""
        if self._penalty is None:
            return weights
        count, rank, width = weights.shape
        standard = self._rows.axes @ _side_by_side(weights)  # (D, F * W)
        standard *= np.repeat(self._penalty[fits].T, width, axis=1).astype(np.float32)
        pulled = (self._rows.axes.T @ standard).astype(np.float64)
        return pulled.reshape(rank, count, width).transpose(1, 0, 2)

    def _losses(self, fits: list[int], weights: Floats, bias: Floats) -> tuple[Floats, Floats, Floats]:
        """Return each fit's summed loss (F,), and its gradients: weights (F, R, W), bias (F, S)."""
        # With few columns, one matrix product for all fits is fastest, though some fits do not use all of its rows.
        # With many columns, each fit has its own product.
        everyone = list(range(len(fits)))
        shares = [[index] for index in everyone] if self._rows.columns >= MANY_COLUMNS else [everyone]
        columns = [_side_by_side(weights[share]) for share in shares]
        by_weights = np.zeros(weights.shape)
        losses, by_bias = self._loss.of_bias(bias, self._sums[fits])
        for indices, block in self._rows.blocks():
            flat = block.reshape(-1, block.shape[2])
            goals = self._rows.goals(indices).reshape(len(flat), -1)
            used = np.repeat(self._parts[fits][:, indices], block.shape[1], axis=1)  # (F, B * V)
            for share, own in zip(shares, columns, strict=True):
                some = used[share].any(axis=0)
                rows = flat if some.all() else flat[some]
                loss, first, second = self._block_loss(rows, goals[some], used[share][:, some].T, own, bias[share])
                losses[share] += loss
                by_weights[share] += first.reshape(len(first), len(share), -1).transpose(1, 0, 2)
                by_bias[share] += second
        fixed = self._fixed[fits]
        if fixed.any():
            by_weights, by_bias = np.where(fixed[:, None], 0, by_weights), np.where(fixed, 0, by_bias)
        return losses, by_weights, by_bias

    def _block_loss(
        self, rows: Floats32, goals: Floats32, used: Mask, columns: Floats32, bias: Floats
    ) -> tuple[Floats, Floats32, Floats32]:
        """Return the summed loss of F fits on some rows (B, R), and its gradients (R, F * W) and (F, S).

        `columns` (R, F * W) are weights. `goals` are (B, C); `used` (B, F) says which rows each fit uses.
        """
        scores = _products(rows, columns, len(bias)) + bias.astype(np.float32)  # (B, F, S)
        losses = np.where(used, self._loss.rows(scores, goals), 0.0).sum(axis=0)
        scores *= used[:, :, None]
        by_columns = scores.sum(axis=2) if self._loss.shares_weights else scores.reshape(len(rows), bias.size)
        return losses, rows.T @ by_columns, scores.sum(axis=0)

    def predictions(self, fits: Sequence[int]) -> Iterator[tuple[slice, Floats]]:
        """Yield (slice of the images, their predictions (B, V, F, C) under the current fits) block by block."""
        columns = _side_by_side(self._weights[list(fits)])
        bias = self._bias[list(fits)]
        for indices, block in self._rows.blocks():
            scores = _products(block.reshape(-1, block.shape[2]), columns, len(bias)).astype(np.float64) + bias
            scores = scores.reshape(*block.shape[:2], *bias.shape)
            yield indices, self._loss.predictions(self._rows.units.restored(scores))

    def head(self, fit: int, chosen: str) -> Head:
        """Return the head of a fit in its current state."""
        weights = (self._rows.axes @ self._weights[fit]).astype(np.float32)
        standardise = Standardise(mean=self._rows.mean, scale=self._rows.scale)
        return self._rows.units.folded(Head((standardise, *self._loss.layers(weights, self._bias[fit])), chosen))


def _products(rows: Floats32, columns: Floats32, fits: int) -> Floats32:
    """Return the products of rows (B, R) with the weights (R, F * W) of so many fits, (B, F, W)."""
    return np.asarray(rows @ columns).reshape(len(rows), fits, columns.shape[1] // fits)


def _side_by_side(weights: Floats) -> Floats32:
    """Put the weights of all fits side by side: (F, R, W) -> (R, F * W)."""
    return np.ascontiguousarray(weights.transpose(1, 0, 2).reshape(weights.shape[1], -1), dtype=np.float32)
