"""Multinomial logistic regressions on wide, correlated features: several at once, along a regularisation grid.

N images, V views, D features, C classes; K fits, each on a part of the same images; R, the rank of their rows. A fit
minimises C * sum(log loss) + |W|^2 / 2 on features that are standardised on its own part; the bias is not regularised.
Plain L-BFGS needs hundreds of steps on features of a convolutional network, which are strongly correlated. Here it
works in coordinates in which the Hessian's upper bound (Böhning 1992: X'X / 2 for every class) is the identity, and
needs about twenty. All fits step together and share each pass over the rows on disk, and one decomposition of their
common rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Indices, Labels, Mask, softmax
from kagglekit.heads.layers import Head, Linear, Softmax, Standardise
from kagglekit.heads.minimise import Minimiser
from kagglekit.heads.row_file import RowFile, Rows, blocks, read

_STEPS = 200
_TOLERANCE = 1e-6
"""Change of the mean objective at which a fit has converged."""
_MANY_CLASSES = 16
_RANK_TOLERANCE = 1e-6
"""Share of the largest sum of squares below which a direction is rounding error."""
COLUMNS = 512
"""Maximum number of scores per row computed at once: further fits take turns, to save memory with many classes."""


class LogisticRows:
    """Rows in their principal coordinates, on disk, for any number of fits."""

    def __init__(self, rows: Rows, indices: Indices, shown: Labels, classes: int, scratch: Path | None = None) -> None:
        """Read the images at `indices` (N,) of `rows` three times.

        `shown` (N, V) are the classes that they show, `scratch` is a folder for temporary files.
        """
        self._source, self._indices = rows, indices
        self.shown = shown
        self.classes = classes
        self.mean, self.scale = self._moments()
        self.curvature, self.axes = self._decompose()
        self._turned = RowFile((len(indices), rows.shape[1], len(self.curvature)), scratch)
        for block, raw in zip(blocks(len(indices)), read(rows, indices), strict=True):
            self._turned[block] = self._standard(raw) @ self.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, V, R)."""
        return self._turned.shape

    def close(self) -> None:
        """Delete the rows from the disk."""
        self._turned.close()

    def blocks(self) -> Iterator[tuple[slice, Floats32]]:
        """Yield (slice of the images, their principal coordinates (B, V, R)) block by block."""
        return ((block, self._turned[block]) for block in blocks(self.shape[0]))

    def _standard(self, block: Floats32) -> Floats32:
        """Standardise a block: (B, V, D) -> (B * V, D)."""
        return (block.reshape(-1, block.shape[2]) - self.mean) / self.scale

    def spreads(self, parts: Mask) -> Floats:
        """Return the standard deviation of the standardised features in each part (K, N): (K, D)."""
        views, features = self._source.shape[1:]
        sums, squares = np.zeros((2, len(parts), features))
        for block, raw in zip(blocks(len(self._indices)), read(self._source, self._indices), strict=True):
            standard = self._standard(raw)
            used = np.repeat(parts[:, block], views, axis=1).astype(np.float32)  # (K, B * V)
            sums += used @ standard
            squares += used @ standard**2
        counts = views * parts.sum(axis=1, keepdims=True)
        spreads: Floats = np.sqrt(np.maximum(squares / counts - (sums / counts) ** 2, 1e-12))
        return spreads

    def _moments(self) -> tuple[Floats32, Floats32]:
        """Return the mean (D,) and the standard deviation (D,)."""
        _, views, features = self._source.shape
        shift: Floats32 = self._source[self._indices[:1]].reshape(-1, features).mean(axis=0)  # keeps the squares small
        sums, squares = np.zeros((2, features))
        for block in read(self._source, self._indices):
            flat = block.reshape(-1, features) - shift
            sums += flat.sum(axis=0, dtype=np.float64)
            squares += (flat**2).sum(axis=0, dtype=np.float64)
        count = len(self._indices) * views
        # a constant feature must not cause a division by zero
        deviation = np.sqrt(np.maximum(squares / count - (sums / count) ** 2, 1e-12))
        return (sums / count + shift).astype(np.float32), deviation.astype(np.float32)

    def _decompose(self) -> tuple[Floats, Floats32]:
        """Return the rows' sum of squares along each principal axis (R,), and the axes (D, R)."""
        from scipy.linalg import eigh

        _, views, features = self._source.shape
        if len(self._indices) * views < features:  # the rows span only a subspace, and W lies in it
            standard = self._standard(self._source[self._indices])
            squares, vectors = eigh(standard @ standard.T, driver="evd", check_finite=False)
            kept = squares > squares.max() * _RANK_TOLERANCE
            return squares[kept].astype(np.float64), standard.T @ (vectors[:, kept] / np.sqrt(squares[kept]))
        gram = np.zeros((features, features))
        for block in read(self._source, self._indices):
            standard = self._standard(block)
            gram += standard.T @ standard
        squares, axes = eigh(gram.astype(np.float32), driver="evd", overwrite_a=True, check_finite=False)
        return np.maximum(squares.astype(np.float64), 0.0), axes


