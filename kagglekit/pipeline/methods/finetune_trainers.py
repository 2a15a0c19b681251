"""What trains a model of method "finetune": its images, initial weights and guesses.

N: training images, G: guessed images, C: classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from kagglekit.base import devices, distributed, environment, shortlists
from kagglekit.base.arrays import Floats32, Indices, Mask
from kagglekit.base.errors import UserError
from kagglekit.data import folds
from kagglekit.heads import features, heads
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import shares
from kagglekit.pipeline.finished import Asked
from kagglekit.pipeline.methods.finetune_images import FinetuneImages
from kagglekit.pipeline.methods.fold_models import FoldModel, joined
from kagglekit.pipeline.views import PLAIN
from kagglekit.tasks.task import Task
from kagglekit.training import checkpoints, classifier, initial_weights, precisions, second_cycle

if TYPE_CHECKING:
    from kagglekit.training.loop import Trainer


_MOST_ENLARGED = 2
"""Factor by which a validation split may grow to have an image of each class; beyond, it is not stratified."""


class FinetuneTrainers(FinetuneImages):
    """What each model learns from."""

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

    def _trainer_of(self, model: FoldModel) -> Trainer:
        """Return a trainer of all images, without those of the model's fold, and say how many there are."""
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
