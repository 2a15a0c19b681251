"""How long each model of a run trains, so that the run ends within its budget on a machine that slows down.

A plan is made from one measurement. While the run goes on, each model looks at the clock before it starts and
eight times per epoch. Its schedule is stretched or compressed to what is left of the budget, so that the learning rate
always comes down. Every decision is written to the model's folder before it is used: a resumed run, and a model that is
trained again, follow the same decisions and give the same bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kagglekit.base import distributed
from kagglekit.runs import filenames, record
from kagglekit.runs.choices import ModelPace, Pace, PaceCheck

now = time.monotonic

_CHECKS_PER_EPOCH = 8
_TOLERANCE = 0.05
"""Share by which a model may be late: measurements vary as much."""
_SHORTEST = 0.5
"""Epochs that a model trains at least."""
RESERVE = 0.15
"""Share of the budget held in reserve, for example for a machine that slows down."""
_ALMOST_ALL = 0.97
"""Share of its time that a late run uses."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The state of a run when a model looks at the clock."""

    spent: float
    """Time since the command started, in seconds."""
    epoch: float
    """Time of an epoch as measured last, in seconds."""
    waiting_epochs: float
    """Time of an epoch of each model that comes after this one, in epochs of this one."""
    waiting_seconds: float
    """Time of the models that come after this one besides their epochs, as planned."""


def stretch(pace: Pace, standing: Standing, seconds: float, epochs: float, of: float) -> float:
    """Return the factor for all remaining training with which the command takes so many seconds.

    `epochs` remain `of` all the epochs of the current model; the waiting models are to have as many. A factor below 1
    means that the run is late.
    """
    left = seconds - standing.spent - _slowness(pace, standing) * (pace.ending + pace.model + standing.waiting_seconds)
    needed = (epochs + standing.waiting_epochs * of) * standing.epoch
    return left / needed if needed else math.inf


def is_affordable(pace: Pace, standing: Standing) -> bool:
    """Return whether the current model and those waiting can train for an epoch each within the budget."""
    return stretch(pace, standing, latest(pace), 1.0, 1.0) >= 1


def ends_in_time(pace: Pace, standing: Standing) -> bool:
    """Return whether the command ends within the budget, `standing` being that after the last model."""
    return standing.spent + _slowness(pace, standing) * pace.ending <= max(pace.budget, pace.least)


def latest(pace: Pace) -> float:
    """Return the time at which the command has to end, in seconds."""
    return max(pace.budget, pace.least) * _ALMOST_ALL


def _slowness(pace: Pace, standing: Standing) -> float:
    """Return how many times as slow as planned the machine is; at least 1."""
    return max(standing.epoch / pace.epoch, 1.0)


