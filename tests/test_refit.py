"""Models that are trained on all images after the folds, and what of a run they change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit.base.console import Console
from kagglekit.base.scores import shown
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.fold_models import predicting
from kagglekit.recipe import Recipe
from kagglekit.runs import store
from kagglekit.training import budget, pacing
from kagglekit.training.budget import Work
from kagglekit.training.learner import Learner
from kagglekit.training.throughput import Speed
from tests import finetuned
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import TWO_EPOCHS, made, newest, of_made, only_run, paced  # noqa: F401  fixtures too
from tests.late import clocked, late
from tests.test_pseudo_labels import WORDS, gained  # noqa: F401  a fixture

OF_FOLDS = ["fold0-0", "fold1-0"]


def refit(way: str) -> tuple[str, str]:
    return "--set", f"refit={way}"


@pytest.fixture
def command(of_made: tuple[str, ...]) -> tuple[str, ...]:  # noqa: F811  the fixture
    """The command of the finished run, which is in the home."""
    return of_made


def predicted(run: Path, name: str = "") -> Any:
    """What a model of a run predicts of the test images, or else the run."""
    ids = pd.read_parquet(run / "test.parquet")["id"]
    file = run / "models" / name / "test.parquet" if name else run / "test.parquet"
    return pd.read_parquet(file).set_index("id").loc[ids, ["cat", "dog"]].to_numpy()


def order(run: Path, names: list[str]) -> bool:
    """Whether the test images are in the order of the mean of models' predictions: temperature and clip keep it."""
    mean = np.mean([predicted(run, name) for name in names], axis=0)
    return bool((np.diff(predicted(run)[mean[:, 1].argsort(), 1]) >= -1e-9).all())


def networks(run: Path, part: str = "all") -> list[str]:
    fitted = FittedRun(store.Run(run), Console())
    return [network.name for network in fitted.fitted(part).networks]


# Whole commands


@pytest.mark.parametrize(("way", "names"), [("all", ["all-0"]), ("both", [*OF_FOLDS, "all-0"])])
def test_only_what_predicts_the_test_set_changes(
    way: str, names: list[str], cli: Cli, command: tuple[str, ...], home: Path
) -> None:
    before = only_run(home)
    assert "all-0: 36 training images, 4 validation images" in succeeded(cli(*command, *refit(way))).out
    run = newest(home)
    kept, after = finetuned.results(before), finetuned.results(run)
    same = {name for name in kept if name.startswith("models") or name.endswith("oof.parquet")} | {"finish.json"}
    assert {name: kept[name] for name in same} == {name: after[name] for name in same}
    assert kept["submission.csv"] != after["submission.csv"]
    assert not (run / "models" / "all-0" / "oof.parquet").exists()
    assert order(run, names)
    assert networks(run) == names
    assert networks(run, "fold1") == ["fold1-0"], "which explains its held-out images"
    assert "already finished" in succeeded(cli(*command, *refit(way))).out
    assert "already finished" in succeeded(cli(*command, *refit("folds"))).out
    assert newest(home) == run, "and the setting's default is the run that there was before"


def test_an_exported_file_and_a_blend_predict_by_the_refitted_model(
    cli: Cli, command: tuple[str, ...], home: Path
) -> None:
    succeeded(cli(*command, *refit("all")))
    run = newest(home)
    assert "it differs from torch by" in succeeded(cli("export", run.name)).out
    succeeded(cli("report", run.name))
    succeeded(cli("blend", "dogs-vs-cats", "--data", command[command.index("--data") + 1]))
    members = json.loads((newest(home) / "blend.json").read_text())["members"]
    assert run.name in {member["name"] for member in members}
    oof, test = (pd.read_parquet(run / name) for name in ("oof.parquet", "test.parquet"))
    asked = Asked(ids=oof["id"].tolist(), fold=oof["fold"].to_numpy(), test=test["id"].tolist())
    (whole,) = table.get("finetune").members(FinishedRun(store.Run(run), Console()), asked)
    assert np.array_equal(np.asarray(whole.test), predicted(run, "all-0"))


class KilledError(Exception):
    """Stands for a kill."""


