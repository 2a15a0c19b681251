"""One run, as a straight line: from a name to a validated submission."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from kagglekit import conclusion, data, plugins, processes, recipe, rehearsal, runs, storage, summary, tables
from kagglekit.competition import ClassLabel, Competition, Probability
from kagglekit.console import Console
from kagglekit.dataset import drops
from kagglekit.engines import (
    audit,
    backbones,
    bundle,
    decoding,
    devices,
    images,
    inference,
    method_features,
    method_finetune,
)
from kagglekit.engines.finetune import budget, start
from kagglekit.errors import UserError
from kagglekit.job import Job
from kagglekit.recipe import Recipe
from kagglekit.stages import Stages
from kagglekit.tables import Audited
from kagglekit.workspace import Workspace

METHODS = {"features": method_features, "finetune": method_finetune}
_PACKAGES = (
    "kagglekit",
    "accelerate",
    "albucore",
    "albumentations",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pillow",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
)
"""Whose versions may decide a digit of the results."""


def run(
    name: str, data_path: Path | None, settings: Mapping[str, Any], console: Console, fold: int | None = None
) -> runs.Run:
    """Take a competition from its data to a submission; return the run.

    `settings` are those of the command line. Where there is no data yet it is a rehearsal. A run that is finished
    already is shown again, one that was killed goes on. With `fold` only that fold's models are trained.
    """
    plugin = plugins.load(name)
    with processes.first_goes_first():  # which may be bringing the data from Kaggle
        absent = data_path is None and plugin.data is None and data.is_absent(Workspace.of(plugin.competition().name))
        if absent:
            console.warn(rehearsal.how_to_get_data(plugin))
        job = prepare(plugin, data_path or plugin.data, settings, console, synthetic=absent)
    return go(job, fold)


def go(job: Job, fold: int | None = None) -> runs.Run:
    """Make a run that is prepared, or go on with it; one that is finished already is only shown."""
    method = METHODS[job.recipe.method].stages(job)
    stages = Stages(job.run.folder, job.run.key, (*method, *conclusion.stages(job.run, method)), job.console.warn)
    if fold is not None:
        _check_fold(job, fold)
        with _logging(job, f"log-fold{fold}.txt"):
            with job.run.locked(job.console):
                _record(job)
                method_finetune.prepare(job, stages)
            method_finetune.predict(job, stages, fold)
        return job.run
    with job.run.locked(job.console):
        _warn_of_quarantine(job)
        if processes.agree(stages.all_made()):
            job.console.say(f"run {job.run.id} is finished already, nothing has changed since")
            _show(job)
        else:
            with _logging(job, "log.txt"):
                _record(job)
                predictions = METHODS[job.recipe.method].predict(job, stages)
                if predictions is not None:  # only the first process has them
                    conclusion.conclude(job, predictions, stages)
                    _show(job)
    return job.run


def _logging(job: Job, name: str) -> AbstractContextManager[None]:
    """Write down what is said; of several processes only the first one does."""
    return job.console.logging_to(job.run.folder / name) if processes.is_first() else nullcontext()


def _show(job: Job) -> None:
    result = job.run.result
    if processes.is_first() and result is not None:
        summary.show(job.run, job.plugin, result, job.console)


def _check_fold(job: Job, fold: int) -> None:
    folds = sorted({member.fold for member in method_finetune.members(job.recipe, job.backbones)})
    if job.recipe.method != "finetune":
        raise UserError(f"--fold {fold}: only method finetune trains fold by fold; use --method finetune.")
    if fold not in folds:
        raise UserError(f"--fold {fold}: this run has folds {folds[0]} to {folds[-1]}.")


def prepare(
    plugin: plugins.Plugin,
    data_path: Path | None,
    settings: Mapping[str, Any],
    console: Console,
    *,
    synthetic: bool = False,
    remember: bool = True,
) -> Job:
    """Settle the recipe, find (or draw) and audit the data, and get the backbones ready.

    `remember` says whether the next command without `--data` is to look at `data_path` too.
    """
    seconds: dict[str, float] = {}
    competition = plugin.competition()
    workspace = Workspace.of(competition.name)
    chosen = recipe.resolve(plugin.recipe(), plugin.name, workspace.recipe_file, settings)
    console.say(f"{competition.name}: {competition.url}" if competition.url else competition.name)
    if plugin.data is not None:
        labels = ", ".join(competition.labels)
        console.say(f"no plugin: the classes are {labels}; a row of the submission holds {_row(competition)}")
    with _timed(seconds, "data"):
        if synthetic:
            workspace = workspace.synthetic
            data_path, chosen = rehearsal.draw(competition, workspace, chosen, console)
        files = data.find(competition, data_path, workspace, console, remember and plugin.data is None)
        listed = None if synthetic else drops.of(workspace)
        found = tables.read(plugin, competition, files, chosen, console, drops=listed)
    with _timed(seconds, "audit"):
        audited = tables.look_at_images(found, chosen, workspace.cache / "audit", console)
        tables.check_classes(found, audited)
    key = _key(plugin, competition, chosen, audited)
    with _timed(seconds, "backbones"):
        native = images.usual_shape(audited.train["path"].tolist())
        work = budget.Work(len(audited.train), len(audited.asked), spent=sum(seconds.values()), native=native)
        decided, chosen, used = _settle(workspace, key, chosen, work, console)
    this = runs.open_run(
        workspace,
        key | {"backbones": [backbone.record() for backbone in used], "settings": decided["settings"]},
        synthetic,
    )
    this.seconds |= seconds
    return Job(
        run=this,
        plugin=plugin,
        competition=competition,
        recipe=chosen,
        tables=audited,
        backbones=used,
        batch_size=decided["batch_size"],
        workspace=workspace,
        synthetic=synthetic,
        console=console,
    )


def _settle(
    workspace: Workspace, key: dict[str, Any], chosen: Recipe, work: budget.Work, console: Console
) -> tuple[dict[str, Any], Recipe, list[backbones.Backbone]]:
    """Decide what depends on the machine, once for a key; return it, the recipe with it, and the backbones."""
    decided = runs.decide(workspace, key, lambda: _decide(chosen, work))
    settled = recipe.resolve(chosen.as_dict() | decided["settings"], "decision", Path(os.devnull), {})
    console.say(f"method {settled.method}: {decided['why']}")
    try:
        return decided, settled, prepare_backbones(decided, settled, console)
    except UserError:  # such as a hub that has gone since: the next command may decide otherwise
        runs.forget(workspace, key)
        raise


def _row(competition: Competition) -> str:
    form = competition.submission
    if isinstance(form, Probability):
        return f"the probability of {form.of}"
    return "the class" if isinstance(form, ClassLabel) else "a probability a class"


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def _decide(chosen: Recipe, work: budget.Work) -> dict[str, Any]:
    """Settle what depends on the machine and the moment."""
    device = devices.choose(chosen.provider)
    specs, reason = chosen.backbone, ""
    if specs == ("auto",):
        specs, reason = backbones.default_trained(device)
    plan = budget.choose(replace(chosen, backbone=specs), specs[0].partition("=")[0], work, device)
    if chosen.backbone == ("auto",) and plan.settings["method"] == "features":
        specs, reason = backbones.default(device)
    return {
        "device": device,
        "backbones": list(specs),
        "reason": reason,
        "settings": plan.settings,
        "why": plan.reason,
        "batch_size": chosen.batch_size or inference.automatic_batch(device, chosen.shape or inference.USUAL_SIZE),
        "when": time.strftime("%Y-%m-%d %H:%M"),
    }


def prepare_backbones(decided: Mapping[str, Any], chosen: Recipe, console: Console) -> list[backbones.Backbone]:
    """Return the backbones that were decided on, ready to run."""
    if decided["reason"]:
        names = ", ".join(decided["backbones"])
        console.say(f"backbone {names} on {decided['device']}: {decided['reason']} (decided {decided['when']})")
    ready = [backbones.resolve(spec, chosen, console.say) for spec in decided["backbones"]]
    for backbone in ready:
        console.say(
            f"weights of {backbone.name}: {backbone.source}, licence {backbone.licence}, "
            f"sha256 {backbone.sha256[:12]}, {backbone.parameters / 1e6:.1f} M parameters"
        )
    return ready


def _key(plugin: plugins.Plugin, competition: Competition, chosen: Recipe, found: Audited) -> dict[str, Any]:
    """Everything that a run's results are made from, but the backbones."""
    return {
        "plugin": plugin.digest(),
        "competition": competition.describe(),
        "recipe": {name: value for name, value in chosen.as_dict().items() if name not in recipe.WITHOUT_RESULT},
        "start": start.digest(chosen.start) if chosen.start else "",
        "augment": _augment_digest(chosen),
        "train": _fingerprint(found.train),
        "test": _fingerprint(found.asked),
        "sample_submission": None if found.sample is None else storage.digest(found.sample.to_csv(index=False)),
        "device": devices.choose(chosen.provider),
        "quarantine": storage.digest(found.quarantine.drop(columns="path").to_csv(index=False)),
        "versions": {name: runs.installed_version(name) for name in _PACKAGES}
        | {"audit": audit.AUDIT_VERSION, "preprocessing": decoding.PREPROCESSING_VERSION},
    }