class Pacer:
    """Decides how many epochs one model trains."""

    def __init__(
        self,
        path: Path,
        pace: Pace,
        standing: Standing,
        *,
        started: float,
        steps_per_epoch: int,
        most_epochs: int,
        decides: bool = True,
    ) -> None:
        """`path` is the file of the decisions, which are followed if there are any.

        `pace` has the times of this model's backbone. `standing` is the state at the start of the model, which was at
        `started`. If it does not decide, the file must have decisions, and none are added.
        """
        self._path, self._pace, self._standing = path, pace, standing
        self._steps_per_epoch, self._most, self._decides = steps_per_epoch, most_epochs, decides
        self._decided: ModelPace = distributed.agree(of_model(path.parent))
        # a killed command's time counts up to its last decision
        self._started = started - (self._decided.checks[-1].seconds if self._decided.checks else 0.0)
        self._speed = _Speed(steps_per_epoch, [check.epoch for check in self._decided.checks if check.epoch])
        if not self._decided.checks:
            self._decide(0, 0.0, self._first_length())

    def check(self, step: int) -> None:
        """Look at the clock before `step`, counted from the start of the model, if it is time to."""
        is_due = step % max(self._steps_per_epoch // _CHECKS_PER_EPOCH, 1) == 0
        measured = self._speed.note(step, ends_window=is_due)
        if is_due and self._decides and step > self._decided.checks[-1].step:
            seconds = now() - self._started
            self._decide(step, seconds, self._length(step, seconds), measured)

    def _decide(self, step: int, seconds: float, epochs: float, measured: float | None = None) -> None:
        check = PaceCheck(step=step, seconds=seconds, epochs=distributed.agree(epochs), epoch=measured)
        self._keep(replace(self._decided, checks=(*self._decided.checks, check)))

    @property
    def length(self) -> float:
        """Epochs that the model trains in all, as decided last."""
        return self._decided.checks[-1].epochs

    def epochs(self, step: int) -> float:
        """Return the epochs that the model trains in all, as decided by `step`."""
        return next(check.epochs for check in reversed(self._decided.checks) if check.step <= step)

    def position(self, step: int, at: float) -> float:
        """Return the position in the planned schedule, in its epochs, of `step`, which is `at` so many epochs."""
        position, since, speed, length = 0.0, 0.0, 1.0, float(self._pace.epochs)
        for check in self._decided.checks:
            if check.step > step or check.epochs == length:
                continue
            changed = check.step / self._steps_per_epoch
            position += (changed - since) * speed
            speed = (self._pace.epochs - position) / max(check.epochs - changed, 1 / self._steps_per_epoch)
            since, length = changed, check.epochs
        return position + (at - since) * speed

    def trained(self, step: int) -> None:
        """Note the speed of the training, which ended before `step`."""
        self._speed.note(step, ends_window=True)
        if self._decided.epoch is None and self._speed.epoch:
            self._keep(replace(self._decided, epoch=self._speed.epoch))

    def finished(self) -> None:
        """Note the time of the whole model."""
        if self._decided.seconds is None:
            self._keep(replace(self._decided, seconds=now() - self._started))

    def _first_length(self) -> float:
        """Return whole epochs: fewer than planned if the run is late, more if models before were fast."""
        planned = self._pace.epochs
        least = planned * stretch(self._pace, self._standing, latest(self._pace), planned, planned) * (1 + _TOLERANCE)
        if least < planned:
            return float(max(math.floor(least), 1))
        if self._standing.epoch >= self._pace.epoch:
            return float(planned)
        usual = self._pace.budget * (1 - RESERVE)
        most = planned * stretch(self._pace, self._standing, usual, planned, planned)
        return float(max(math.floor(min(most, self._most)), planned))

    def _length(self, step: int, seconds: float) -> float:
        """Return the length, shorter than before if the model is late."""
        before, at = self.epochs(step), step / self._steps_per_epoch
        if not self._speed.epoch or before <= at:
            return before
        standing = replace(self._standing, spent=self._standing.spent + seconds, epoch=self._speed.epoch)
        factor = stretch(self._pace, standing, latest(self._pace), before - at, before)
        if factor >= 1 - _TOLERANCE:
            return before
        return min(max(at + (before - at) * factor, at + 1 / _CHECKS_PER_EPOCH, _SHORTEST), before)

    def _keep(self, decided: ModelPace) -> None:
        self._decided = decided
        if distributed.is_first():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            record.write(self._path, decided)


class _Speed:
    """Measures the time of an epoch in windows, from the second step of the process: the first one is slow."""

    def __init__(self, steps_per_epoch: int, windows: Sequence[float]) -> None:
        """`windows` are the times of an epoch that killed commands measured."""
        self._steps_per_epoch = steps_per_epoch
        self._since: tuple[int, float] | None = None
        self._windows = list(windows)
        self._is_warm = False

    def note(self, step: int, *, ends_window: bool) -> float | None:
        """Note that `step` is about to begin; return the time of an epoch in the window that ends, if any."""
        measured = None
        if self._since is not None and ends_window and step > self._since[0]:
            first, since = self._since
            measured = (now() - since) / (step - first) * self._steps_per_epoch
            self._windows.append(measured)
        if (self._since is None and self._is_warm) or (self._since is not None and ends_window):
            self._since = (step, now())
        self._is_warm = True
        return measured

    @property
    def epoch(self) -> float:
        """Mean time of an epoch without the slowest window, in which the machine may have stood still; 0 if unknown."""
        kept = sorted(self._windows)[:-1]
        return sum(kept) / len(kept) if kept else 0.0


def of_model(folder: Path) -> ModelPace:
    """Return the decisions in a model's folder."""
    return record.read(folder / filenames.PACE, ModelPace) or ModelPace()


def spent(models: Sequence[ModelPace]) -> float:
    """Return the time that models have taken, in seconds."""
    return sum(model.seconds or (model.checks[-1].seconds if model.checks else 0.0) for model in models)
