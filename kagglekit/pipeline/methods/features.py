"""Method "features": frozen backbones, a head a fold, and one on all training rows.

N training images, M test images, V views, D features, C classes.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kagglekit.base import parallel, storage
from kagglekit.base.arrays import Floats
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.heads import features, head_file, heads
from kagglekit.heads.layers import Head
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.predictions import Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs.stages import Stage, Stages

HEADS = "heads.safetensors"
"""The run's heads by name: `fold0` …, and `all`."""
ViewClasses = tuple[tuple[int, ...], ...]

_STAGES = (
    Stage("folds", ("folds.parquet",)),
    Stage("features", ("provider.json",)),
    Stage("heads", (HEADS, "heads.parquet"), after=("folds", "features")),
    Stage("predict", ("predict.parquet",), after=("features", "heads")),
)


def stages(_job: Job) -> tuple[Stage, ...]:
    """Return the method's stages."""
    return _STAGES


def predict(job: Job, stages: Stages) -> Predictions:
    """Compute features, fit heads, and return out-of-fold and test probabilities by id."""
    method = _Method(job)
    stages.make("folds", method.write_folds)
    stages.make("features", method.write_provider)
    stages.make("heads", method.write_heads)
    stages.make("predict", method.write_predictions)
    return method.predictions()


class _Method:
    """The stages of one run; each reads what the ones before it wrote."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run = job.run
        self.labels = job.competition.labels
        self.readable = job.tables.asked[job.tables.asked["content"] != ""].reset_index(drop=True)
        self.views, self.view_classes = usable_views(job.competition, job.recipe, job.console)

    @cached_property
    def train(self) -> pd.DataFrame:
        """The training images, with `fold`."""
        fold = pd.read_parquet(self.run.folder / "folds.parquet").set_index("id")["fold"]
        table = self.job.tables.train
        return table.assign(fold=fold.loc[table["id"]].to_numpy())

    @cached_property
    def features(self) -> features.Features:
        """Features of the training images and then of the readable test images, computed where the store has none."""
        job, train = self.job, self.job.tables.train
        engine = features.FeatureEngine(
            job.backbones,
            self.views,
            job.recipe.features.output,
            job.recipe.compute,
            job.workspace.features,
            batch_size=job.batch_size,
            warn=job.console.warn,
        )
        provider = self.run.folder / "provider.json"
        before = (storage.read_json(provider) or {"used": engine.device})["used"]
        if before != engine.device:
            raise UserError(
                f"run {job.run.id} has been computed on {before}, and onnxruntime opens {engine.device} now: "
                f"give it {before} again, or take --provider {engine.device} for a run of its own."
            )
        storage.write_json(provider, {"asked": job.recipe.compute.provider, "used": engine.device})
        contents = [bytes.fromhex(content) for content in [*train["content"], *self.readable["content"]]]
        return engine.compute([*train["path"], *self.readable["path"]], contents, job.console)

    @cached_property
    def training(self) -> heads.Training:
        """What heads are fitted on."""
        train = self.job.tables.train
        return heads.Training(
            features.FeatureRows(self.features, 0, len(train)),
            self.truth(),
            train["group"].to_numpy(dtype=object) if "group" in train else None,
            self.view_classes,
        )

    def truth(self) -> NDArray[np.int64]:
        """Return the classes' positions, (N,)."""
        return np.array([self.labels.index(label) for label in self.job.tables.train["label"]], dtype=np.int64)

    def write_folds(self) -> None:
        train = self.job.tables.train
        self.run.write_frame("folds.parquet", train[["id"]].assign(fold=folds.assign(train, self.job.recipe.data)))

    def write_provider(self) -> None:
        assert self.features.stores  # computing them is the work

    def write_heads(self) -> None:
        fold = self.train["fold"].to_numpy()
        scratch = self.job.workspace.cache
        oof, fitted = fit_heads(self.training, fold, self.job.recipe, scratch, self.job.console)
        head_file.save(self.run.folder / HEADS, fitted)
        scored = self.train["id"][fold != folds.TRAIN_ONLY].tolist()
        self.run.write_probabilities("heads.parquet", scored, oof, self.labels)

    def write_predictions(self) -> None:
        head = head_file.load(self.run.folder / HEADS)["all"]
        rows = features.FeatureRows(self.features, len(self.job.tables.train), len(self.readable))
        with threadpool_limits(1, user_api="blas"):
            test = heads.predict_rows(head, rows, np.arange(rows.count), self.view_classes)  # (M, C)
        self.run.write_probabilities("predict.parquet", self.readable["id"].tolist(), test, self.labels)

    def predictions(self) -> Predictions:
        """Read what the stages wrote."""
        asked = self.job.tables.asked
        scored = self.train["id"][self.train["fold"] != folds.TRAIN_ONLY].tolist()
        test = np.full((len(asked), len(self.labels)), np.nan)
        readable = (asked["content"] != "").to_numpy()
        test[readable] = self.run.read_probabilities("predict.parquet", self.readable["id"].tolist(), self.labels)
        return Predictions(
            train=self.train,
            oof=self.run.read_probabilities("heads.parquet", scored, self.labels),
            test=test,
            prior=np.bincount(self.truth(), minlength=len(self.labels)) / len(self.train),
        )


