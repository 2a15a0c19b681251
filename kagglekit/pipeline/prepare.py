"""Prepare a run: find the data and fix all settings, before anything is computed.

A command reads the data, scans the images and decides once; what it decides may be of several runs, made in turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kagglekit.base import devices, environment, gpu, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions import plugins
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import exclusions, tables
from kagglekit.data.project import Project
from kagglekit.data.tables import Scanned, Tables
from kagglekit.images import decoding, scan
from kagglekit.models import backbone, batch_sizes, registry
from kagglekit.pipeline import raced, racing, submission, synthetic_run
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.features import FrozenFeatures
from kagglekit.recipe import FeatureSettings, Recipe, by_first_names, by_names
from kagglekit.runs import filenames, record, store
from kagglekit.runs.choices import Decision, Race
from kagglekit.training import budget, initial_weights

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
"""Packages whose versions may change the results."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """The data of a run and its settings, before the images are scanned."""

    project: Project
    recipe: Recipe
    files: DataFiles
    tables: Tables
    mark: Literal["", "synthetic", "rehearsal"]
    """What the run's name says of it."""
    seconds: dict[str, float]
    """Time that reading took."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The data of a run, scanned, and its settings, before anything is decided."""

    project: Project
    recipe: Recipe
    tables: Scanned
    mark: Literal["", "synthetic", "rehearsal"]
    """What the run's name says of it."""
    seconds: dict[str, float]
    """Time taken so far: by reading, by the scan, by deciding, and by runs before this one."""

    @cached_property
    def key(self) -> dict[str, Any]:
        """Everything that determines the results of a run, except what is decided."""
        project, chosen = self.project, self.recipe
        own = _key(project.plugin, project.competition, chosen, self.tables)
        return own | dict(table.inputs(chosen, project.workspace))


def prepare(
    project: Project,
    data_path: Path | None,
    settings: Mapping[str, Any],
    console: Console,
    *,
    synthetic: bool = False,
    remember: bool = True,
) -> Job:
    """Resolve the recipe, find (or draw) and scan the data, and export the backbones.

    If `remember`, later commands without `--data` look in `data_path` too.
    """
    data = read(project, data_path, settings, console, synthetic=synthetic, remember=remember)
    known = scan_images(data, console)
    return ready(known, decide(known, console), console)


def read(
    project: Project,
    data_path: Path | None,
    settings: Mapping[str, Any],
    console: Console,
    *,
    synthetic: bool = False,
    remember: bool = True,
) -> Read:
    """Resolve the recipe, find (or draw) the data, and read its tables."""
    seconds: dict[str, float] = {}
    plugin, competition = project.plugin, project.competition
    chosen = table.resolve(project, settings, console.say)
    table.check(chosen, competition.task)
    console.say(f"{competition.name}: {competition.url}" if competition.url else competition.name)
    if plugin.data is not None:
        labels = listed(list(competition.labels))
        has = competition.submission.words(competition.target)
        row = f"each row of the submission has {has}" if competition.test_patterns else "no test set"
        console.say(f"no plugin: the classes are {labels}; {row}")
    with _timed(seconds, "data"):
        if synthetic:
            project = project.synthetic
            data_path, chosen = synthetic_run.draw(project, chosen, console)
        files = project.find_data(data_path, console, remember=remember)
        project = project.on(files)
        drops = None if synthetic else exclusions.of(project.workspace, console)
        found = tables.read(project, files, chosen.data, console, drops=drops)
    return Read(
        project=project,
        recipe=chosen,
        files=files,
        tables=found,
        mark="synthetic" if synthetic else "",
        seconds=seconds,
    )


def scan_images(data: Read, console: Console) -> Known:
    """Scan the images; first the plugin's own submission format is tried."""
    seconds = dict(data.seconds)
    project, chosen, found = data.project, data.recipe, data.tables
    submission.try_hook(project.plugin, project.competition, found)
    with _timed(seconds, "scan"):
        scanned = tables.scan_images(found, chosen.data, chosen.compute, project.workspace.scan, console)
        tables.check_classes(found, scanned, project.competition.task)
    return Known(project=project, recipe=chosen, tables=scanned, mark=data.mark, seconds=seconds)


def decide(data: Known, console: Console) -> Decision:
    """Decide what depends on the machine, once per key: later commands get what the first one decided."""
    with _timed(data.seconds, "backbones"):
        return store.decide(data.project.workspace, data.key, lambda: _decide(data, console))


