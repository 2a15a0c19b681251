"""L-BFGS with an ask-and-tell interface, so many fits share one pass over the data.

Source: Nocedal & Wright, Numerical Optimization, algorithms 7.4 and 3.1.
"""

from __future__ import annotations

from collections import deque

from kagglekit.base.arrays import Floats

_HISTORY = 6
_SUFFICIENT = 1e-4
_SMALLEST_STEP = 1e-8
_PATIENCE = 3
"""Consecutive steps of negligible gain after which the search ends."""


class Minimiser:
    """Minimises a smooth convex function of a vector (P,): evaluate it at `point`, `tell` the result, until `done`."""

    def __init__(self, start: Floats, tolerance: float, most_steps: int) -> None:
        """`tolerance` is the largest negligible decrease, relative to the value if that is above 1."""
        self.point = start
        self.done = False
        self._tolerance = tolerance
        self._steps_left = most_steps
        self._small_steps = 0
        self._at: tuple[Floats, float, Floats] | None = None
        self._pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=_HISTORY)
        self._direction = start
        self._slope = 0.0
        self._step = 1.0

    @property
    def best(self) -> Floats:
        """The point with the lowest value so far."""
        return self.point if self._at is None else self._at[0]

    def tell(self, value: float, gradient: Floats) -> None:
        """Take the function's value and gradient (P,) at `point`."""
        if self._at is not None:
            before, value_before, gradient_before = self._at
            if not value <= value_before + _SUFFICIENT * self._step * self._slope:
                self._try_shorter(before)
                return
            self._remember(self.point - before, gradient - gradient_before)
            self._steps_left -= 1
            small = value_before - value <= self._tolerance * max(abs(value_before), 1.0)
            self._small_steps = self._small_steps + 1 if small else 0
            # the first steps are short, before the search knows the curvature
            self.done = self._small_steps >= _PATIENCE or self._steps_left == 0
        self._at = (self.point, value, gradient)
        if not self.done:
            self._set_out(gradient)

    def _try_shorter(self, before: Floats) -> None:
        self._step /= 2
        if self._step < _SMALLEST_STEP:  # rounding error hides any further gain
            self.done = True
            return
        self.point = before + self._step * self._direction

    def _remember(self, step: Floats, change: Floats) -> None:
        curvature = float(step @ change)
        if curvature > 1e-12 * float(change @ change):
            self._pairs.append((step, change, curvature))

    def _set_out(self, gradient: Floats) -> None:
        """Choose the next direction from the last steps (the two-loop recursion), and its first point."""
        direction = -gradient
        weights = []
        for step, change, curvature in reversed(self._pairs):
            weight = float(step @ direction) / curvature
            direction = direction - weight * change
            weights.append(weight)
        if self._pairs:
            _, change, curvature = self._pairs[-1]
            direction = direction * (curvature / float(change @ change))
        for (step, change, curvature), weight in zip(self._pairs, reversed(weights), strict=True):
            direction = direction + (weight - float(change @ direction) / curvature) * step
        self._slope = float(gradient @ direction)
        if self._slope >= 0:  # only rounding error is left
            self.done = True
            return
        assert self._at is not None
        self._direction, self._step = direction, 1.0
        self.point = self._at[0] + direction
