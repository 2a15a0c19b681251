"""Method auto where training fits: frozen features first, then training, then a blend of both, each a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest

from kagglekit.cli import main
from kagglekit.heads.features import FeatureEngine
from kagglekit.pipeline.methods.blend import BlendRun
from kagglekit.runs import filenames, record, store
from kagglekit.runs.choices import LeftOut
from kagglekit.training import budget
from kagglekit.training.learner import Learner
from tests import drawing, finetuned, test_resume, trainers
from tests.conftest import Cli, succeeded

DOGS = "dogs-vs-cats"
WORDS = ("--method", "auto", "--folds", "2", "--budget", "30m", "--set", "regularisation_grid=0.1")
SMALL = ("--set", "image_size=32", "--set", "train_batch=6", "--set", "finish=", "--no-report")
EPOCH, LONG = ("--set", "phases=all epochs=1"), ("--set", "phases=all epochs=60")
FINISHED = "already finished"


@pytest.fixture(scope="module")
def made(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], Path]:
    """A command and the home in which it has ended."""
    spec, cache = finetuned.small_export(tiny_export)
    home, archive = tmp_path_factory.mktemp("made"), drawing.dogs(tmp_path_factory.mktemp("given"), train=40)
    shutil.copytree(cache, home / ".cache")
    words = ("run", DOGS, "--data", str(archive), "--backbone", spec, *WORDS, *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(home))
        patch.setattr(budget, "MIN_IMAGES", 10)
        trainers.spare(patch)
        patch.setattr(sys, "argv", ["kagglekit", *words, *EPOCH])
        with pytest.raises(SystemExit, match="^0$"):
            main()
    return words, home


@pytest.fixture
def ended(made: tuple[tuple[str, ...], Path], home: Path) -> tuple[str, ...]:
    """A command that has ended in this test's home."""
    shutil.copytree(made[1], home, dirs_exist_ok=True)
    return (*made[0], *EPOCH)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)
    monkeypatch.setattr(budget, "MIN_IMAGES", 10)


def runs(home: Path) -> dict[str, store.Run]:
    """The runs by their methods."""
    found = [store.Run(folder) for folder in (home / DOGS / "runs").iterdir()]
    assert len(found) == len({run.settings["method"] for run in found})
    return {run.settings["method"]: run for run in found}


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("killed here")


