"""Method "finetune": trains the backbone itself, one or several models per fold.

N: training images, M: test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base import devices, distributed
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.models import registry
from kagglekit.pipeline import tta
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import finetune_members, pseudo_labels
from kagglekit.pipeline.methods.base import FoldByFold
from kagglekit.pipeline.methods.finetune_run import FinetuneRun
from kagglekit.pipeline.methods.fitted import WHOLE, Fitted, Network, Term
from kagglekit.pipeline.methods.fold_models import FoldModel, fold_models, predicting, refitted_models
from kagglekit.pipeline.predictions import Predictions
from kagglekit.pipeline.views import MIRROR, PLAIN
from kagglekit.recipe import FeatureSettings, Recipe, ScheduleSettings
from kagglekit.runs import filenames
from kagglekit.runs.stages import Stage, Stages
from kagglekit.training import budget, classifier, losses, second_cycle
from kagglekit.training import phases as named
from kagglekit.training.budget import Plan, Work

if TYPE_CHECKING:
    from kagglekit.training.layers import Trained
    from kagglekit.training.lr_finder import Sweep


class FineTuning(FoldByFold):
    """Training the backbones: takes minutes to hours, and is better with enough images and time."""

    name = "finetune"

    def describe(self, recipe: Recipe) -> str:
        """Return the name and the training plan."""
        return f"{self.name}, {recipe.schedule.plan}"

    def default_backbones(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[tuple[str, ...], str]:  # noqa: ARG002
        """Return a single backbone: each fold trains its own copy."""
        return registry.default_trained(device)

    def suits(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[bool, str]:
        """Return whether `auto` should train too: images and time suffice; and the reason."""
        return budget.fits(recipe, _names(recipe.features), work, device)

    def plan(self, recipe: Recipe, work: Work, device: devices.Device) -> Plan:
        """Choose steps, folds, image size and epochs within the budget."""
        return budget.plan(recipe, _names(recipe.features), work, device)

    def search_space(self, competition: Competition, device: devices.Device) -> Mapping[str, str]:  # noqa: ARG002
        """Return how fast layers learn, and what keeps them from learning by heart."""
        smoothed = {"label_smoothing": "0..0.15"} if losses.of(competition.task).smooths else {}
        return {
            "learning_rate": "3e-4..1e-2",
            "rates": "0.1+0.3+1,0.03+0.1+1,0.3+0.6+1,1",
            "image_size": "0,128,160,224",
            "augment": "side-on,none,light,top-down,strong",
            "mixup": "0..0.4",
            "dropout": "0..0.5",
            "drop_path": "0..0.2",
            "weight_decay": "1e-3..1e-1",
            "ema": "0,0.9,0.99",
            "batch_norm": "trained,frozen",
        } | smoothed

    def stages(self, job: Job) -> tuple[Stage, ...]:
        """Return the stages, one per model after the shared ones."""
        first = (Stage("folds", (filenames.FOLDS,)), Stage("features", (filenames.PROVIDER,)))
        models = fold_models(job.run, job.recipe, job.backbones)
        refitted = refitted_models(job.run, job.recipe, job.backbones)
        trained = [_stage(model, _last_weights(job.recipe.schedule)) for model in (*models, *refitted)]
        if not pseudo_labels.are_made(job):
            return (*first, *trained)
        again = (
            _stage(
                model.again, f"{second_cycle.NAME}.safetensors", [one.name for one in models if one.fold == model.fold]
            )
            for model in models
        )
        return (*first, *trained, *again)

    def predict(self, job: Job, stages: Stages) -> Predictions | None:
        """Train all models. Return probabilities by id; None in all processes but the first."""
        run = self._prepared(job, stages)
        run.train_all(stages)
        return run.read_predictions() if distributed.is_first() else None

    def folds(self, job: Job) -> Sequence[int]:
        """Return the folds of a run."""
        return sorted({model.fold for model in fold_models(job.run, job.recipe, job.backbones)})

    def prepare(self, job: Job, stages: Stages) -> None:
        """Check the settings, and write folds, features and pixels."""
        self._prepared(job, stages)

    def train_fold(self, job: Job, stages: Stages, fold: int) -> None:
        """Train the models of one fold, and print which folds remain."""
        run = FinetuneRun(job)
        run.train_fold(stages, fold)
        missing = sorted({model.fold for model in run.fold_models if not stages.is_made(model.name)})
        left = f"still to be trained: {', '.join(map(str, missing))}" if missing else "all folds are trained"
        job.console.say(f"fold {fold} is trained; {left}; run the command without --fold to combine them")

    def ways(self, job: Job) -> Mapping[str, Predictions]:
        """Return what each choice of `refit` predicts, where the run has the models of all of them."""
        if job.recipe.training.refit != "both" or job.run.all_left_out.refit:
            return {}
        chosen = {way: job.recipe.changed(refit=way) for way in ("folds", "all", "both")}
        return {way: FinetuneRun(replace(job, recipe=recipe)).read_predictions() for way, recipe in chosen.items()}

    def members(self, run: FinishedRun, asked: Asked) -> list[Member]:
        """Return the run, and its models and views if it has several models per fold."""
        return finetune_members.read(run, asked)

    def fitted(self, run: FinishedRun, part: str, member: str = "") -> Fitted:
        """Return the trained models of a fold, or of the whole run, in the mirrored view too if the run kept it.

        A member is one model of each fold in one view.
        """
        last = _last_weights(run.recipe.schedule)
        seen: tuple[str, ...] = (PLAIN, MIRROR) if tta.MIRRORED in run.steps else (PLAIN,)
        number, _, view = member.partition("-")
        models = fold_models(run.run, run.recipe, run.backbones)
        refitted = refitted_models(run.run, run.recipe, run.backbones)
        used = predicting(models, refitted, run.recipe) if part == WHOLE else models
        networks = tuple(
            _network(run, model, run.run.folder / model.folder / last)
            for model in used
            if part in (WHOLE, f"fold{model.fold}") and number in ("", str(model.number))
        )
        seen = (view,) if member else seen
        return Fitted((Term(networks=networks, views=seen, view_classes=run.classes_in(seen)),))

    def _prepared(self, job: Job, stages: Stages) -> FinetuneRun:
        run = FinetuneRun(job)
        run.check()
        stages.make("folds", run.write_folds)
        stages.make("features", run.write_features)
        return run


def _stage(model: FoldModel, weights: str, after: Sequence[str] = ()) -> Stage:
    """Return the stage that trains a model, up to the file with these weights, after those `after`."""
    files = (weights, *([] if model.is_refitted else [filenames.OOF]), filenames.TEST, filenames.PROVIDER)
    return Stage(model.name, tuple(f"{model.folder}/{file}" for file in files), after=("folds", "features", *after))


def _network(run: FinishedRun, model: FoldModel, weights: Path) -> Network:
    """Return a trained model of a finished run."""
    activation = classifier.learnt(weights, run.task).network_activation
    return Network(model.name, model.backbone, weights, len(run.labels), activation)


def _names(seen: FeatureSettings) -> list[str]:
    """Return the names of the backbones, whose speed is measured."""
    return [spec.partition("=")[0] for spec in seen.backbone]


def _last_weights(schedule: ScheduleSettings) -> str:
    """Return the name of the file with the final weights."""
    return f"{named.of(schedule)[-1].name}.safetensors"


def find_rate(job: Job, part: Trained) -> tuple[Sweep, dict[str, float], Path]:
    """Sweep the learning rate of the first fold's model with `part` of it unfrozen.

    Returns the curve, the suggestions by name (empty if the loss never falls), and the path of the plot.
    """
    from kagglekit.training import lr_finder, plots

    run = FinetuneRun(job)
    run.readable = run.readable[:0]  # the sweep needs no test images
    model = run.fold_models[0]
    run.fold = folds.assign(job.tables.train, job.competition.task, job.recipe.data)  # no run has written folds yet
    training = np.flatnonzero(run.fold != model.fold)
    folder = job.workspace.folder
    trainer = run.trainer(model, training, training[:0], folder)
    curve = trainer.find_rate(named.Phase(name=part, trains=part, epochs=1))
    found = lr_finder.suggestions(curve)
    path = folder / f"lr-find-{part}.png"
    plots.finder_plot(curve, found, path, f"{job.competition.name}, {model.backbone.name}: {part}")
    return curve, found, path
