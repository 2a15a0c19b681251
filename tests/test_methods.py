"""What a method is: a third one is a class and an entry in the table, and all commands know it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kagglekit.base import devices
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.deploy import onnx_graph
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.pipeline.finished import FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.base import Method, MethodRun
from kagglekit.pipeline.methods.fitted import Fitted
from kagglekit.pipeline.predictions import Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, store
from kagglekit.runs.stages import Stage, Stages
from kagglekit.training.budget import Work
from tests import damage, drawing
from tests.conftest import REPORT, Cli, failed, succeeded


class Prior(Method):
    """Predict the classes' shares in training: what every other method must beat."""

    name = "prior"

    def describe(self, recipe: Recipe) -> str:
        return f"{self.name}, seed {recipe.data.seed}"

    def default_backbones(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[tuple[str, ...], str]:
        return (), ""

    def stages(self, job: Job) -> tuple[Stage, ...]:
        return Stage("folds", (filenames.FOLDS,)), Stage("device", (filenames.PROVIDER,))

    def predict(self, job: Job, stages: Stages) -> Predictions:
        run = MethodRun(job)
        stages.make("folds", run.write_folds)
        stages.make("device", lambda: run.write_device("cpu"))
        rows = [np.tile(run.prior, (count, 1)) for count in (len(run.scored_ids), len(run.readable))]
        return run.predictions(rows[0], run.all_requested(rows[1]))

    def fitted(self, run: FinishedRun, part: str) -> Fitted:
        return Fitted()


@pytest.fixture
def prior(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(table.METHODS, Prior.name, Prior())
    return Prior.name


def test_a_third_method_is_one_class_and_one_entry(cli: Cli, tmp_path: Path, home: Path, prior: str) -> None:
    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--method", prior, "--folds", "2", REPORT)
    done = succeeded(cli(*words))
    run = damage.only_run(home / "dogs-vs-cats")
    shares = pd.read_parquet(run / "images.parquet").query("part == 'train'")["label"].value_counts(normalize=True)
    assert pd.read_csv(run / "submission.csv")["label"].to_numpy() == pytest.approx(shares["dog"])
    assert "method prior has no network to inspect" in done.out + done.err
    assert "prior, seed 0" in (run / "report.html").read_text(encoding="utf-8")
    assert "prior, seed 0" in succeeded(cli("runs", "dogs-vs-cats")).out
    assert "already finished" in succeeded(cli(*words)).out
    assert "only method finetune trains fold by fold" in failed(cli(*words, "--fold", "0"))
    assert "method prior has no network" in failed(cli("export", run.name))
    with pytest.raises(UserError, match="has no network to export"):
        onnx_graph.compose(FittedRun(store.Run(run), Console(io.StringIO())))


def test_an_unknown_method_is_refused_before_anything_is_read(cli: Cli, tmp_path: Path, home: Path) -> None:
    words = "setting method = 'prior': must be one of auto, blend, features, finetune"
    assert words in failed(cli("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--method", "prior"))
    (home / "dogs-vs-cats").mkdir()
    (home / "dogs-vs-cats" / "recipe.toml").write_text('method = "prior"\n')
    for command in ("info", "audit", "augmentations"):
        assert words in failed(cli(command, "dogs-vs-cats"))


def test_a_run_of_an_unknown_method_is_listed_by_its_name(cli: Cli, tmp_path: Path, home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table.METHODS, Prior.name, Prior())
        succeeded(
            cli(
                "run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--method", "prior", "--folds=2", "--no-report"
            )
        )
    listed = succeeded(cli("runs", "dogs-vs-cats")).out
    assert "prior" in listed
    assert "seed 0" not in listed
