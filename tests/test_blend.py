"""`kagglekit blend`: runs of one competition become another, honestly scored, exported and submitted as all are."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit.pipeline import blending, gates, postprocess
from kagglekit.runs import store
from kagglekit.runs.record import TRANSDUCTIVE
from tests import damage, drawing, finetuned
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import newest
from tests.test_runs_of_tasks import start

DOGS = "dogs-vs-cats"
FEW = ("--folds", "2", "--set", "regularisation_grid=0.1", "--set", "finish=", "--no-report")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_export: tuple[str, Path]) -> tuple[Path, list[Path]]:
    """A home with three runs of the same folds: two sizes and two heads, and one that is fine-tuned."""
    spec, cache = tiny_export
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(cache, home / ".cache")
    archive = drawing.dogs(tmp_path_factory.mktemp("given"), train=60)
    words = ("run", DOGS, "--data", archive, "--backbone", spec)
    damage.make(home, *words, *FEW, "--set", "head=logistic")
    damage.make(home, *words, *FEW, "--set", "head=nearest", "--set", "image_size=32")
    small = (*finetuned.SMALL, "--folds", "2", "--set", "models=2", "--set", "phases=all epochs=1", "--set", "finish=")
    damage.make(home, *words, *small, "--no-report")
    runs = (home / DOGS / "runs").iterdir()
    return home, sorted(runs, key=lambda run: (run / "result.json").stat().st_mtime_ns)


@pytest.fixture
def runs(made: tuple[Path, list[Path]], home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The runs, in a home of the test's own."""
    shutil.copytree(made[0], home, dirs_exist_ok=True)
    return [home / DOGS / "runs" / run.name for run in made[1]]


