"""Runs of version 0.1 are read by all commands that take a run."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kagglekit.base.console import Console
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.recipe import of_run
from kagglekit.report import facts
from kagglekit.runs import findings, store
from tests import old_run
from tests.conftest import Cli, succeeded

LABELS = list(old_run.COLOURS)


@dataclass(frozen=True)
class Old:
    """A home with the runs of version 0.1, as if they had been made there."""

    home: Path
    data: Path
    features: Path
    """The run on frozen features."""
    trained: Path
    """The fine-tuned run, without its weights."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    home = tmp_path_factory.mktemp("home")
    data = old_run.draw(tmp_path_factory.mktemp("data"))
    return Old(home, data, *old_run.put(home, data))


@pytest.fixture(autouse=True)
def in_home(old: Old, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(old.home))


def test_the_images_are_those_that_the_runs_were_made_from(old: Old) -> None:
    for run in (old.features, old.trained):
        images = pd.read_parquet(run / "images.parquet")
        contents = [hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest() for path in images["path"]]
        assert contents == images["content"].tolist()
        assert len(images) == len(LABELS) * old_run.PLANTS * old_run.EACH + old_run.TESTS


def test_they_are_listed_with_what_kaggle_said(cli: Cli, old: Old) -> None:
    out = succeeded(cli("runs")).out
    for words in (old.features.name, "0.68617 ± 0.10890", "0.71234", "72.22%", "features, logistic"):
        assert words in out
    for words in (old.trained.name, "3.88769 ± 1.30775", "test_resnet", "finetune, eight-step"):
        assert words in out


def test_they_are_shown(cli: Cli, old: Old) -> None:
    out = succeeded(cli("info", old.features.name)).out
    for words in ("of old-leaves", "tf_efficientnet_lite0", "embedded, Apache-2.0, sha256 579344248a93", "0.68617"):
        assert words in out
    assert "backbone test_resnet" in succeeded(cli("info", old.trained.name)).out


def test_what_they_scored_is_read(old: Old) -> None:
    for folder in (old.features, old.trained):
        found = findings.read(store.Run(folder))
        assert found.losses.mean() == pytest.approx(found.result.out_of_fold)
        assert found.groups is not None
        assert found.labels == tuple(LABELS)


def test_a_run_that_names_no_method_is_one_on_frozen_features(old: Old, tmp_path: Path) -> None:
    """Before there was fine-tuning, recipes had no such setting."""
    run = Path(shutil.copytree(old.features, tmp_path / old.features.name))
    lines = (run / "recipe.toml").read_text().splitlines()
    (run / "recipe.toml").write_text("\n".join(line for line in lines if not line.startswith("method")))
    assert facts.facts(findings.read(store.Run(run)))["Run"][2] == ("method", "features, logistic")
    assert FittedRun(store.Run(run), Console()).fitted().terms[0].views == ("plain", "mirror")


def test_they_have_reports(cli: Cli, old: Old) -> None:
    text = succeeded(cli("report", old.features.name, "--text")).out
    for words in ("0.68617", "between first (0.01000) and last (3.00000)", "temperature"):
        assert words in text
    done = succeeded(cli("report", old.features.name))
    assert "WARNING" not in done.out  # the networks are looked into, and the images are there
    page = (old.features / "report.html").read_text()
    assert "0.68617" in page
    assert "0.71234" in page
    done = succeeded(cli("report", old.trained.name))
    assert "tiny.safetensors: no such file" in done.out  # and only the pictures of networks are left out
    page = (old.trained / "report.html").read_text()
    assert "3.88769" in page
    assert "Learning-rate finder of fold0-0 before all" in page


def test_they_predict_what_they_predicted(cli: Cli, old: Old, tmp_path: Path) -> None:
    succeeded(cli("predict", old.features.name, old.data / "test", "--output", tmp_path / "found.csv"))
    found = pd.read_csv(tmp_path / "found.csv", dtype={"id": "str"})
    before = pd.read_parquet(old.features / "test.parquet").set_index("id")
    assert np.abs(found[LABELS].to_numpy() - before.loc[found["id"], LABELS].to_numpy()).max() < 1e-4


def test_they_are_exported(cli: Cli, old: Old, tmp_path: Path) -> None:
    done = succeeded(cli("export", old.features.name, "--output", tmp_path / "leaves.onnx"))
    assert "differs from torch by" in done.out
    assert (tmp_path / "leaves.onnx").is_file()


def test_they_are_compared_with_a_run_of_today(cli: Cli, old: Old, tmp_path: Path) -> None:
    plugin = shutil.copy(old_run.PLUGIN, tmp_path)
    words = ("--method", "features", "--backbone", "tf_efficientnet_lite0", "--folds", "2", "--set", "image_size=32")
    words = (*words, "--head", "logistic")  # as was usual then
    succeeded(cli("run", plugin, "--data", old.data, *words, "--set", "strengths=0.01"))
    (new,) = set((old.home / "old-leaves" / "runs").iterdir()) - {old.features, old.trained}
    for folder in (old.features, old.trained):
        out = succeeded(cli("compare", folder, new)).out
        assert "54 images" in out
        assert "settings that differ" in out
    # only what was said to differ does: the old names of settings mean the same as the new ones
    before, after = (store.Run(folder).recipe.as_dict() for folder in (old.features, new))
    assert len([name for name in before if before[name] != after[name]]) == 1


def test_new_names_of_settings_make_no_other_run_of_an_old_one() -> None:
    for run in old_run.runs():
        before = tomllib.loads((run / "recipe.toml").read_text())
        without_result = ("loader_workers", "checkpoint_seconds")
        assert of_run(run / "recipe.toml").identity() == {k: v for k, v in before.items() if k not in without_result}
