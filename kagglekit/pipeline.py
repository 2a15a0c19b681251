"""One run, as a straight line: from a name to a validated submission."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from kagglekit import conclusion, data, plugins, recipe, runs, storage, summary, tables
from kagglekit.competition import Competition
from kagglekit.console import Console
from kagglekit.engines import backbones, devices, method_features
from kagglekit.job import Job
from kagglekit.recipe import Recipe
from kagglekit.tables import Tables
from kagglekit.workspace import Workspace


def run(name: str, data_path: Path | None, settings: Mapping[str, Any], console: Console) -> runs.Run:
    """Take a competition from its data to a submission; return the run.

    `settings` are those of the command line. A run that is finished already is shown again.
    """
    job = prepare(name, data_path, settings, console)
    result = job.run.finished()
    if result is not None:
        console.say(f"run {job.run.id} is finished already, nothing has changed since")
        summary.show(job.run, job.competition, result, console)
        return job.run
    with console.logging_to(job.run.folder / "log.txt"):
        _record(job)
        predictions = method_features.predict(job)
        result = conclusion.conclude(job, predictions)
        summary.show(job.run, job.competition, result, console)
    return job.run


def prepare(name: str, data_path: Path | None, settings: Mapping[str, Any], console: Console) -> Job:
    """Load the plugin, settle the recipe, find the data and get the backbones ready."""
    started = time.perf_counter()
    plugin = plugins.load(name)
    competition = plugin.competition()
    workspace = Workspace.of(competition.name)
    chosen = recipe.resolve(plugin.recipe(), plugin.name, workspace.recipe_file, settings)
    console.say(f"{competition.name}: {competition.url}")
    files = data.find(competition, data_path, workspace, console)
    found = tables.read(plugin, competition, files, chosen, console)
    data_ready = time.perf_counter()
    used = prepare_backbones(chosen, console)
    this = runs.open_run(workspace, _key(plugin, competition, chosen, used, found))
    this.seconds |= {"data": data_ready - started, "backbones": time.perf_counter() - data_ready}
    return Job(
        run=this,
        plugin=plugin,
        competition=competition,
        recipe=chosen,
        tables=found,
        backbones=used,
        workspace=workspace,
        console=console,
    )


def prepare_backbones(chosen: Recipe, console: Console) -> list[backbones.Backbone]:
    """Choose by device where the recipe says auto, and return backbones that are ready to run."""
    device = devices.choose(chosen.provider)
    specs = chosen.backbone
    if specs == ("auto",):
        specs, reason = backbones.default(device)
        console.say(f"backbone {', '.join(specs)} on {device}: {reason}")
    ready = [backbones.resolve(spec, chosen, console.say) for spec in specs]
    for backbone in ready:
        console.say(
            f"weights of {backbone.name}: {backbone.source}, licence {backbone.licence}, "
            f"sha256 {backbone.sha256[:12]}, {backbone.parameters / 1e6:.1f} M parameters"
        )
    return ready


def _key(
    plugin: plugins.Plugin, competition: Competition, chosen: Recipe, used: list[backbones.Backbone], found: Tables
) -> dict[str, Any]:
    """Everything that a run's results are made from."""
    return {
        "plugin": storage.file_sha256(Path(str(plugin.module.__file__))),
        "competition": competition.describe(),
        "recipe": chosen.as_dict(),
        "backbones": [backbone.record() for backbone in used],
        "train": _fingerprint(found.train),
        "test": _fingerprint(found.asked),
        "sample_submission": None if found.sample is None else storage.digest(found.sample.to_csv(index=False)),
        "device": devices.choose(chosen.provider),
        "versions": {name: version(name) for name in ("kagglekit", "numpy", "scikit-learn", "scipy")},
    }


def _fingerprint(table: pd.DataFrame) -> str:
    """Return a digest of a table and of its files' sizes and times."""
    stamps = [storage.stamp(Path(path)) if Path(path).exists() else None for path in table["path"]]
    return storage.digest([table.drop(columns="path").to_csv(index=False), stamps], 32)


def _record(job: Job) -> None:
    """Write what the run is made from, before it is made."""
    storage.write_text(job.run.folder / "recipe.toml", recipe.to_toml(job.recipe))
    record = {
        "competition": job.competition.describe(),
        "backbones": [backbone.record() for backbone in job.backbones],
        "train_images": len(job.tables.train),
        "test_images": len(job.tables.asked),
        "seed": job.recipe.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    storage.write_json(job.run.folder / "run.json", record | runs.environment())
