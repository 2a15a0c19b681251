"""Fine-tuning through the command line: what a run leaves, what settings change, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

from kagglekit.training import budget, throughput
from kagglekit.training.learner import Learner
from tests import finetuned, trainers
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import ONE_MODEL, TWO_EPOCHS, TWO_FOLDS, command, history, only_run, same_weights, weights


@pytest.fixture(scope="module")
def made(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], Path]:
    """A finished run that several tests look at: (its command, its home)."""
    archive, spec, home = finetuned.finished(tiny_export, tmp_path_factory.mktemp("made"))
    return command(archive, spec, *TWO_FOLDS, *TWO_EPOCHS), home


@pytest.fixture
def trained(made: tuple[tuple[str, ...], Path], home: Path) -> tuple[str, ...]:
    """The command of a run that is finished in this test's home."""
    shutil.copytree(made[1], home, dirs_exist_ok=True)
    return made[0]


@pytest.fixture(autouse=True)
def brisk(made: object, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)


# What a run leaves


def test_a_run_ends_in_a_submission_and_keeps_every_phase_s_weights(trained: tuple[str, ...], home: Path) -> None:
    run = only_run(home)
    assert pd.read_csv(run / "submission.csv")["id"].tolist() == list(range(1, 13))
    folds = pd.read_parquet(run / "folds.parquet")
    for fold in range(2):
        folder = run / "models" / f"fold{fold}-0"
        assert {path.name for path in folder.glob("*.*")} - {".lock"} == {
            "start.safetensors", "all.safetensors", "oof.parquet", "test.parquet", "provider.json", "history.json",
            "history.png",
        }, "and no checkpoint"  # fmt: skip
        held = folds["id"][folds["fold"] == fold].tolist()
        assert pd.read_parquet(folder / "oof.parquet")["id"].tolist() == held
        assert pd.read_parquet(folder / "test.parquet")["id"].tolist() == [str(n) for n in range(1, 13)]
        for phase in ("start", "all"):
            with safe_open(folder / f"{phase}.safetensors", framework="np") as file:
                described = json.loads(file.metadata()["kagglekit"])
            assert (described["model"], described["classes"]) == ("test_resnet", ["cat", "dog"])
            assert described["preprocessing"]["size"] == [32, 32]
            assert described["phase"] == phase
            assert all(described["versions"][name] for name in ("kagglekit", "timm", "torch"))
    log = (run / "log.txt").read_text()
    for text in ("all: epoch 2 of 2: train", "all: training loss", "fold1-0: 18 training images, 2 validation images"):
        assert text in log
    result = json.loads((run / "result.json").read_text())
    assert result["method"] == "finetune"
    steps = history(run)
    assert [row["step"] for row in steps] == list(range(6)), "18 images in batches of 6, twice"
    assert all(row["loss"] > 0 for row in steps)


def test_predictions_are_those_of_the_saved_weights(trained: tuple[str, ...], home: Path) -> None:
    by_fold = [pd.read_parquet(only_run(home) / "models" / f"fold{n}-0" / "test.parquet") for n in range(2)]
    assert set(by_fold[0]["view"]) == {"plain"}
    mean = (by_fold[0][["cat", "dog"]] + by_fold[1][["cat", "dog"]]) / 2
    test = pd.read_parquet(only_run(home) / "test.parquet")[["cat", "dog"]]
    gates = json.loads((only_run(home) / "finish.json").read_text())
    if not any(gate["kept"] for gate in gates):
        pd.testing.assert_frame_equal(mean, test)
    assert (mean["dog"].rank() == test["dog"].rank()).all(), "whatever was finished"


def test_the_same_command_again_changes_nothing(cli: Cli, trained: tuple[str, ...], home: Path) -> None:
    before = {path: path.read_bytes() for path in only_run(home).rglob("*") if path.is_file()}
    assert "already finished" in succeeded(cli(*trained)).out
    assert {path: path.read_bytes() for path in only_run(home).rglob("*") if path.is_file()} == before