def usable_views(competition: Competition, recipe: Recipe, console: Console) -> tuple[tuple[str, ...], ViewClasses]:
    """Return the views that the flip rule allows, and for each the class that every class shows in it, (V, C)."""
    mirror = competition.mirror_classes
    same = tuple(range(len(competition.labels)))
    views = allowed_views(recipe, mirror)
    maps = {"plain": same, "mirror": mirror or same}
    if not views:
        raise UserError("feature_views = ['mirror']: this competition forbids flips; use --set feature_views=plain.")
    if len(views) < len(recipe.features.feature_views):
        console.say("view mirror is left out: this competition forbids flips")
    return views, tuple(maps[view] for view in views)


def allowed_views(recipe: Recipe, mirror: tuple[int, ...] | None) -> tuple[str, ...]:
    """Return the recipe's views without the mirrored one where flips are forbidden (`mirror` is None)."""
    return tuple(view for view in recipe.features.feature_views if view == "plain" or mirror is not None)


def fit_heads(
    training: heads.Training, fold: folds.Fold, recipe: Recipe, scratch: Path, console: Console
) -> tuple[Floats, dict[str, Head]]:
    """Return out-of-fold probabilities of the scored images (N, C), and the heads by name, `all` the last."""
    import scipy.linalg  # noqa: F401  its BLAS must be there when the limit on threads is set, or it escapes it

    scoring: list[int] = folds.scored(fold).tolist()
    parts = {f"fold{part}": fold != part for part in scoring} | {"all": np.ones(len(fold), dtype=bool)}
    fitted: dict[str, Head] = {}
    # One BLAS thread each, heads side by side: numpy's and scipy's BLAS have a pool of threads each, and on few
    # cores those wait for one another (up to 8 times slower here). It also makes the numbers the same on any
    # number of cores.
    with console.progress("heads", len(parts), "heads") as advance, threadpool_limits(1, user_api="blas"):
        # the mlp draws from torch's one global generator
        workers = 1 if recipe.heads.head == "mlp" else recipe.compute.num_threads
        work = parallel.overlapped(parts.values(), lambda part: heads.fit(training, part, recipe, scratch), workers)
        for name, head in zip(parts, work, strict=True):
            fitted[name] = head
            advance(1)
        oof = np.full((len(fold), len(training.view_classes[0])), np.nan)
        for part in scoring:
            places = np.flatnonzero(fold == part)
            oof[places] = heads.predict_rows(fitted[f"fold{part}"], training.rows, places, training.view_classes)
    console.say(f"heads: {recipe.heads.head}, " + ", ".join(f"{name} {head.chosen}" for name, head in fitted.items()))
    return oof[fold != folds.TRAIN_ONLY], fitted
