"""A fine-tuning that was killed or interrupted goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from kagglekit.base import interrupts
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.cli import main
from kagglekit.pipeline.methods.finetune_run import FinetuneRun
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, store
from kagglekit.training import checkpoints, loop, plots
from kagglekit.training.learner import Learner
from kagglekit.training.phases import Phase
from tests import drawing, finetuned, trainers
from tests.conftest import Cli, succeeded

SOAK = "KAGGLEKIT_KILLS" in os.environ
KILLS = int(os.environ.get("KAGGLEKIT_KILLS", "1"))
EPOCHS = 4
DRAWN = ("--set", "augment=light", "--set", "mixup=0.3", "--set", "ema=0.9", "--set", "dropout=0.2")
WORDS = (*finetuned.TWO_FOLDS, *DRAWN, "--set", f"phases=all epochs={EPOCHS} schedule=cosine")


@pytest.fixture(scope="module")
def undisturbed(
    tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, ...], Path, dict[str, bytes]]:
    """A command, the exported model, and what the command finds out when nothing disturbs it."""
    spec, cache = finetuned.small_export(tiny_export)
    home = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(cache, home / ".cache")
    archive = drawing.dogs(tmp_path_factory.mktemp("archive"), train=40)
    words = finetuned.command(archive, spec, *WORDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(home))
        trainers.spare(patch)
        patch.setattr(sys, "argv", ["kagglekit", *words])
        with pytest.raises(SystemExit, match="^0$"):
            main()
    return words, cache, finetuned.results(finetuned.only_run(home))


@pytest.fixture
def command(undisturbed: tuple[tuple[str, ...], Path, dict[str, bytes]], home: Path) -> tuple[str, ...]:
    words, cache, _ = undisturbed
    shutil.copytree(cache, home / ".cache")
    return words


@pytest.fixture
def expected(undisturbed: tuple[tuple[str, ...], Path, dict[str, bytes]]) -> dict[str, bytes]:
    return undisturbed[2]


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)


def start(command: tuple[str, ...], *words: str) -> subprocess.Popen[str]:
    """Start the command in a process (and a group) of its own; its output can be read line by line."""
    return subprocess.Popen(
        [sys.executable, "-m", "kagglekit", *command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"never said {text!r}: {process.communicate()[1]}")


def went_on_from(out: str) -> int:
    """The step that the first model went on from."""
    (step, *_) = re.findall(r"resuming at step (\d+)", out) or ["0"]
    return int(step)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    cli: Cli, command: tuple[str, ...], expected: dict[str, bytes], home: Path, kill: int
) -> None:
    chance = random.Random(kill)
    interval = ("--set", f"checkpoint_seconds={(0, 0.2)[kill % 2]}")
    process = start(command, *interval)
    for _ in range(chance.randint(1, 2)):  # of either fold
        wait_for(process, f"all: epoch {chance.randint(1, EPOCHS - 2)} of {EPOCHS}")
    time.sleep(chance.uniform(0, 0.15))  # the moment is the test's input; nothing waits for an effect
    assert process.poll() is None, "killed too late"
    process.kill()
    process.communicate()
    done = succeeded(cli(*command, *interval))
    assert went_on_from(done.out) > 0
    run = finetuned.only_run(home)
    assert finetuned.results(run) == expected
    assert not list(run.rglob("*.partial"))
    assert not list(run.rglob("progress.pt"))


def test_killed_while_it_draws_a_training_has_its_history_all_the_same(
    cli: Cli, command: tuple[str, ...], expected: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(plots, "history_plot", interrupted)
        assert cli(*command).code == 130
    succeeded(cli(*command))
    run = finetuned.only_run(home)
    assert finetuned.results(run) == expected
    for member in ("fold0-0", "fold1-0"):
        assert len(finetuned.history(run, member, "epoch")) == EPOCHS


def test_interrupted_while_an_epoch_is_judged_its_steps_are_kept(
    cli: Cli, command: tuple[str, ...], expected: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    never = ("--set", "checkpoint_seconds=9999")
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_judge_epoch", interrupted)
        assert cli(*command, *never).code == 130
    assert went_on_from(succeeded(cli(*command, *never)).out) > 0
    assert finetuned.results(finetuned.only_run(home)) == expected


@pytest.mark.skipif(not SOAK, reason="a fold after the other is tested always; together: in `nox -s soak`")
def test_commands_that_train_a_fold_each_may_be_started_together(
    cli: Cli, command: tuple[str, ...], expected: dict[str, bytes], home: Path
) -> None:
    both = [start(command, "--fold", fold) for fold in ("0", "1")]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    done = succeeded(cli(*command))
    assert "all: epoch" not in done.out, "nothing is trained again"
    assert finetuned.results(finetuned.only_run(home)) == expected


def test_what_another_command_is_writing_is_not_removed(tmp_path: Path) -> None:
    run = store.Run(tmp_path / "20260101-0000-00000000")
    writing, left, own = (run.folder / name for name in ("stages/.a.1.partial", "stages/.b.1.partial", ".c.1.partial"))
    writing.parent.mkdir(parents=True)
    for path in (writing, left, own):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    gone = writing.with_name(".d.1.partial")
    gone.symlink_to("nowhere")  # as one that has got its name since the folder was read
    with run.locked(Console(io.StringIO())):
        assert [path.exists() for path in (writing, left, own)] == [True, False, False]


def test_ctrl_c_finishes_the_step_and_saves(
    cli: Cli, command: tuple[str, ...], expected: dict[str, bytes], home: Path
) -> None:
    never = ("--set", "checkpoint_seconds=9999", "--set", "loader_workers=2")
    process = start(command, *never)
    wait_for(process, f"all: epoch 2 of {EPOCHS}")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers are told, too
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = errors.strip().splitlines()
    assert line.startswith("kagglekit: interrupted; finished work is kept: `kagglekit run dogs-vs-cats")
    assert f"epoch {EPOCHS} of" not in out
    done = succeeded(cli(*command, *never))
    assert went_on_from(done.out) > 0
    assert finetuned.results(finetuned.only_run(home)) == expected


def test_a_command_killed_while_it_predicts_does_not_train_again(
    cli: Cli, command: tuple[str, ...], expected: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, last = FinetuneRun._write_views, filenames.TEST

    def killed(self: FinetuneRun, model: Any, file: str, *rest: Any) -> None:
        if file == last and model.fold == 1:
            raise KilledError
        whole(self, model, file, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneRun, "_write_views", killed)
        with pytest.raises(KilledError):
            cli(*command)
    monkeypatch.setattr(Learner, "step", refuse)
    succeeded(cli(*command))
    assert finetuned.results(finetuned.only_run(home)) == expected


# Every moment of a small training


class KilledError(Exception):
    """Stands for a kill."""


def refuse(*_: object) -> NoReturn:
    raise AssertionError("trained again")


DRAWN_ALL = trainers.CALM.changed(augment="light", mixup=0.3, ema=0.9, checkpoint_seconds=0.0, learning_rate=0.003)
PHASES = (
    Phase(name="head", trains="head", epochs=1, schedule="flat"),
    Phase(name="all", trains="all", epochs=2, schedule="cosine", multiplier=1),
)


def trainer(folder: Path, recipe: Recipe = DRAWN_ALL) -> loop.Trainer:
    folder.mkdir(exist_ok=True)
    return trainers.trainer(
        folder, recipe, of=trainers.data(recipe=recipe), net=trainers.model(drop_rate=0.5, drop_path_rate=0.2)
    )


def dies_at(call: int, original: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Return a function that is killed in its call number `call`, before or after it has done its work."""
    calls = iter(range(1, 1000))

    def called(*given: Any, **more: Any) -> Any:
        number = next(calls)
        if number == call and not after:
            raise KilledError
        found = original(*given, **more)
        if number == call:
            raise KilledError
        return found

    return called


