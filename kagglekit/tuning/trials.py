"""One trial: a run with other settings, which is ended where it is not worth its time or there is none left."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.metrics import Metric
from kagglekit.pipeline import deciding, gates
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.prepare import Known, decide, ready
from kagglekit.pipeline.run import go
from kagglekit.pipeline.watching import Watcher
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Task, Truth
from kagglekit.tuning.study import Claim, Study


class PrunedError(Exception):
    """The trial is worse than most others at the same point."""


class OutOfTimeError(Exception):
    """The budget of the command has ended."""


@dataclass
class Clock:
    """The budget of a command."""

    ends: float
    """When it ends, by `time.monotonic`."""

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.ends - time.monotonic()

    def check(self) -> None:
        """Raise OutOfTimeError if none are left."""
        if self.left <= 0:
            raise OutOfTimeError


class TimeWatcher(Watcher):
    """Ends a run when the time is over."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def epoch(self, model: str, epoch: str, loss: float, error: float) -> None:  # noqa: ARG002
        """Look at the clock."""
        self.clock.check()

    def fold(self, number: int, truth: Truth, predictions: Wide) -> None:  # noqa: ARG002
        """Look at the clock."""
        self.clock.check()


class TrialWatcher(TimeWatcher):
    """Ends a trial also if it is clearly worse than the median of the others after the same folds or epoch.

    Beyond twice the standard error: among settings that are all alike, the nested estimate of a fold would flatter if
    only those went on that were lucky on it.
    """

    def __init__(self, clock: Clock, study: Study, claim: Claim, *, task: Task, metric: Metric, folds: int) -> None:
        super().__init__(clock)
        self._study, self._claim = study, claim
        self._task, self._metric, self._folds = task, metric, folds
        self._scores: list[tuple[float, float]] = []
        """Score and standard error of each fold."""

    def epoch(self, model: str, epoch: str, loss: float, error: float) -> None:
        """Compare the validation loss after an epoch, which is the task's own loss."""
        super().epoch(model, epoch, loss, error)
        self._compare(f"{model} {epoch}", loss, error, lower_is_better=True)

    def fold(self, number: int, truth: Truth, predictions: Wide) -> None:
        """Compare the mean score of the folds so far."""
        super().fold(number, truth, predictions)
        with suppress(UserError):  # a fold without a class may have no score
            self._scores.append(self._scored(truth, predictions))
        if len(self._scores) in range(1, self._folds):  # after the last fold there is nothing to save
            scores, errors = np.transpose(self._scores)
            key, error = f"{len(scores)} folds", float(np.sqrt((errors**2).sum()) / len(errors))
            self._compare(key, float(scores.mean()), error, lower_is_better=self._metric.lower_is_better)

    def _scored(self, truth: Truth, predictions: Wide) -> tuple[float, float]:
        needed = deciding.needed(self._metric, predictions, deciding.usual(self._task, self._metric))
        rows = np.arange(len(truth))
        error = gates.standard_error(gates.Scored(truth, predictions, rows, rows), needed, self._metric, 0)
        return gates.score(truth, needed, self._metric), error

    def _compare(self, key: str, value: float, error: float, *, lower_is_better: bool) -> None:
        if self._study.is_behind(self._claim, key, value, error, lower_is_better=lower_is_better):
            raise PrunedError


@contextmanager
def quiet() -> Iterator[Console]:
    """Yield a console that shows nothing: what a run says is in its own log."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        yield Console(nowhere)


def run(data: Known, settings: Mapping[str, Any], watcher: Watcher) -> Run:
    """Run the competition with these settings of the command line. Raises UserError if that can't be done."""
    chosen = table.resolve(data.project, settings, lambda _: None)
    table.check(chosen, data.project.competition.task)
    with quiet() as console:
        own = dataclasses.replace(data, recipe=chosen)
        job = ready(own, decide(own, console), console)
        return whole(go(dataclasses.replace(job, watcher=watcher)))


def whole(made: Run) -> Run:
    """Return a run. Raises UserError if it has left folds out: others could not be compared with it."""
    if made.left_out:
        folds = ", ".join(map(str, made.left_out))
        raise UserError(f"folds {folds} were left out to end in time: use a larger --set budget=…, or fewer folds.")
    return made
