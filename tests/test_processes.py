"""Several processes that train one model together, on this machine: the same curve, one voice, one end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit.base import devices, distributed, gpu
from kagglekit.base.errors import UserError
from kagglekit.runs import store
from kagglekit.training import checkpoints
from tests import drawing, finetuned, trainers
from tests.conftest import Cli, succeeded
from tests.test_resume import wait_for

SOAK = "KAGGLEKIT_KILLS" in os.environ
CALM = ("augment=none", "mirror_share=0", "batch_norm=frozen", "learning_rate=0.001")
"""Nothing in a step depends on which images are computed together."""
WORDS = (
    *finetuned.ONE_MODEL,
    *(word for setting in CALM for word in ("--set", setting)),
    *("--set", "phases=all epochs=3", "--set", "checkpoint_seconds=0.02"),
)


@pytest.fixture(scope="module")
def exported(tiny_export: tuple[str, Path]) -> tuple[str, Path]:
    return finetuned.small_export(tiny_export)


@pytest.fixture
def command(exported: tuple[str, Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    trainers.spare(monkeypatch)
    shutil.copytree(exported[1], home / ".cache")
    return finetuned.command(drawing.dogs(tmp_path, train=40), exported[0], *WORDS)


def start(command: tuple[str, ...], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kagglekit", *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def found(home: Path) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """(the rows of the history, the submission) of the only run; which is taken away."""
    run = finetuned.only_run(home)
    rows = json.loads((run / "models" / "fold0-0" / "history.json").read_text())
    submission = pd.read_csv(run / "submission.csv")
    shutil.rmtree(home / "dogs-vs-cats")
    return rows, submission


def are_alike(one: tuple[list[dict[str, Any]], pd.DataFrame], two: tuple[list[dict[str, Any]], pd.DataFrame]) -> None:
    assert [(row["kind"], row["step"]) for row in one[0]] == [(row["kind"], row["step"]) for row in two[0]]
    for key in ("loss", "rate", "train_loss", "valid_loss"):
        first, second = ([row[key] for row in rows if key in row] for rows, _ in (one, two))
        assert second == pytest.approx(first, rel=1e-4), key
    pd.testing.assert_frame_equal(one[1], two[1], rtol=1e-3)


def test_two_processes_train_as_one_does(cli: Cli, command: tuple[str, ...], home: Path) -> None:
    succeeded(cli(*command))
    alone = found(home)
    with start((*command, "--processes", "2")) as process:
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    assert out.count("epoch 3 of 3") == 1, "one of them speaks"
    assert (finetuned.only_run(home) / "log.txt").read_text().count("epoch 3 of 3") == 1, "and writes it down"
    are_alike(alone, found(home))


@pytest.mark.skipif(not SOAK, reason="three runs in two processes: in `nox -s soak`")
def test_what_only_the_first_process_computes_the_others_wait_for(
    exported: tuple[str, Path], tmp_path: Path, home: Path
) -> None:
    """Frozen features, then training, then a blend."""
    shutil.copytree(exported[1], home / ".cache")
    words = ("--method", "auto", "--folds", "2", "--set", "phases=all epochs=1")
    command = finetuned.command(drawing.dogs(tmp_path, train=500), exported[0], *words)
    with start((*command, "--processes", "2")) as process:
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    assert out.count("method blend") == 1
    made = [store.Run(folder) for folder in finetuned.runs(home)]
    assert sorted(run.finished().method for run in made) == ["blend", "features", "finetune"]


@pytest.mark.skipif(not SOAK, reason="batch norms of two processes together: in `nox -s soak`")
def test_what_several_processes_predict_is_what_their_weights_say(
    command: tuple[str, ...], exported: tuple[str, Path], tmp_path: Path, home: Path
) -> None:
    """Batch norms learn from other images in each process, and must be one model's all the same."""
    words = (*command, "--set", "batch_norm=trained")
    with start((*words, "--processes", "2")) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    job = finetuned.prepared(tmp_path / "dogs.zip", exported[0], validation="holdout", holdout=10)
    method = finetuned.method(job)
    held = np.flatnonzero(method.fold == 0)
    trainer = method.trainer(method.fold_models[0], np.flatnonzero(method.fold != 0), held[:0], tmp_path)
    folder = next(path for path in finetuned.runs(home) if (path / "submission.csv").is_file())
    trainer.learner.state.load_weights(checkpoints.load_weights(folder / "models" / "fold0-0" / "all.safetensors")[0])
    expected = trainer.learner.predict(trainer.data.pixels, method._some(held))
    ids = method.table["id"].iloc[held].tolist()
    written = store.Run(folder).read_probabilities("models/fold0-0/oof.parquet", ids, method.labels, view="plain")
    assert np.abs(written - expected).max() < 1e-5