def test_features_come_first_then_training_on_the_same_folds_then_a_blend(
    cli: Cli, ended: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_method = runs(home)
    features, trained, blend = (by_method[method] for method in ("features", "finetune", "blend"))
    for other in (trained, blend):
        pd.testing.assert_series_equal(features.folds(), other.folds())
    assert set(blend.settings["members"]) == {features.id, trained.id}
    for run in by_method.values():
        assert len(pd.read_csv(run.submission)) == 12
    assert (trained.settings["rates"], trained.settings["validation_share"]) == ([1.0], 0)
    before = features.finished().all_seconds
    assert before / 2 < trained.finished().seconds["features run"] <= before, "its time counts in the budget"
    assert blend.finished().all_seconds > trained.finished().all_seconds - 1

    for nothing in (Learner, "step"), (FeatureEngine, "compute"), (BlendRun, "write_weights"):
        monkeypatch.setattr(*nothing, fail)
    out = succeeded(cli(*ended)).out
    assert out.count(FINISHED) == 3
    assert out.count("out-of-fold log loss") == 1, "only the last is shown again"
    assert out.strip().endswith(f"next: kagglekit submit {DOGS} --run {blend.id} --wait")
    assert "blend of 2 runs" in succeeded(cli("runs", DOGS)).out
    succeeded(cli("report", blend.id))


def test_a_killed_command_goes_on_with_the_run_that_it_was_at(
    cli: Cli, made: tuple[tuple[str, ...], Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    words = (*made[0], *EPOCH)

    def killed(at: type, name: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(at, name, fail)
            with pytest.raises(RuntimeError, match="killed here"):
                cli(*words)
        return ", ".join(sorted(method for method, run in runs(home).items() if run.submission.is_file()))

    assert killed(Learner, "step") == "features"
    assert killed(BlendRun, "write_weights") == "features, finetune"
    monkeypatch.setattr(Learner, "step", fail)
    out = succeeded(cli(*words)).out
    assert out.count(FINISHED) == 2
    for method, run in runs(made[1]).items():
        assert runs(home)[method].submission.read_bytes() == run.submission.read_bytes()
        assert runs(home)[method].id[-8:] in (run.id[-8:], runs(home)["blend"].id[-8:])


def test_ctrl_c_in_training_says_which_submission_there_is(
    cli: Cli, made: tuple[tuple[str, ...], Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    words = (*made[0], *LONG)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", fail)
        with pytest.raises(RuntimeError, match="killed here"):  # what is decided stays, and the process gets it
            cli(*words)
    process = test_resume.start(words)
    test_resume.wait_for(process, "all: epoch 2 of 60")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = errors.strip().splitlines()
    assert line.endswith(f"resumes; a first submission is {runs(home)['features'].submission}.")
    assert runs(home)["features"].submission.is_file()


def test_one_fold_is_one_of_the_training(cli: Cli, made: tuple[tuple[str, ...], Path], home: Path) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    words = (*made[0], *EPOCH)
    assert "still to be trained: 1" in succeeded(cli(*words, "--fold", "0")).out
    assert set(runs(home)) == {"finetune"}
    out = succeeded(cli(*words)).out
    assert set(runs(home)) == {"features", "finetune", "blend"}
    assert "fold1-0: " in out
    assert "fold0-0: " not in out


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_a_method_that_is_asked_for_stays_alone(
    method: str, cli: Cli, made: tuple[tuple[str, ...], Path], home: Path
) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    out = succeeded(cli(*made[0], *EPOCH, "--method", method)).out
    assert f"method {method}: as the settings say" in out
    assert set(runs(home)) == {method}


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--sample", "30"), "a sample is for a quick trial"), (("--budget", "3s"), "too little time")],
)
def test_without_time_to_train_there_is_one_run(
    words: tuple[str, ...], why: str, cli: Cli, made: tuple[tuple[str, ...], Path], home: Path
) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    out = succeeded(cli(*made[0], *words)).out
    assert "method features: " in out
    assert why in out
    assert set(runs(home)) == {"features"}


def test_folds_that_training_left_out_are_not_scored_by_the_blend(cli: Cli, ended: tuple[str, ...], home: Path) -> None:
    trained = runs(home)["finetune"]
    shutil.rmtree(runs(home)["blend"].folder)
    record.write(trained.folder / filenames.LEFT_OUT, LeftOut(folds=(1,)))
    out = succeeded(cli(*ended)).out
    blend = runs(home)["blend"]
    assert blend.finished().scored_images == (trained.planned_folds() == 0).sum() == 20
    assert "left out to end in time: folds 1" in out


def test_a_first_run_of_several_members_may_be_all_of_the_blend_though_training_left_folds_out(
    cli: Cli, made: tuple[tuple[str, ...], Path], home: Path
) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    backbone = made[0][made[0].index("--backbone") + 1]
    words = (*made[0], *EPOCH, "--backbone", f"{backbone},{backbone.replace('=', '@squash=')}")
    succeeded(cli(*words))
    shutil.rmtree(runs(home)["blend"].folder)
    record.write(runs(home)["finetune"].folder / filenames.LEFT_OUT, LeftOut(folds=(1,)))
    succeeded(cli(*words))
    by_method = runs(home)
    names = [one["name"] for one in json.loads((by_method["blend"].folder / filenames.BLEND).read_text())["members"]]
    assert by_method["features"].id in names
    assert by_method["finetune"].id in names


def test_a_rehearsal_grades_the_blend(cli: Cli, made: tuple[tuple[str, ...], Path], home: Path) -> None:
    shutil.copytree(made[1] / ".cache", home / ".cache")
    words = ("rehearse", *made[0][1:-1], *EPOCH)
    given = [word for word in words if word not in ("--folds", "2")]
    succeeded(cli(*given, "--set", "folds=2", "--seeds", "1"))
    found = store.rehearsals(store.Workspace(home / DOGS))
    assert sorted(run.settings["method"] for run in found) == ["blend", "features", "finetune"]
