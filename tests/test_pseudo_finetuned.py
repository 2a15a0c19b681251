"""Pseudo-labels of fine-tuned models: each trains on, towards guesses of models that have not seen the labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kagglekit.pipeline import postprocess
from kagglekit.pipeline.gates import Judgement
from kagglekit.pipeline.methods.finetune_run import FinetuneRun
from kagglekit.recipe import Recipe
from kagglekit.runs import store
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.training import budget, losses, second_cycle
from kagglekit.training.augmenter import Augmenter
from kagglekit.training.budget import Work
from kagglekit.training.learner import Learner
from kagglekit.training.throughput import Speed
from tests import finetuned, trainers
from tests.conftest import Cli, succeeded
from tests.finetuned import made, newest, of_made, only_run, paced  # noqa: F401  fixtures too
from tests.late import clocked, late
from tests.test_pseudo_labels import WORDS, gained  # noqa: F401  a fixture

THREE = kinds.of(Classes(["a", "b", "c"]))


@pytest.fixture
def command(of_made: tuple[str, ...]) -> tuple[str, ...]:  # noqa: F811  the fixture
    """The command of a run with pseudo-labels, in a home with a finished run without."""
    return (*of_made, *WORDS)


def results(run: Path) -> dict[str, bytes]:
    """All that a run found out, in second cycles too."""
    more = [*run.glob("models/*/*/*.parquet"), *run.glob("models/*/*/*.safetensors")]
    return finetuned.results(run) | {str(path.relative_to(run)): path.read_bytes() for path in more}


# Whole commands


def test_a_refused_second_cycle_changes_nothing(
    cli: Cli, command: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postprocess, "judge", lambda *_: Judgement(1.0, 1.1, -0.1, -0.2, 0.1, kept=False))
    before = finetuned.results(only_run(home))
    done = succeeded(cli(*command))
    run = newest(home)
    assert "fold1-0-pseudo-labels: 18 training images, 18 that are guessed, 2 validation images" in done.out
    assert "fold0-0-pseudo-labels: epoch" not in done.out
    assert "pseudo-labels: epoch 2 of 2" in done.out
    steps = store.Run(run).finishing
    assert [(step.step, step.note) for step in steps if not step.value] == [("pseudo-labels", "transductive")]
    (step,) = [step for step in steps if step.note]
    assert not step.kept
    assert store.Run(run).finished().transductive is None
    after = finetuned.results(run)
    same = {name for name in before if name.startswith(("models", "submission"))}
    assert {name: before[name] for name in same} == {name: after[name] for name in same}
    for fold in range(2):
        first, second = (finetuned.weights(run, *place) for place in _places(fold))
        assert not finetuned.same_weights(first, second)
    assert not list(run.rglob("progress.pt"))
    assert "already finished" in succeeded(cli(*command)).out


def _places(fold: int) -> list[tuple[str, str]]:
    return [("all", f"fold{fold}-0"), ("pseudo-labels", f"fold{fold}-0/pseudo-labels")]


@pytest.mark.usefixtures("gained")
@pytest.mark.parametrize("models", [1, 2])
def test_a_kept_second_cycle_is_transductive_and_is_not_exported(
    cli: Cli, command: tuple[str, ...], home: Path, models: int
) -> None:
    succeeded(cli(*command, "--set", f"models={models}"))
    run = store.Run(newest(home))
    name = "pseudo-labels" if models == 1 else "pseudo-labels on 4 augmented views"
    assert run.finished().transductive == name
    assert [step.step for step in run.finishing if step.step.startswith("pseudo")] == [name]
    assert "(transductive)" in succeeded(cli("runs")).out
    assert name in succeeded(cli("report", run.id, "--text")).out
    alone = run.alone
    assert alone is not None
    assert name in alone.left_out
    if models == 1:
        test = [run.folder / "models" / f"fold{fold}-0/pseudo-labels/test.parquet" for fold in range(2)]
        mean = np.mean([_predicted(path) for path in test], axis=0)
        assert np.array_equal(mean[:, 1].argsort(), _predicted(run.folder / "test.parquet")[:, 1].argsort())
    before = results(run.folder)
    shutil.rmtree(run.folder / "models" / "fold1-0" / "pseudo-labels")
    again = succeeded(cli(*command, "--set", f"models={models}")).out
    assert "fold1-0: 18 training images" not in again
    assert results(run.folder) == before
    succeeded(cli("blend", "dogs-vs-cats", "--data", command[4]))
    members = json.loads((newest(home) / "blend.json").read_text())["members"]
    assert {run.id, f"{run.id}/0-plain"} <= {member["name"] for member in members}


def _predicted(path: Path) -> Any:
    return pd.read_parquet(path)[["cat", "dog"]].to_numpy()


class KilledError(Exception):
    """Stands for a kill."""


def test_a_killed_second_cycle_goes_on_and_ends_with_the_same_bytes(
    cli: Cli, command: tuple[str, ...], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*command, "--set", "checkpoint_seconds=0")
    elsewhere = tmp_path / "undisturbed"
    shutil.copytree(home, elsewhere)
    with monkeypatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(elsewhere))
        succeeded(cli(*words))
    whole, done = Learner.step, 0

    def dies(self: Learner, *given: Any) -> Any:
        nonlocal done
        done += 1
        if done == 6 + 6 + 12 + 5:  # of the last model
            raise KilledError
        return whole(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", dies)
        with pytest.raises(KilledError):
            cli(*words)
    assert "resuming at step" in succeeded(cli(*words)).out
    assert results(newest(home)) == results(newest(elsewhere))


def test_folds_trained_one_by_one_train_on_too(cli: Cli, command: tuple[str, ...], home: Path) -> None:
    for fold in ("0", "1"):
        assert f"fold{fold}-0-pseudo-labels: 18" in succeeded(cli(*command, "--fold", fold)).out
    assert "epoch 1" not in succeeded(cli(*command)).out
    assert [step.step for step in store.Run(newest(home)).finishing if step.note] == ["pseudo-labels"]


def test_without_time_they_are_not_tried_and_the_run_says_so(
    cli: Cli, command: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, clock = paced(command), clocked(monkeypatch)
    with monkeypatch.context() as patch:
        late(patch=patch, clock=clock, seconds=400.0)
        done = succeeded(cli(*words))
    assert "pseudo_labels: 30 min was too little on this machine: they are not tried" in " ".join(done.out.split())
    run = newest(home)
    assert json.loads((run / "left-out.json").read_text())["pseudo_labels"] is True
    assert not list(run.glob("models/*/pseudo-labels"))
    assert not [step for step in store.Run(run).finishing if step.note]
    before = results(run)
    assert "already finished" in succeeded(cli(*words)).out
    (run / "models" / "fold1-0" / "all.safetensors").unlink()
    succeeded(cli(*words))
    assert results(run) == before, "the same decision, whatever the clock says now"


# Parts


def test_the_plan_counts_the_second_cycle() -> None:
    work = Work(images=3000, test_images=500, spent=0.0, native=(64, 64), task=THREE)
    costs = [
        budget._cost(Recipe.of(validation_share=0.0, pseudo_labels=wanted), work, 3, [Speed(0.01, 0.002)])
        for wanted in (False, True)
    ]
    model, images = costs[0].backbones[0].model, 2000 + 1000 + 500
    more = 3 * (model + second_cycle.EPOCHS * images * 0.01)
    assert costs[1].shared - costs[0].shared == pytest.approx(more)
    assert costs[1].ending - costs[0].ending == pytest.approx(more)
    assert second_cycle.longer(1000, 8000) == 2, "no more images are guessed than have labels"
    assert len(set(second_cycle.chosen(1000, 8000, 0).tolist())) == 1000


def test_labels_of_a_fold_are_never_known_to_what_guesses_or_learns_it(
    made: tuple[Path, str, Path],  # noqa: F811  the fixture
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(made[2] / ".cache", home / ".cache")
    job = finetuned.prepared(made[0], made[1], phases="all epochs=1", pseudo_labels="true", learning_rate=0.003)
    run = finetuned.method(job)
    other = run.truth.copy()
    other[run.fold == 0] = 1 - other[run.fold == 0]
    guesses = FinetuneRun._guesses

    def predicted(truth: Any) -> list[bytes]:
        run.truth = truth  # a cached property
        for model in run.fold_models:
            run.train(model)
        run.train_on(run.fold_models[0].again)
        return [path.read_bytes() for path in sorted(job.run.folder.glob("models/fold0-0/pseudo-labels/*.parquet"))]

    def fresh() -> None:
        shutil.rmtree(job.run.folder / "models")

    first = predicted(run.truth)
    fresh()
    assert predicted(other) == first
    fresh()

    def leaking(self: FinetuneRun, model: Any, training: int, seed: int) -> Any:
        contents, rows = guesses(self, model, training, seed)
        known = dict(zip(self.contents, self.truth.tolist(), strict=True))
        return contents, np.float32(
            [np.eye(2)[known[one]] if one in known else row for one, row in zip(contents, rows, strict=True)]
        )

    monkeypatch.setattr(FinetuneRun, "_guesses", leaking)
    leaked = predicted(other)
    fresh()
    assert predicted(1 - other) != leaked, "the test sees a leak"


def test_guesses_are_each_image_s_own(made: tuple[Path, str, Path], home: Path) -> None:  # noqa: F811  the fixture
    shutil.copytree(made[2] / ".cache", home / ".cache")
    run = finetuned.method(finetuned.prepared(made[0], made[1], phases="all epochs=1", learning_rate=0.003))
    model = run.fold_models[0]
    run.train(model)
    contents, rows = run._guesses(model.again, 1000, 0)
    ids = dict(zip([*run.contents, *run.test_contents], [*run.table["id"], *run.readable["id"]], strict=True))
    frames = [pd.read_parquet(run.run.folder / model.folder / name) for name in ("oof.parquet", "test.parquet")]
    known = pd.concat(frames).set_index("id")[["cat", "dog"]]
    assert len(contents) == len(known) == len(set(contents))
    assert np.allclose(rows, known.loc[[ids[content] for content in contents]], atol=1e-6)
    trainer = run.trainer(model.again, np.flatnonzero(run.fold != 0), np.arange(0), run.run.folder / "any")
    assert trainer.data.contents[-3:] == run._guesses(model.again, 20, trainer.seed)[0][-3:]
    assert trainer.data.goals.shape == (len(trainer.data.contents), 2)


def test_goals_are_labels_then_guesses_and_mirror_as_classes_do() -> None:
    guesses = np.float32([[0.5, 0.3, 0.2]])
    data = trainers.data(4, classes=3, guesses=guesses)
    assert np.array_equal(data.goals, np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0.5, 0.3, 0.2]]))
    augmenter = Augmenter(transforms=[], mirror=(1, 0, 2), mirror_share=1.0, erasing=0.0, seed=0)
    image = np.zeros((4, 4, 3), np.uint8)
    swapped = augmenter(image, data.goals[4], epoch=0, content=b"x")[1]
    assert np.array_equal(np.float32(swapped), np.float32([0.3, 0.5, 0.2]))
    loss = losses.of(THREE, smoothing=0.3)
    classes, rows = torch.tensor([2, 0]), torch.tensor([[0.0, 0, 1], [1, 0, 0]])
    assert torch.equal(loss.goals(classes), loss.goals(rows))
