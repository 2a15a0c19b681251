"""The stages of a run of method "finetune".

N: training images, M: test images, C: classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base import distributed, shortlists
from kagglekit.base.arrays import Labels
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.images import scenes
from kagglekit.pipeline import tta
from kagglekit.pipeline.finished import Asked
from kagglekit.pipeline.methods import pseudo_labels
from kagglekit.pipeline.methods.budget_schedule import BudgetSchedule
from kagglekit.pipeline.methods.finetune_trainers import FinetuneTrainers
from kagglekit.pipeline.methods.fold_models import FoldModel, fold_models, joined, predicting, refitted_models, views_of
from kagglekit.pipeline.predictions import Predictions
from kagglekit.pipeline.views import MIRROR, PLAIN
from kagglekit.runs import filenames
from kagglekit.runs.stages import Stages
from kagglekit.training import (
    checkpoints,
    classifier,
    inference,
    initial_weights,
    losses,
    pacing,
    precisions,
    second_cycle,
)
from kagglekit.training import phases as named

if TYPE_CHECKING:
    from kagglekit.training.loop import Trainer


class FinetuneRun(FinetuneTrainers):
    """The stages of one run."""

    def check(self) -> None:
        """Raise UserError for invalid settings before hours of work, and warn of settings without effect."""
        recipe, warn = self.recipe, self.job.console.warn
        precisions.choose(recipe.compute.precision, self.device)
        for backbone in self.job.backbones:
            self._augmenter(backbone, recipe.data.seed)
            classifier.check_regularisation(backbone, recipe.training)
        pseudo_labels.warn_without_effect(self.job)
        self._check_refit()
        if recipe.schedule.patience and not recipe.training.validation_share:
            warn("patience has no effect: with validation_share = 0 there is no validation loss to watch")
        elif recipe.schedule.patience and all(phase.schedule == "one-cycle" for phase in self.phases):
            warn("patience has no effect: a one-cycle phase always runs to its end")
        if recipe.finish.neighbours and len(self.predicted_views) == 1:
            warn("neighbours has no effect: it is judged on the mean of several models per fold: use --set models=2")
        if recipe.finish.scenes and len(self.predicted_views) == 1:
            warn("scenes has no effect: it is judged on the mean of several models per fold: use --set models=2")
        batch = recipe.training.train_batch
        if batch % distributed.count():
            warn(f"train_batch = {batch} is rounded: {distributed.count()} processes share it evenly")
        if recipe.finish.tta_views and recipe.augmentation.augment == "none":
            warn("tta_views only costs time: with augment = none all views are the same")
        if recipe.augmentation.label_smoothing and not losses.of(self.task).smooths:
            warn(f"label_smoothing has no effect: {self.task.loss} towards numbers is not smoothed")
        if recipe.heads.head not in ("auto", "logistic") and self.on_features:
            warn(f"head = {recipe.heads.head} has no effect: fine-tuning starts from a logistic head")

    def _check_refit(self) -> None:
        """Raise UserError if a refitted model has nothing to start from; say which models learn pseudo-labels."""
        way, start = self.recipe.training.refit, self.recipe.training.start
        for model in self.refitted if start else ():
            try:
                initial_weights.find(start, model.folder)
            except UserError as error:
                cure = f"refit = {way!r} needs that: train it there by --set refit=all, or use --set refit=folds here."
                raise UserError(f"{error} {cure}") from error
        if self.refitted and pseudo_labels.are_made(self.job):
            self.job.console.say(
                f"refit = {way}: only the models of the folds learn pseudo-labels; if these are kept, they alone "
                "predict the test set"
            )

    # --- stages

    def train_all(self, stages: Stages) -> None:
        """Train all models, within the budget if there is one."""
        distributed.agree(None)  # wait until the first process has written what all share
        schedule = None if self.job.pace is None else BudgetSchedule(self.job, self.job.pace, stages)
        waiting = list(self.fold_models)
        while waiting:
            model, *waiting = waiting
            if schedule:
                waiting = schedule.begin(model, waiting)
            self._train_model(stages, model, partial(self.train, model, schedule))
            if model.fold not in {other.fold for other in waiting}:
                self._tell(model.fold)
        if schedule:
            schedule.warn()
        self.fold_models = fold_models(self.run, self.recipe, self.job.backbones)
        self.__dict__.pop("fold", None)  # images of folds that were left out are not scored
        last = self.fold_models[-1]
        if self.refitted and (schedule is None or schedule.goes_on("refit", self.refitted, last)):
            for model in self.refitted:
                self._train_model(stages, model, partial(self.train, model))
        again = [model.again for model in self.fold_models]
        if pseudo_labels.are_made(self.job) and (schedule is None or schedule.goes_on("pseudo_labels", again, last)):
            self._train_on(stages, self.fold_models)

    @property
    def refitted(self) -> list[FoldModel]:
        """The models that are trained on all images, if any."""
        return refitted_models(self.run, self.recipe, self.job.backbones)

    def _train_on(self, stages: Stages, models: Sequence[FoldModel]) -> None:
        """Train models on, which are all those of their folds."""
        for model in models:
            self._train_model(stages, model.again, partial(self.train_on, model.again))

    def _tell(self, fold: int) -> None:
        """Tell the run's watcher what the models of a fold predict of its images."""
        if not distributed.is_first():
            return
        places = np.flatnonzero(self.fold == fold)
        ids = self.table["id"].iloc[places].tolist()
        own = [model for model in self.fold_models if model.fold == fold]
        paths = [f"{model.folder}/{filenames.OOF}" for model in own]
        rows = shortlists.mean(self.run.read_probabilities(path, ids, self.labels, view=PLAIN) for path in paths)
        self.job.watcher.fold(fold, self.truth[places], rows)

    def train_fold(self, stages: Stages, fold: int) -> None:
        """Train the models of one fold, for as long as planned: other commands train the other folds."""
        distributed.agree(None)  # wait until the first process has written what all share
        schedule = None if self.job.pace is None else BudgetSchedule(self.job, self.job.pace, stages, decides=False)
        models = [model for model in self.fold_models if model.fold == fold]
        for model in models:
            self._train_model(stages, model, partial(self.train, model, schedule))
        if pseudo_labels.are_made(self.job):
            self._train_on(stages, models)

    def _train_model(self, stages: Stages, model: FoldModel, train: Callable[[], None]) -> None:
        """Train a model unless that is done. Several processes train it together."""
        with self.run.locked(self.job.console, model.folder):
            stages.make(model.name, train, together=True)
            if distributed.is_first():  # only a killed command would resume from this checkpoint
                (self.run.folder / model.folder / checkpoints.FILE).unlink(missing_ok=True)

    def train(self, model: FoldModel, schedule: BudgetSchedule | None = None) -> None:
        """Train one model, and predict its held-out fold, if it has one, and the test images."""
        started, console = pacing.now(), self.job.console
        trainer, phases = self._trainer_of(model), self._phases_of(model)
        for name in ([named.HEAD] if self.on_features else []) + [phase.name for phase in phases]:
            if self.recipe.schedule.plan == "eight-step":
                console.say(f"{model.name}: {name}: {named.STEPS[name]}")
        pacer = None if schedule is None else schedule.pacer(model, trainer.steps_per_epoch, started)
        planned = sum(phase.epochs for phase in self.phases)
        epochs = pacer.epochs(0) if pacer else sum(phase.epochs for phase in phases)
        if epochs != planned:
            why = "to end in time" if epochs < planned else "since the machine is faster than measured"
            console.say(f"{model.name}: {epochs:g} epochs instead of {planned}, {why}")

        def images() -> int:
            length = pacer.length if pacer else epochs
            return math.ceil(length * trainer.steps_per_epoch) * trainer.batch

        with console.progress(model.name, images, "images") as advance:
            trainer.train(phases, advance, named.HEAD if self.on_features else named.START, pacer)
        self._predict(model, trainer)
        if pacer:
            pacer.finished()

    def _phases_of(self, model: FoldModel) -> list[named.Phase]:
        """Return the phases; a refitted model trains for as many epochs as the clock left to those of the folds."""
        own = [self.run.folder / one.folder for one in self.fold_models if one.number == model.number]
        lengths = [paced.checks[-1].epochs for paced in map(pacing.of_model, own) if paced.checks]
        if not model.is_refitted or not lengths:
            return list(self.phases)
        (phase,) = self.phases  # the clock stretches a single one
        return [replace(phase, epochs=max(round(float(np.mean(lengths))), 1))]

    def train_on(self, model: FoldModel) -> None:
        """Train a model for a second cycle, also on guesses of its fold's models, and predict again."""
        trainer = self._trainer_of(model)
        images = second_cycle.EPOCHS * trainer.images_per_epoch
        with self.job.console.progress(model.name, images, "images") as advance:
            trainer.train([second_cycle.phase(self.phases[-1])], advance)
        self._predict(model, trainer)

    def _predict(self, model: FoldModel, trainer: Trainer) -> None:
        """Predict the held-out fold of a trained model, if it has one, and the test images."""
        trained = inference.TrainedModel(trainer, model.backbone, self.recipe.compute, self.job.console.warn)
        if not model.is_refitted:
            held = np.flatnonzero(self.fold == model.fold)
            self._write_views(model, filenames.OOF, self.table["id"].iloc[held].tolist(), self._some(held), trained)
        self._write_views(model, filenames.TEST, self.readable["id"].tolist(), self.test_contents, trained)
        if distributed.is_first():
            self.write_device(trained.device, folder=model.folder)

    # --- predictions

    @cached_property
    def predicted_views(self) -> list[str]:
        """Views that every model predicts."""
        return tta.names(self.recipe.finish, mirrors=MIRROR in self.views, models=self._models_per_fold)

    @property
    def _models_per_fold(self) -> int:
        return sum(model.fold == 0 for model in self.fold_models)

    def _write_views(
        self, model: FoldModel, file: str, ids: list[str], contents: Sequence[bytes], trained: inference.TrainedModel
    ) -> None:
        found = tta.predict(self.predicted_views, contents, trained, self.recipe.finish)
        if not distributed.is_first():
            return
        rows = shortlists.joined([found[view] for view in self.predicted_views])
        names = [view for view in self.predicted_views for _ in ids]
        path = f"{model.folder}/{file}"
        self.run.write_probabilities(path, ids * len(self.predicted_views), rows, self.labels, view=names)

    def read_predictions(self) -> Predictions:
        """Read the predictions of the stages: means over each fold's models, and over several for the test set."""
        tested = predicting(self.fold_models, self.refitted, self.recipe)
        seen = views_of(self.run, self.fold_models, self.predicted_views, self.labels)
        by_view = {view: self._joined(view, self.fold_models, tested) for view in seen}
        if len(by_view) == 1 and (self.recipe.finish.tta_views or MIRROR in self.views):
            self.job.console.say(
                "test-time augmentation stays off: it is judged on the mean of several models per fold; "
                "--set models=2 trains them"
            )
        oof, test = by_view[PLAIN]
        candidates = tta.candidates(by_view, self.recipe.finish)
        if pseudo_labels.are_made(self.job):
            again = {view: self._joined(view, [model.again for model in self.fold_models]) for view in by_view}
            candidates += pseudo_labels.candidates(again, self.recipe.finish)
        found = self.predictions(oof, test, candidates)
        return replace(found, scenes=partial(self._scenes, oof, test)) if self.recipe.finish.scenes else found

    def _scenes(self, oof: Wide, test: Wide) -> tuple[Labels, Labels]:
        """Return the scene of each scored image, told apart within its fold, and of each test image.

        What they are predicted as is in `oof` (N, C) and `test` (M, C).
        """
        store, most = self._all_pixels(self.job.backbones[0]), self.recipe.finish.scenes

        def told_apart(contents: Sequence[bytes], predictions: Wide) -> Labels:
            shown = scenes.shown_by(predictions)
            return scenes.tell_apart((store.row(content) for content in contents), shown, most)

        places = np.flatnonzero(self.fold != folds.TRAIN_ONLY)
        known = np.zeros(len(places), np.int64)
        for part in folds.scored(self.fold).tolist():
            here = self.fold[places] == part
            known[here] = told_apart(self._some(places[here]), oof[here])
        asked = np.zeros(len(self.job.tables.requested), np.int64)
        asked[self._is_readable] = told_apart(self.test_contents, test[self._is_readable])
        return known, asked

    def _joined(self, view: str, models: Sequence[FoldModel], tested: Sequence[FoldModel] = ()) -> tuple[Wide, Wide]:
        """Return one view's out-of-fold probabilities of the scored images, and those of the test images to predict."""
        readable = self.readable["id"].tolist()
        asked = Asked(ids=self.scored_ids, fold=self.fold[self.fold != folds.TRAIN_ONLY], test=readable)
        oof, test = joined(self.run, models, view, asked, self.labels, tested=tested)
        return oof, self.all_requested(test)
