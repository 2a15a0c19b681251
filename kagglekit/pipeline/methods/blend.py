"""Method "blend": weighted sums of what other runs predict, and of members inside them.

N: scored images, M: test images, R: readable test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from kagglekit.base import devices, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.scores import shown
from kagglekit.base.shortlists import Wide
from kagglekit.base.workspace import Workspace
from kagglekit.data import folds
from kagglekit.pipeline import blending, deciding, gates
from kagglekit.pipeline.blending import Member, Way
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import blend_runs
from kagglekit.pipeline.methods.base import Method, MethodRun
from kagglekit.pipeline.methods.fitted import Fitted
from kagglekit.pipeline.predictions import Candidate, Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, record
from kagglekit.runs.record import BackboneRecord, Blend, BlendMember, BlendWay
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Task

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

    def default_backbones(self, device: devices.Device) -> tuple[tuple[str, ...], str]:  # noqa: ARG002
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

    def predict(self, job: Job, stages: Stages) -> Predictions:
        """Choose weights, and return the best member and each way to blend as a candidate."""
        run = BlendRun(job, self._method_of)
        stages.make("folds", run.write_members_folds)
        stages.make("device", run.write_devices)
        stages.make("blend", run.write_weights)
        return run.read_predictions()

    def fitted(self, run: FinishedRun, part: str, member: str = "") -> Fitted:  # noqa: ARG002
        """Return a part of each member with a weight."""
        found = _read(run.run)
        kept = [way for way in found.ways if way.name in run.steps]
        known: dict[str, FinishedRun] = {}
        terms = []
        for name, weight in (kept or found.ways[:1])[-1].weights.items():
            own, _, inside = name.partition("/")
            if own not in known:
                (its_run,) = blend_runs.members([own], run.run.folder.parent)
                known[own] = FinishedRun(its_run, run.console)
            fitted = self._method_of(known[own].recipe).fitted(known[own], part, inside)
            terms += [replace(term, weight=weight * term.weight) for term in fitted.terms]
        return Fitted(tuple(terms))

    def show(self, run: Run, console: Console) -> None:
        """Print members with their scores and weights, and ways to blend with their gains."""
        found, result = _read(run), run.finished()
        judged = {step.step: step for step in result.finish}
        used = [way for way in found.ways[1:] if judged[way.name].kept]
        weights = (used or found.ways[:1])[-1].weights
        rows = [(one.name, shown(one.score), _weight(weights.get(one.name)), "", "") for one in found.members]
        for way in found.ways:
            fate = "start" if way is found.ways[0] else "kept" if judged[way.name].kept else "not kept"
            gain = "" if way is found.ways[0] else f"{way.gain:+.5f} ({way.low:+.5f} to {way.high:+.5f})"
            rows.append((way.name, shown(way.score), "", gain, fate))
        columns = ("", f">{result.metric}", ">weight", ">gain over the best member, 95% interval", "")
        console.table("members, and ways to blend them, before finishing", columns, rows)


class BlendRun(MethodRun):
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

    @cached_property
    def scored(self) -> gates.Scored:
        """The scored images."""
        table = self.table.assign(fold=self.fold)[self.fold != folds.TRAIN_ONLY]
        return gates.scored_rows(table, self.members[0].oof, self.task)

    def write_members_folds(self) -> None:
        """Write the folds of the members, which have the same."""
        fold = self.runs[0].folds().loc[self.table["id"]].to_numpy()
        self.run.write_frame(filenames.FOLDS, self.table[["id"]].assign(fold=fold))

    def write_devices(self) -> None:
        """Record the devices that computed the members."""
        used = {each.used for run in self.runs for each in run.providers}
        self.write_device(", ".join(sorted(used)))

    def write_weights(self) -> None:
        """Choose the weights of each way to blend, and judge it against the best member."""
        metric, seed = self.job.competition.scored_by, self.recipe.data.seed
        usual, truth = deciding.usual(self.task, metric), self.scored.truth
        with self.job.console.rich.status("choosing weights"):
            found = blending.ways(self.members, self.scored, self.task, metric, seed)
        needed = [deciding.needed(metric, self._predicted(way)[0], usual) for way in found]
        sign = 1.0 if metric.lower_is_better else -1.0
        scores = [gates.score(truth, each, metric) for each in needed]
        bounds = [gates.gain_interval(self.scored, needed[0], each, metric, seed) for each in needed]
        ways = [
            BlendWay(
                name=way.name,
                weights=way.weights,
                parts={str(part): weights for part, weights in way.parts.items()},
                score=score,
                gain=sign * (scores[0] - score),
                low=low,
                high=high,
            )
            for way, score, (low, high) in zip(found, scores, bounds, strict=True)
        ]
        members = [
            BlendMember(name=each.name, score=gates.score(truth, deciding.needed(metric, each.oof, usual), metric))
            for each in self.members
        ]
        record.write(self.run.folder / filenames.BLEND, Blend(members=tuple(members), ways=tuple(ways)))

    def read_predictions(self) -> Predictions:
        """Return the predictions of the best member, and each way to blend as a candidate."""
        best, *others = [self._candidate(_way(one)) for one in _read(self.run).ways]
        return self.predictions(best.oof, best.test, tuple(others))

    def _candidate(self, way: Way) -> Candidate:
        oof, test = self._predicted(way)
        return Candidate(way.name, oof, self.all_requested(test), alone=way.is_alone(self.members))

    def _predicted(self, way: Way) -> tuple[Wide, Wide]:
        part = gates.parts(self.scored, self.recipe.data.seed)
        return blending.predicted(way, self.members, part, self.task.activation)


def _runs(recipe: Recipe, workspace: Workspace) -> list[Run]:
    return blend_runs.members(recipe.training.members, workspace.runs)


def _way(one: BlendWay) -> Way:
    return Way(name=one.name, weights=one.weights, parts={int(part): own for part, own in one.parts.items()})


def _read(run: Run) -> Blend:
    found = record.read(run.folder / filenames.BLEND, Blend)
    assert found is not None, "a file of the stages before"
    return found


def _weight(weight: float | None) -> str:
    return "" if weight is None else f"{weight:.3f}"