@pytest.mark.parametrize(
    ("place", "what", "calls", "after"),
    [
        (Learner, "step", (3, 6), False),
        (checkpoints, "save_progress", (4, 8), False),
        (checkpoints, "save_progress", (4, 11), True),
        (checkpoints, "save_weights", (2, 3), True),
        (Learner, "predict", (3,), False),
    ],
    ids=["step", "before a checkpoint", "after a checkpoint", "weights", "predict"],
)
def test_a_training_killed_at_any_moment_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, what: str, calls: tuple[int, ...], after: bool
) -> None:
    undisturbed = trainer(tmp_path / "whole")
    expected = trainers.train(undisturbed, *PHASES)
    original = getattr(place, what)
    for call in calls:
        folder = tmp_path / str(call)
        with monkeypatch.context() as patch:
            patch.setattr(place, what, dies_at(call, original, after=after))
            with pytest.raises(KilledError):
                trainers.train(trainer(folder), *PHASES)
        torch.manual_seed(call)  # another process draws otherwise
        resumed = trainer(folder)
        assert trainers.same(trainers.train(resumed, *PHASES), expected), call
        assert trainers.losses(resumed) == trainers.losses(undisturbed), call


def test_the_best_restart_survives_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = trainers.CALM.changed(checkpoint_seconds=0.0)
    original = Learner.step
    ended = []
    for folder, die in ((tmp_path / "whole", False), (tmp_path / "killed", True)):
        told = iter([9.0, 1.0, 2.0, 1.0])  # before, after each of two epochs, of what is kept: the first is the best
        monkeypatch.setattr(loop.Trainer, "_validation_loss", lambda _, told=told: (next(told), 0.0))
        if die:
            with monkeypatch.context() as patch:
                patch.setattr(Learner, "step", dies_at(4, original, after=False))
                with pytest.raises(KilledError):
                    trainers.train(trainer(folder, calm), PHASES[1])
        ended.append(trainers.train(trainer(folder, calm), PHASES[1]))
    assert trainers.same(*ended)


def test_a_checkpoint_of_another_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with 16 images that two processes share, and then three."""
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", dies_at(3, Learner.step, after=False))
        with pytest.raises(KilledError):
            trainers.train(trainer(tmp_path), *PHASES)
    other = trainers.trainer(tmp_path, DRAWN_ALL, of=trainers.data(recipe=DRAWN_ALL), batch=7)
    with pytest.raises(UserError) as refused:
        trainers.train(other, *PHASES)
    line = str(refused.value)
    assert "was begun with batches of 8 images in 1 process, and 1 would share batches of 7" in line
    assert "go on with --processes 1, or remove" in line
    assert "\n" not in line


def test_ctrl_c_in_a_step_ends_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seldom = DRAWN_ALL.changed(checkpoint_seconds=9999.0)
    undisturbed = trainers.train(trainer(tmp_path / "whole", seldom), *PHASES)
    original, calls = Learner.step, iter(range(1, 100))

    def step(self: Learner, *given: Any) -> torch.Tensor:
        if next(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return original(self, *given)

    before = signal.signal(signal.SIGINT, interrupts._raise)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Learner, "step", step)
            with pytest.raises(interrupts.Interrupted):
                trainers.train(trainer(tmp_path / "stopped", seldom), *PHASES)
    finally:
        signal.signal(signal.SIGINT, before)
    assert next(calls) == 6, "the step is finished, and no other one begun"
    resumed = trainer(tmp_path / "stopped", seldom)
    assert trainers.same(trainers.train(resumed, *PHASES), undisturbed)
    assert "resuming at step 5" in trainers.said(resumed)
