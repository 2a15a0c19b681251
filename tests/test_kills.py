"""SIGKILL at random moments: the same command goes on and ends with the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import drawing
from tests.conftest import SHARED

KILLS = int(os.environ.get("KAGGLEKIT_KILLS", "1"))
REAL = SHARED / "dogs-vs-cats-redux-kernels-edition" / "dogs-vs-cats-redux-kernels-edition.zip"
LONG = "KAGGLEKIT_KILLS" in os.environ
"""Whether there is time; otherwise the one kill is of what comes after all is imported."""
SOAK = LONG and REAL.is_file()
"""Real photographs and a real backbone: ten times as long a run."""


def submission(home: Path) -> bytes:
    (run,) = (home / "dogs-vs-cats" / "runs").iterdir()
    return (run / "submission.csv").read_bytes()


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tiny_export: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, cache = tiny_export
    archive = drawing.dogs(tmp_path, train=200, test=100)
    words = ["--data", str(archive), "--backbone", spec]
    if SOAK:
        words = ["--data", str(REAL), "--backbone", "tf_efficientnet_lite0", "--sample", "600"]
    command = [sys.executable, "-m", "kagglekit", "run", "dogs-vs-cats", *words, "--no-report"]

    def start(home: Path) -> subprocess.Popen[str]:
        if not LONG and not home.exists():  # with thirty kills the export of the graph is killed, too
            shutil.copytree(cache, home / ".cache")
        environment = os.environ | {"KAGGLEKIT_HOME": str(home)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(home: Path) -> float:
        started = time.monotonic()
        process = start(home)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return time.monotonic() - started

    def killed_after(moment: float, home: Path) -> bool:
        process = start(home)
        time.sleep(moment)  # the moment is the test's input; nothing waits for an effect
        alive = process.poll() is None
        process.kill()
        process.communicate()
        return alive

    moments = random.Random(KILLS)
    seconds = finish(tmp_path / "undisturbed")
    expected = submission(tmp_path / "undisturbed")
    for kill in range(KILLS):
        home, moment = tmp_path / f"killed{kill}", moments.uniform(0.1 if LONG else 0.7, 0.9) * seconds
        while not killed_after(moment, home):  # it was faster than the undisturbed one: kill it earlier
            shutil.rmtree(home)
            moment *= 0.7
        left = finish(home)
        assert submission(home) == expected, f"kill {kill} after {moment:.2f} s"
        print(f"kill {kill + 1} of {KILLS} after {moment:.1f} s: {left:.1f} s more, the same bytes", flush=True)
        shutil.rmtree(home)
