"""Feature rows that need not be in memory: any object with a shape that can be indexed.

N images, V views, D features; float32.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from kagglekit.base.arrays import Floats32, Indices

BLOCK = 256
"""Number of images in memory at a time."""
_MOST = 1 << 22
"""Most scores of a block."""


class Rows(Protocol):
    """Feature rows (N, V, D): an array, or rows on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, V, D)."""

    def __getitem__(self, indices: Indices, /) -> Floats32:
        """Return the images at `indices` (B,): (B, V, D)."""


def blocks(count: int, scores: int = 1) -> Iterator[slice]:
    """Yield slices that cover `count` images, at most `BLOCK` in each, and fewer if each has very many `scores`."""
    step = max(1, min(BLOCK, _MOST // scores))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def read(rows: Rows, indices: Indices, scores: int = 1) -> Iterator[Floats32]:
    """Yield the images at `indices` (N,) in blocks, (B, V, D) each."""
    return (rows[indices[block]] for block in blocks(len(indices), scores))


@dataclass(frozen=True)
class ReadRows:
    """Rows of some images in memory, found by their indices among all images."""

    shape: tuple[int, ...]
    """(N, V, D) of all images."""
    indices: Indices
    """Those that are here, in ascending order, (M,)."""
    rows: Floats32
    """(M, V, D)."""

    def __getitem__(self, indices: Indices, /) -> Floats32:
        return self.rows[np.searchsorted(self.indices, indices)]


def read_once(rows: Rows, indices: Indices) -> Rows:
    """Return rows of which the images at `indices` (M,), in ascending order, are in memory if they are few.

    Few are a block, which is in memory whenever it is read, or fewer rows than features: their decomposition takes as
    much memory.
    """
    _, views, features = rows.shape
    if len(indices) > BLOCK and len(indices) * views >= features:
        return rows
    return ReadRows(rows.shape, indices, rows[indices])


class RowFile:
    """Rows in a temporary file, which is deleted when it is closed or the process ends."""

    def __init__(self, shape: tuple[int, ...], folder: Path | None = None) -> None:
        """Create a file for (N, V, D) in `folder`, by default the system's temporary folder."""
        self.shape = shape
        self._row_bytes = 4 * math.prod(shape[1:])
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._turn = threading.Lock()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __setitem__(self, block: slice, rows: Floats32) -> None:
        with self._turn:
            self._file.seek(block.start * self._row_bytes)
            self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)

    def __getitem__(self, block: slice, /) -> Floats32:
        start, stop, _ = block.indices(self.shape[0])
        rows = np.empty((stop - start, *self.shape[1:]), np.float32)
        with self._turn:
            self._file.seek(start * self._row_bytes)
            self._file.readinto(rows.data.cast("B"))
        return rows
