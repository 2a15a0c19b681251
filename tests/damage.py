"""Small competitions that a user has in a file and a folder, and what must hold whatever is damaged in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base.errors import UserError
from kagglekit.models import registry

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Cli, Done

QUICK = ("--folds", "2", "--set", "regularisation_grid=1", "--set", "finish=")
"""Heads that take no time."""
HOME = "KAGGLEKIT_HOME"


def snapshot(place: Path) -> dict[Path, bytes | None]:
    """Return path -> content of a file, or of all that lies below a folder; links are not followed."""
    found: dict[Path, bytes | None] = {}
    for path in [place, *place.rglob("*")]:
        if path.is_symlink():
            found[path] = os.fsencode(path.readlink())
        else:
            found[path] = path.read_bytes() if path.is_file() else None
    return found


@contextmanager
def unchanged(place: Path) -> Iterator[None]:
    """Nothing below `place` may be lost, changed or added in the block."""
    before = snapshot(place)
    yield
    assert snapshot(place) == before


def refused(done: Done, *words: str) -> str:
    """Return the one line with which a command has ended."""
    assert done.code == 1, (done.code, done.err)
    assert done.err.startswith("kagglekit: "), done.err
    assert done.err.endswith("\n"), done.err
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err, done.err
    return done.err


def only_run(workspace: Path) -> Path:
    (run,) = (workspace / "runs").iterdir()
    return run


def submission_of(workspace: Path) -> bytes:
    return (only_run(workspace) / "submission.csv").read_bytes()


def left_half_written(home: Path) -> list[Path]:
    return list(home.rglob("*.partial"))


def start(home: Path, *words: str | Path) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    environment = os.environ | {"KAGGLEKIT_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "kagglekit", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def make(home: Path, *words: str | Path) -> None:
    """Type a command for a whole module's tests, in this process, so that heavy imports are shared."""
    import pytest

    from kagglekit.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME, str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(sys, "argv", ["kagglekit", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise


def without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the audit do without a network, which costs seconds to export and which most of it does not need."""

    def unavailable(*_: object) -> None:
        raise UserError("no backbone in this test")

    monkeypatch.setattr(registry, "resolve", unavailable)
    monkeypatch.setattr(registry, "is_ready", lambda *_: True)


# drawn competitions

HEAD = "import numpy as np\nimport pandas as pd\n\nfrom kagglekit import *\n"
PETS = """

@hookimpl
def competition():
    return Competition(
        name="pets", kaggle="pets", classes={"cat": "cat", "dog": "dog"}, train=FolderLabels("train/{label}"),
        test="test/{id}.jpg", submission=Probability(of="dog"), flip="allowed",
    )
"""
LEAF = """

@hookimpl
def competition():
    return Competition(
        name="leaf", kaggle="leaf", classes={"oak": "Oak", "elm": "Elm"}, flip="allowed",
        train=CsvLabels("labels.csv", images="train/{id}.png", id="leaf", label="kind"),
        test="test/{id}.png", submission=ProbabilityPerClass(id="leaf"),
        groups=CsvGroups("plants.csv", image="leaf", group="plant"),
    )
"""


@dataclass(frozen=True)
class Given:
    """What a user has: a plugin in a file, and data in a folder."""

    plugin: Path
    data: Path

    def write_plugin(self, *parts: str) -> None:
        self.plugin.write_text(HEAD + "".join(parts), encoding="utf-8")

    def run(self, cli: Cli, tiny: str, *more: str) -> Done:
        """Run it, and see that nothing of it is touched."""
        with unchanged(self.data), unchanged(self.plugin):
            return cli("run", self.plugin, "--data", self.data, "--backbone", tiny, *QUICK, *more)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
