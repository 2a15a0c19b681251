"""Method "finetune": the backbone itself is trained, a model (or several) a fold.

N training images, M test images, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kagglekit.base import devices, distributed, environment, storage
from kagglekit.base.arrays import Floats
from kagglekit.base.errors import UserError
from kagglekit.data import folds
from kagglekit.heads import features, heads
from kagglekit.heads.layers import Head
from kagglekit.images import pixels
from kagglekit.images.row_store import RowStore
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import tta
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.features import usable_views
from kagglekit.pipeline.predictions import Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.training import checkpoints, contact_sheet, networks, policies, precisions, scoring, start
from kagglekit.training import phases as named

if TYPE_CHECKING:
    from kagglekit.training.augmenter import Augmenter
    from kagglekit.training.layers import Part
    from kagglekit.training.loop import Trainer
    from kagglekit.training.lr_finder import Sweep


_SHEET_CLASSES, _SHEET_VIEWS = 6, 7
"""Rows, and augmented pictures of each, on the sheet that a run leaves."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One model: of a fold, a backbone, and a repetition."""

    fold: int
    number: int
    """Within the fold."""
    backbone: Backbone

    @property
    def name(self) -> str:
        """What its stage and its folder are called."""
        return f"fold{self.fold}-{self.number}"

    @property
    def folder(self) -> str:
        """Where it lies in the run's folder."""
        return f"models/{self.name}"


def members(recipe: Recipe, backbones: Sequence[Backbone]) -> list[Member]:
    """Return all models of a run, fold by fold."""
    count = recipe.data.num_folds if recipe.data.validation == "folds" else 1
    each = [backbone for backbone in backbones for _ in range(recipe.training.models)]
    return [Member(fold, number, backbone) for fold in range(count) for number, backbone in enumerate(each)]


def stages(job: Job) -> tuple[Stage, ...]:
    """Return the method's stages: each model is one."""
    last = named.of(job.recipe.schedule)[-1].name
    first = (Stage("folds", ("folds.parquet",)), Stage("features", ("provider.json",)))
    files = (f"{last}.safetensors", "oof.parquet", "test.parquet", "provider.json")
    trained = (
        Stage(member.name, tuple(f"{member.folder}/{file}" for file in files), after=("folds", "features"))
        for member in members(job.recipe, job.backbones)
    )
    return (*first, *trained)


def prepare(job: Job, line: Stages) -> _Method:
    """Make what all folds share: commands that each train one do it in turn."""
    method = _Method(job)
    method.check()
    line.make("folds", method.write_folds)
    line.make("features", method.write_features)
    return method


def predict(job: Job, line: Stages, fold: int | None = None) -> Predictions | None:
    """Train the models (of one fold, if it is given); return probabilities by id, or None of one fold."""
    method = prepare(job, line)
    distributed.agree(None)  # the first one has made them
    for member in method.members:
        if fold in (None, member.fold):
            with job.run.locked(job.console, member.folder):
                line.make(member.name, lambda member=member: method.train(member), together=True)  # type: ignore[misc]
                if distributed.is_first():  # what a killed command would have gone on from
                    (job.run.folder / member.folder / checkpoints.FILE).unlink(missing_ok=True)
    if fold is not None:
        missing = sorted({member.fold for member in method.members if not line.is_made(member.name)})
        left = f"still to be trained: {', '.join(map(str, missing))}" if missing else "all folds are trained"
        job.console.say(f"fold {fold} is trained; {left}; the command without --fold joins them")
        return None
    return method.predictions() if distributed.is_first() else None


