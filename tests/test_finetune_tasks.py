"""Fine-tuning of tags and of numbers through the command line: a run, its ONNX file, its predictions."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from kagglekit.base.errors import UserError
from kagglekit.runs import store
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Number, Numbers
from kagglekit.training import checkpoints, classifier, initial_weights
from tests import damage, finetuned, trainers
from tests.conftest import Cli, succeeded
from tests.damage import Given
from tests.finetuned import ONE_MODEL

PLUGIN = """

@hookimpl
def competition():
    return Competition(
        name="lamps", kaggle="lamps", target={target}, test="test/{{id}}.png", metric="{metric}", flip={flip},
        train=CsvLabels("train.csv", images="train/{{id}}.png", id="image", label={label}),
        submission={submission},
    )
"""
KINDS: dict[str, dict[str, str]] = {
    "labels": {
        "target": 'Labels(["left", "right", "dark"])',
        "label": 'Tags("tags")',
        "metric": "log_loss",
        "flip": '{"left": "right", "right": "left"}',
        "submission": "ProbabilityPerClass()",
    },
    "numbers": {
        "target": "Number(0, 500)",
        "label": '"light"',
        "metric": "mae",
        "flip": '"allowed"',
        "submission": 'Value(label="light")',
    },
    "some numbers": {
        "target": 'Numbers(["light", "left"], low=0, high=500, missing=True)',
        "label": 'Columns(["light", "left"])',
        "metric": "rmse",
        "flip": '"allowed"',
        "submission": "Values()",
    },
}


def lamps(folder: Path, kind: str) -> Given:
    """Images with a lamp on the left, on the right, on both sides or none, and how much light they give."""
    files: dict[str, bytes] = {}
    rows = []
    for number in range(24):
        left, right = number % 2, number // 2 % 2
        pixels = np.random.default_rng(number).integers(0, 60, (32, 32, 3))
        pixels[8:24, 4:12] += 180 * left
        pixels[8:24, 20:28] += 180 * right
        part = "train" if number < 20 else "test"
        files[f"{part}/{number}.png"] = cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes()
        if number < 20:
            tags = [name for name, is_on in (("left", left), ("right", right), ("dark", not left + right)) if is_on]
            known = "" if number % 3 else left
            rows.append(f"{number},{' '.join(tags)},{200 + 100 * (left + right) + number},{known}")
    files["train.csv"] = ("image,tags,light,left\n" + "\n".join(rows) + "\n").encode()
    given = Given(folder / "lamps.py", damage.write(folder / "data", files))
    given.write_plugin(PLUGIN.format(**KINDS[kind]))
    return given


@pytest.fixture(scope="module")
def exported(tiny_export: tuple[str, Path]) -> tuple[str, Path]:
    return finetuned.small_export(tiny_export)


@pytest.mark.parametrize(("kind", "more"), [("labels", ("--set", "models=2")), ("numbers", ())])
def test_a_fine_tuned_run_of_another_task_predicts_everywhere_alike(
    kind: str,
    more: tuple[str, ...],
    cli: Cli,
    home: Path,
    tmp_path: Path,
    exported: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainers.spare(monkeypatch)
    spec, cache = exported
    shutil.copytree(cache, home / ".cache")
    given = lamps(tmp_path, kind)
    words = ("--set", "phases=all epochs=2", "--set", "learning_rate=0.003", *ONE_MODEL, *more)
    done = succeeded(cli(*finetuned.command(given.data, spec, *words, name=str(given.plugin))))
    assert "can't be drawn" not in done.out + done.err
    if kind == "labels":
        assert "WARNING: fold0-0: no validation image is of " in done.out, "of one image"
    run = store.Run(finetuned.only_run(home, "lamps"))
    assert (run.folder / "augmentations.png").is_file()
    columns = {"labels": ["left", "right", "dark"], "numbers": ["number"]}[kind]
    oof, test = (pd.read_parquet(run.folder / name)[columns].to_numpy() for name in ("oof.parquet", "test.parquet"))
    low, high = {"labels": (0, 1), "numbers": (0, 500)}[kind]
    assert ((oof >= low) & (oof <= high)).all()
    if kind == "numbers":
        assert 150 < oof.mean() < 450, "numbers as they are, not standardised"
    else:
        assert np.abs(oof.sum(axis=1) - 1).max() > 0.01, "each tag has a probability of its own"
    assert "it differs from torch by" in succeeded(cli("export", run.id)).out
    assert "WARNING" not in succeeded(cli("report", run.id)).out
    table = tmp_path / "predicted.csv"
    succeeded(cli("predict", run.id, given.data / "test", "--output", table))
    with table.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    found = np.array([[float(row[column]) for column in columns] for row in rows])
    assert [row["id"] for row in rows] == [f"{number}.png" for number in range(20, 24)]
    top = succeeded(cli("predict", run.id, given.data / "test" / "20.png", "--top", "1")).out.partition(": ")[2]
    first = dict(zip(columns, found[0].tolist(), strict=True))
    best = max(first, key=first.__getitem__)
    named = ", ".join(filter(None, rows[0]["decided"].split("|"))) or "none"
    shown = {"labels": f"{best} {first[best]:.1%}; decided: {named}\n", "numbers": f"number {first[best]:.4g}\n"}
    assert top == shown[kind]
    if not run.alone.left_out:  # type: ignore[union-attr]
        assert found == pytest.approx(test, rel=1e-3, abs=1e-3)
    if kind == "numbers":
        go_on_from(run, cli, given, spec)


def test_a_network_learns_the_numbers_that_are_known(
    cli: Cli, home: Path, tmp_path: Path, exported: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers.spare(monkeypatch)
    spec, cache = exported
    shutil.copytree(cache, home / ".cache")
    given = lamps(tmp_path, "some numbers")
    words = ("--set", "phases=all epochs=2", "--set", "learning_rate=0.003", "--set", "mixup=0.2", *ONE_MODEL)
    succeeded(cli(*finetuned.command(given.data, spec, *words, name=str(given.plugin))))
    run = store.Run(finetuned.only_run(home, "lamps"))
    steps = finetuned.history(run.folder, kind="step")
    assert np.isfinite([step["loss"] for step in steps]).all()
    oof = run.oof()
    known = oof.known("label")["label"].str.split("|", expand=True).apply(pd.to_numeric).to_numpy()
    assert np.isnan(known[:, 1]).sum() > len(known) / 2
    errors = oof.of(oof.known("id")["id"].tolist()).clip(0, 500) - known
    assert run.finished().out_of_fold == pytest.approx(np.sqrt(np.nanmean(errors**2)))


def go_on_from(run: store.Run, cli: Cli, given: Given, spec: str) -> None:
    """Train on from a run of numbers, in the units that its weights have learnt: those of its own training images."""
    weights = run.folder / "models" / "fold0-0" / "all.safetensors"
    units = checkpoints.description(weights)["units"]
    numbers = pd.read_csv(given.data / "train.csv").set_index("image")["light"]
    fold = run.folds()
    others = numbers.loc[fold.index[fold != 0].astype(int)]
    without_one = {float(others.drop(image).median()) for image in others.index}  # one image chose epochs
    assert units["means"][0] in without_one
    words = ("--set", "phases=all epochs=1", "--set", "validation_share=0.3", *ONE_MODEL, "--from", f"{run.id}:all")
    succeeded(cli(*finetuned.command(given.data, spec, *words, name=str(given.plugin))))
    second = finetuned.newest(run.folder.parents[2], "lamps")
    assert checkpoints.description(second / "models" / "fold0-0" / "all.safetensors")["units"] == units


def test_weights_of_older_versions_are_in_the_units_of_their_run(tmp_path: Path) -> None:
    task, path = kinds.of(Numbers(["light"], means=[300], scales=[50])), tmp_path / "all.safetensors"
    checkpoints.save_weights(path, {}, {"model": "tiny"})
    assert classifier.learnt(path, task) is task
    checkpoints.save_weights(path, {}, {"model": "tiny", "units": {"means": [310.5], "scales": [49]}})
    assert classifier.learnt(path, task).target == Numbers(["light"], means=[310.5], scales=[49])


def test_weights_that_predict_something_else_are_refused() -> None:
    (run,) = (Path(__file__).parent / "fixtures" / "run-0.1").glob("*/models")
    weights = run / "fold0-0" / "all.safetensors"
    with pytest.raises(UserError, match="these are weights for classes, and this competition has numbers"):
        initial_weights.learnt(weights, "old:all", kinds.of(Number()))
