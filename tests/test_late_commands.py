"""Whole commands that fall behind: several processes decide alike, and a killed one ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kagglekit.base import distributed
from kagglekit.cli import main  # noqa: F401  heavy imports are shared
from kagglekit.training import pacing
from kagglekit.training.learner import Learner
from tests import drawing, finetuned, trainers
from tests.conftest import Cli, succeeded
from tests.late import STEPS, Clock, late, measured
from tests.test_resume import wait_for

LATE, VERY_LATE = 25.0, 40.0
"""Seconds of a step of six images, which was measured at three."""
SOAK = "KAGGLEKIT_KILLS" in os.environ


@pytest.fixture
def command(
    tiny_export: tuple[str, Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    trainers.spare(monkeypatch)
    spec, cache = finetuned.small_export(tiny_export)
    shutil.copytree(cache, home / ".cache")
    words = finetuned.command(drawing.dogs(tmp_path, train=40), spec, "--folds", "3", "--set", "checkpoint_seconds=0")
    return tuple(word if word != "30m" else "10m" for word in words)


def start(command: tuple[str, ...], seconds: float, still: int = 0, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.late", str(seconds), str(still), *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_this_process(cli: Cli, command: tuple[str, ...], seconds: float) -> str:
    """Type the command where a step takes so many seconds; return what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(pacing, "now", clock)
        late(clock, patch, seconds)
        return succeeded(cli(*command)).out


def only_paces(run: Path) -> None:
    """Leave nothing of a run but its decisions."""
    for path in sorted(run.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name not in ("pace.json", "left-out.json"):
            path.unlink()


def killed(command: tuple[str, ...], still: int) -> None:
    """Kill the command in its step number `still`."""
    process = start(command, LATE, still)
    wait_for(process, f"{STEPS}{still}\n")
    process.kill()
    process.communicate()


def broken_off(cli: Cli, command: tuple[str, ...], still: int) -> None:
    """Break the command off before its step number `still`, in this process."""
    step, calls = Learner.step, iter(range(1, still + 1))

    def breaking(*given: Any) -> Any:
        if next(calls) == still:
            raise BrokenOffError
        return step(*given)

    with pytest.MonkeyPatch.context() as patch:
        measured(patch, step=0.5, forward=0.05)
        patch.setattr(Learner, "step", breaking)
        with pytest.raises(BrokenOffError):
            in_this_process(cli, command, LATE)


class BrokenOffError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("still", range(1, 12) if SOAK else [5])
def test_killed_inside_a_paced_model_it_ends_with_the_same_bytes(
    cli: Cli, command: tuple[str, ...], home: Path, still: int
) -> None:
    if SOAK:
        killed(command, still)
    else:
        broken_off(cli, command, still)
    run = finetuned.only_run(home)
    assert pacing.of_model(run / "models" / "fold0-0").checks, "decided and stored"
    out = in_this_process(cli, command, LATE)
    assert still == 1 or "resuming at step" in out
    assert pacing.of_model(run / "models" / "fold0-0").checks[-1].epochs < 12
    expected = finetuned.results(run)
    only_paces(run)
    in_this_process(cli, command, 0.1)
    assert finetuned.results(finetuned.only_run(home)) == expected, "by the same decisions, on another machine"


@pytest.mark.skipif(not SOAK, reason="a late one of several processes: in `nox -s soak`")
def test_of_several_processes_the_first_decides_for_all(command: tuple[str, ...], home: Path) -> None:
    """As `--processes 2` does; the first is late, and the other is not."""
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(distributed._free_port())}
    world |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    both = [start(command, (VERY_LATE, 0.1)[rank], **world, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in (0, 1)]
    ended = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    out, other = (printed for printed, _ in ended)
    assert "to end in time" in out
    assert "is left out" in " ".join(out.split())
    steps = [line for line in out.splitlines() if line.startswith(STEPS)]
    assert steps == other.splitlines(), "as many steps, and nothing else is said"
    run = finetuned.only_run(home)
    decided = [pacing.of_model(run / "models" / name) for name in ("fold0-0", "fold1-0")]
    assert not (run / "models" / "fold2-0").exists()
    assert all(model.checks[-1].epochs < 12 and model.seconds for model in decided)
    assert len(steps) == sum(len(finetuned.history(run, name)) for name in ("fold0-0", "fold1-0"))