@pytest.mark.skipif(not SOAK, reason="what --processes does, started by hand: in `nox -s soak`")
def test_processes_may_be_started_by_others(cli: Cli, command: tuple[str, ...], home: Path) -> None:
    """As `accelerate launch` and torchrun do, on one machine or more."""
    succeeded(cli(*command))
    alone = found(home)
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(distributed._free_port())}
    world["OMP_NUM_THREADS"] = "1"
    both = [start(command, **world, RANK=rank, LOCAL_RANK=rank) for rank in ("0", "1")]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert ended[1] == ("", ""), "the first one speaks"
    are_alike(alone, found(home))


@pytest.mark.skipif(not SOAK, reason="Ctrl-C of several processes: in `nox -s soak`")
def test_ctrl_c_stops_all_after_the_same_step(cli: Cli, command: tuple[str, ...], home: Path) -> None:
    words = (*command[:-2], "--set", "checkpoint_seconds=9999", "--set", "phases=all epochs=60")
    with start((*words, "--processes", "2")) as process:
        wait_for(process, "all: epoch 3 of 60")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = errors.strip().splitlines()
    assert line.startswith("kagglekit: interrupted")
    assert "--processes 2" in line, "the command that goes on is this one"
    assert not [environment for environment in _processes() if str(home) in environment]
    saved = list(home.rglob("progress.pt"))
    assert len(saved) == 1
    import torch

    progress = torch.load(saved[0], weights_only=True)["progress"]
    assert progress["num_steps"] >= 8, "two epochs at least"
    assert all(row["loss"] > 0 for row in progress["history"] if row["kind"] == "step"), "noted by all of them"


def _processes() -> list[str]:
    """The environments of all that train together now."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "environ").read_text(errors="replace"))
        except OSError:
            continue
    return [text for text in found if "WORLD_SIZE=" in text]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "dogs-vs-cat"), "did you mean 'dogs-vs-cats'?"),
        pytest.param(
            ("--set", "phases=body epochs=1"),
            "has no phase 'body'",
            marks=pytest.mark.skipif(not SOAK, reason="found by processes that have joined: in `nox -s soak`"),
        ),
    ],
    ids=["at once", "later"],
)
def test_what_the_user_can_fix_is_said_once(
    command: tuple[str, ...], home: Path, words: tuple[str, ...], said: str
) -> None:
    with start((*(() if words[0] == "run" else command), *words, "--processes=2")) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.count("\n") == 1, errors
    assert said in errors


# The launcher


def test_more_processes_than_gpus_are_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_gpus", lambda: 2)
    monkeypatch.setattr(gpu, "choose", lambda _: "cuda")
    with pytest.raises(UserError, match="this machine has 2 GPUs; use --processes 2"):
        distributed.launch(3, "auto")


@pytest.mark.parametrize("words", [["--processes", "2"], ["--processes=2"]], ids=["two words", "one word"])
def test_the_processes_are_started_without_the_option(words: list[str]) -> None:
    others = ["run", "dogs-vs-cats", "--set", "models=2", "--fold", "2"]
    for place in range(2, len(others) + 1, 2):
        assert distributed._without_processes([*others[:place], *words, *others[place:]]) == others


def test_the_first_failure_ends_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kagglekit").mkdir()
    (tmp_path / "kagglekit" / "__init__.py").touch()
    (tmp_path / "kagglekit" / "__main__.py").write_text(
        "import os, sys, time\nif os.environ['RANK'] == '1':\n    sys.exit(7)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kagglekit", "run", "x"])
    assert distributed.launch(2, "cpu") == 7


def test_one_process_needs_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (distributed.count(), distributed.rank(), distributed.is_first()) == (1, 0, True)
    assert distributed.agree("anything") == "anything"
    with distributed.first_goes_first():
        pass
    world = distributed.World("cpu", "float32")
    assert (world.rank, world.size, world.is_first) == (0, 1, True)
