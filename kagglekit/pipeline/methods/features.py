"""Method "features": frozen backbones with one head per fold, and one head on all training images.

N: training images, R: readable test images, V: views, D: features, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from kagglekit.base import devices, parallel, shortlists
from kagglekit.base.arrays import Indices
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.heads import features, head_file, heads, prediction
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.models import registry
from kagglekit.pipeline import views
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.base import Method, MethodRun
from kagglekit.pipeline.methods.fitted import WHOLE, Fitted, Network, Term
from kagglekit.pipeline.predictions import Predictions
from kagglekit.recipe import HeadSettings, Recipe
from kagglekit.runs import filenames
from kagglekit.runs.stages import Stage, Stages
from kagglekit.tasks.task import Task
from kagglekit.training.budget import Work

_STAGES = (
    Stage("folds", (filenames.FOLDS,)),
    Stage("features", (filenames.PROVIDER,)),
    Stage("heads", (filenames.HEADS, filenames.OOF_OF_HEADS), after=("folds", "features")),
    Stage("predict", (filenames.TEST_OF_HEADS,), after=("features", "heads")),
)


class FrozenFeatures(Method):
    """Heads on frozen backbones: takes seconds, and works well with few images."""

    name = "features"

    def describe(self, recipe: Recipe) -> str:
        """Return the name and the kind of head."""
        return f"{self.name}, {recipe.heads.head}"

    def default_backbones(self, device: devices.Device) -> tuple[tuple[str, ...], str]:
        """Return strong backbones: each image passes through them only once."""
        return registry.default(device)

    def check(self, recipe: Recipe, task: Task) -> None:
        """Raise UserError for a head that can't predict this."""
        heads.check(task, recipe.heads)

    def suits(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[bool, str]:  # noqa: ARG002
        """Return True: frozen features are fast and work with any number of images."""
        return True, ""

    def stages(self, job: Job) -> tuple[Stage, ...]:  # noqa: ARG002
        """Return the stages, the same for all runs."""
        return _STAGES

    def predict(self, job: Job, stages: Stages) -> Predictions:
        """Compute features, fit heads and return out-of-fold and test probabilities by id."""
        run = FeaturesRun(job)
        stages.make("folds", run.write_folds)
        stages.make("features", run.write_features)
        stages.make("heads", run.write_heads)
        stages.make("predict", run.write_predictions)
        return run.read_predictions()

    def members(self, run: FinishedRun, asked: Asked) -> list[Member]:
        """Return the run: it has one head, on all backbones and views."""
        read = run.run.read_probabilities
        oof = read(filenames.OOF_OF_HEADS, asked.ids, run.labels)
        return [Member(name=run.run.id, oof=oof, test=read(filenames.TEST_OF_HEADS, asked.test, run.labels))]

    def fitted(self, run: FinishedRun, part: str, member: str = "") -> Fitted:  # noqa: ARG002
        """Return the frozen backbones and the head of a part."""
        seen = views.allowed(run.recipe.features.feature_views, run.mirror)
        term = Term(
            networks=tuple(Network(backbone.name, backbone) for backbone in run.backbones),
            views=seen,
            view_classes=run.classes_in(seen),
            head=head_file.load(run.run.folder / filenames.HEADS)[part],
            output=run.recipe.features.output,
        )
        return Fitted((term,))


class FeaturesRun(MethodRun):
    """The stages of one run. Each stage reads the files of earlier ones."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        heads.check(self.task, self.recipe.heads)
        self.views, self.view_classes = views.of_run(job.competition, job.recipe.features.feature_views, job.console)

    @cached_property
    def features(self) -> features.Features:
        """Features of the training images, then of the readable test images. Missing ones are computed."""
        job = self.job
        engine = features.FeatureEngine(
            job.backbones,
            self.views,
            job.recipe.features.output,
            job.recipe.compute,
            job.workspace.features,
            batch_size=job.batch_size,
            warn=job.console.warn,
        )
        before = self.run.provider
        if before is not None and before.used != engine.device:
            raise UserError(
                f"run {job.run.id} was computed on {before.used}, but onnxruntime uses {engine.device} now: "
                f"make {before.used} available again, or start a new run with --provider {engine.device}."
            )
        self.write_device(engine.device)
        paths = [*self.table["path"], *self.readable["path"]]
        return engine.compute(paths, [*self.contents, *self.test_contents], job.console)

    @cached_property
    def training(self) -> Training:
        """Training data of the heads."""
        rows = features.FeatureRows(self.features, 0, len(self.table))
        return Training(
            task=self.task,
            rows=rows,
            truth=self.truth,
            groups=self.groups,
            view_classes=self.view_classes,
            balance=self.recipe.data.balance,
        )

    def write_features(self) -> None:
        """Compute the features and record the device."""
        assert self.features.stores  # reading the property computes them

    def write_heads(self) -> None:
        """Fit and save the heads and their out-of-fold predictions."""
        oof, fitted = fit_heads(
            self.training,
            self.fold,
            self.recipe.heads,
            seed=self.recipe.data.seed,
            threads=self.recipe.compute.num_threads,
            scratch=self.job.workspace.cache,
            console=self.job.console,
        )
        head_file.save(self.run.folder / filenames.HEADS, fitted)
        self.run.write_probabilities(filenames.OOF_OF_HEADS, self.scored_ids, oof, self.labels)

    def write_predictions(self) -> None:
        """Predict the readable test images with the head fitted on all training images."""
        head = head_file.load(self.run.folder / filenames.HEADS)[WHOLE]
        rows = features.FeatureRows(self.features, len(self.table), len(self.readable))
        with threadpool_limits(1, user_api="blas"):
            test = prediction.predict_rows(head, rows, np.arange(rows.count), self.view_classes)  # (R, C)
        self.run.write_probabilities(filenames.TEST_OF_HEADS, self.readable["id"].tolist(), test, self.labels)

    def read_predictions(self) -> Predictions:
        """Read the predictions that the stages wrote."""
        oof = self.run.read_probabilities(filenames.OOF_OF_HEADS, self.scored_ids, self.labels)
        test = self.run.read_probabilities(filenames.TEST_OF_HEADS, self.readable["id"].tolist(), self.labels)
        return self.predictions(oof, self.all_requested(test))


def fit_heads(
    training: Training,
    fold: folds.Fold,
    settings: HeadSettings,
    *,
    seed: int,
    threads: int,
    scratch: Path,
    console: Console,
) -> tuple[Wide, dict[str, Head]]:
    """Return out-of-fold predictions of the scored images (N, C), and the heads by name, `all` last."""
    import scipy.linalg  # noqa: F401  its BLAS must be loaded before threads are limited, or has no limit

    scoring: list[int] = folds.scored(fold).tolist()
    parts = {f"fold{part}": fold != part for part in scoring} | {WHOLE: np.ones(len(fold), dtype=bool)}
    fitted: dict[str, Head] = {}
    # Heads are fitted in parallel, with one BLAS thread each. numpy's and scipy's BLAS have separate thread pools,
    # which wait for one another on few cores (up to 8 times slower). One thread also gives the same numbers on any
    # number of cores.
    with console.progress("heads", len(parts), "heads") as advance, threadpool_limits(1, user_api="blas"):
        # the mlp draws from torch's global random generator
        workers = 1 if settings.head == "mlp" else threads
        work = parallel.overlapped(
            parts.values(), lambda part: heads.fit(training, part, settings, seed, scratch), workers
        )
        for name, head in zip(parts, work, strict=True):
            fitted[name] = head
            advance(1)
        oof = _held_out(training, fold, fitted)
    console.say(f"heads: {settings.head}, " + ", ".join(f"{name} {head.chosen}" for name, head in fitted.items()))
    return oof, fitted


def _held_out(training: Training, fold: folds.Fold, fitted: Mapping[str, Head]) -> Wide:
    """Return what the head of each fold predicts of its images, (N, C)."""
    known = fold[fold != folds.TRAIN_ONLY]

    def part(number: int) -> tuple[Indices, Wide]:
        indices = np.flatnonzero(fold == number)
        rows = prediction.predict_rows(fitted[f"fold{number}"], training.rows, indices, training.view_classes)
        return np.flatnonzero(known == number), rows

    return shortlists.arranged(map(part, folds.scored(fold).tolist()), len(known))
