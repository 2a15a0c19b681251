"""A full or forbidden disk, Ctrl-C, two commands at once: one line, nothing lost, and the same command goes on."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.models import onnx_export
from tests import drawing
from tests.conftest import Cli, succeeded
from tests.damage import (
    HOME,
    QUICK,
    Given,
    left_half_written,
    only_run,
    refused,
    snapshot,
    start,
    submission_of,
    unchanged,
)

NOBODY = 65534
SOAK = "KAGGLEKIT_KILLS" in os.environ
BEFORE = [("", 0.7), ("exporting to ONNX", 0.5)] + SOAK * [
    ("", 2.0),
    ("exporting to ONNX", 0.0),
    ("exporting to ONNX", 1.5),
]
AFTERWARDS = [("weights of test_resnet", 0.2)] + SOAK * [
    ("weights of test_resnet", 0.0),
    ("weights of test_resnet", 0.5),
]
"""(a line of output, or the start; seconds after it): when Ctrl-C is pressed, before and after a graph is exported."""

# the machine


class Disk:
    """Notes what is written durably; when it fills up, every write fails that has not failed before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[str] = []
        self.failed: set[str] = set()
        self.fills_up = False
        self._sync = storage._sync
        monkeypatch.setattr(storage, "_sync", self.sync)

    def sync(self, path: Path) -> None:
        self.written.append(self._name(path))
        if self.fills_up and self.written[-1] not in self.failed:
            self.failed.add(self.written[-1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self._sync(path)

    def _name(self, path: Path) -> str:
        """Return what is written, the same in every home and command; of a folder, after which file."""
        name = path.relative_to(Path(os.environ[HOME])).as_posix()
        name = re.sub(r"(^|/)\.([^/]+)\.[0-9a-f]{8}\.partial", r"\1\2", name)
        name = re.sub(r"[0-9a-f]{32}\.(rows|ids)", r"\1", re.sub(r"\d{8}-\d{4}-", "", name))
        return f"{self.written[-1]}, then {name}" if path.is_dir() else name


def export_at_once(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the export copy a graph that is there already instead of spending seconds on it."""
    (pointer,) = (graph.parent / "specs").glob("*.json")
    record = storage.read_json(pointer)
    contents = [graph.read_bytes(), Path(record["template"]).read_bytes()]

    def copied(_model: object, _preprocessing: object, *paths: Path) -> Any:
        for path, content in zip(paths, contents, strict=True):
            with storage.replacing(path) as temporary:
                temporary.write_bytes(content)
        return record["outputs"]

    monkeypatch.setattr(onnx_export, "_write", copied)


def test_every_durable_write_may_find_the_disk_full_and_the_run_still_ends_with_the_same_bytes(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = drawing.dogs(tmp_path / "given")
    command = ("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, *QUICK)
    (graph,) = set((home / ".cache" / "backbones").glob("*.onnx")) - set(home.glob(".cache/backbones/*.template.onnx"))
    export_at_once(graph, monkeypatch)
    shutil.rmtree(home / ".cache")
    disk = Disk(monkeypatch)
    succeeded(cli(*command))
    expected, every = submission_of(home / "dogs-vs-cats"), set(disk.written)
    assert len(every) == len(disk.written) > 50
    assert {name for name in every if ".onnx" in name}
    other = tmp_path / "other"
    monkeypatch.setenv(HOME, str(other))
    disk.fills_up = True
    with unchanged(tmp_path / "given"):
        for number in range(1, len(every) + 1):
            done = cli(*command)
            refused(done, "no space is left on the disk", "free some", "KAGGLEKIT_HOME", "to resume")
            assert len(disk.failed) == number
            assert left_half_written(other) == []
        succeeded(cli(*command))
    assert disk.failed == every
    assert submission_of(other / "dogs-vs-cats") == expected


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EDQUOT, "no space is left on the disk"),
        (errno.EROFS, "make it accessible"),
        (errno.EACCES, "make it accessible"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_a_disk_that_refuses_for_another_reason_is_one_line_too(
    cli: Cli, tiny: str, pets: Given, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(storage, "_sync", fail)
    refused(pets.run(cli, tiny), words, str(Path(os.environ[HOME])))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere: be somebody else in the block."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="kagglekit-public-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights as Unix has them")
@pytest.mark.parametrize("place", ["", "pets", "pets/data", "pets/cache"])
def test_a_workspace_that_cannot_be_written_is_one_line_that_names_the_place(
    cli: Cli, tiny: str, pets: Given, public: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    succeeded(pets.run(cli, tiny))  # all that is imported is there, wherever it lies
    home = public / "home"
    closed = home / place
    closed.mkdir(parents=True)
    words = ["run", public / "pets.py", "--backbone", tiny]
    shutil.copy(pets.plugin, public)
    if place == "pets/cache":
        shutil.copytree(pets.data, home / "pets" / "data")
    else:
        words += ["--data", shutil.make_archive(str(public / "pets"), "zip", pets.data)]
    for folder in [path for path in (home, *home.rglob("*")) if path.is_dir()]:
        folder.chmod(0o777)
    closed.chmod(0o555)
    monkeypatch.setenv(HOME, str(home))
    with unchanged(public):
        with as_nobody():
            done = cli(*words)
        refused(done, "Permission denied", str(closed), "make it accessible", "KAGGLEKIT_HOME")


def test_a_home_that_is_a_file_is_one_line(
    cli: Cli, tiny: str, pets: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv(HOME, str(tmp_path / "file"))
    with unchanged(tmp_path):
        refused(pets.run(cli, tiny), str(tmp_path / "file"), "KAGGLEKIT_HOME")


# Ctrl-C, and two commands at once


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_ctrl_c_ends_a_run_within_a_second_with_one_line_and_the_same_command_goes_on(
    tiny_export: tuple[str, Path], tmp_path: Path, home: Path
) -> None:
    spec, cache = tiny_export
    archive = drawing.dogs(tmp_path / "given", train=200, test=100)
    words = ("run", "dogs-vs-cats", "--data", str(archive), "--backbone", spec)

    def interrupted(line: str, seconds: float) -> None:
        """Press Ctrl-C so many seconds after a line of output, or after the start."""
        process = start(home, *words)
        assert process.stdout is not None
        assert not line or any(line in said for said in process.stdout)
        time.sleep(seconds)  # the moment is the test's input
        process.send_signal(signal.SIGINT)
        pressed = time.monotonic()
        _, errors = process.communicate(timeout=60)
        took = time.monotonic() - pressed
        moment = f"{seconds} s after {line or 'the start'!r}"
        assert process.returncode == 130, (moment, process.returncode, errors)
        (only,) = [line for line in errors.splitlines() if line.strip()]
        command = shlex.join(["kagglekit", *words])
        assert only == f"kagglekit: interrupted; finished work is kept: `{command}` resumes.", moment
        assert took <= 1.0, (moment, took)

    with unchanged(tmp_path / "given"):
        for moment in BEFORE:
            interrupted(*moment)
        shutil.copytree(cache, home / ".cache", dirs_exist_ok=True)  # spares half of this test's time
        for moment in AFTERWARDS:
            interrupted(*moment)
        process = start(home, *words)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors == ""
    submission = pd.read_csv(only_run(home / "dogs-vs-cats") / "submission.csv")
    assert submission["id"].tolist() == list(range(1, 101))


def test_a_command_waits_for_another_one_on_the_same_run_and_both_leave_one_folder(
    cli: Cli, tiny: str, pets: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeeded(pets.run(cli, tiny))
    run = only_run(home / "pets")
    expected = snapshot(run)
    other = FileLock(run / ".lock")
    say = Console.say
    said: list[str] = []

    def overheard(console: Console, text: str, style: str = "") -> None:
        say(console, text, style)
        said.append(text)
        if text.endswith(": waiting"):
            other.release()

    monkeypatch.setattr(Console, "say", overheard)
    with other:
        succeeded(pets.run(cli, tiny))
    waiting, finished = [text for text in said if run.name in text][:2]
    assert waiting == f"another command is working on run {run.name}: waiting"
    assert "is already finished" in finished
    assert only_run(home / "pets") == run
    assert snapshot(run) == expected