def _augment_digest(chosen: Recipe) -> str:
    """Return a hash of the policy's file; nothing for a policy with a name, which the code and the plugin decide."""
    if not chosen.augment.endswith(".json"):
        return ""
    if not Path(chosen.augment).is_file():
        raise UserError(f"augment = {chosen.augment!r}: no such file.")
    return storage.file_sha256(Path(chosen.augment))


def _fingerprint(table: pd.DataFrame) -> str:
    """Return a digest of a table and of its files' contents, wherever they lie."""
    return storage.digest(table.drop(columns="path").to_csv(index=False), 32)


def _record(job: Job) -> None:
    """Write what the run is made from, before it is made, and the list of images that can't be used."""
    if not processes.is_first():
        return
    folder = job.run.folder
    before = storage.read_json(folder / "run.json") or {}
    storage.write_text(folder / "recipe.toml", recipe.to_toml(job.recipe))
    record = {
        "competition": job.competition.describe(),
        "leaderboard": dict(job.competition.leaderboard),
        "bundle": bundle.describe(job.competition, job.plugin),
        "backbones": [backbone.record() for backbone in job.backbones],
        "batch_size": job.batch_size,
        "train_images": len(job.tables.train),
        "test_images": len(job.tables.asked),
        "dropped": len(job.tables.dropped),
        "seed": job.recipe.seed,
        "synthetic": job.synthetic,
        "started": before.get("started", time.strftime("%Y-%m-%dT%H:%M:%S%z")),
        "gone_on": before.get("gone_on", -1) + 1,
    }
    storage.write_json(folder / "run.json", record | runs.environment())
    _record_images(job)
    if len(job.tables.dropped):
        drops.write(folder / "drops.csv", job.tables.dropped)
    bad, listed = job.tables.quarantine, _quarantine_list(job)
    if len(bad) or listed.exists():
        with storage.replacing(listed) as temporary:
            bad.to_csv(temporary, index=False, lineterminator="\n")


def _record_images(job: Job) -> None:
    """Write down which files the run is made from: export, report and audit look at them again."""
    both = [job.tables.train.assign(part="train"), job.tables.asked.assign(part="test")]
    job.run.write_frame("images.parquet", pd.concat(both, ignore_index=True))


def _quarantine_list(job: Job) -> Path:
    return job.run.folder / "quarantine.csv"


def _warn_of_quarantine(job: Job) -> None:
    """Say loudly what becomes of unreadable images."""
    bad, listed = job.tables.quarantine, _quarantine_list(job)
    for part, fate in (("train", "left out of training"), ("test", "their rows get the class prior")):
        rows = bad[bad["part"] == part]
        if len(rows):
            example = f"{rows['id'].iloc[0]} ({rows['reason'].iloc[0]})"
            job.console.warn(f"{len(rows)} {part} images can't be read, such as {example}: {fate}; all are in {listed}")
