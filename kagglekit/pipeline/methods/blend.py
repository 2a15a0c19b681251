"""Method "blend": weighted sums of what other runs predict, and of members inside them.

N: scored images, M: test images, R: readable test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from kagglekit.base import devices, distributed, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.data import folds
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import blend_runs, members
from kagglekit.pipeline.methods.base import Method
from kagglekit.pipeline.methods.fitted import Fitted
from kagglekit.pipeline.methods.members import MembersRun
from kagglekit.pipeline.predictions import Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, record
from kagglekit.runs.choices import LeftOut
from kagglekit.runs.record import BackboneRecord
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Task
from kagglekit.training.budget import Work

_STAGES = (
    Stage("folds", (filenames.FOLDS,)),
    Stage("device", (filenames.PROVIDER,)),
    Stage("blend", (filenames.BLEND,), after=("folds",)),
)


class Blending(Method):
    """Finished runs of a competition, blended. Each way to do it is kept only if its gain is proven."""

    name = "blend"
    takes_backbones = False

    def __init__(self, method_of: Callable[[Recipe], Method]) -> None:
        """`method_of` returns the method of a member."""
        self._method_of = method_of

    def describe(self, recipe: Recipe) -> str:
        """Return the name and the number of runs."""
        return f"{self.name} of {len(recipe.training.members)} runs"

    def default_backbones(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[tuple[str, ...], str]:  # noqa: ARG002
        """Return none: those of its members predict."""
        return (), ""

    def check(self, recipe: Recipe, task: Task) -> None:  # noqa: ARG002
        """Raise UserError for fewer than two runs."""
        if len(set(recipe.training.members)) < 2:
            raise UserError(f"method = {self.name!r}: it combines two runs or more: use `kagglekit blend NAME`.")

    def inputs(self, recipe: Recipe, workspace: Workspace) -> Mapping[str, Any]:
        """Return what its members have found out. Raises UserError if one is not finished."""
        return {"members": {run.id: blend_runs.digest(run) for run in _runs(recipe, workspace)}}

    def backbones(self, job: Job) -> tuple[BackboneRecord, ...]:
        """Return the different backbones of its members."""
        every = [each for run in _runs(job.recipe, job.workspace) for each in run.record.backbones]
        return tuple({storage.digest(each.to_plain()): each for each in every}.values())

    def stages(self, job: Job) -> tuple[Stage, ...]:  # noqa: ARG002
        """Return the stages, the same for all runs."""
        return _STAGES

    def predict(self, job: Job, stages: Stages) -> Predictions | None:
        """Choose weights, and return the best member and each way to blend as a candidate."""
        if not distributed.is_first():
            return None
        run = BlendRun(job, self._method_of)
        stages.make("folds", run.write_members_folds)
        stages.make("device", run.write_devices)
        stages.make("blend", run.write_weights)
        return run.read_predictions()

    def fitted(self, run: FinishedRun, part: str, member: str = "") -> Fitted:  # noqa: ARG002
        """Return a part of each member with a weight."""
        known: dict[str, FinishedRun] = {}
        terms = []
        for name, weight in members.kept_weights(run).items():
            own, _, inside = name.partition("/")
            if own not in known:
                (its_run,) = blend_runs.members([own], run.run.folder.parent)
                known[own] = FinishedRun(its_run, run.console)
            fitted = self._method_of(known[own].recipe).fitted(known[own], part, inside)
            terms += [replace(term, weight=weight * term.weight) for term in fitted.terms]
        return Fitted(tuple(terms))

    def show(self, run: Run, console: Console) -> None:
        """Print members with their scores and weights, and ways to blend with their gains."""
        members.show(run, console)


class BlendRun(MembersRun):
    """The stages of one run."""

    def __init__(self, job: Job, method_of: Callable[[Recipe], Method]) -> None:
        super().__init__(job)
        self._method_of = method_of
        self.runs = _runs(job.recipe, job.workspace)
        blend_runs.check(self.runs, job)

    @cached_property
    def members(self) -> list[Member]:
        """What may be blended. Predictions of the test set are those of its readable images, (R, C)."""
        scored = self.fold != folds.TRAIN_ONLY
        asked = Asked(ids=self.scored_ids, fold=self.fold[scored], test=self.readable["id"].tolist())
        found: list[Member] = []
        for run in self.runs:
            finished = FinishedRun(run, self.job.console)
            own = self._method_of(finished.recipe).members(finished, asked)
            if not own:
                raise UserError(f"run {run.id}: method {finished.recipe.training.method} has nothing to blend.")
            found += own
        return found

    def write_members_folds(self) -> None:
        """Write the folds of the members, which have the same; what one of them left out is not scored."""
        left_out = {fold for run in self.runs for fold in run.left_out}
        if left_out:
            record.write(self.run.folder / filenames.LEFT_OUT, LeftOut(folds=tuple(sorted(left_out))))
        fold = self.runs[0].planned_folds().loc[self.table["id"]].to_numpy()
        self.run.write_frame(filenames.FOLDS, self.table[["id"]].assign(fold=fold))

    def write_devices(self) -> None:
        """Record the devices that computed the members."""
        used = {each.used for run in self.runs for each in run.providers}
        self.write_device(", ".join(sorted(used)))


def _runs(recipe: Recipe, workspace: Workspace) -> list[Run]:
    return blend_runs.members(recipe.training.members, workspace.runs)
