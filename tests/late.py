"""A machine on which training takes longer than was measured, by a clock that goes on only where it trains.

`python -m tests.late SECONDS STILL run …` is the command line on it: a step takes so many seconds, and says so; step
number STILL does not end, so that the command can be killed there (0: none).
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from kagglekit.cli import main
from kagglekit.training import pacing, throughput
from kagglekit.training.learner import Learner
from kagglekit.training.throughput import Speed
from tests import trainers

STEPS = "steps so far: "


class Clock:
    """A clock that goes on only where somebody works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def late(clock: Clock, patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make each step take so long."""
    step = Learner.step

    def slow(self: Learner, *given: Any) -> Any:
        clock.seconds += seconds
        return step(self, *given)

    patch.setattr(Learner, "step", slow)


def measured(patch: pytest.MonkeyPatch, step: float, forward: float) -> None:
    """Let the measurement before a run find so many seconds per image."""
    patch.setattr(throughput, "measure", lambda *_, **__: Speed(step=step, forward=forward))


def clocked(patch: pytest.MonkeyPatch) -> Clock:
    """Set a clock for paces, and let a second per image be measured before a run."""
    clock = Clock()
    patch.setattr(pacing, "now", clock)
    measured(patch, step=1.0, forward=0.1)
    return clock


def speak(patch: pytest.MonkeyPatch, still: int) -> None:
    """Print the number of each step; stand still in step number `still`."""
    step, done = Learner.step, 0

    def spoken(self: Learner, *given: Any) -> Any:
        nonlocal done
        done += 1
        print(f"{STEPS}{done}", flush=True)
        if done == still:
            time.sleep(600)
        return step(self, *given)

    patch.setattr(Learner, "step", spoken)


if __name__ == "__main__":
    seconds, still = float(sys.argv.pop(1)), int(sys.argv.pop(1))
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        trainers.spare(patch)
        measured(patch, step=0.5, forward=0.05)
        patch.setattr(pacing, "now", clock)
        late(clock, patch, seconds)
        speak(patch, still)
        main()
