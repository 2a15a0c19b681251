"""Members of a run and the ways to blend them: the part that runs of several members share.

N: scored images, M: test images, R: readable test images, C: classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from kagglekit.base.console import Console
from kagglekit.base.scores import shown
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.pipeline import blending, deciding, gates
from kagglekit.pipeline.blending import Member, Way, Weights
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.methods.base import MethodRun
from kagglekit.pipeline.predictions import Candidate, Predictions
from kagglekit.runs import filenames, record
from kagglekit.runs.record import Blend, BlendMember, BlendWay, FinishingStep
from kagglekit.runs.store import Run


class MembersRun(MethodRun):
    """A run whose members are blended: each way to do it is a candidate for better predictions."""

    @property
    @abstractmethod
    def members(self) -> list[Member]:
        """What may be blended. Predictions of the test set are those of its readable images, (R, C)."""

    @cached_property
    def scored(self) -> gates.Scored:
        """The scored images."""
        table = self.table.assign(fold=self.fold)[self.fold != folds.TRAIN_ONLY]
        return gates.scored_rows(table, self.members[0].oof, self.task)

    def write_weights(self) -> None:
        """Choose the weights of each way to blend."""
        metric, truth = self.job.competition.scored_by, self.scored.truth
        usual = deciding.usual(self.task, metric)
        with self.job.console.rich.status("choosing weights"):
            found = blending.ways(self.members, self.scored, self.task, metric, self.recipe.data.seed)
        ways = [
            BlendWay(
                name=way.name,
                weights=way.weights,
                parts={str(part): weights for part, weights in way.parts.items()},
            )
            for way in found
        ]
        members = [
            BlendMember(name=each.name, score=gates.score(truth, deciding.needed(metric, each.oof, usual), metric))
            for each in self.members
        ]
        record.write(self.run.folder / filenames.BLEND, Blend(members=tuple(members), ways=tuple(ways)))

    def read_predictions(self) -> Predictions:
        """Return the predictions of the best member, and each way to blend as a candidate."""
        first, *others = self.ways()
        best = self._candidate(first)
        own = self.predictions(best.oof, best.test, tuple(map(self._candidate, others)))
        return replace(own, name=f"{first.name} {', '.join(first.weights)}", note=best.note)

    def ways(self) -> list[Way]:
        """Return the ways to blend with their weights, the best member first."""
        return [_way(one) for one in read(self.run).ways]

    def _candidate(self, way: Way) -> Candidate:
        oof, test = self.predicted(way, self.members)
        alone, note = way.is_alone(self.members), way.note(self.members)
        return Candidate(way.name, oof, self.all_requested(test), alone=alone, note=note)

    def predicted(self, way: Way, members: Sequence[Member]) -> tuple[Wide, Wide]:
        """Return what a way to blend makes of members: predictions (N, C) and (R, C)."""
        part = gates.parts(self.scored, self.recipe.data.seed)
        return blending.predicted(way, members, part, self.task.activation)


def are_blended(run: Run) -> bool:
    """Return whether a finished run has members."""
    return (run.folder / filenames.BLEND).is_file()


def kept_weights(run: FinishedRun) -> Weights:
    """Return the weights with which a finished run predicts other images, alone."""
    found = read(run.run)
    kept = [way for way in found.ways if way.name in run.steps]
    return (kept or found.ways[:1])[-1].weights


def together(run: FinishedRun, inside: Sequence[Member], asked: Asked) -> list[Member]:
    """Return a finished run of several members as it predicts before temperature and clip.

    There is none for a hold-out set, whose parts are known to the run only.
    """
    if run.recipe.data.validation != "folds":
        return []
    way = _way(_used(read(run.run), run.run.finishing))
    oof, test = blending.predicted(way, inside, asked.fold, run.task.activation)
    return [Member(name=run.run.id, oof=oof, test=test, alone=way.is_alone(inside), note=way.note(inside))]


def show(run: Run, console: Console) -> None:
    """Print members with their scores and weights."""
    found, result = read(run), run.finished()
    weights = _used(found, result.finish).weights
    rows = [(one.name, shown(one.score), _weight(weights.get(one.name))) for one in found.members]
    of = "" if result.scored_groups is None else ", scored by image: steps are judged by group"
    console.table(f"members before finishing{of}", ("", f">{result.metric}", ">weight"), rows)


def _used(found: Blend, finished: Sequence[FinishingStep]) -> BlendWay:
    """Return the last way to blend that was kept, else the best member."""
    kept = {step.step for step in finished if step.kept}
    return next((one for one in reversed(found.ways) if one.name in kept), found.ways[0])


def _way(one: BlendWay) -> Way:
    return Way(name=one.name, weights=one.weights, parts={int(part): own for part, own in one.parts.items()})


def read(run: Run) -> Blend:
    """Return the members of a run and their weights."""
    found = record.read(run.folder / filenames.BLEND, Blend)
    assert found is not None, "a file of the stages before"
    return found


def _weight(weight: float | None) -> str:
    return "" if weight is None else f"{weight:.3f}"
