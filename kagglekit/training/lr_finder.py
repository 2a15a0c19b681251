"""The learning-rate finder: a short sweep from a tiny rate to a huge one, and suggestions from its curve.

K steps of a sweep. Sources: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3,
for the sweep; Kingma & Ba, "Adam" (2015), section 3, for the average's bias correction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kagglekit.base.arrays import Floats

_SMOOTHING = 0.9
"""Reduces the noise of batches to a quarter; `Sweep.centres` corrects its lag of nine steps."""
_SETTLED = 5
"""Steps before a loss can count as diverged: the average's first values are single batches."""
_FEWEST = 20
"""Minimum number of finite losses in a curve."""
_NOISE = 8.0
"""Minimum fall in standard errors of the smoothed curve: it is the largest of many, so two could be chance."""
_LEAST_FALL = 0.01
"""Minimum fall as a share of the loss, for a curve without noise."""


class _Average:
    """Bias-corrected exponential averages of losses and, with the same weights, of log rates."""

    def __init__(self, smoothing: float) -> None:
        self.loss = self.log_rate = math.nan
        self._smoothing = smoothing
        self._weight = 0.0

    def take(self, rate: float, loss: float) -> None:
        """Add one step, unless its loss is NaN or infinite."""
        if not math.isfinite(loss):
            return
        if self._weight == 0:
            self.loss, self.log_rate = loss, math.log(rate)
        self._weight = self._smoothing * self._weight + 1 - self._smoothing
        share = (1 - self._smoothing) / self._weight
        self.loss += share * (loss - self.loss)
        self.log_rate += share * (math.log(rate) - self.log_rate)


@dataclass(frozen=True)
class Sweep:
    """Rates and losses of a sweep. Raises ValueError unless rates are positive and rising, one for each loss."""

    rates: tuple[float, ...]
    """(K,) rising."""
    losses: tuple[float, ...]
    """(K,) raw losses, NaN and infinity included."""
    stopped: str = ""
    """Why the sweep ended."""
    smoothing: float = _SMOOTHING

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip((0.0, *self.rates), self.rates, strict=False))
        if not rising or len(self.rates) != len(self.losses):
            raise ValueError("a curve has one loss for each rate, and its rates rise from above zero.")

    @property
    def smoothed(self) -> tuple[float, ...]:
        """(K,) exponential average of the finite losses so far; NaN before the first."""
        return tuple(loss for loss, _ in self._averages)

    @property
    def centres(self) -> tuple[float, ...]:
        """(K,) rates of the smoothed losses, averaged with the same weights.

        An average lags: plotted over `rates`, the curve and all that is read from it would be about
        1 / (1 - smoothing) steps too high.
        """
        return tuple(rate for _, rate in self._averages)

    @cached_property
    def _averages(self) -> tuple[tuple[float, float], ...]:
        average, found = _Average(self.smoothing), []
        for rate, loss in zip(self.rates, self.losses, strict=True):
            average.take(rate, loss)
            # rounding must not leave the range of the sweep
            found.append((average.loss, min(max(math.exp(average.log_rate), self.rates[0]), rate)))
        return tuple(found)


def sweep(
    take_step: Callable[[float], float],
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = _SMOOTHING,
    diverged: float = 4.0,
) -> Sweep:
    """Take steps at exponentially rising rates until the loss diverges; `take_step(rate)` returns a step's loss.

    It ends early at a NaN or infinite loss, or when the smoothed loss is above its start and more than
    `diverged` times its best. Raises ValueError for impossible limits.
    """
    if not (0 < lowest < highest < math.inf and steps >= 2 and 0 <= smoothing < 1 and diverged > 1):
        raise ValueError(
            f"a sweep from {lowest} to {highest} in {steps} steps, smoothing {smoothing}, diverged {diverged}: "
            "it needs 0 < lowest < highest, at least 2 steps, smoothing from 0 to below 1, diverged above 1."
        )
    rates, losses = [], []
    average, best, start = _Average(smoothing), math.inf, math.inf
    stopped = f"the sweep reached {highest:g}"
    for step in range(steps):
        rate = lowest * (highest / lowest) ** (step / (steps - 1))
        loss = float(take_step(rate))
        rates.append(rate)
        losses.append(loss)
        if not math.isfinite(loss):
            stopped = f"the loss was {loss} at {rate:.2g}"
            break
        average.take(rate, loss)
        if step <= _SETTLED:
            best = start = average.loss
        best = min(best, average.loss)
        # also above its start: a single hard batch may exceed a best near zero many times
        if average.loss > max(best + (diverged - 1) * abs(best), start):
            stopped = f"the loss was more than {diverged:g} times its best at {rate:.2g}"
            break
    return Sweep(tuple(rates), tuple(losses), stopped, smoothing)