class LogisticPaths:
    """Fits on parts of the same rows, each along the regularisation grid with warm starts."""

    def __init__(self, rows: LogisticRows, parts: Mask) -> None:
        """`parts` (K, N) says which images each fit learns from."""
        self._rows = rows
        self._parts = parts
        self._counts = parts.sum(axis=1) * rows.shape[1]
        self._share = parts.mean(axis=1)
        # The spread of a feature in a part differs a little from that in all rows, and the penalty is on weights at the
        # part's own scale. At the scale of all rows it was too weak: inner folds saw the spread of held-out drivers.
        self._penalty = None if parts.all() else rows.spreads(parts) ** 2  # (K, D)
        self._weights = np.zeros((len(parts), rows.shape[2], rows.classes))  # in principal coordinates
        self._bias = np.zeros((len(parts), rows.classes))

    def advance(self, fits: Sequence[int], strengths: Sequence[float]) -> None:
        """Fit each of `fits` at its inverse regularisation strength."""
        together = max(1, COLUMNS // self._rows.classes)
        for start in range(0, len(fits), together):
            self._advance(list(fits[start : start + together]), np.array(strengths[start : start + together]))

    def _advance(self, fits: list[int], strengths: Floats) -> None:
        curvature = strengths[:, None] * self._share[fits, None] * self._rows.curvature / 2  # (F, D)
        unit = 1 / np.sqrt(curvature + 1)[:, :, None]  # (F, D, 1)
        bias_unit = 1 / np.sqrt(strengths * self._counts[fits] / 2)[:, None]  # (F, 1)
        starts = zip(self._weights[fits] / unit, self._bias[fits] / bias_unit, strict=True)
        searches = [Minimiser(np.vstack([w, b]).ravel(), _TOLERANCE, _STEPS) for w, b in starts]
        going = list(range(len(fits)))
        while going:
            points = np.stack([searches[index].point for index in going]).reshape(
                len(going), -1, self._rows.classes
            )  # (G, D + 1, C)
            weights = points[:, :-1] * unit[going]
            bias = points[:, -1] * bias_unit[going]
            values, by_weights, by_bias = self._objective(
                [fits[index] for index in going], strengths[going], weights, bias
            )
            gradients = np.concatenate([by_weights * unit[going], (by_bias * bias_unit[going])[:, None]], axis=1)
            for number, index in enumerate(going):
                searches[index].tell(float(values[number]), gradients[number].ravel())
            going = [index for index in going if not searches[index].done]
        for index, fit in enumerate(fits):
            best = searches[index].best.reshape(-1, self._rows.classes)
            self._weights[fit] = best[:-1] * unit[index]
            self._bias[fit] = best[-1] * bias_unit[index]

    def _objective(
        self, fits: list[int], strengths: Floats, weights: Floats, bias: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return each fit's mean objective (F,), and its gradients: weights (F, D, C), bias (F, C)."""
        losses, by_weights, by_bias = self._loss(fits, weights, bias)
        pull = self._pull(fits, weights)
        scale = strengths * self._counts[fits]
        values = (strengths * losses + (pull * weights).sum(axis=(1, 2)) / 2) / scale
        by_weights = (strengths[:, None, None] * by_weights + pull) / scale[:, None, None]
        return values, by_weights, by_bias * (strengths / scale)[:, None]

    def _pull(self, fits: list[int], weights: Floats) -> Floats:
        """Return the gradient of the L2 penalty on the weights of standardised features, (F, R, C)."""
        if self._penalty is None:
            return weights
        count, rank, classes = weights.shape
        standard = self._rows.axes @ _side_by_side(weights)  # (D, F * C)
        standard *= np.repeat(self._penalty[fits].T, classes, axis=1).astype(np.float32)
        pulled = (self._rows.axes.T @ standard).astype(np.float64)
        return pulled.reshape(rank, count, classes).transpose(1, 0, 2)

    def _loss(self, fits: list[int], weights: Floats, bias: Floats) -> tuple[Floats, Floats, Floats]:
        """Return each fit's summed log loss (F,), and its gradients: weights (F, R, C), bias (F, C)."""
        # With few classes, one matrix product for all fits is fastest, though some fits do not use all of its rows.
        # With many classes, each fit has its own product.
        everyone = list(range(len(fits)))
        shares = [[index] for index in everyone] if self._rows.classes >= _MANY_CLASSES else [everyone]
        columns = [_side_by_side(weights[share]) for share in shares]
        losses, by_weights, by_bias = np.zeros(len(fits)), np.zeros(weights.shape), np.zeros(bias.shape)
        for indices, block in self._rows.blocks():
            flat = block.reshape(-1, block.shape[2])
            truth = self._rows.shown[indices].reshape(-1)
            used = np.repeat(self._parts[fits][:, indices], block.shape[1], axis=1)  # (F, B * V)
            for share, own in zip(shares, columns, strict=True):
                some = used[share].any(axis=0)
                rows = flat if some.all() else flat[some]
                loss, first, second = _block_loss(rows, truth[some], used[share][:, some].T, own, bias[share])
                losses[share] += loss
                by_weights[share] += first.reshape(len(first), len(share), -1).transpose(1, 0, 2)
                by_bias[share] += second
        return losses, by_weights, by_bias

    def probabilities(self, fits: Sequence[int]) -> Iterator[tuple[slice, Floats]]:
        """Yield (slice of the images, their probabilities (B, V, F, C) under the current fits) block by block."""
        columns = _side_by_side(self._weights[list(fits)])
        bias = self._bias[list(fits)]
        for indices, block in self._rows.blocks():
            scores = (block.reshape(-1, block.shape[2]) @ columns).astype(np.float64)
            yield indices, softmax(scores.reshape(*block.shape[:2], *bias.shape) + bias)

    def head(self, fit: int, chosen: str) -> Head:
        """Return the head of a fit in its current state."""
        weights = (self._rows.axes @ self._weights[fit]).astype(np.float32)
        standardise = Standardise(mean=self._rows.mean, scale=self._rows.scale)
        linear = Linear(weights=weights, bias=self._bias[fit].astype(np.float32))
        return Head((standardise, linear, Softmax()), chosen)


def _block_loss(
    rows: Floats32, truth: Labels, used: Mask, columns: Floats32, bias: Floats
) -> tuple[Floats, Floats32, Floats32]:
    """Return the summed log loss of F fits on some rows (B, R), and its gradients (R, F * C) and (F, C).

    `used` (B, F) says which rows each fit uses.
    """
    count, classes = bias.shape
    scores = (rows @ columns).reshape(len(rows), count, classes) + bias.astype(np.float32)
    scores -= scores.max(axis=2, keepdims=True)
    indices = np.broadcast_to(truth[:, None, None], (len(rows), count, 1))
    right = np.take_along_axis(scores, indices, axis=2)[:, :, 0]
    np.exp(scores, out=scores)
    total = scores.sum(axis=2)  # (B, F)
    loss = np.where(used, np.log(total, dtype=np.float64) - right, 0.0).sum(axis=0)
    scores /= total[:, :, None]
    scores -= truth[:, None, None] == np.arange(classes)
    scores *= used[:, :, None]
    return loss, rows.T @ scores.reshape(len(rows), count * classes), scores.sum(axis=0)


def _side_by_side(weights: Floats) -> Floats32:
    """Put the weights of all fits side by side: (F, R, C) -> (R, F * C)."""
    return np.ascontiguousarray(weights.transpose(1, 0, 2).reshape(weights.shape[1], -1), dtype=np.float32)
