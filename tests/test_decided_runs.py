"""Runs of grades, labels and numbers, from the metric's decision to submission, exported file and bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kagglekit.deploy import standalone
from kagglekit.pipeline import deciding, gates, postprocess
from kagglekit.runs import decided, findings, store
from kagglekit.tasks import decisions
from tests import drawing
from tests.conftest import Cli, succeeded
from tests.finetuned import newest

PLUGIN = """
from kagglekit import *

@hookimpl
def competition():
    return Competition(name="drawn", kaggle="", test="test/{{id}}.jpg", {})
"""
GRADES = """target=Grades(3), train=CsvLabels("train.csv", "train/{id}.jpg", id="id", label="grade"),
    submission=ClassLabel(label="grade"), metric="qwk" """
LABELS = """target=Labels(["red", "blue", "green"]), train=CsvLabels("train.csv", "train/{{id}}.jpg", id="id",
    label=Tags("tags")), submission={}, metric="{}" """
TAGS = LABELS.format('JoinedLabels(label="tags")', "fbeta(2, samples)")
COLUMNS = LABELS.format("ProbabilityPerClass()", "log_loss")
NUMBERS = """target=Number(0, 2, name="grade"), train=CsvLabels("train.csv", "train/{id}.jpg", id="id", label="grade"),
    submission=Value(label="grade"), metric="rmse" """
NAMES = ["red", "blue", "green"]
WORDS = ("--method", "features", "--folds", "2", "--set", "regularisation_grid=1")


def drawn(folder: Path, what: str) -> Path:
    """Draw 36 images of three colours, of which every sixth is called wrong; return the plugin."""
    data = folder / "data"
    rows = []
    for part, count in (("train", 36), ("test", 9)):
        (data / part).mkdir(parents=True)
        for number in range(count):
            (data / part / f"{part}{number}.jpg").write_bytes(
                drawing.image(number % 3, number + 100 * (part == "test"))
            )
            if part == "train":
                grade = (number + (number % 6 == 0)) % 3
                rows.append({"id": f"train{number}", "grade": grade, "tags": NAMES[grade] + " blue" * (grade == 2)})
    pd.DataFrame(rows).to_csv(data / "train.csv", index=False)
    (folder / "drawn.py").write_text(PLUGIN.format(what))
    return folder / "drawn.py"


@pytest.fixture
def everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = gates.Judgement(before=1.0, after=0.5, gain=0.5, low=0.4, high=0.6, kept=True)
    for module in (deciding, postprocess):
        monkeypatch.setattr(module, "judge", lambda *_: kept)


def finished(cli: Cli, folder: Path, home: Path, what: str, spec: str) -> Path:
    plugin = drawn(folder, what)
    succeeded(cli("run", plugin, "--data", folder / "data", "--backbone", spec, *WORDS))
    return newest(home, "drawn")


def predicted(cli: Cli, run: Path, folder: Path) -> pd.DataFrame:
    """Return what the exported file says of the test images, in the order of the submission."""
    images = pd.read_csv(run / "submission.csv", dtype=str)["id"]
    paths = [folder / "data" / "test" / f"{name}.jpg" for name in images]
    succeeded(cli("predict", run, *paths, "--output", folder / "out.csv"))
    top = succeeded(cli("predict", run, *paths, "--top", "1")).out
    table = pd.read_csv(folder / "out.csv", dtype={"decided": str}, keep_default_na=False)
    for decided_, line in zip(table["decided"], top.splitlines(), strict=True):
        first, _, rest = line.partition(": ")[2].partition("; decided: ")
        if decided_ or rest:  # numbers have neither
            assert decided_ == (rest.replace(", ", "|").replace("none", "") if rest else first.partition(" ")[0])
    return table


@pytest.mark.parametrize(
    ("what", "kind", "column", "steps"),
    [(GRADES, "cut points", "grade", ["cut points"]), (TAGS, "thresholds", "tags", ["threshold", "thresholds"])],
    ids=["grades", "tags"],
)
@pytest.mark.usefixtures("everything_is_kept")
def test_what_was_fitted_is_submitted_exported_and_bundled(
    what: str, kind: str, column: str, steps: list[str], cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    run = finished(cli, tmp_path, home, what, tiny)
    assert [gate["step"] for gate in json.loads((run / "finish.json").read_text())] == steps, "and no temperature"
    decision = decided.read_decision(store.Run(run))
    assert decision is not None
    assert decision.kind == kind
    found = findings.read(store.Run(run))
    metric = found.result.out_of_fold
    assert metric == pytest.approx(json.loads((run / "alone.json").read_text())["out_of_fold"])
    assert found.submitted.shape == found.truth.shape
    written = pd.read_csv(run / "submission.csv", dtype=str, keep_default_na=False).sort_values("id")
    rows = store.Run(run).test().of(written["id"].tolist())
    labels = decisions.labels_of(decision.apply(rows), found.labels)
    assert written[column].tolist() == [text.replace("|", " ") for text in labels]
    table = predicted(cli, run, tmp_path)
    assert (
        np.abs(
            table[list(found.labels)].to_numpy()
            - store.Run(run).test().of(pd.read_csv(run / "submission.csv", dtype=str)["id"].tolist())
        ).max()
        < 1e-4
    )
    assert (
        table["decided"].str.replace("|", " ").tolist()
        == pd.read_csv(run / "submission.csv", dtype=str, keep_default_na=False)[column].tolist()
    )
    told = succeeded(cli("report", run, "--text")).out
    succeeded(cli("report", run))
    page = (run / "report.html").read_text(encoding="utf-8")
    for gate in json.loads((run / "finish.json").read_text()):
        shown = gate.get("text") or f"{gate['value']:g}"
        row = f"{gate['step']} {shown} +0.50000 0.40000 to 0.60000 yes"
        for said in (told, succeeded(cli("info", run)).out):
            assert row in " ".join(said.split())
        assert f'<th scope="row">{gate["step"]}</th><td class="number">{shown}</td>' in page
    succeeded(cli("bundle", run, tmp_path / "bundle"))
    standalone.main(tmp_path / "bundle", tmp_path / "data", tmp_path / "bundled.csv")
    bundled = pd.read_csv(tmp_path / "bundled.csv", dtype=str, keep_default_na=False).sort_values("id")
    assert bundled[column].tolist() == written[column].tolist()


@pytest.mark.usefixtures("everything_is_kept")
def test_labels_are_tempered_and_clipped_in_the_file_as_in_the_run(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    run = finished(cli, tmp_path, home, COLUMNS, tiny)
    assert list(json.loads((run / "alone.json").read_text())["steps"]) == ["temperature", "clip"]
    table = predicted(cli, run, tmp_path)
    written = pd.read_csv(run / "submission.csv")
    assert np.abs(table[NAMES].to_numpy() - written[NAMES].to_numpy()).max() < 1e-4
    result = json.loads((run / "result.json").read_text())
    assert result["accuracy"] is None
    assert 0 <= result["also"]["exact match"] <= 1


def test_numbers_are_clipped_to_their_range_and_have_no_accuracy(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    run = finished(cli, tmp_path, home, NUMBERS, tiny)
    assert json.loads((run / "finish.json").read_text()) == []
    written = pd.read_csv(run / "submission.csv")
    assert written["grade"].between(0, 2).all()
    table = predicted(cli, run, tmp_path)
    assert np.abs(table["grade"] - written["grade"]).max() < 1e-4
    assert (table["decided"] == "").all()
    result = json.loads((run / "result.json").read_text())
    assert list(result["also"]) == ["mean absolute error"]
    listed = " ".join(succeeded(cli("runs", tmp_path / "drawn.py")).out.split())
    assert listed.startswith("drawn: RMSE, lower is better")
    assert "public private mean absolute error backbone" in listed
