"""Rows for linear heads: standardised, in their principal coordinates, on disk.

N images, V views, D features, C columns of the target; K parts of the images; R, the rank of their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, Indices, Mask
from kagglekit.heads import units
from kagglekit.heads.row_file import RowFile, Rows, blocks, read
from kagglekit.tasks.task import Task

Goals = Callable[[Indices], Floats32]
"""From images (B,) to what each of their views should give, (B, V, C)."""
_RANK_TOLERANCE = 1e-6
"""Share of the largest sum of squares below which a direction is rounding error."""


class LinearRows:
    """Rows in their principal coordinates, on disk, for any number of fits."""

    def __init__(self, rows: Rows, goals: Goals, indices: Indices, task: Task, scratch: Path | None = None) -> None:
        """Read the images at `indices` (N,) of `rows` three times. `scratch` is a folder for temporary files.

        `task` gives what the goals are: numbers get units of their own.
        """
        self._source, self._goals, self._indices, self.scratch = rows, goals, indices, scratch
        self.columns = goals(indices[:1]).shape[2]
        self.units = units.of(task, (goals(indices[block]) for block in blocks(len(indices))))
        self.mean, self.scale = self._moments()
        self.curvature, self.axes = self._decompose()
        self._turned = RowFile((len(indices), rows.shape[1], len(self.curvature)), scratch)
        for block, raw in zip(blocks(len(indices)), read(rows, indices), strict=True):
            self._turned[block] = self._standard(raw) @ self.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, V, R)."""
        return self._turned.shape

    @property
    def are_few(self) -> bool:
        """Whether there are fewer rows than features, so that they, and all weights, lie in a subspace."""
        count, views, _ = self.shape
        return count * views < self._source.shape[2]

    def close(self) -> None:
        """Delete the rows from the disk."""
        self._turned.close()

    def blocks(self) -> Iterator[tuple[slice, Floats32]]:
        """Yield (slice of the images, their principal coordinates (B, V, R)) block by block."""
        return ((block, self._turned[block]) for block in blocks(self.shape[0]))

    def goals(self, block: slice) -> Floats32:
        """Return the goals of some images, (B, V, C), in the units of the scores."""
        return self.units.standard(self._goals(self._indices[block]))

    def sums(self, parts: Mask) -> Floats:
        """Return the sums of the goals of each part (K, N): (K, C)."""
        sums = np.zeros((len(parts), self.columns))
        for block in blocks(len(self._indices)):
            sums += parts[:, block].astype(np.float64) @ self.goals(block).sum(axis=1, dtype=np.float64)
        return sums

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
            squares = np.maximum(squares, np.finfo(np.float32).tiny)  # rows that are all alike have directions too
            kept = squares > squares.max() * _RANK_TOLERANCE
            return squares[kept].astype(np.float64), standard.T @ (vectors[:, kept] / np.sqrt(squares[kept]))
        gram = np.zeros((features, features))
        for block in read(self._source, self._indices):
            standard = self._standard(block)
            gram += standard.T @ standard
        squares, axes = eigh(gram.astype(np.float32), driver="evd", overwrite_a=True, check_finite=False)
        return np.maximum(squares.astype(np.float64), 0.0), axes
