"""Runs side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w

from kagglekit import metrics
from kagglekit.recipe import read_file
from kagglekit.recipe.recipe import FORMER_NAMES
from kagglekit.report import compare
from kagglekit.runs import findings, store
from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, tiny_export: tuple[str, Path]) -> tuple[Path, list[Path]]:
    """A home with two runs on the same images, which differ in their heads: (home, run folders, the older first)."""
    spec, cache = tiny_export
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(cache, home / ".cache")
    archive = drawing.dogs(tmp_path_factory.mktemp("given"), train=60)
    for strength in ("1e-5", "0.1"):
        words = ("run", "dogs-vs-cats", "--data", archive, "--backbone", spec, "--folds", "2", "--no-report")
        settings = ("head=logistic", f"regularisation_grid={strength}", "finish=")
        damage.make(home, *words, *(word for setting in settings for word in ("--set", setting)))
    found = sorted((home / "dogs-vs-cats" / "runs").iterdir(), key=lambda run: (run / "result.json").stat().st_mtime_ns)
    return home, found


@pytest.fixture(autouse=True)
def in_home(two: tuple[Path, list[Path]], monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(two[0]))


FORMER = {new: old for old, new in FORMER_NAMES.items()}


def copy_of(run: Path, place: Path, number: int) -> Path:
    made = place / f"20260101-0000-0000000{number}"
    shutil.copytree(run, made)
    return made


def test_settings_difference_and_blend_are_told(cli: Cli, two: tuple[Path, list[Path]]) -> None:
    first, second = two[1]
    out = succeeded(cli("compare", first.name, second.name)).out
    losses = [json.loads((run / "result.json").read_text())["out_of_fold"] for run in (first, second)]
    assert f"{losses[0]:.5f}" in out
    assert f"{losses[1]:.5f}" in out
    (line,) = (line for line in out.splitlines() if "regularisation_grid" in line)
    assert "1e-05" in line
    assert "0.1" in line
    assert f"{losses[0] - losses[1]:+.5f}" in out
    assert "by log loss the second is better: the interval excludes zero" in out
    assert "60 images scored by both" in " ".join(out.split())


def test_a_run_with_older_names_of_settings_is_compared_by_today_s(
    cli: Cli, two: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    first, second = two[1]
    older = copy_of(second, tmp_path, 1)
    settings = read_file(older / "recipe.toml")
    older.joinpath("recipe.toml").write_text(
        tomli_w.dumps({FORMER.get(name, name): value for name, value in settings.items()})
    )
    out = succeeded(cli("compare", first, older)).out
    table = out.partition("settings that differ")[2].partition("(first)")[0]
    assert [line.split() for line in table.splitlines() if "1e-05" in line] == [["regularisation_grid", "1e-05", "0.1"]]
    assert not any(name in table.split() for name in (*FORMER_NAMES, *FORMER) if name != "regularisation_grid")
    assert "renamed" not in out, "nobody has typed them"


def test_numbers_agree_with_the_tables(two: tuple[Path, list[Path]]) -> None:
    first, second = (findings.read(store.Run(folder)) for folder in two[1])
    found = compare.difference(first, second)
    tables = [pd.read_parquet(folder / "oof.parquet").set_index("id") for folder in two[1]]
    truth = (tables[0]["label"] == "dog").astype(int).to_numpy()
    rows = [table.loc[tables[0].index, ["cat", "dog"]].to_numpy() for table in tables]
    losses = [metrics.log_loss_rows(truth, each) for each in rows]
    assert found.gain == pytest.approx((losses[0] - losses[1]).mean())
    assert found.low < found.gain < found.high
    assert found.blend == pytest.approx(metrics.log_loss_rows(truth, (rows[0] + rows[1]) / 2).mean())
    right = [each.argmax(axis=1) == truth for each in rows]
    ids = tables[0].index.to_numpy()
    assert set(found.better) == set(ids[right[1] & ~right[0]])
    assert set(found.worse) == set(ids[right[0] & ~right[1]])
    back = compare.difference(second, first)
    assert back.gain == pytest.approx(-found.gain)
    assert (back.better, back.worse) == (found.worse, found.better)
    assert back.correlation == pytest.approx(found.correlation)


def test_a_run_beside_its_copy_differs_in_nothing(two: tuple[Path, list[Path]]) -> None:
    one = findings.read(store.Run(two[1][0]))
    same = compare.difference(one, one)
    assert same.gain == same.low == same.high == 0
    assert same.correlation == pytest.approx(1)
    assert (same.better, same.worse) == ([], [])
    assert same.verdict == "by log loss neither is proven better"


def test_independent_errors_are_worth_a_blend(two: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Two runs that know the truth, each with noise of its own."""
    copies = [copy_of(two[1][0], tmp_path, number) for number in range(2)]
    for seed, folder in enumerate(copies):
        table = pd.read_parquet(folder / "oof.parquet")
        noise = np.random.default_rng(seed).normal(1, 5, len(table))
        own = 1 / (1 + np.exp(-noise))
        is_dog = table["label"] == "dog"
        table["dog"] = np.where(is_dog, own, 1 - own)
        table["cat"] = 1 - table["dog"]
        table.to_parquet(folder / "oof.parquet", index=False)
    found = compare.difference(*(findings.read(store.Run(folder)) for folder in copies))
    assert abs(found.correlation) < 0.8
    assert found.blend_gain > 0
    assert found.blend_verdict == "a blend is worth it"