def test_a_killed_refit_goes_on_and_ends_with_the_same_bytes(
    cli: Cli, command: tuple[str, ...], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*command, *refit("all"), "--set", "checkpoint_seconds=0")
    elsewhere = tmp_path / "undisturbed"
    shutil.copytree(home, elsewhere)
    with monkeypatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(elsewhere))
        succeeded(cli(*words))
    whole, done = Learner.step, 0

    def dies(self: Learner, *given: Any) -> Any:
        nonlocal done
        done += 1
        if done == 6 + 6 + 5:  # of the last model
            raise KilledError
        return whole(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", dies)
        with pytest.raises(KilledError):
            cli(*words)
    again = succeeded(cli(*words)).out
    assert "resuming at step" in again
    assert "fold0-0: 18 training images" not in again
    assert finetuned.results(newest(home)) == finetuned.results(newest(elsewhere))
    assert not list(newest(home).rglob("progress.pt"))


def test_folds_trained_one_by_one_are_refitted_by_the_command_that_joins_them(
    cli: Cli, command: tuple[str, ...], home: Path
) -> None:
    for fold in ("0", "1"):
        assert "all-0" not in succeeded(cli(*command, *refit("all"), "--fold", fold)).out
    joined = succeeded(cli(*command, *refit("all"))).out
    assert "all-0: 36 training images" in joined
    assert "fold0-0: 18" not in joined
    assert order(newest(home), ["all-0"])


def test_without_time_the_models_of_the_folds_predict_and_the_run_says_so(
    cli: Cli, command: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, clock = (*paced(command), *refit("all")), clocked(monkeypatch)
    with monkeypatch.context() as patch:
        late(patch=patch, clock=clock, seconds=400.0)
        done = succeeded(cli(*words))
    says = "refit: 30 min was too little on this machine: the models of the folds predict the test set"
    assert says in " ".join(done.out.split())
    run = newest(home)
    assert json.loads((run / "left-out.json").read_text())["refit"] is True
    assert networks(run) == OF_FOLDS
    assert order(run, OF_FOLDS)
    assert "already finished" in succeeded(cli(*words)).out


def test_a_refitted_model_trains_as_long_as_the_clock_left_to_those_of_the_folds(
    cli: Cli, command: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, clock = (*paced(command), *refit("all")), clocked(monkeypatch)
    late(patch=monkeypatch, clock=clock, seconds=12.0)  # of six images
    said = succeeded(cli(*words)).out
    run = newest(home)
    paces = [json.loads((run / "models" / name / "pace.json").read_text()) for name in OF_FOLDS]
    length = round(np.mean([pace["checks"][-1]["epochs"] for pace in paces]))
    assert length < 12
    assert f"all-0: {length} epochs instead of 12, to end in time" in said
    assert len(finetuned.history(run, "all-0")) == 6 * length


@pytest.mark.usefixtures("gained")
def test_kept_pseudo_labels_are_predicted_by_the_models_that_learnt_them(
    cli: Cli, command: tuple[str, ...], home: Path
) -> None:
    done = succeeded(cli(*command, *refit("all"), *WORDS))
    assert "only the models of the folds learn pseudo-labels" in " ".join(done.out.split())
    run = newest(home)
    assert store.Run(run).finished().transductive == "pseudo-labels"
    assert order(run, [f"{name}/pseudo-labels" for name in OF_FOLDS])
    assert networks(run) == ["all-0"], "an exported file has none"


def test_it_starts_from_another_run_s_refitted_model(cli: Cli, command: tuple[str, ...], home: Path) -> None:
    first = only_run(home).name
    start = (*command, *refit("all"), "--from")
    said = " ".join(failed(cli(*start, f"{first}:all")).split())
    assert "it has no models/all-0. refit = 'all' needs that: train it there by --set refit=all" in said
    succeeded(cli(*command, *refit("all")))
    second = newest(home).name
    assert "all-0: 36 training images" in succeeded(cli(*start, f"{second}:all")).out
    assert not finetuned.same_weights(
        *(finetuned.weights(run, member="all-0") for run in (newest(home), newest(home).with_name(second)))
    )


def test_a_rehearsal_shows_what_each_way_scores(cli: Cli, command: tuple[str, ...], home: Path) -> None:
    archive, spec = (command[command.index(word) + 1] for word in ("--data", "--backbone"))
    words = ["rehearse", *finetuned.command(Path(archive), spec, *TWO_EPOCHS)[1:], *refit("both"), "--seeds", "2"]
    words.remove("--no-report")
    words += ["--set", "folds=2"]
    said = " ".join(succeeded(cli(*words)).out.split())
    assert "of the hidden images by what predicts them; gain over folds" in said
    folder = home / "dogs-vs-cats" / "rehearsal"
    seeds = json.loads((folder / "rehearsal.json").read_text())["seeds"]
    for one in seeds:
        assert list(one["ways"]) == ["folds", "all", "both"]
        assert one["ways"]["both"] == pytest.approx(one["score"], rel=1e-4)
        assert len(set(one["ways"].values())) == 3
        assert all(shown(score) in said for score in one["ways"].values())


# Parts


def test_the_plan_counts_the_models_of_all_images() -> None:
    work = Work(images=3000, test_images=500, spent=0.0, native=(64, 64))
    speeds = [Speed(0.01, 0.002), Speed(0.03, 0.004)]
    folds, refitted = (
        budget._cost(Recipe.of(validation_share=0.0, models=2, refit=way), work, 3, speeds) for way in ("folds", "all")
    )
    model = sum(each.model for each in folds.backbones)
    more = 2 * (model + 5 * 3000 * (0.01 + 0.03))
    assert refitted.budget(5) - folds.budget(5) == pytest.approx(more / (1 - pacing.RESERVE))
    assert refitted.pace(9e9, 5).ending - folds.pace(9e9, 5).ending == pytest.approx(more)
    assert refitted.epochs(refitted.budget(5) + 1) == 5
    assert refitted.epochs(refitted.budget(5) - 1) == 4


@pytest.mark.parametrize(("way", "refitted", "found"), [("all", "c", "c"), ("both", "c", "abc"), ("all", "", "ab")])
def test_which_models_predict_the_test_set(way: str, refitted: Any, found: str) -> None:
    models: Any = "ab"
    assert "".join(predicting(models, refitted, Recipe.of(refit=way))) == found
