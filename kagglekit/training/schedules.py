"""Learning-rate schedules: the rate over a phase, as a share of its peak."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["one-cycle", "cosine", "flat"]
_WARM_UP = 0.25
"""Share of a one-cycle schedule in which the rate rises (Smith 2018)."""
_START = 0.04
_END = 1e-3


def cycle_ends(epochs: int, cycle: int, multiplier: int) -> list[int]:
    """Return the number of epochs after which each cycle ends; the last cycle is cut off at `epochs`."""
    ends, length = [0], cycle
    while ends[-1] < epochs:
        ends.append(min(ends[-1] + length, epochs))
        length *= multiplier
    return ends[1:]


def share(schedule: Schedule, epoch: float, epochs: int, cycle: int = 1, multiplier: int = 2) -> float:
    """Return the share of the peak rate at `epoch`, from 0 to `epochs`.

    `one-cycle` rises and falls once. `cosine` has warm restarts: it falls in cycles, the first of `cycle` epochs, each
    `multiplier` times as long as the one before (Loshchilov and Hutter 2017). `flat` is constant.
    """
    if schedule == "flat":
        return 1.0
    if schedule == "one-cycle":
        top = _WARM_UP * epochs
        if epoch < top:
            return _START + (1 - _START) * _half_cosine(epoch / top)
        return 1 - (1 - _END) * _half_cosine((epoch - top) / (epochs - top))
    start = 0
    for end in cycle_ends(epochs, cycle, multiplier):
        if epoch < end:
            return 1 - (1 - _END) * _half_cosine((epoch - start) / (end - start))
        start = end
    return _END


def _half_cosine(share_of_way: float) -> float:
    """Return the value between 0 and 1 along half a cosine."""
    return (1 - math.cos(math.pi * share_of_way)) / 2