def test_runs_of_a_metric_are_compared_by_it(cli: Cli, two: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """The first ranks all dogs above all cats, without any confidence; the second is sure, and wrong of one in five."""
    copies = [copy_of(two[1][0], tmp_path, number) for number in range(2)]
    for number, folder in enumerate(copies):
        table = pd.read_parquet(folder / "oof.parquet")
        wrong = np.arange(len(table)) % 10 < 2
        own = np.where(wrong, 0.4, 0.99) if number else np.full(len(table), 0.501)
        table["dog"] = np.where(table["label"] == "dog", own, 1 - own)
        table["cat"] = 1 - table["dog"]
        table.to_parquet(folder / "oof.parquet", index=False)
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(record | {"metric": "auc", "positive": "dog"}))
    out = succeeded(cli("compare", *copies)).out
    assert "by AUC the first is better: the interval excludes zero" in out
    assert "AUC of the first" in out
    found = compare.difference(*(findings.read(store.Run(folder)) for folder in copies))
    assert found.before == 1
    assert found.gain == pytest.approx(found.after - 1)
    assert found.gain < 0


def test_only_images_that_both_have_scored_count(two: tuple[Path, list[Path]], tmp_path: Path) -> None:
    part = copy_of(two[1][1], tmp_path, 3)
    table = pd.read_parquet(part / "oof.parquet")
    table.iloc[:10].to_parquet(part / "oof.parquet", index=False)
    first, second = findings.read(store.Run(two[1][0])), findings.read(store.Run(part))
    assert compare.difference(first, second).images == 10


def test_what_cannot_be_compared_is_refused(cli: Cli, two: tuple[Path, list[Path]], tmp_path: Path) -> None:
    first, second = two[1]
    assert "compare takes two runs or more" in failed(cli("compare", first.name))
    assert "compare takes two runs or more" in failed(cli("compare", first.name, first.name))
    assert "no run 'nowhere'" in failed(cli("compare", first.name, "nowhere"))
    other = copy_of(second, tmp_path, 1)
    record = json.loads((other / "run.json").read_text())
    record["competition"]["name"] = "leaves"
    (other / "run.json").write_text(json.dumps(record))
    assert "different competitions (dogs-vs-cats, leaves)" in failed(cli("compare", first, other))
    none = copy_of(second, tmp_path, 2)
    table = pd.read_parquet(none / "oof.parquet")
    table["id"] = "x" + table["id"]
    table.to_parquet(none / "oof.parquet", index=False)
    images = pd.read_parquet(none / "images.parquet")
    images["id"] = "x" + images["id"]
    images.to_parquet(none / "images.parquet", index=False)
    unfinished = pd.read_parquet(none / "unfinished.parquet")
    unfinished["id"] = "x" + unfinished["id"]
    unfinished.to_parquet(none / "unfinished.parquet", index=False)
    assert "have no scored image in common" in failed(cli("compare", first, none))
