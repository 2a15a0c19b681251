"""Runs on frozen features for every task: from a table of labels to predictions, a submission and an ONNX graph."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from kagglekit.base.console import Console
from kagglekit.deploy import onnx_graph
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.models import sessions
from kagglekit.runs import store
from tests.conftest import Cli, Done, failed, succeeded
from tests.finetuned import newest

COUNT, TESTED = 60, 6
PLUGIN = """
from kagglekit import *

@hookimpl
def competition():
    return Competition(
        name="task", kaggle="", target={}, train=CsvLabels("train.csv", "train/{{id}}.png", id="id", label={}),
        test="test/{{id}}.png", submission={}, flip="allowed", metric="{}",
    )
"""
DECLARED = {
    "labels": ("Labels(['red', 'green', 'blue'])", "Tags('tags')", "JoinedLabels(label='tags')", "log_loss"),
    "shares": ("Shares(['r', 'g', 'b'])", "Columns(['r', 'g', 'b'])", "Values()", "rmse"),
    "numbers": ("Number(0, 300, name='light')", "'light'", "Value(label='light')", "rmse"),
    "grades": ("Grades(4)", "'grade'", "ClassLabel(label='grade')", "qwk"),
}
SAMPLES = {"labels": ("tags", "red"), "shares": ("r,g,b", "0,0,0"), "numbers": ("light", "0"), "grades": ("grade", "0")}


def draw(folder: Path) -> None:
    """Draw images of one colour each, and a table of their colours."""
    random = np.random.default_rng(0)
    colours = random.uniform(0, 1, (COUNT + TESTED, 3))
    for number, colour in enumerate(colours):
        part = "train" if number < COUNT else "test"
        (folder / part).mkdir(parents=True, exist_ok=True)
        image = np.clip(255 * colour[::-1] + random.normal(0, 8, (48, 48, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / part / f"i{number}.png"), image)
    table = pd.DataFrame(colours[:COUNT], columns=["r", "g", "b"]).round(4)
    names = np.array(["red", "green", "blue"])
    table["id"] = [f"i{number}" for number in range(COUNT)]
    table["tags"] = [" ".join(names[colour > 0.5]) for colour in colours[:COUNT]]
    table["light"] = (100 * colours[:COUNT].sum(axis=1)).round(3)
    table["grade"] = (3.999 * colours[:COUNT, 0]).astype(int)
    table.to_csv(folder / "train.csv", index=False)


def start(kind: str, cli: Cli, spec: str, folder: Path, *settings: str) -> Done:
    """Run a competition of a kind on drawn images."""
    plugin, data = folder / "task.py", folder / "data"
    draw(data)
    plugin.write_text(PLUGIN.format(*DECLARED[kind]))
    columns, cell = SAMPLES[kind]
    rows = [f"i{number},{cell}\n" for number in range(COUNT, COUNT + TESTED)]
    (data / "sample_submission.csv").write_text(f"id,{columns}\n{''.join(rows)}")
    words = [word for setting in settings for word in ("--set", setting)]
    return cli("run", plugin, "--data", data, "--backbone", spec, "--method", "features", "--folds", "3", *words)


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        ("nearest", "head = 'nearest' compares classes, and this competition predicts labels: use logistic or mlp."),
        ("ordinal", "head = 'ordinal' is for grades, and this competition predicts labels: use auto or logistic."),
    ],
)
def test_a_head_of_another_task_is_refused(
    head: str, refused: str, cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    said = failed(start("labels", cli, tiny, tmp_path, f"head={head}"))
    assert said == f"kagglekit: {refused}\n"
    assert not (home / "task" / "runs").exists(), "before any data is read"


def test_numbers_have_no_rare_classes(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    said = failed(start("numbers", cli, tiny, tmp_path, "balance=1"))
    assert said == "kagglekit: balance makes rare classes count more, and numbers have none: set it to 0.\n"
    assert not (home / "task" / "runs").exists(), "before any data is read"


@pytest.mark.parametrize(
    ("kind", "head"),
    [*itertools.product(DECLARED, ["logistic", "mlp"]), ("grades", "nearest"), ("grades", "ordinal")],
    ids=str,
)
def test_a_run_beats_the_prior_and_its_graph_says_the_same(
    kind: str, head: str, cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    chosen = ("head=" + head, "regularisation_grid=0.03,0.3", "mlp_epochs=30", "mlp_dropout=0.1", "finish=")
    succeeded(start(kind, cli, tiny, tmp_path, *chosen))
    run = FittedRun(store.Run(newest(home, "task")), Console())
    assert len(pd.read_csv(run.run.folder / "submission.csv")) == TESTED
    table = run.run.images("train")
    truth = run.task.truth(table["label"].tolist())
    oof = run.run.read_probabilities("heads.parquet", table["id"].tolist(), run.labels)
    prior = np.tile(run.task.prior(truth), (len(truth), 1))
    assert run.task.losses(truth, oof).mean() < run.task.losses(truth, prior).mean()

    ((name, preprocessing),) = run.preprocessings().items()
    images = np.stack([preprocessing.apply(cv2.imread(path)[:, :, ::-1]) for path in run.run.images("test")["path"]])
    path = tmp_path / "run.onnx"
    path.write_bytes(onnx_graph.compose(run).SerializeToString())
    (found,) = sessions.Session(path, "cpu", 1).run((onnx_graph.PROBABILITIES,), {name: images})
    assert np.allclose(found, run.by_torch({preprocessing: images}), rtol=1e-3, atol=1e-4)
