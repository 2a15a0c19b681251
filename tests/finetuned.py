"""Fine-tuning through the command line, as small as it can be: drawn images, a tiny model, two epochs."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from kagglekit.base.console import Console
from kagglekit.data.project import Project
from kagglekit.models import registry
from kagglekit.pipeline import command as pipeline
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.finetune_run import FinetuneRun
from kagglekit.pipeline.prepare import prepare
from kagglekit.recipe import FeatureSettings
from tests import drawing, trainers

SMALL = ("--method", "finetune", "--set", "image_size=32", "--set", "train_batch=6", "--budget", "30m")
TWO_EPOCHS = ("--set", "phases=all epochs=2")
TWO_FOLDS = ("--folds", "2")
ONE_MODEL = ("--holdout", "10")
"""A hold-out takes half the time of two folds."""


def finished(tiny_export: tuple[str, Path], folder: Path) -> tuple[Path, str, Path]:
    """Train two folds for two epochs below a folder: (archive, backbone, home)."""
    spec, cache = small_export(tiny_export)
    home = folder / "home"
    shutil.copytree(cache, home / ".cache")
    archive = drawing.dogs(folder, train=40)
    settings = {"method": "finetune", "backbone": spec, "image_size": "32", "train_batch": "6"}
    settings |= {"budget": "30m", "folds": "2", "phases": "all epochs=2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        pipeline.run("dogs-vs-cats", archive, settings, Console(io.StringIO()))
    return archive, spec, home


@pytest.fixture(scope="module")
def made(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A finished run of two folds, in its home: (archive, backbone, home)."""
    with pytest.MonkeyPatch.context() as patch:
        trainers.spare(patch)
        return finished(tiny_export, tmp_path_factory.mktemp("made"))


@pytest.fixture
def of_made(made: tuple[Path, str, Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The command of the finished run, which is in this test's home."""
    trainers.spare(monkeypatch)
    archive, spec, before = made
    shutil.copytree(before, home, dirs_exist_ok=True)
    return command(archive, spec, *TWO_FOLDS, *TWO_EPOCHS)


def paced(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command without its number of epochs, so that the clock decides."""
    at = words.index(TWO_EPOCHS[1])
    return (*words[: at - 1], *words[at + 1 :])


def command(archive: Path, spec: str, *words: str, name: str = "dogs-vs-cats") -> tuple[str, ...]:
    return ("run", name, "--no-report", "--data", str(archive), "--backbone", spec, *SMALL, *words)


def runs(home: Path, name: str = "dogs-vs-cats") -> list[Path]:
    return sorted((home / name / "runs").iterdir())


def only_run(home: Path, name: str = "dogs-vs-cats") -> Path:
    (folder,) = runs(home, name)
    return folder


def newest(home: Path, name: str = "dogs-vs-cats") -> Path:
    """The run that the last command made."""
    return max(runs(home, name), key=lambda run: (run / "run.json").stat().st_mtime_ns)


def weights(run: Path, phase: str = "all", member: str = "fold0-0") -> dict[str, Any]:
    return dict(load_file(run / "models" / member / f"{phase}.safetensors"))


def same_weights(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)


def history(run: Path, member: str = "fold0-0", kind: str = "step") -> list[dict[str, Any]]:
    rows = json.loads((run / "models" / member / "history.json").read_text())
    return [row for row in rows if row["kind"] == kind]


def results(run: Path) -> dict[str, bytes]:
    """All that a run found out: by name, without what holds times, places, machines, or sums of losses (rounded)."""
    found = [
        *(path for path in run.glob("*.parquet") if path.stem != "images"),
        run / "submission.csv",
        run / "finish.json",
        *run.glob("models/*/*"),
    ]
    kept = [path for path in found if path.suffix in (".parquet", ".csv", ".safetensors") or path.stem == "finish"]
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}


def small_export(tiny_export: tuple[str, Path]) -> tuple[str, Path]:
    """Export the small backbone for small images, once for all tests: (spec, folder), to be copied to a home."""
    spec, cache = tiny_export
    folder = cache.parent / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(folder))
        registry.resolve(spec, FeatureSettings(image_size=(32,)), lambda _: None)
    return spec, folder / ".cache"


def prepared(archive: Path, spec: str, name: str = "dogs-vs-cats", **settings: Any) -> Job:
    """A run that is ready to be made, and nothing of it."""
    given = {"method": "finetune", "backbone": spec, "image_size": "32", "train_batch": 6, "budget": "30m", "folds": 2}
    return prepare(Project.load(name), archive, given | settings, Console(io.StringIO()))


def method(job: Job) -> FinetuneRun:
    """The stages of a run, its folds and features being made."""
    made = FinetuneRun(job)
    made.write_folds()
    made.write_features()
    return made