class _Method:
    """The stages of one run."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run: Run = job.run
        self.recipe: Recipe = job.recipe
        self.labels = job.competition.labels
        self.table = job.tables.train
        self.readable = job.tables.asked[job.tables.asked["content"] != ""].reset_index(drop=True)
        self.phases = named.of(job.recipe.schedule)
        self.on_features = named.starts_on_features(job.recipe.schedule, job.recipe.training.start)
        self.members = members(job.recipe, job.backbones)
        self.views, self.view_classes = usable_views(job.competition, job.recipe, job.console)
        self.device = devices.choose(job.recipe.compute.provider)
        self.truth = np.array([self.labels.index(label) for label in self.table["label"]], dtype=np.int64)
        self.contents = [bytes.fromhex(content) for content in self.table["content"]]

    @cached_property
    def fold(self) -> folds.Fold:
        """Each training image's fold, (N,)."""
        fold = pd.read_parquet(self.run.folder / "folds.parquet").set_index("id")["fold"]
        return fold.loc[self.table["id"]].to_numpy(dtype=np.int64)

    @cached_property
    def groups(self) -> NDArray[np.object_] | None:
        """Each training image's group, (N,)."""
        return self.table["group"].to_numpy(dtype=object) if "group" in self.table else None

    @cached_property
    def world(self) -> distributed.World:
        """The processes that train together."""
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "provider = 'cuda': torch can't use the GPU (it was built without CUDA, or the driver is too old); "
                "install another torch, or use --provider cpu."
            )
        if self.device == "cpu":
            devices.keep_memory()
            torch.set_num_threads(self.recipe.compute.threads or max(devices.cores() // distributed.count(), 1))
        return distributed.World(self.device, precisions.choose(self.recipe, self.device))

    def check(self) -> None:
        """Raise UserError for settings that can't be met, before hours of work; warn of those that do nothing."""
        recipe, warn = self.recipe, self.job.console.warn
        precisions.choose(recipe, self.device)
        for backbone in self.job.backbones:
            self._augmenter(backbone, recipe.data.seed)
            networks.check_regularisation(backbone, recipe)
        if recipe.schedule.patience and not recipe.training.validation_share:
            warn("patience has no effect: with validation_share = 0 no image is left to tell when to stop")
        elif recipe.schedule.patience and all(phase.schedule == "one-cycle" for phase in self.phases):
            warn("patience has no effect: a one-cycle step ends where its rate has come down")
        if recipe.finish.neighbours and len(self.predicted_views) == 1:
            warn("neighbours has no effect: it is judged on means of several models of each fold; --set models=2")
        batch = recipe.training.train_batch
        if batch % distributed.count():
            warn(f"train_batch = {batch} is rounded: {distributed.count()} processes share it evenly")
        if recipe.finish.tta_views and recipe.augmentation.augment == "none":
            warn("tta_views has no effect worth its time: with augment = none all views are the same")
        if recipe.heads.head != "logistic" and self.on_features:
            warn(f"head = {recipe.heads.head} has no effect: fine-tuning starts from a logistic one")

    # --- stages

    def write_folds(self) -> None:
        self.run.write_frame(
            "folds.parquet", self.table[["id"]].assign(fold=folds.assign(self.table, self.recipe.data))
        )

    def write_features(self) -> None:
        """Put features of the training images and pixels of all images into their stores."""
        used: set[str] = set()
        for backbone in self.job.backbones:
            if self.on_features:
                used.add(self._features(backbone)[1])
            self._pixels(backbone, [*self.table["path"], *self.readable["path"]], self._all_contents())
        try:
            self._draw_augmented()
        except Exception as error:  # noqa: BLE001  a picture is no reason to lose hours of training
            self.job.console.warn(f"the sheet of augmented images can't be drawn ({type(error).__name__}: {error})")
        storage.write_json(
            self.run.folder / "provider.json",
            {"asked": self.recipe.compute.provider, "used": self.device, "features": sorted(used)},
        )

    def _draw_augmented(self) -> None:
        """Draw what training will see of an image of some classes."""
        from kagglekit.training import learner

        first = self.members[0]
        augmenter = self._augmenter(first.backbone, learner.seed_of(self.recipe.data.seed, first.fold, first.number))
        store = self._pixels(first.backbone, self.table["path"].tolist(), self.contents)
        places = [int(np.flatnonzero(self.truth == label)[0]) for label in np.unique(self.truth)[:_SHEET_CLASSES]]
        some = [(store.row(self.contents[place]), int(self.truth[place]), self.contents[place]) for place in places]
        sheet = self.run.folder / "augmentations.png"
        contact_sheet.draw_sheet(augmenter, some, self.job.competition.caption, _SHEET_VIEWS, sheet)

    def train(self, member: Member) -> None:
        """Train one model, and predict what it has not seen."""
        console, folder = self.job.console, self.run.folder / member.folder
        folder.mkdir(parents=True, exist_ok=True)
        learnt = np.flatnonzero(self.fold != member.fold)
        inner = self._inner(learnt, member)
        trainer = self.trainer(member, learnt[~inner], learnt[inner], folder)
        groups = "" if self.groups is None else f" of {len(np.unique(self.groups[learnt[~inner]]))} groups"
        console.say(f"{member.name}: {(~inner).sum()} images{groups} to learn from, {inner.sum()} to choose epochs on")
        for name in ([named.HEAD] if self.on_features else []) + [phase.name for phase in self.phases]:
            if self.recipe.schedule.plan == "eight-step":
                console.say(f"{member.name}: {name}: {named.STEPS[name]}")
        total = sum(phase.epochs for phase in self.phases) * trainer.steps_per_epoch * trainer.batch
        with console.progress(member.name, total, "images") as advance:
            trainer.train(self.phases, advance, named.HEAD if self.on_features else named.START)
        scorer = scoring.Scorer(trainer, member.backbone, console.warn)
        held = np.flatnonzero(self.fold == member.fold)
        self._write_views(member, "oof", self.table["id"].iloc[held].tolist(), self._some(held), scorer)
        test = [bytes.fromhex(content) for content in self.readable["content"]]
        self._write_views(member, "test", self.readable["id"].tolist(), test, scorer)
        if distributed.is_first():
            storage.write_json(folder / "provider.json", {"asked": self.recipe.compute.provider, "used": scorer.device})

    def trainer(self, member: Member, learnt: NDArray[np.int64], inner: NDArray[np.int64], folder: Path) -> Trainer:
        """Return a model with the weights that it starts from, ready to learn from the images at `learnt` (places)."""
        from kagglekit.training import learner, loop

        backbone, recipe = member.backbone, self.recipe
        seed = learner.seed_of(recipe.data.seed, member.fold, member.number)
        model = networks.build(backbone, len(self.labels), recipe)
        self._start(model, member, learnt)
        data = loop.Data(
            pixels=self._pixels(backbone, [*self.table["path"], *self.readable["path"]], self._all_contents()),
            preprocessing=backbone.preprocessing,
            contents=self._some(learnt),
            labels=self.truth[learnt],
            inner_contents=self._some(inner),
            inner_labels=self.truth[inner],
            classes=len(self.labels),
            augmenter=self._augmenter(backbone, seed),
        )
        versions = {name: environment.installed_version(name) for name in ("kagglekit", "timm", "torch")}
        return loop.Trainer(
            model,
            data,
            recipe,
            self.world,
            folder=folder,
            console=self.job.console,
            seed=seed,
            batch=recipe.training.train_batch,
            description=networks.describe(backbone, self.labels, versions),
        )

    def _inner(self, learnt: NDArray[np.int64], member: Member) -> NDArray[np.bool_]:
        """Say which of the images to learn from choose the epochs instead."""
        count = round(len(learnt) * self.recipe.training.validation_share)
        if not count:
            return np.zeros(len(learnt), bool)
        groups = None if self.groups is None else self.groups[learnt]
        if groups is not None and len(np.unique(groups)) < 2:
            groups = None
        # other models of the fold are judged on other images
        seed = self.recipe.data.seed + member.number
        try:
            return folds.held_out(self.truth[learnt], groups, max(count, len(self.labels)), seed)
        except UserError:
            self.job.console.warn(f"{member.name}: too few images to choose epochs on some of them: nothing is chosen")
            return np.zeros(len(learnt), bool)

    def _start(self, model: Any, member: Member, learnt: NDArray[np.int64]) -> None:
        """Set the weights that training starts from."""
        origin = self.recipe.training.start
        if origin:
            now = pd.Series(self.fold, index=self.table["id"])
            path = start.find(origin, member.folder)
            start.check_folds(path, origin, now, member.fold)
            if start.chose_on_others(path, self.recipe):
                self.job.console.warn(
                    f"{member.name}: {origin} has learnt from images that choose epochs here: their loss is "
                    "too good; use its validation_share, folds and seed"
                )
            model.load_state_dict(start.weights(path, origin, member.backbone, self.labels))
            return
        if not self.on_features:
            return
        head = self._head(member.backbone, learnt) if distributed.is_first() else None
        head = distributed.agree(head)
        if not networks.set_head(model, *head.linear()):
            self.job.console.say(f"{member.backbone.name} has no linear head on pooled features: it starts untrained")

    def _head(self, backbone: Backbone, learnt: NDArray[np.int64]) -> Head:
        """Fit a head on precomputed features of the images to learn from."""
        import scipy.linalg  # noqa: F401  its BLAS must be there when the limit on threads is set

        computed, _ = self._features(backbone)
        training = heads.Training(
            features.FeatureRows(computed, 0, len(self.table)), self.truth, self.groups, self.view_classes
        )
        part = np.zeros(len(self.table), bool)
        part[learnt] = True
        logistic = self.recipe.changed(head="logistic")
        with threadpool_limits(1, user_api="blas"):
            return heads.fit(training, part, logistic, self.job.workspace.cache)

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

    def _all_contents(self) -> list[bytes]:
        return [*self.contents, *(bytes.fromhex(content) for content in self.readable["content"])]

    def _some(self, places: NDArray[np.int64]) -> list[bytes]:
        return [self.contents[place] for place in places.tolist()]

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
        """The views that every model predicts."""
        each = len([member for member in self.members if member.fold == 0])
        return tta.names(self.recipe, mirrors=tta.MIRROR in self.views, models=each)

    def _write_views(
        self, member: Member, part: str, ids: list[str], contents: Sequence[bytes], scorer: scoring.Scorer
    ) -> None:
        found = tta.predict(self.predicted_views, contents, scorer)
        if not distributed.is_first():
            return
        rows = np.concatenate([found[view] for view in self.predicted_views])
        names = [view for view in self.predicted_views for _ in ids]
        path = f"{member.folder}/{part}.parquet"
        self.run.write_probabilities(path, ids * len(self.predicted_views), rows, self.labels, view=names)

    def predictions(self) -> Predictions:
        """Read what the stages wrote: means over a fold's models, and over all models for the test set."""
        by_view = {view: self._joined(view) for view in self.predicted_views}
        if len(by_view) == 1 and (self.recipe.finish.tta_views or tta.MIRROR in self.views):
            self.job.console.say(
                "test-time augmentation stays off: it is judged on means of several models of each fold; "
                "--set models=2 makes them"
            )
        oof, test = by_view[tta.PLAIN]
        return Predictions(
            train=self.table.assign(fold=self.fold),
            oof=oof,
            test=test,
            prior=np.bincount(self.truth, minlength=len(self.labels)) / len(self.table),
            offers=tta.offers(by_view, self.recipe),
        )

    def _joined(self, view: str) -> tuple[Floats, Floats]:
        """Return one view's out-of-fold probabilities of the scored images and those of the test images asked for."""
        oof = np.zeros((len(self.table), len(self.labels)))
        asked = self.job.tables.asked
        readable = (asked["content"] != "").to_numpy()
        test = np.zeros((len(self.readable), len(self.labels)))
        test_ids = self.readable["id"].tolist()
        for member in self.members:
            held = np.flatnonzero(self.fold == member.fold)
            ids = self.table["id"].iloc[held].tolist()
            oof[held] += self.run.read_probabilities(f"{member.folder}/oof.parquet", ids, self.labels, view=view)
            test += self.run.read_probabilities(f"{member.folder}/test.parquet", test_ids, self.labels, view=view)
        each = len([member for member in self.members if member.fold == 0])
        whole = np.full((len(asked), len(self.labels)), np.nan)
        whole[readable] = test / len(self.members)
        return oof[self.fold != folds.TRAIN_ONLY] / each, whole


def find_rate(job: Job, part: Part) -> tuple[Sweep, dict[str, float], Path]:
    """Sweep the learning rate of the first fold's model with `part` of it unfrozen.

    Returns the curve, the suggestions by name (none where the curve has no fall), and the plot's file.
    """
    from kagglekit.training import lr_finder, plots

    method = _Method(job)
    method.readable = method.readable[:0]  # the test set has no part in it
    member = method.members[0]
    method.fold = folds.assign(job.tables.train, job.recipe.data)  # the run's folder has none
    learnt = np.flatnonzero(method.fold != member.fold)
    folder = job.workspace.folder
    trainer = method.trainer(member, learnt, learnt[:0], folder)
    curve = trainer.find_rate(named.Phase(name=part, trains=part, epochs=1))
    found = lr_finder.suggestions(curve)
    path = folder / f"lr-find-{part}.png"
    plots.finder_plot(curve, found, path, f"{job.competition.name}, {member.backbone.name}: {part}")
    return curve, found, path