def test_a_model_that_is_lost_is_trained_again_with_the_same_bytes(
    cli: Cli, trained: tuple[str, ...], home: Path
) -> None:
    run = only_run(home)
    expected = finetuned.results(run)
    shutil.rmtree(run / "models" / "fold1-0")
    done = succeeded(cli(*trained))
    assert "fold1-0: 18 training images" in done.out
    assert "fold0-0: 18 training images" not in done.out
    assert finetuned.results(run) == expected


@pytest.mark.parametrize(
    ("recipe", "phases", "swept", "words"),
    [
        (
            "eight-step",
            ("features", "head", "all"),
            {"head", "all"},
            "5 unfreeze; 6 earlier layers slower; 7 learning-rate finder",
        ),
        ("ladder", ("features", "head", "late", "later"), {"head"}, "late: epoch 1 of 1"),
    ],
)
def test_a_recipe_s_steps_are_done_in_order(
    cli: Cli, trained: tuple[str, ...], home: Path, recipe: str, phases: tuple[str, ...], swept: set[str], words: str
) -> None:
    shorter = ",".join(f"{phase} epochs=1" for phase in phases[1:])
    short = trained[: trained.index("--folds")]
    done = succeeded(cli(*short, *ONE_MODEL, "--recipe", recipe, "--set", f"phases={shorter}"))
    run = finetuned.newest(home)
    assert {path.stem for path in run.glob("models/*/*.safetensors")} == set(phases)
    log = (run / "log.txt").read_text()
    places = [log.index(f"{phase}: validation loss") for phase in phases[:-1]]
    places += [log.index(f"{phase}: epoch 1 of 1: train") for phase in phases[-1:]]
    assert places == sorted(places)
    assert words in log
    found = {path.stem.removeprefix("finder-"): path for path in run.glob("models/fold0-0/finder-*.json")}
    assert found.keys() == swept
    for phase, path in found.items():
        suggested = json.loads(path.read_text())["suggestions"]
        assert log.count(f"{phase}: learning rate ") == bool(suggested)
        assert log.count(f"{phase}: the finder has no suggestion") == (not suggested)
    assert done.out.count(": epoch 1 of 1") == len(phases) - 1


# Changes of the steps


def test_steps_can_be_changed_and_left_out(cli: Cli, trained: tuple[str, ...], home: Path) -> None:
    short = trained[: trained.index("--folds")]
    changed = "phases=head epochs=0,all epochs=2 rate=0.5 schedule=flat rates=1"
    succeeded(cli(*short, *ONE_MODEL, "--recipe", "eight-step", "--set", changed, "--set", "learning_rate=0.004"))
    run = finetuned.newest(home)
    rows = history(run)
    assert {row["phase"] for row in rows} == {"all"}
    assert {row["rate"] for row in rows} == {0.002}
    assert len(history(run, kind="epoch")) == 2
    nothing = failed(cli(*short, *ONE_MODEL, "--set", "phases=all epochs=0"))
    assert "nothing to train" in nothing


def test_a_step_that_makes_it_worse_is_taken_back(cli: Cli, trained: tuple[str, ...], home: Path) -> None:
    short = trained[: trained.index("--folds")]
    wild = ("--set", "learning_rate=100", "--set", "gradient_clip=0", *TWO_EPOCHS)
    done = succeeded(cli(*short, *ONE_MODEL, *wild))
    run = finetuned.newest(home)
    assert same_weights(weights(run), weights(run, "start"))
    assert "worse, so the phase is rolled back" in done.out
    assert history(run, kind="epoch")[-1]["taken_back"]


# Weights of another run


def test_training_goes_on_from_another_run_s_weights(cli: Cli, trained: tuple[str, ...], home: Path) -> None:
    first = only_run(home)
    done = succeeded(cli(*trained[:-1], "phases=all epochs=1", "--from", f"{first.name}:all"))
    (second,) = set(finetuned.runs(home)) - {first}
    for member in ("fold0-0", "fold1-0"):
        assert same_weights(weights(second, "start", member), weights(first, "all", member))
    ended, began = history(first, kind="epoch")[-1]["valid_loss"], history(second, kind="epoch")
    assert f"start: validation loss {ended:.4f}" in done.out
    assert len(began) == 1
    ending = first.name[-8:]  # as the command `runs` takes it
    assert "already finished" in succeeded(cli(*trained[:-1], "phases=all epochs=1", "--from", f"{first.name}:all")).out
    assert "no phase 'body': it has all, start" in failed(cli(*trained, "--from", f"{ending}:body"))