def suggestions(curve: Sweep) -> dict[str, float]:
    """Return name -> rate, all within the sweep; empty if the curve shows no fall (`why_none`).

    `valley`: two thirds down the longest fall; present if any is. `steepest`: where the loss falls fastest over the
    log rate. `minimum/10`: a tenth of the rate at its lowest point. The last two are left out if the sweep is too
    short to show them.
    """
    fall = _longest_fall(curve)
    if isinstance(fall, str):
        return {}
    losses, rates, top, bottom = fall.losses, fall.rates, fall.top, fall.bottom
    target = losses[top] - 2 / 3 * (losses[top] - losses[bottom])
    valley = top + int(np.argmax(losses[top : bottom + 1] <= target))
    found = {"valley": float(rates[valley])}
    steepest = _steepest(fall)
    if steepest is not None:
        found["steepest"] = float(rates[steepest])
    if rates[bottom] / 10 >= curve.rates[0]:
        found["minimum/10"] = float(rates[bottom] / 10)
    return found


def why_none(curve: Sweep) -> str:
    """Return why a curve has no suggestions, or an empty string if it has some."""
    fall = _longest_fall(curve)
    return fall if isinstance(fall, str) else ""


@dataclass(frozen=True)
class _Fall:
    """The smoothed curve without its unsettled start, and the indices where its longest fall begins and ends."""

    rates: Floats
    losses: Floats
    top: int
    bottom: int


def _longest_fall(curve: Sweep) -> _Fall | str:
    """Return the longest fall in steps, or why there is none."""
    raw = np.array(curve.losses, np.float64)
    finite = np.isfinite(raw)
    count = int(finite.sum())
    if count == 0:
        return "no step of the sweep had a finite loss"
    if count < _FEWEST:
        return f"only {count} steps of the sweep had a finite loss ({curve.stopped}); {_FEWEST} are needed"
    settled = slice(count // 10, None)  # the average's first values are as noisy as single batches
    losses = np.array(curve.smoothed)[finite][settled]
    rates = np.array(curve.centres)[finite][settled]
    # a robust estimate: neither the fall nor a divergence at the end may count as noise
    noise = float(np.median(np.abs(np.diff(raw[finite])))) / 0.954
    noise *= math.sqrt((1 - curve.smoothing) / (1 + curve.smoothing))
    tolerance = max(_NOISE * noise, _LEAST_FALL * abs(float(losses[0])))
    falls = [(top, bottom) for top, bottom in _falls(losses, tolerance) if losses[top] - losses[bottom] > tolerance]
    if not falls:
        return f"the loss did not fall by more than its noise, {tolerance:.2g} ({curve.stopped})"
    return _Fall(rates, losses, *max(falls, key=lambda fall: fall[1] - fall[0]))


def _falls(losses: Floats, tolerance: float) -> Iterator[tuple[int, int]]:
    """Yield the indices of each fall's highest and lowest point; only a rise above `tolerance` ends a fall."""
    top = bottom = 0
    for index, loss in enumerate(losses):
        risen = loss > losses[bottom] + tolerance
        if risen:
            yield top, bottom
        if risen or loss >= losses[top]:
            top = bottom = index
        elif loss < losses[bottom]:
            bottom = index
    yield top, bottom


def _steepest(fall: _Fall) -> int | None:
    """Return the index of the steepest descent, over a tenth of the curve to each side; None without one."""
    wide = max(len(fall.losses) // 10, 1)
    logs = np.log(fall.rates)
    slopes = (fall.losses[2 * wide :] - fall.losses[: -2 * wide]) / (logs[2 * wide :] - logs[: -2 * wide])
    seen = slopes[max(fall.top - wide, 0) : max(fall.bottom - wide + 1, 0)]
    if len(seen) == 0 or seen.min() >= 0:
        return None
    return max(fall.top, wide) + int(seen.argmin())
