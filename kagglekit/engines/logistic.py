"""Regularised multinomial logistic regressions on wide, correlated features: many at once, along paths of strengths.

N images, V views, D features, C classes, K fits, each on a part of the same images. A fit minimises
C * sum(log loss) + |W|^2 / 2 on features that are standardised on its own part, the bias not regularised, as
scikit-learn does. Plain L-BFGS needs hundreds of steps on features of a convolutional network, which move together;
here it works in coordinates where the Hessian's upper bound (Böhning 1992: X'X / 2 for every class) is the
identity, and needs about twenty. All fits take their steps together: one pass over rows on disk serves them all,
and one decomposition of their common rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.engines.inference import overlapped
from kagglekit.engines.minimise import Minimiser
from kagglekit.engines.rows import RowFile, Rows, blocks

Floats = NDArray[np.float64]
Array = NDArray[np.float32]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
_STEPS = 200
_TOLERANCE = 1e-6
"""Change of the mean objective at which a fit has converged."""
_COLUMNS = 512
"""Scores a row that are computed together: more fits take turns, or many classes would need much memory."""

_SHARE = 6
"""Fits whose weights are multiplied together by one thread."""


def softmax(scores: Floats) -> Floats:
    """(…, C) -> (…, C), rows sum to one."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


@dataclass(frozen=True)
class LogisticHead:
    """Standardise, then softmax of a linear map."""

    mean: Array
    scale: Array
    weights: Array
    """(D, C)"""
    bias: Array
    """(C,)"""
    chosen: str

    def probabilities(self, rows: Array) -> Floats:
        """(N, D) -> (N, C)."""
        scores = ((rows - self.mean) / self.scale) @ self.weights + self.bias
        return softmax(scores.astype(np.float64))

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All that is needed to predict."""
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights, "bias": self.bias}


class LogisticRows:
    """Rows turned into their principal coordinates, on disk, ready for any number of fits."""

    def __init__(self, rows: Rows, shown: Labels, classes: int, workers: int, scratch: Path | None) -> None:
        """Read `rows` (N, V, D) three times; `shown` (N, V) are the classes, `scratch` a folder for what is made."""
        from scipy.linalg import eigh

        self.shown = shown
        self.classes = classes
        self.workers = workers
        self._raw = rows
        images, views, features = rows.shape
        self.mean, self.scale = self._moments(np.ones((1, images), bool))[0]
        gram = np.zeros((features, features))
        for product in self.over(rows, lambda _, block: self._standard(block).T @ self._standard(block)):
            gram += product
        curvature, self.axes = eigh(gram.astype(np.float32), driver="evd", overwrite_a=True, check_finite=False)
        self.curvature = np.maximum(curvature.astype(np.float64), 0.0)  # (D,)
        self.turned = RowFile((images, views, features), scratch)
        for place, block in zip(
            blocks(images), self.over(rows, lambda _, block: self._standard(block) @ self.axes), strict=True
        ):
            self.turned[place] = block

    def close(self) -> None:
        """Let go of the disk."""
        self.turned.__exit__(None, None, None)

    def _standard(self, block: Array) -> Array:
        """(B, V, D) -> (B * V, D)."""
        return (block.reshape(-1, block.shape[2]) - self.mean) / self.scale

    def over(self, rows: Rows, work: Any) -> Iterator[Any]:
        """Yield `work(places, block)` of each block of `rows`, in order, computed by several threads."""
        return overlapped(blocks(rows.shape[0]), lambda places: work(places, rows[places]), self.workers)

    def _moments(self, parts: Mask) -> list[tuple[Array, Array]]:
        """Return the mean (D,) and the standard deviation (D,) of the rows of each part, (K, N)."""
        views, features = self._raw.shape[1:]
        sums, squares = np.zeros((2, len(parts), features))
        shift: Array = self._raw[0:1].reshape(-1, features).mean(axis=0)  # keeps the squares small

        def work(places: slice, block: Array) -> tuple[Array, Array]:
            flat = block.reshape(-1, features) - shift
            used = np.repeat(parts[:, places], views, axis=1).astype(np.float32)  # (K, B * V)
            return used @ flat, used @ flat**2

        for first, second in self.over(self._raw, work):
            sums += first
            squares += second
        counts = views * parts.sum(axis=1, keepdims=True)
        means = sums / counts
        # a feature that never changes says nothing: it must not be divided by zero
        deviations = np.sqrt(np.maximum(squares / counts - means**2, 1e-12))
        return [((m + shift).astype(np.float32), d.astype(np.float32)) for m, d in zip(means, deviations, strict=True)]

    def relative_scales(self, parts: Mask) -> Floats:
        """Return how much features vary in each part (K, N), by how much they do in all rows: (K, D)."""
        return np.stack([deviation / self.scale for _, deviation in self._moments(parts)]).astype(np.float64)


class LogisticPaths:
    """Fits on parts of the same rows; each goes from strength to strength, and starts where it ended before."""

    def __init__(self, rows: LogisticRows, parts: Mask) -> None:
        """`parts` (K, N) says which images each fit learns from."""
        features = rows.turned.shape[2]
        self._rows = rows
        self._parts = parts
        self._counts = parts.sum(axis=1) * rows.turned.shape[1]
        self._share = parts.mean(axis=1)
        self._penalty = rows.relative_scales(parts) ** 2  # (K, D)
        self._weights = np.zeros((len(parts), features, rows.classes))  # in principal coordinates
        self._bias = np.zeros((len(parts), rows.classes))

    def advance(self, fits: Sequence[int], strengths: Sequence[float]) -> None:
        """Fit each of `fits` at its inverse regularisation strength."""
        together = max(1, _COLUMNS // self._rows.classes)
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
            points = np.stack([searches[place].point for place in going]).reshape(
                len(going), -1, self._rows.classes
            )  # (G, D + 1, C)
            weights = points[:, :-1] * unit[going]
            bias = points[:, -1] * bias_unit[going]
            values, by_weights, by_bias = self._objective(
                [fits[place] for place in going], strengths[going], weights, bias
            )
            gradients = np.concatenate([by_weights * unit[going], (by_bias * bias_unit[going])[:, None]], axis=1)
            for number, place in enumerate(going):
                searches[place].tell(float(values[number]), gradients[number].ravel())
            going = [place for place in going if not searches[place].done]
        for place, fit in enumerate(fits):
            best = searches[place].best.reshape(-1, self._rows.classes)
            self._weights[fit] = best[:-1] * unit[place]
            self._bias[fit] = best[-1] * bias_unit[place]

    def _objective(
        self, fits: list[int], strengths: Floats, weights: Floats, bias: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return the mean objective of each fit (F,), and its derivatives by weights (F, D, C) and bias (F, C)."""
        losses, by_weights, by_bias = self._loss(fits, weights, bias)
        sizes, pulls = self._penalties(fits, weights)
        scale = strengths * self._counts[fits]
        values = (strengths * losses + sizes / 2) / scale
        by_weights = (strengths[:, None, None] * by_weights + pulls) / scale[:, None, None]
        return values, by_weights, strengths[:, None] * by_bias / scale[:, None]

    def _penalties(self, fits: list[int], weights: Floats) -> tuple[Floats, Floats]:
        """Return the squared size of each fit's standardised weights (F,), and half its derivative (F, D, C)."""

        def work(some: NDArray[np.int64]) -> tuple[Floats, Floats]:
            count, (features, classes) = len(some), weights.shape[1:]
            standard = self._rows.axes @ _side_by_side(weights[some])  # of standardised features, (D, F * C)
            penalty = np.repeat(self._penalty[[fits[place] for place in some]].T, classes, axis=1)  # (D, F * C)
            pulled = penalty * standard
            sizes = (pulled * standard).reshape(features, count, classes).sum(axis=(0, 2))
            return sizes, _one_by_one(self._rows.axes.T @ pulled.astype(np.float32), count)

        # shares of a size that does not depend on the machine: rounding would
        shares = [np.arange(start, min(start + _SHARE, len(fits))) for start in range(0, len(fits), _SHARE)]
        sizes, pulls = zip(*overlapped(shares, work, self._rows.workers), strict=True)
        return np.concatenate(sizes), np.concatenate(pulls)

    def _loss(self, fits: list[int], weights: Floats, bias: Floats) -> tuple[Floats, Floats, Floats]:
        """Return each fit's summed log loss (F,), and its derivatives by weights (F, D, C) and bias (F, C)."""
        columns = _side_by_side(weights)
        count, features, classes = weights.shape

        def work(places: slice, block: Array) -> tuple[Floats, Array, Array]:
            flat = block.reshape(-1, features)  # (R, D)
            views = block.shape[1]
            used = np.repeat(self._parts[fits][:, places], views, axis=1).T  # (R, F)
            scores = (flat @ columns).reshape(len(flat), count, classes) + bias.astype(np.float32)
            scores -= scores.max(axis=2, keepdims=True)
            truth = self._rows.shown[places].reshape(-1, 1, 1)
            right = np.take_along_axis(scores, np.broadcast_to(truth, (len(flat), count, 1)), axis=2)[:, :, 0]
            np.exp(scores, out=scores)
            total = scores.sum(axis=2)  # (R, F)
            loss = np.where(used, np.log(total, dtype=np.float64) - right, 0.0).sum(axis=0)
            scores /= total[:, :, None]
            scores -= truth == np.arange(classes)
            scores *= used[:, :, None]
            residual = scores.reshape(len(flat), count * classes)
            return loss, flat.T @ residual, residual.sum(axis=0)

        losses, by_weights, by_bias = np.zeros(count), np.zeros((features, count * classes)), np.zeros(count * classes)
        for loss, first, second in self._rows.over(self._rows.turned, work):
            losses += loss
            by_weights += first
            by_bias += second
        return losses, _one_by_one(by_weights, count), by_bias.reshape(count, classes)

    def probabilities(self, fits: Sequence[int]) -> Iterator[tuple[slice, Floats]]:
        """Yield (places, probabilities (B, V, F, C)) for blocks of all images, of the fits as they are now."""
        chosen = list(fits)
        columns = _side_by_side(self._weights[chosen])
        bias = self._bias[chosen]

        def work(places: slice, block: Array) -> tuple[slice, Floats]:
            scores = (block.reshape(-1, block.shape[2]) @ columns).astype(np.float64)
            return places, softmax(scores.reshape(*block.shape[:2], *bias.shape) + bias)

        yield from self._rows.over(self._rows.turned, work)

    def head(self, fit: int, chosen: str) -> LogisticHead:
        """Return a fit as it is now."""
        weights = (self._rows.axes @ self._weights[fit]).astype(np.float32)
        return LogisticHead(self._rows.mean, self._rows.scale, weights, self._bias[fit].astype(np.float32), chosen)


def _side_by_side(weights: Floats) -> Array:
    """(F, D, C) -> (D, F * C)."""
    return np.ascontiguousarray(weights.transpose(1, 0, 2).reshape(weights.shape[1], -1), dtype=np.float32)


def _one_by_one(columns: NDArray[Any], count: int) -> Floats:
    """(D, F * C) -> (F, D, C)."""
    return columns.astype(np.float64).reshape(len(columns), count, -1).transpose(1, 0, 2)
