"""Method "features": frozen backbones with one head per fold, and one head on all training images.

A run has members: heads see each backbone alone, the earlier layers of those that give them, and several backbones side
by side. What they predict is blended if a gain is proven.

N: training images, R: readable test images, V: views, D: features, C: classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kagglekit.base import devices, distributed
from kagglekit.base.console import Console
from kagglekit.competitions.competition import Competition
from kagglekit.heads import head_file, heads
from kagglekit.models import registry, weights
from kagglekit.models.backbone import LAYERS, Backbone
from kagglekit.pipeline import views
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import members, pseudo_heads, pseudo_labels
from kagglekit.pipeline.methods.base import Method
from kagglekit.pipeline.methods.features_run import (
    EARLIER,
    FeaturesRun,
    Names,
    read_members,
)
from kagglekit.pipeline.methods.fitted import Fitted, Network, Output, Term
from kagglekit.pipeline.predictions import Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Task
from kagglekit.training import budget
from kagglekit.training.budget import Work

_STAGES = (
    Stage("folds", (filenames.FOLDS,)),
    Stage("features", (filenames.PROVIDER,)),
    Stage("heads", (filenames.HEADS, filenames.OOF_OF_HEADS), after=("folds", "features")),
    Stage("predict", (filenames.TEST_OF_HEADS,), after=("features", "heads")),
)
_STAGES_OF_MEMBERS = (
    *_STAGES[:2],
    Stage("heads", (filenames.HEADS, filenames.OOF_OF_HEADS, filenames.OOF_OF_MEMBERS), after=("folds", "features")),
    Stage("predict", (filenames.TEST_OF_HEADS, filenames.TEST_OF_MEMBERS), after=("features", "heads")),
    Stage("blend", (filenames.BLEND,), after=("folds", "heads")),
)
_PSEUDO = Stage(
    pseudo_labels.STEP, (filenames.OOF_OF_PSEUDO, filenames.TEST_OF_PSEUDO), after=("folds", "features", "heads")
)


_MOST = 100_000
"""Images times columns: with more, heads on several backbones would take most of the time. So would class means, which
are tried with few images of each class: they take nine times as long on three backbones, and more.
"""


_OBLONG = 1.25
"""Ratio of the sides of a usual image above which one backbone also sees images without a crop. On leaf-classification
(ratio 1.7) that lowered the log loss from 0.557 to 0.274 (three seeds of three folds), and on dogs-vs-cats (photographs
of 4 to 3) from 0.0248 to 0.0235 with one split into folds, and from 0.0325 to 0.0243 with another."""


def are_costly(work: Work) -> bool:
    """Return whether heads on several backbones would take long."""
    columns = len(work.task.columns)
    return work.images * columns > _MOST or work.images < heads.FEW * columns


def is_oblong(recipe: Recipe, work: Work) -> bool:
    """Return whether a crop cuts so much off usual images that one backbone should see all of them."""
    return recipe.features.crop == "model" and work.elongation > _OBLONG


def most_backbones(recipe: Recipe, work: Work) -> float:
    """Return how many backbones heads on a CPU have time for; what a crop cuts off is worth that of a second."""
    if not are_costly(work):
        return math.inf
    few = work.images * len(work.task.columns) <= _MOST
    return 2.0 if few and is_oblong(recipe, work) else 1.0


class FrozenFeatures(Method):
    """Heads on frozen backbones: takes seconds, and works well with few images."""

    name = "features"

    def describe(self, recipe: Recipe) -> str:
        """Return the name and the kind of head."""
        return f"{self.name}, {recipe.heads.head}"

    def default_backbones(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[tuple[str, ...], str]:
        """Return strong backbones, as many as there is time for: each image passes through them only once."""
        if work.raced:
            return work.raced, "chosen by a race"
        if device == "cpu" and recipe.features.shape is not None:
            return registry.default(device, 1.0)
        most = budget.affordable_features(recipe, work, device)
        if device == "cpu":
            most = min(most, most_backbones(recipe, work))
        return registry.default(device, most, oblong=is_oblong(recipe, work))

    def check(self, recipe: Recipe, task: Task) -> None:
        """Raise UserError for a head that can't predict this."""
        heads.check(task, recipe.heads)

    def search_space(self, competition: Competition, device: devices.Device) -> Mapping[str, str]:
        """Return what a frozen backbone sees, which of its outputs are used, and the heads on them."""
        packaged = [name for name in weights.EMBEDDED if weights.embedded_file(name) is not None]
        several = ["+".join(packaged)] if len(packaged) > 1 else []
        backbones = dict.fromkeys(["+".join(registry.default(device)[0]), *packaged, *several])
        mirrored = {"feature_views": "plain+mirror,plain"} if competition.mirror_classes is not None else {}
        return {
            "head": "auto,logistic,mlp,nearest,ordinal",
            "backbone": ",".join(backbones),
            "image_size": "0,224,320",
            "crop": "model,centre,squash",
            "output": "pooled,logits",
            "balance": "0,0.5,1",
            "mlp_width": "64..1024",
            "mlp_dropout": "0..0.8",
        } | mirrored

    def using(self, backbones: Sequence[Backbone]) -> list[Backbone]:
        """Return the backbones, with the features of earlier layers."""
        return list(backbones)

    def stages(self, job: Job) -> tuple[Stage, ...]:
        """Return the stages; where there are several members, those of the others and of their blend too."""
        found = _STAGES_OF_MEMBERS if Names.of(self.backbones(job)).others else _STAGES
        return (*found, _PSEUDO) if pseudo_labels.are_wanted(job) else found

    def predict(self, job: Job, stages: Stages) -> Predictions | None:
        """Compute features, fit heads and return out-of-fold and test probabilities by id."""
        if not distributed.is_first():
            return None
        run = FeaturesRun(job)
        stages.make("folds", run.write_folds)
        stages.make("features", run.write_features)
        stages.make("heads", run.write_heads)
        stages.make("predict", run.write_predictions)
        if run.names.others:
            stages.make("blend", run.write_weights)
        if pseudo_labels.are_wanted(job):
            stages.make(pseudo_labels.STEP, run.write_pseudo_labels)
        return run.read_predictions()

    def members(self, run: FinishedRun, asked: Asked) -> list[Member]:
        """Return the run, and inside it the heads without pseudo-labels, if others are used or there are several."""
        names, rounds = _names(run.run), pseudo_heads.rounds_kept(run.run)
        inside = read_members(run.run, run.labels, names, asked)
        last = read_members(run.run, run.labels, names, asked, rounds) if rounds else inside
        whole = members.together(run, last, asked) if len(inside) > 1 else [replace(last[0], name=run.run.id)]
        if inside is last and len(inside) == 1:
            return whole
        own = [replace(one, name=f"{run.run.id}/{one.name}", whole=False) for one in inside]
        return [*whole, *own]

    def fitted(self, run: FinishedRun, part: str, member: str = "") -> Fitted:
        """Return the frozen backbones and the heads of a part, with the weights of members if there are several."""
        heads_by_name = head_file.load(run.run.folder / filenames.HEADS)
        seen = views.allowed(run.recipe.features.feature_views, run.mirror)
        names = _names(run.run)
        weights = {member: 1.0} if member else members.kept_weights(run) if names.others else {names.whole: 1.0}
        terms = []
        for name, weight in weights.items():
            networks = [Network(backbone.name, backbone) for backbone in _seen(run, name, names)]
            output: Output = LAYERS if name == EARLIER else run.recipe.features.output
            term = Term(
                networks=tuple(networks),
                views=seen,
                view_classes=run.classes_in(seen),
                head=heads_by_name[names.head(part, name)],
                output=output,
                weight=weight,
            )
            terms.append(term)
        return Fitted(tuple(terms))

    def show(self, run: Run, console: Console) -> None:
        """Print members with their scores and weights, if there are several."""
        if _names(run).others:
            members.show(run, console)


def _names(run: Run) -> Names:
    """Return the names of the members. Older runs have one, whatever their backbones are."""
    names = Names.of(run.record.backbones)
    return names if members.are_blended(run) else Names(names.whole)


def _seen(run: FinishedRun, member: str, names: Names) -> list[Backbone]:
    """Return the backbones that the heads of a member see."""
    if member == names.whole:
        return run.backbones
    if member == EARLIER:
        return [own for own, then in zip(run.backbones, run.record.backbones, strict=True) if LAYERS in then.outputs]
    return [run.backbones[names.others.index(member)]]
