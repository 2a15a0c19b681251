"""Method "features": frozen backbones, a head a fold, and one on all training rows.

N training images, M test images, V views, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kagglekit import storage
from kagglekit.competition import Competition
from kagglekit.console import Console
from kagglekit.engines import devices, features, folds, heads, inference
from kagglekit.engines.predictions import Predictions
from kagglekit.errors import UserError
from kagglekit.job import Job
from kagglekit.recipe import Recipe
from kagglekit.runs import Run

Floats = NDArray[np.float64]
ViewClasses = tuple[tuple[int, ...], ...]
CHUNK = 4096
"""Test images whose features are in memory at a time."""


def predict(job: Job) -> Predictions:
    """Compute features, fit heads, and return out-of-fold and test probabilities by id."""
    views, view_classes = usable_views(job.competition, job.recipe, job.console)
    train, asked, run = job.tables.train, job.tables.asked, job.run
    with run.stage("features"):
        engine = features.FeatureEngine(job.backbones, views, job.recipe, job.workspace.features)
        if engine.device == "cpu" and devices.choose(job.recipe.provider) == "cuda":
            job.console.warn("there is a GPU, but onnxruntime could not open it: computing on the CPU")
        every = engine.compute([*train["path"], *asked["path"]], job.console)
    storage.write_json(run.folder / "provider.json", {"asked": job.recipe.provider, "used": engine.device})
    quarantine(job, every.unreadable)
    places = np.array([place for place in range(len(every.contents)) if place not in every.unreadable], dtype=np.int64)
    count = len(train)
    with run.stage("folds"):
        train = train.iloc[places[places < count]].reset_index(drop=True)
        train["fold"] = folds.assign(train, job.recipe)
        run.write_frame("folds.parquet", train[["id", "fold"]])
    training = heads.Training(
        every.rows(places[places < count]),
        np.array([job.competition.labels.index(label) for label in train["label"]], dtype=np.int64),
        train["group"].to_numpy(dtype=object) if "group" in train else None,
        view_classes,
    )
    with run.stage("heads"):
        oof, fitted = fit_heads(training, train["fold"].to_numpy(), job.recipe, job.console)
        save_heads(run, fitted)
    with run.stage("predict"), threadpool_limits(1, user_api="blas"):
        test = np.full((len(asked), len(job.competition.labels)), np.nan)  # (M, C)
        for chunk in chunks(places[places >= count]):  # however many test images, few are in memory
            test[chunk - count] = heads.predict(fitted["all"], every.rows(chunk), view_classes)
    return Predictions(train, oof, test, training.prior())


def chunks(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield `places` in parts of at most `CHUNK`."""
    return (places[start : start + CHUNK] for start in range(0, len(places), CHUNK))


def usable_views(competition: Competition, recipe: Recipe, console: Console) -> tuple[tuple[str, ...], ViewClasses]:
    """Return the views that the flip rule allows, and for each the class that every class shows in it, (V, C)."""
    mirror = competition.mirror_classes
    same = tuple(range(len(competition.labels)))
    maps = {"plain": same} if mirror is None else {"plain": same, "mirror": mirror}
    views = tuple(view for view in recipe.views if view in maps)
    if not views:
        raise UserError("views = ['mirror']: this competition forbids flips; use --set views=plain.")
    if len(views) < len(recipe.views):
        console.say("view mirror is left out: this competition forbids flips")
    return views, tuple(maps[view] for view in views)


def quarantine(job: Job, unreadable: Mapping[int, str]) -> None:
    """Write the list of unreadable images, and say loudly what becomes of them."""
    if not unreadable:
        return
    parts = pd.concat([job.tables.train.assign(part="train"), job.tables.asked.assign(part="test")])
    bad = parts.iloc[sorted(unreadable)][["part", "id", "path"]].assign(
        reason=[unreadable[p] for p in sorted(unreadable)]
    )
    listed = job.run.folder / "quarantine.csv"
    with storage.replacing(listed) as temporary:
        bad.to_csv(temporary, index=False, lineterminator="\n")
    for part, fate in (("train", "left out of training"), ("test", "their rows get the class prior")):
        rows = bad[bad["part"] == part]
        if len(rows):
            example = f"{rows['id'].iloc[0]} ({rows['reason'].iloc[0]})"
            job.console.warn(f"{len(rows)} {part} images can't be read, such as {example}: {fate}; all are in {listed}")
    if (bad["part"] == "train").sum() == len(job.tables.train):
        raise UserError(f"no training image can be read, such as {bad['path'].iloc[0]}: {bad['reason'].iloc[0]}.")


def fit_heads(
    training: heads.Training, fold: folds.Fold, recipe: Recipe, console: Console
) -> tuple[Floats, dict[str, heads.Head]]:
    """Return out-of-fold probabilities of the scored images (N, C), and the heads by name, `all` the last."""
    scoring: list[int] = folds.scored(fold).tolist()
    everyone = np.ones(len(fold), dtype=bool)
    jobs = {f"fold{part}": fold != part for part in scoring} | {"all": everyone}
    fitted: dict[str, heads.Head] = {}
    # One BLAS thread each, folds side by side: numpy's and scipy's BLAS have a pool of threads each, and on
    # few cores those wait for one another (up to 8 times slower here). It also makes the numbers the same on any
    # number of cores.
    with console.progress("heads", len(jobs), "heads") as advance, threadpool_limits(1, user_api="blas"):
        # the mlp draws from torch's one global generator
        workers = 1 if recipe.head == "mlp" else recipe.threads or devices.cores()
        work = inference.overlapped(jobs.values(), lambda train: heads.fit(training.take(train), recipe), workers)
        for name, head in zip(jobs, work, strict=True):
            fitted[name] = head
            advance(1)
        everything = np.full((len(fold), len(training.view_classes[0])), np.nan)
        for part in scoring:
            here = fold == part
            everything[here] = heads.predict(fitted[f"fold{part}"], training.rows[here], training.view_classes)
    console.say(f"heads: {recipe.head}, " + ", ".join(f"{name} {head.chosen}" for name, head in fitted.items()))
    return everything[fold != folds.TRAIN_ONLY], fitted


def save_heads(run: Run, fitted: Mapping[str, heads.Head]) -> None:
    """Save all heads as arrays."""
    from safetensors.numpy import save_file

    arrays = {
        f"{name}.{key}": np.ascontiguousarray(array)
        for name, head in fitted.items()
        for key, array in head.arrays().items()
    }
    with storage.replacing(run.folder / "heads.safetensors") as temporary:
        save_file(arrays, temporary, metadata={name: head.chosen for name, head in fitted.items()})