def read(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


def changed(run: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_parquet(run / name)).to_parquet(run / name, index=False)


def dogs(folder: Path, member: str) -> Any:
    """What a run, or a model and view inside it, predicts of the test images."""
    run, _, inside = member.partition("/")
    if not inside:
        return pd.read_parquet(folder / run / "test.parquet")["dog"].to_numpy()
    number, view = inside.split("-")
    tables = [pd.read_parquet(path) for path in (folder / run / "models").glob(f"*-{number}/test.parquet")]
    return np.mean([table[table["view"] == view]["dog"].to_numpy() for table in tables], axis=0)


def proven(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Keep one of the ways to blend, whatever it gains, and no other."""
    judged = itertools.count()

    def judge(*_: Any) -> gates.Judgement:
        return gates.Judgement(before=1.0, after=0.5, gain=0.5, low=0.4, high=0.6, kept=next(judged) == place)

    monkeypatch.setattr(postprocess, "judge", judge)


def test_all_runs_that_fit_are_blended_into_a_run_like_any_other(cli: Cli, runs: list[Path], home: Path) -> None:
    done = succeeded(cli("blend", DOGS, "--no-report"))
    blend = newest(home)
    assert blend not in runs
    found = read(blend, "blend.json")
    names = [member["name"] for member in found["members"]]
    ids = sorted(run.name for run in runs)
    assert [name for name in names if "/" not in name] == ids
    inside = [name.partition("/")[2] for name in names if "/" in name]
    assert inside == [f"{number}-{view}" for number in (0, 1) for view in ("plain", "mirror", "augmented")]
    ways = {way["name"] for way in found["ways"]}
    assert {"best member", "equal weights", "convex weights", "greedy weights"} <= ways
    for way in found["ways"]:
        for weights in (way["weights"], *way["parts"].values()):
            assert sum(weights.values()) == pytest.approx(1)
    for words in (*names, "equal weights", "90% interval"):
        assert words in done.out
    assert read(blend, "result.json")["method"] == "blend"
    sample = pd.read_csv(blend / "submission.csv")
    assert len(sample) == 12
    assert "already finished" in succeeded(cli("blend", DOGS, "--no-report")).out, "a blend is no member of the next"
    assert "blend of 3 runs" in succeeded(cli("runs", DOGS)).out
    assert "blend" in succeeded(cli("compare", runs[0], blend)).out
    folds = [store.Run(run).folds() for run in (runs[0], blend)]
    pd.testing.assert_series_equal(*folds)


@pytest.mark.parametrize("way", [blending.MEAN, blending.CONVEX])
def test_an_exported_blend_gives_what_the_run_gave(
    way: str, cli: Cli, runs: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks of two sizes, three heads, and members inside a run."""
    proven(monkeypatch, [blending.BEST_OF_ALL, blending.MEAN, blending.CONVEX].index(way))
    chosen = dict(zip((runs[0].name, runs[1].name, f"{runs[2].name}/1-mirror"), (0.2, 0.5, 0.3), strict=True))
    monkeypatch.setattr(blending._Chooser, "_convex", lambda *_: chosen)
    succeeded(cli("blend", DOGS, *runs, "--set", "finish=", "--no-report"))
    blend = newest(home)
    weights = {one["name"]: one["weights"] for one in read(blend, "blend.json")["ways"]}[way]
    expected = sum(weight * dogs(home / DOGS / "runs", name) for name, weight in weights.items())
    test = pd.read_parquet(blend / "test.parquet")
    assert test["dog"].to_numpy() == pytest.approx(expected, abs=1e-9)
    succeeded(cli("export", blend))
    output = home / "predicted.csv"
    images = pd.read_parquet(blend / "images.parquet").query("part == 'test'")["path"]
    succeeded(cli("predict", blend, *images, "--output", output))
    found = pd.read_csv(output)[["cat", "dog"]].to_numpy()
    assert np.abs(found - test[["cat", "dog"]].to_numpy()).max() < 1e-5
    succeeded(cli("report", blend))
    assert way in (blend / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["labels", "grades", "numbers"])
def test_runs_of_every_task_are_blended(kind: str, cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    settings = ("regularisation_grid=0.03", "mlp_epochs=10", "finish=")
    succeeded(start(kind, cli, tiny, tmp_path, *settings, "head=logistic"))
    succeeded(start(kind, cli, tiny, tmp_path, *settings, "head=mlp"))
    succeeded(cli("blend", tmp_path / "task.py", "--data", tmp_path / "data", "--no-report"))
    blend = newest(home, "task")
    assert len(read(blend, "blend.json")["members"]) == 2
    succeeded(cli("export", blend))


def test_a_blend_that_is_but_a_transductive_member_names_it(
    cli: Cli, runs: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven(monkeypatch, -1)
    monkeypatch.setattr(blending.Way, "note", lambda *_: TRANSDUCTIVE)
    said = succeeded(cli("blend", DOGS, *runs, "--no-report")).out
    (best,) = read(newest(home), "blend.json")["ways"][0]["weights"]
    assert read(newest(home), "result.json")["transductive"] == f"best member {best}"
    assert f"transductive: by best member {best} the predictions depend on" in said


def test_a_killed_blend_goes_on(cli: Cli, runs: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("blend", DOGS, *runs[:2], "--no-report")
    with monkeypatch.context() as patch:
        patch.setattr(postprocess, "choose", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli(*words).code != 0
    blend = newest(home)
    chosen = (blend / "blend.json").stat().st_mtime_ns
    succeeded(cli(*words))
    assert newest(home) == blend
    assert (blend / "blend.json").stat().st_mtime_ns == chosen
    assert (blend / "submission.csv").is_file()


def test_a_member_that_has_changed_makes_another_blend(cli: Cli, runs: list[Path], home: Path) -> None:
    words = ("blend", DOGS, *runs[:2], "--no-report")
    succeeded(cli(*words))
    before = newest(home)
    manifest = runs[0] / "stages" / "finish.json"
    made = json.loads(manifest.read_text())
    made["files"]["oof.parquet"]["sha256"] = "other"
    manifest.write_text(json.dumps(made))
    succeeded(cli(*words))
    assert newest(home) != before


def test_what_cannot_be_blended_is_said_in_a_line(cli: Cli, runs: list[Path], home: Path) -> None:
    first, second, _ = runs
    assert "two runs or more with the same images and folds, and only" in failed(cli("blend", DOGS, first))
    assert "no run 'nowhere'" in failed(cli("blend", DOGS, first, "nowhere"))
    assert "only `kagglekit blend` combines runs" in failed(cli("run", DOGS, "--set", "members=a,b"))
    assert "use `kagglekit blend NAME`" in failed(cli("run", DOGS, "--set", "method=blend"))
    refused = f"run {second.name} can't be blended: it "

    changed(second, "folds.parquet", lambda table: table.assign(fold=(table["fold"] + (table.index < 7)) % 2))
    said = failed(cli("blend", DOGS, first, second))
    assert refused + f"has other folds than {first.name}: 7 of 60 images are in another, as " in said
    out = succeeded(cli("blend", DOGS, "--no-report")).out
    assert f"left out: run {second.name} has other folds than " in out

    images = pd.read_parquet(second / "images.parquet")
    for table, words in (
        (images.assign(id=images["id"] + "x"), "has other images than "),
        (images.iloc[:-3], ": 3 test ids differ, as "),
        (images.assign(label=images["label"].replace("cat", "dog")), ": 30 training images, as "),
    ):
        table.to_parquet(second / "images.parquet", index=False)
        assert words in failed(cli("blend", DOGS, first, second))
    images.to_parquet(second / "images.parquet", index=False)

    record = read(second, "run.json")
    (second / "run.json").write_text(json.dumps(record | {"competition": record["competition"] | {"name": "leaves"}}))
    assert refused + f"is of leaves, not of {DOGS}" in failed(cli("blend", DOGS, first, second))
    (second / "run.json").write_text(json.dumps(record))
    (second / "result.json").rename(second / "gone.json")
    assert refused + "is not finished" in failed(cli("blend", DOGS, first, second))
    drawn = second.with_name(second.name.replace("-", "-synthetic-", 2).replace("-synthetic-", "-", 1))
    (second / "gone.json").rename(second / "result.json")
    second.rename(drawn)
    assert "is synthetic, on drawn images" in failed(cli("blend", DOGS, first, drawn))


def test_a_blend_is_no_member(cli: Cli, runs: list[Path], home: Path) -> None:
    succeeded(cli("blend", DOGS, *runs[:2], "--no-report"))
    blend = newest(home)
    assert "is a blend itself: name its members" in failed(cli("blend", DOGS, blend, runs[0]))


def test_other_data_than_the_members_is_refused(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    other = drawing.dogs(tmp_path, train=50)
    assert "has other images than the data: 10 training ids differ" in failed(
        cli("blend", DOGS, *runs, "--data", other)
    )
