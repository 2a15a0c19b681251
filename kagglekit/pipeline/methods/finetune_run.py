"""The stages of a run of method "finetune".

N: training images, M: test images, C: classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from kagglekit.base import devices, distributed, environment, shortlists
from kagglekit.base.arrays import Floats32, Indices, Labels, Mask
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.heads import features, heads
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.images import pixels, scenes
from kagglekit.images.row_store import RowStore
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import shares, tta, views
from kagglekit.pipeline.finished import Asked
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import pseudo_labels
from kagglekit.pipeline.methods.base import MethodRun
from kagglekit.pipeline.methods.budget_schedule import BudgetSchedule
from kagglekit.pipeline.methods.fold_models import FoldModel, fold_models, joined, views_of
from kagglekit.pipeline.predictions import Predictions
from kagglekit.pipeline.views import MIRROR, PLAIN
from kagglekit.runs import filenames
from kagglekit.runs.stages import Stages
from kagglekit.tasks.task import Task
from kagglekit.training import (
    checkpoints,
    classifier,
    contact_sheet,
    inference,
    initial_weights,
    losses,
    pacing,
    policies,
    precisions,
    second_cycle,
)
from kagglekit.training import phases as named

if TYPE_CHECKING:
    from kagglekit.training.augmenter import Augmenter
    from kagglekit.training.loop import Trainer


_MOST_ENLARGED = 2
"""Factor by which a validation split may grow to have an image of each class; beyond, it is not stratified."""
_MOST_DIFFERENT = 1000
"""Number of images with different labels that the contact sheet of augmented images chooses from."""
_SHEET_ROWS, _SHEET_VIEWS = 6, 7
"""Rows of the contact sheet of augmented images, and pictures per row."""


class FinetuneRun(MethodRun):
    """The stages of one run."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.phases = named.of(job.recipe.schedule)
        self.on_features = named.starts_on_features(job.recipe.schedule, job.recipe.training.start)
        self.fold_models = fold_models(job.run, job.recipe, job.backbones)
        self.views, self.view_classes = views.of_run(job.competition, job.recipe.features.feature_views, job.console)
        self.device = devices.choose(job.recipe.compute.provider)

    @cached_property
    def world(self) -> distributed.World:
        """The processes that train together, their device and precision."""
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "provider = 'cuda': torch can't use the GPU (it was built without CUDA, or the driver is too old); "
                "install another torch, or use --provider cpu."
            )
        if self.device == "cpu":
            devices.keep_memory()
            torch.set_num_threads(self.recipe.compute.threads or max(devices.cores() // distributed.count(), 1))
        return distributed.World(self.device, precisions.choose(self.recipe.compute.precision, self.device))

    def check(self) -> None:
        """Raise UserError for invalid settings before hours of work, and warn of settings without effect."""
        recipe, warn = self.recipe, self.job.console.warn
        precisions.choose(recipe.compute.precision, self.device)
        for backbone in self.job.backbones:
            self._augmenter(backbone, recipe.data.seed)
            classifier.check_regularisation(backbone, recipe.training)
        pseudo_labels.warn_without_effect(self.job)
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
        if pseudo_labels.are_made(self.job) and (schedule is None or schedule.goes_on(self.fold_models)):
            self._train_on(stages, self.fold_models)

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

    def write_features(self) -> None:
        """Store features of the training images and pixels of all images."""
        used: set[str] = set()
        for backbone in self.job.backbones:
            if self.on_features:
                used.add(self._features(backbone)[1])
            self._all_pixels(backbone)
        try:
            self._draw_augmented()
        except Exception as error:  # noqa: BLE001  a missing picture must not stop the training
            self.job.console.warn(f"the sheet of augmented images can't be drawn ({type(error).__name__}: {error})")
        self.write_device(self.device, features=sorted(used))

    def _draw_augmented(self) -> None:
        """Draw augmented images as in training, of some images with different labels."""
        from kagglekit.training import learner
        from kagglekit.training.augmenter import label_at

        first = self.fold_models[0]
        augmenter = self._augmenter(first.backbone, learner.seed_of(self.recipe.data.seed, first.fold, first.number))
        store = self._pixels(first.backbone, self.table["path"].tolist(), self.contents)
        once = np.flatnonzero(~self.table["label"].duplicated())[:_MOST_DIFFERENT]
        different = once[np.unique(self.truth[once], axis=0, return_index=True)[1]]
        shown = different[np.linspace(0, len(different) - 1, min(_SHEET_ROWS, len(different))).astype(int)].tolist()
        some = [(store.row(self.contents[index]), label_at(self.truth, index), self.contents[index]) for index in shown]
        sheet = self.run.folder / filenames.AUGMENTATIONS
        contact_sheet.draw_sheet(augmenter, some, contact_sheet.captions(self.job.competition), _SHEET_VIEWS, sheet)

    def train(self, model: FoldModel, schedule: BudgetSchedule | None = None) -> None:
        """Train one model, and predict its held-out fold and the test images."""
        started, console = pacing.now(), self.job.console
        trainer = self._trainer_of(model)
        for name in ([named.HEAD] if self.on_features else []) + [phase.name for phase in self.phases]:
            if self.recipe.schedule.plan == "eight-step":
                console.say(f"{model.name}: {name}: {named.STEPS[name]}")
        pacer = None if schedule is None else schedule.pacer(model, trainer.steps_per_epoch, started)
        planned = sum(phase.epochs for phase in self.phases)
        epochs = pacer.epochs(0) if pacer else planned
        if epochs != planned:
            why = "to end in time" if epochs < planned else "since the machine is faster than measured"
            console.say(f"{model.name}: {epochs:g} epochs instead of {planned}, {why}")

        def images() -> int:
            length = pacer.length if pacer else planned
            return math.ceil(length * trainer.steps_per_epoch) * trainer.batch

        with console.progress(model.name, images, "images") as advance:
            trainer.train(self.phases, advance, named.HEAD if self.on_features else named.START, pacer)
        self._predict(model, trainer)
        if pacer:
            pacer.finished()

    def train_on(self, model: FoldModel) -> None:
        """Train a model for a second cycle, also on guesses of its fold's models, and predict again."""
        trainer = self._trainer_of(model)
        images = second_cycle.EPOCHS * trainer.images_per_epoch
        with self.job.console.progress(model.name, images, "images") as advance:
            trainer.train([second_cycle.phase(self.phases[-1])], advance)
        self._predict(model, trainer)

    def _trainer_of(self, model: FoldModel) -> Trainer:
        """Return a trainer of all images that are not of the model's fold, and say how many there are."""
        folder = self.run.folder / model.folder
        folder.mkdir(parents=True, exist_ok=True)
        others = np.flatnonzero(self.fold != model.fold)
        held_out = self._validation_split(others, model)
        training, validation = others[~held_out], others[held_out]
        self._warn_of_unjudged(model, training, validation)
        trainer = self.trainer(model, training, validation, folder)
        groups = "" if self.groups is None else f" of {len(np.unique(self.groups[training]))} groups"
        guessed = f", {len(trainer.data.contents) - len(training)} that are guessed" if model.trained_on else ""
        self.job.console.say(
            f"{model.name}: {len(training)} training images{groups}{guessed}, {len(validation)} validation images"
        )
        return trainer

    def _predict(self, model: FoldModel, trainer: Trainer) -> None:
        """Predict the held-out fold of a trained model, and the test images."""
        trained = inference.TrainedModel(trainer, model.backbone, self.recipe.compute, self.job.console.warn)
        held = np.flatnonzero(self.fold == model.fold)
        self._write_views(model, filenames.OOF, self.table["id"].iloc[held].tolist(), self._some(held), trained)
        self._write_views(model, filenames.TEST, self.readable["id"].tolist(), self.test_contents, trained)
        if distributed.is_first():
            self.write_device(trained.device, folder=model.folder)

    def trainer(self, model: FoldModel, training: Indices, validation: Indices, folder: Path) -> Trainer:
        """Return a trainer of the images at `training`, with a network with initial weights."""
        from kagglekit.training import learner, loop
        from kagglekit.training.batches import TrainingData

        backbone, recipe = model.backbone, self.recipe
        seed = learner.seed_of(recipe.data.seed, model.fold, model.number, *([1] if model.trained_on else []))
        guessed, guesses = self._guesses(model, len(training), seed) if model.trained_on else ([], None)
        network = classifier.build(
            backbone, len(self.labels), recipe.training, seed=recipe.data.seed, compiled=recipe.compute.compile
        )
        task = self._learnt(model, training)
        self._start(network, model, training, task)
        data = TrainingData(
            pixels=self._all_pixels(backbone),
            preprocessing=backbone.preprocessing,
            contents=[*self._some(training), *guessed],
            labels=self.truth[training],
            validation_contents=self._some(validation),
            validation_labels=self.truth[validation],
            task=task,
            augmenter=self._augmenter(backbone, seed),
            guesses=guesses,
        )
        versions = {name: environment.installed_version(name) for name in ("kagglekit", "timm", "torch")}
        return loop.Trainer(
            network,
            data,
            recipe,
            self.world,
            folder=folder,
            console=self.job.console,
            seed=seed,
            batch=recipe.training.train_batch,
            description=classifier.describe(backbone, task, versions),
            after_epoch=partial(self.job.watcher.epoch, model.name),
        )

    def _guesses(self, model: FoldModel, training: int, seed: int) -> tuple[list[bytes], Floats32]:
        """Return images whose labels the models of a fold have not seen, G, and their mean predictions of them, (G, C).

        They are drawn from the images of the fold, in the same shares, and the test images.
        """
        own = [one for one in self.fold_models if one.fold == model.fold]
        held, readable = np.flatnonzero(self.fold == model.fold), self.readable["id"].tolist()
        ids = self.table["id"].iloc[held].tolist()
        asked = Asked(ids=ids, fold=self.fold[held], test=readable)
        rows = np.asarray(shortlists.joined(joined(self.run, own, PLAIN, asked, self.labels)))
        if self.recipe.finish.class_shares:
            rows = shares.brought_to(rows, self.task, self.truth[self.fold != model.fold])
        chosen = second_cycle.chosen(training, len(rows), seed)
        contents = [*self._some(held), *self.test_contents]
        return [contents[index] for index in chosen.tolist()], rows[chosen].astype(np.float32)

    def _validation_split(self, others: Indices, model: FoldModel) -> Mask:
        """Return a mask of the images among `others` that select the best epoch instead of training, (N,)."""
        count = round(len(others) * self.recipe.training.validation_share)
        if not count:
            return np.zeros(len(others), bool)
        groups = None if self.groups is None else self.groups[others]
        if groups is not None and len(np.unique(groups)) < 2:
            groups = None
        strata = self.task.strata(self.truth[others])
        least = len(np.unique(strata)) if strata.ndim == 1 else 1
        if groups is None and least > _MOST_ENLARGED * count:  # many classes with few images
            strata, least = np.zeros(len(others), np.int64), 1
        # each model of the fold gets other validation images
        seed = self.recipe.data.seed + model.number
        try:
            return folds.held_out(strata, groups, max(count, least), seed)
        except UserError:
            self.job.console.warn(f"{model.name}: too few images for a validation split: epochs are not chosen")
            return np.zeros(len(others), bool)

    def _warn_of_unjudged(self, model: FoldModel, training: Indices, validation: Indices) -> None:
        """Warn of labels that training images have and no validation image has, if there are any of these."""
        known = set(self.task.unused(self.truth[training]))
        absent = [name for name in self.task.unused(self.truth[validation]) if name not in known]
        if absent and len(validation):
            self.job.console.warn(
                f"{model.name}: no validation image is of {len(absent)} {self.task.target.kind}, for example of "
                f"{absent[0]!r}: epochs are chosen without them"
            )

    def _learnt(self, model: FoldModel, training: Indices) -> Task:
        """Return the task as a model knows it: in units of its own training images, or of those that it starts from."""
        origin = self.recipe.training.start
        if origin:
            return initial_weights.learnt(initial_weights.find(origin, model.folder), origin, self.task)
        return self.task.learnt_from(self.truth, training)

    def _start(self, network: Any, model: FoldModel, training: Indices, task: Task) -> None:
        """Set the initial weights: after the first cycle, of the setting `start`, or of a head fitted on features."""
        if model.trained_on:
            first = replace(model, trained_on=False)
            path = self.run.folder / first.folder / f"{self.phases[-1].name}.safetensors"
            network.load_state_dict(checkpoints.load_weights(path)[0])
            return
        origin = self.recipe.training.start
        if origin:
            now = pd.Series(self.fold, index=self.table["id"])
            path = initial_weights.find(origin, model.folder)
            initial_weights.check_folds(path, origin, now, model.fold)
            if initial_weights.chose_on_others(path, self.recipe.data, self.recipe.training.validation_share):
                self.job.console.warn(
                    f"{model.name}: {origin} may have been trained on this run's validation images, so their loss is "
                    "too low; use its validation_share, folds and seed"
                )
            network.load_state_dict(initial_weights.weights(path, origin, model.backbone, self.labels))
            return
        if not self.on_features:
            return
        head = self._head(model.backbone, training) if distributed.is_first() else None
        head = distributed.agree(head)
        if not classifier.set_head(network, *task.network_activation.linear(*head.linear())):
            self.job.console.say(
                f"{model.backbone.name} has no linear head on pooled features: the head starts untrained"
            )

    def _head(self, backbone: Backbone, chosen: Indices) -> Head:
        """Fit a head on the precomputed features of the images at `chosen`."""
        import scipy.linalg  # noqa: F401  its BLAS must be loaded before threads are limited

        computed, _ = self._features(backbone)
        rows = features.FeatureRows(computed, 0, len(self.table))
        training = Training(
            task=self.task,
            rows=rows,
            truth=self.truth,
            groups=self.groups,
            view_classes=self.view_classes,
            balance=self.recipe.data.balance,
        )
        split = np.zeros(len(self.table), bool)
        split[chosen] = True
        with threadpool_limits(1, user_api="blas"):
            return heads.fit_linear(
                training, split, self.recipe.heads.regularisation_grid, self.recipe.data.seed, self.job.workspace.cache
            )

    def _features(self, backbone: Backbone) -> tuple[features.Features, devices.Device]:
        engine = features.FeatureEngine(
            [backbone],
            self.views,
            "pooled",
            self.recipe.compute,
            self.job.workspace.features,
            batch_size=self.job.batch_size,
            warn=self.job.console.warn,
        )
        return engine.compute(self.table["path"].tolist(), self.contents, self.job.console), engine.device

    def _pixels(self, backbone: Backbone, paths: Sequence[str], contents: Sequence[bytes]) -> RowStore:
        workers = self.recipe.compute.num_threads
        folder = self.job.workspace.cache / "pixels"
        return pixels.pixel_store(
            backbone.preprocessing, paths, contents, folder=folder, workers=workers, console=self.job.console
        )

    def _all_pixels(self, backbone: Backbone) -> RowStore:
        """Return the pixels of the training images and the readable test images."""
        paths = [*self.table["path"], *self.readable["path"]]
        return self._pixels(backbone, paths, [*self.contents, *self.test_contents])

    def _some(self, indices: Indices) -> list[bytes]:
        return [self.contents[index] for index in indices.tolist()]

    def _augmenter(self, backbone: Backbone, seed: int) -> Augmenter:
        from kagglekit.training.augmenter import Augmenter

        size = backbone.preprocessing.size
        return Augmenter(
            transforms=policies.resolve(
                self.recipe.augmentation.augment, size, policies.of_plugin(self.job.plugin, size)
            ),
            mirror=self.job.competition.mirror_classes,
            mirror_share=self.recipe.augmentation.mirror_share,
            erasing=self.recipe.augmentation.erasing,
            seed=seed,
        )

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
        """Read the predictions of the stages: means over each fold's models, and over all models for the test set."""
        seen = views_of(self.run, self.fold_models, self.predicted_views, self.labels)
        by_view = {view: self._joined(view, self.fold_models) for view in seen}
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

    def _joined(self, view: str, models: Sequence[FoldModel]) -> tuple[Wide, Wide]:
        """Return one view's out-of-fold probabilities of the scored images, and those of the test images to predict."""
        readable = self.readable["id"].tolist()
        asked = Asked(ids=self.scored_ids, fold=self.fold[self.fold != folds.TRAIN_ONLY], test=readable)
        oof, test = joined(self.run, models, view, asked, self.labels)
        return oof, self.all_requested(test)