def test_weights_that_have_seen_what_they_would_be_scored_on_are_refused(
    cli: Cli, trained: tuple[str, ...], home: Path
) -> None:
    start = f"{only_run(home).name}:all"
    for change in (("--seed", "1"), ("--set", "folds=3")):
        said = failed(cli(*trained, *change, "--from", start))
        assert "it was trained on" in said
        assert "use the same folds and seed" in said


# What is refused in one line


def test_what_can_not_be_done_is_one_line(cli: Cli, trained: tuple[str, ...], home: Path) -> None:
    run = only_run(home).name
    short = trained[: trained.index("--set", trained.index("--folds"))]
    for words, message in (
        (("--set", "phases=body epochs=2"), "plan 'quick' has no phase 'body'"),
        (("--set", "phases=all epoch=2"), "did you mean 'epochs'"),
        (("--set", "phases=all epochs=many"), "epochs of phase 'all' can't be 'many'"),
        (("--from", run), "write it as RUN:PHASE"),
        (("--from", "20200101-0000-abcdef12:all"), "no run '20200101-0000-abcdef12'"),
        (("--from", f"{run}:tail"), f"run {run} has no phase 'tail'"),
        (("--budget", "1s", *TWO_EPOCHS), "too little for 2 epochs of 40 images"),
        (("--budget", "soon"), "must be auto, or a time like 20m or 2h"),
        (("--fold", "2"), "this run has folds 0, 1."),
        (("--fold", "0", "--method", "features"), "only method finetune trains fold by fold"),
        (("--recipe", "slow"), "must be one of auto, quick, eight-step, ladder"),
    ):
        assert message in failed(cli(*short, *words)), words
    assert [folder.name for folder in finetuned.runs(home) if (folder / "submission.csv").exists()] == [run]


# Fold by fold


def test_folds_trained_one_by_one_join_to_the_same_run(
    cli: Cli, made: tuple[tuple[str, ...], Path], home: Path
) -> None:
    words, elsewhere = made
    shutil.copytree(elsewhere / ".cache", home / ".cache")
    for fold in ("0", "1"):
        done = succeeded(cli(*words, "--fold", fold))
        assert not (only_run(home) / "submission.csv").exists()
        assert "run the command without --fold to combine them" in done.out
    joined = succeeded(cli(*words))
    assert "epoch 1" not in joined.out
    assert finetuned.results(only_run(home)) == finetuned.results(only_run(elsewhere))


# What is decided once


def test_few_images_are_left_to_frozen_features(cli: Cli, trained: tuple[str, ...], home: Path) -> None:
    words = [*trained[: trained.index("--method")], "--method", "auto", "--folds", "2"]
    done = succeeded(cli(*words))
    assert "method features: 40 training images are too few to train a backbone" in done.out


def test_the_choice_of_a_method_is_made_once(
    cli: Cli, trained: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MIN_IMAGES", 10)
    words = [*trained[: trained.index("--method")], "--set", "image_size=32", "--budget", "30m", "--folds", "2"]
    words += ["--set", "train_batch=6", "--set", "phases=all epochs=1", "--method", "auto"]
    assert "method finetune: by a measured step," in succeeded(cli(*words)).out

    def refuse(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(throughput, "measure", refuse)
    monkeypatch.setattr(budget, "plan", refuse)
    monkeypatch.setattr(Learner, "step", refuse)
    assert "already finished" in succeeded(cli(*words)).out
    run = finetuned.newest(home)
    (run / "submission.csv").unlink()
    succeeded(cli(*words))
    assert (run / "submission.csv").exists()
