"""How many images a session computes together."""

from __future__ import annotations

import statistics
from collections import deque

from kagglekit.base import devices


class BatchSizes:
    """Finds the batch size that computes most images a second, on the work itself: nothing is computed twice."""

    def __init__(self, device: devices.Device) -> None:
        sizes = (1, 2, 4, 8) if device == "cpu" else (16, 32, 64, 128, 256)
        self._trials = deque(sizes * _TRIALS)
        self._noted: dict[int, list[float]] = {size: [] for size in sizes}
        self._usual = automatic_batch(device)

    def next(self) -> int:
        """Return how many images to compute together now: another size to try, and when all are tried the best."""
        return self._trials.popleft() if self._trials else self.best()

    def note(self, size: int, seconds: float) -> None:
        """Tell how long a batch of this size took to compute."""
        if size in self._noted:  # not so the last one, which may be smaller
            self._noted[size].append(seconds)

    def leave_out(self, size: int) -> None:
        """Try none of this size or larger any more: they don't fit in memory."""
        self._trials = deque(trial for trial in self._trials if trial < size)
        self._noted = {smaller: seconds for smaller, seconds in self._noted.items() if smaller < size}
        self._usual = min(self._usual, max(size // 2, 1))

    def best(self) -> int:
        """Return the best size so far; a larger one must be faster by more than measurements vary."""
        best, best_rate = self._usual, 0.0
        for size, seconds in self._noted.items():
            rate = size / statistics.median(seconds) if seconds else 0.0
            if rate > best_rate * _CLEARLY:
                best, best_rate = size, rate
        return best


_TRIALS = 6
_CLEARLY = 1.02


USUAL_SIZE = (224, 224)
"""Of backbones' inputs, where it is not known yet."""


def automatic_batch(device: devices.Device, size: tuple[int, int] = USUAL_SIZE) -> int:
    """Return the images of a size that one worker computes together.

    Few on a CPU, where they should stay in its cache: 2 images gave 42.0 a second, 4 40.5, 8 39.8, 16 39.0
    (tf_efficientnet_lite2 at 260 x 260, two views, two cores); at 72 x 96 (tf_efficientnet_lite0, one view) 2 gave
    1,425, 4 1,590, 8 1,630 and 32 1,540.
    """
    if device == "cuda":
        return 64
    return min(max(_PIXELS // (size[0] * size[1]), 2), 8)


_PIXELS = 60_000
"""That are computed together on a CPU."""
