"""Batch sizes for inference."""

from __future__ import annotations

import statistics
from collections import deque

from kagglekit.base import devices


class BatchSizes:
    """Finds the batch size with the most images per second, on the work itself: nothing is computed twice."""

    def __init__(self, device: devices.Device) -> None:
        sizes = (1, 2, 4, 8) if device == "cpu" else (16, 32, 64, 128, 256)
        self._trials = deque(sizes * _TRIALS)
        self._noted: dict[int, list[float]] = {size: [] for size in sizes}
        self._usual = automatic_batch(device)

    def next(self) -> int:
        """Return the next batch size: one to try, or the best once all are tried."""
        return self._trials.popleft() if self._trials else self.best()

    def note(self, size: int, seconds: float) -> None:
        """Record how long a batch of this size took."""
        if size in self._noted:  # the last batch may be smaller
            self._noted[size].append(seconds)

    def leave_out(self, size: int) -> None:
        """Stop trying this size and larger ones: they don't fit in memory."""
        self._trials = deque(trial for trial in self._trials if trial < size)
        self._noted = {smaller: seconds for smaller, seconds in self._noted.items() if smaller < size}
        self._usual = min(self._usual, max(size // 2, 1))

    def best(self) -> int:
        """Return the best size so far; a larger one must be faster by more than the measurement noise."""
        best, best_rate = self._usual, 0.0
        for size, seconds in self._noted.items():
            rate = size / statistics.median(seconds) if seconds else 0.0
            if rate > best_rate * _CLEARLY:
                best, best_rate = size, rate
        return best


_TRIALS = 6
_CLEARLY = 1.02


USUAL_SIZE = (224, 224)
"""Input size that is assumed for a backbone while it is unknown."""


def automatic_batch(device: devices.Device, size: tuple[int, int] = USUAL_SIZE) -> int:
    """Return the batch size of one worker for images of a size.

    It is small on a CPU, so that a batch stays in the cache: batches of 2, 4, 8 and 16 gave 42.0, 40.5, 39.8 and 39.0
    images per second (tf_efficientnet_lite2 at 260 x 260, two views, two cores); batches of 2, 4, 8 and 32 gave 1,425,
    1,590, 1,630 and 1,540 (tf_efficientnet_lite0 at 72 x 96, one view).
    """
    if device == "cuda":
        return 64
    return min(max(_PIXELS // (size[0] * size[1]), 2), 8)


_PIXELS = 60_000
"""Number of pixels in a batch on a CPU."""
