"""The models of a run that has to end within a budget: how long each of them trains, and which are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kagglekit.base import distributed
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.fold_models import FoldModel, planned_models
from kagglekit.runs import filenames, record
from kagglekit.runs.choices import Pace
from kagglekit.runs.stages import Stages
from kagglekit.training import budget, checkpoints, pacing
from kagglekit.training.pacing import Pacer, Standing

_LEFT_OUT = {"pseudo_labels": "they are not tried", "refit": "the models of the folds predict the test set"}
"""Setting that adds models -> what happens without them."""


class BudgetSchedule:
    """Compares a run with the clock before each model."""

    def __init__(self, job: Job, pace: Pace, stages: Stages, *, decides: bool = True) -> None:
        """If it does not decide, models follow the decisions that there are, and else train as planned."""
        self._job, self._pace, self._stages, self._decides = job, pace, stages, decides
        self._all = planned_models(job.recipe, job.backbones)
        self._waiting: list[FoldModel] = []

    def begin(self, model: FoldModel, waiting: Sequence[FoldModel]) -> list[FoldModel]:
        """Return the models that remain after `model`; later folds are left out if there is no time for an epoch."""
        self._waiting = [one for one in waiting if not self._stages.is_made(one.name)]
        is_decided = self._stages.is_made(model.name) or pacing.of_model(self._folder(model)).checks
        if not is_decided and distributed.is_first():
            self._leave_out(model)
        left_out = distributed.agree(self._job.run.left_out)
        self._waiting = [one for one in self._waiting if one.fold not in left_out]
        self._leave_stages_out([one for one in self._all if one.fold in left_out])
        return [one for one in waiting if one.fold not in left_out]

    def pacer(self, model: FoldModel, steps_per_epoch: int, started: float) -> Pacer | None:
        """Return what decides how long a model trains, which began at `started`; None if it trains as planned."""
        folder = self._folder(model)
        is_decided = bool(pacing.of_model(folder).checks)
        # a checkpoint without decisions is of a command that trained as planned
        if not distributed.agree(is_decided or (self._decides and not (folder / checkpoints.FILE).exists())):
            return None
        return Pacer(
            folder / filenames.PACE,
            self._pace_of(model),
            self._standing(model, self._waiting),
            started=started,
            steps_per_epoch=steps_per_epoch,
            most_epochs=budget.MAX_EPOCHS,
            decides=self._decides,
        )

    def _leave_out(self, model: FoldModel) -> None:
        # what is begun, perhaps by another command, is finished
        begun = {one.fold for one in self._all if self._folder(one).exists()} | {model.fold}
        kept, folds = list(self._waiting), sorted({one.fold for one in self._waiting} - begun)
        left_out: list[int] = []
        while folds and not pacing.is_affordable(self._pace_of(model), self._standing(model, kept)):
            left_out.append(folds.pop())
            kept = [one for one in kept if one.fold != left_out[-1]]
        if left_out:
            self._note(folds=tuple(sorted({*self._job.run.left_out, *left_out})))

    def _leave_stages_out(self, models: Sequence[FoldModel]) -> None:
        self._stages.leave_out([*(one.name for one in models), *(one.again.name for one in models)])

    def goes_on(self, setting: str, models: Sequence[FoldModel], last: FoldModel) -> bool:
        """Return whether there is time for the models that a setting adds to those of folds; say so if there is none.

        Those of the folds are trained, the `last` of them too.
        """
        begun = any(self._folder(one).exists() for one in models)
        if self._decides and not begun and distributed.is_first() and not self._ends_in_time(last):
            self._note(**{setting: True})
            self._stages.leave_out([one.name for one in models])
            self._job.console.warn(
                f"{setting}: {self._pace.budget / 60:.0f} min was too little on this machine: {_LEFT_OUT[setting]}; "
                "use a larger --budget"
            )
        return not distributed.agree(getattr(self._job.run.all_left_out, setting))

    def _ends_in_time(self, last: FoldModel) -> bool:
        standing = self._standing(last, ())
        own = pacing.spent([pacing.of_model(self._folder(last))])
        return pacing.ends_in_time(self._pace_of(last), replace(standing, spent=standing.spent + own))

    def _note(self, **left_out: Any) -> None:
        record.write(self._job.run.folder / filenames.LEFT_OUT, replace(self._job.run.all_left_out, **left_out))

    def warn(self) -> None:
        """Print which folds are left out, if any."""
        left_out = self._job.run.left_out
        if left_out:
            which = f"fold {left_out[0]} is" if len(left_out) == 1 else f"folds {', '.join(map(str, left_out))} are"
            self._job.console.warn(
                f"{self._pace.budget / 60:.0f} min was too little on this machine: {which} left out, and those images "
                "are not scored; use a larger --budget"
            )

    def _standing(self, model: FoldModel, waiting: Sequence[FoldModel]) -> Standing:
        stages = self._stages.seconds()
        before = sum(self._job.run.seconds.values()) + sum(stages.get(name, 0.0) for name in ("folds", "features"))
        others = [(one, pacing.of_model(self._folder(one))) for one in self._all if one.name != model.name]
        measured = [(self._backbone(one), other.epoch) for one, other in others if other.epoch is not None]
        epoch = self._expected_epoch(model, measured)
        return Standing(
            spent=before + pacing.spent([other for _, other in others]),
            epoch=epoch,
            waiting_epochs=sum(self._expected_epoch(one, measured) / epoch for one in waiting),
            waiting_seconds=sum(self._pace_of(one).model for one in waiting),
        )

    def _expected_epoch(self, model: FoldModel, measured: Sequence[tuple[int, float]]) -> float:
        """Return the time of an epoch as `measured` last with this backbone, or as planned and as slow as another.

        Each measurement has the number of its backbone.
        """
        same = [epoch for backbone, epoch in measured if backbone == self._backbone(model)]
        if same:
            return same[-1]
        slowness = [epoch / self._pace.of_backbone(backbone).epoch for backbone, epoch in measured]
        return self._pace_of(model).epoch * (slowness[-1] if slowness else 1.0)

    def _pace_of(self, model: FoldModel) -> Pace:
        return self._pace.of_backbone(self._backbone(model))

    def _backbone(self, model: FoldModel) -> int:
        return model.number // self._job.recipe.training.models

    def _folder(self, model: FoldModel) -> Path:
        return self._job.run.folder / model.folder
