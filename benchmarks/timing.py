"""Pairs of measurements taken in turn, so that a drift of the machine's speed affects both equally."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping

from kagglekit.base import devices


def seconds(work: Callable[[], object]) -> float:
    """Return the time of `work`, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rounds(contenders: Mapping[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Measure all contenders in turn, `count` times. Return contender -> measurements."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(count):
        for name, measure in contenders.items():
            found[name].append(measure())
    return found


def ratio(numerators: list[float], denominators: list[float]) -> str:
    """Return the median of the ratios of pairs, with their range."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return f"{statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)} pairs)"


def machine() -> str:
    """Return a description of the machine."""
    gpus = devices.cuda_gpus()
    return f"{platform.machine()}, {devices.cores()} cores, {gpus} GPUs, Python {platform.python_version()}"