def ready(data: Known, decided: Decision, console: Console) -> Job:
    """Export the backbones that were decided on, and open the run's folder."""
    seconds, workspace = dict(data.seconds), data.project.workspace
    settled = data.recipe.changed(**by_names(decided.settings))
    console.say(f"method {settled.training.method}: {decided.why}")
    with _timed(seconds, "backbones"):
        try:
            used = prepare_backbones(decided, settled.features, console)
        except UserError:  # for example, the hub does not answer: the next command may decide differently
            store.forget(workspace, data.key)
            raise
    method = table.get(settled.training.method)
    used = method.using([each.with_levels(data.tables.levels) for each in used])
    this = store.open_run(
        workspace,
        data.key
        | {
            "backbones": [backbone.record().to_plain() for backbone in used],
            "settings": by_first_names(decided.settings),
        },
        data.mark,
    )
    this.seconds |= seconds
    if decided.race is not None:
        raced.show(decided.race, console)
        record.write(this.folder / filenames.RACE, decided.race)
    return Job(
        run=this,
        plugin=data.project.plugin,
        competition=data.project.competition,
        recipe=settled,
        tables=data.tables,
        backbones=used,
        batch_size=decided.batch_size,
        workspace=workspace,
        synthetic=data.mark == "synthetic",
        console=console,
        pace=decided.pace,
    )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


def _decide(data: Known, console: Console) -> Decision:
    """Decide what depends on the machine and its current state, for each run that is made in turn."""
    train, tables = data.tables.train, data.tables
    work = budget.Work(
        len(train),
        len(tables.requested),
        spent=sum(data.seconds.values()),
        native=tables.usual_shape,
        elongation=tables.usual_elongation,
        valid_images=int(train["valid"].sum()) if "valid" in train else 0,
        task=data.project.competition.task,
    )
    device = gpu.choose(data.recipe.compute.provider, console.warn)
    occasion = racing.Occasion(
        recipe=data.recipe,
        tables=tables,
        work=work,
        competition=data.project.competition,
        workspace=data.project.workspace,
        device=device,
    )
    race = racing.race(occasion, console)
    if race is not None:
        work = replace(work, raced=race.chosen, raced_seconds=race.seconds)
    *before, last = (_decided(data.recipe, choice, device, race) for choice in table.choose(data.recipe, work, device))
    return replace(last, first=before[0]) if before else last


def _decided(chosen: Recipe, choice: table.Choice, device: devices.Device, race: Race | None) -> Decision:
    return Decision(
        race=race if choice.settings["method"] == FrozenFeatures.name else None,
        device=device,
        backbones=choice.backbones,
        reason=choice.because,
        settings=choice.settings,
        why=choice.reason,
        batch_size=chosen.compute.feature_batch
        or batch_sizes.automatic_batch(device, chosen.features.shape or batch_sizes.USUAL_SIZE),
        when=time.strftime("%Y-%m-%d %H:%M"),
        pace=choice.pace,
    )


def prepare_backbones(decided: Decision, features: FeatureSettings, console: Console) -> list[backbone.Backbone]:
    """Export the chosen backbones if needed, and return them."""
    if decided.reason:
        names = ", ".join(decided.backbones)
        console.say(f"backbone {names} on {decided.device}: {decided.reason} (decided {decided.when})")
    ready = [registry.resolve(spec, features, console.say) for spec in decided.backbones]
    for one in ready:
        console.say(
            f"weights of {one.name}: {one.source}, licence {one.licence}, "
            f"sha256 {one.sha256[:12]}, {one.parameters / 1e6:.1f} M parameters"
        )
    return ready


def _key(plugin: plugins.Plugin, competition: Competition, chosen: Recipe, found: Scanned) -> dict[str, Any]:
    """Return everything that determines the results of a run, except the backbones.

    What only the submission depends on is left out: `submission.key` has it. A plugin's code counts where it computes:
    in a metric of its own, and in its augmentations; all else that it says is in the description and the tables.
    """
    described = competition.describe()
    del described["submission"]
    computes = not isinstance(competition.metric, str) or plugin.has("augmentations")
    return {
        "plugin": plugin.digest(without=("submission", "search_space")) if computes else "",
        "competition": described,
        "metric": competition.metric if isinstance(competition.metric, str) else "",
        "positive": getattr(competition.submission, "of", ""),
        **({"per_group": competition.submission.per_group} if competition.submission.per_group else {}),
        "recipe": chosen.identity(),
        "start": initial_weights.digest(chosen.training.start) if chosen.training.start else "",
        "augment": _augment_digest(chosen.augmentation.augment),
        "train": _fingerprint(found.train),
        "test": _fingerprint(found.requested),
        "device": gpu.choose(chosen.compute.provider),
        "quarantine": storage.digest(found.quarantine.drop(columns="path").to_csv(index=False)),
        "versions": {name: environment.installed_version(name) for name in _PACKAGES}
        | {"audit": scan.SCAN_VERSION, "preprocessing": decoding.PREPROCESSING_VERSION},
    }


def _augment_digest(policy: str) -> str:
    """Return the hash of a policy file; empty for a named policy, which is part of the code or the plugin."""
    if not policy.endswith(".json"):
        return ""
    if not Path(policy).is_file():
        raise UserError(f"augment = {policy!r}: no such file.")
    return storage.file_sha256(Path(policy))


def _fingerprint(table: pd.DataFrame) -> str:
    """Return a hash of a table and the contents of its files, but not of their paths."""
    return storage.digest(table.drop(columns="path").to_csv(index=False), 32)
