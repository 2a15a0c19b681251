"""Shared by all tests: an own home, the command line, the real archives, a tiny backbone."""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import typer

from kagglekit.base import streams
from kagglekit.cli import app, main
from kagglekit.models import earlier_layers, efficientnet_lite
from tests import damage, drawing, kaggle_server, traced
from tests.damage import Given
from tests.gallery import rows

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TINY = "test_resnet"
REPORT = "(with its report)"
"""A word for `cli("run", …)` that leaves nothing out, as users have it."""


_LONGEST = ("test_authors", "test_backbones", "test_damage_machine", "test_kaggle_real", "test_processes", "test_real")
_LONGEST += ("test_report", "test_resume", "test_run")
"""Files that take the longest: begun last, one would keep a worker busy when the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take the longest."""
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


def pytest_configure() -> None:
    """Give each parallel worker cores of its own, before torch counts them: threads that share a core wait for it."""
    hypothesis.settings.register_profile("kagglekit", deadline=None)  # on a busy machine any example may take long
    hypothesis.settings.load_profile("kagglekit")
    gc.set_threshold(50_000, 20, 20)  # with torch in memory, collecting garbage takes a seventh of the time
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and hasattr(os, "sched_setaffinity"):
        cores, workers = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.sched_setaffinity(0, cores[int(worker) % len(cores) :: workers])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many of all image competitions were run, in this process or in workers."""
    passed = terminalreporter.stats.get("passed", [])
    done = {value for report in passed for name, value in report.user_properties if name == rows.DONE}
    if done:
        every = len(rows.COVERED) + len(rows.LATER)
        terminalreporter.write_line(
            f"{len(done)} of {every} competitions declared, run and their submissions checked (tests/gallery)"
        )


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the user's workspaces, nor the model hub."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KAGGLEKIT_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _traced_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All workers share one folder of traced graphs."""
    own = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        traced.share((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "traced", patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_have_earlier_layers() -> Iterator[Callable[..., bool]]:
    """Only EfficientNet-lite has earlier layers, unless a test asks for others': heads on them are seconds."""
    given = earlier_layers.are_given

    def few(model: Any, pixels: Any) -> bool:
        return efficientnet_lite.is_lite(model.pretrained_cfg["architecture"]) and given(model, pixels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(earlier_layers, "are_given", few)
        yield given


@pytest.fixture
def all_earlier_layers(_few_have_earlier_layers: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """All models have earlier layers, as users have them."""
    monkeypatch.setattr(earlier_layers, "are_given", _few_have_earlier_layers)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


def succeeded(done: Done) -> Done:
    """Return a command that ended well."""
    assert done.code == 0, done.err
    return done


def failed(done: Done) -> str:
    """Return what a command that ended in one line on standard error said."""
    assert done.code == 1, done.out
    assert done.err.startswith("kagglekit: ")
    assert done.err.count("\n") == 1, done.err
    assert len(done.err) < 500, "nobody reads such a line"
    return done.err


class Terminal(io.TextIOWrapper):
    """A terminal of a given encoding, as the command line writes to it."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors=streams.READABLE)

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


@cache
def _parser() -> Callable[[], None]:
    """The command line's parser, which typer would build for each command."""
    parser: Callable[[], None] = typer.main.get_command(app)
    return parser


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Type a command: `cli("run", "dogs-vs-cats")`. In this process, so that heavy imports are shared."""

    def type_(*words: str | Path) -> Done:
        line = [str(word) for word in words]
        if line[:1] == ["run"]:  # seconds, of which most tests say nothing
            line = [word for word in line if word != REPORT] if REPORT in line else [*line, "--no-report"]
        monkeypatch.setattr(sys, "argv", ["kagglekit", *line])
        monkeypatch.setattr("kagglekit.cli.app", _parser())
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return type_


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A small backbone with random weights in a file, exported once for all tests: (spec, folder)."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    save_file(timm.create_model(TINY).state_dict(), folder / "tiny.safetensors")
    spec = f"{TINY}={folder / 'tiny.safetensors'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(folder))
        from kagglekit.models import registry
        from kagglekit.recipe import FeatureSettings

        registry.resolve(spec, FeatureSettings(), lambda _: None)
    return spec, folder / ".cache"


@pytest.fixture
def tiny(tiny_export: tuple[str, Path], home: Path) -> str:
    """The spec of the small backbone, already exported in this test's home."""
    spec, cache = tiny_export
    shutil.copytree(cache, home / ".cache")
    return spec


@pytest.fixture
def user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home folder, with no trace of Kaggle in it nor in the environment."""
    folder = tmp_path_factory.mktemp("user")
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower() in ("no_proxy", "all_proxy", "http_proxy", "xdg_config_home"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that retries would have waited; nobody waits."""
    from kagglekit.kaggle import retries

    waited: list[float] = []
    monkeypatch.setattr(retries, "sleep", waited.append)
    return waited


@pytest.fixture
def kaggle(user: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[kaggle_server.State]:
    """Kaggle on the loopback, and a token for it in the environment."""
    state = kaggle_server.State()
    with kaggle_server.serving(state) as address:
        for name, value in kaggle_server.environment(address).items():
            monkeypatch.setenv(name, value)
        yield state


@pytest.fixture
def pets(tmp_path: Path) -> Given:
    """A folder a class."""
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": drawing.image(n % 2, n) for n in range(12)}
    files |= {f"test/{n}.jpg": drawing.image(n % 2, 100 + n) for n in range(4)}
    files["sample_submission.csv"] = b"id,label\n" + b"".join(b"%d,0.5\n" % n for n in range(4))
    given = Given(tmp_path / "pets" / "pets.py", damage.write(tmp_path / "pets" / "data", files))
    given.write_plugin(damage.PETS)
    return given


@pytest.fixture
def leaf(tmp_path: Path) -> Given:
    """Labels and groups in CSV files."""
    files = {f"train/L{n}.png": drawing.image(n % 2, n, ".png") for n in range(12)}
    files |= {f"test/T{n}.png": drawing.image(n % 2, 100 + n, ".png") for n in range(4)}
    rows = [f"L{n},{('oak', 'elm')[n % 2]}" for n in range(12)]
    files["labels.csv"] = ("leaf,kind\n" + "\n".join(rows) + "\n").encode()
    files["plants.csv"] = ("leaf,plant\n" + "".join(f"L{n},P{n // 3}\n" for n in range(12))).encode()
    given = Given(tmp_path / "leaf" / "leaf.py", damage.write(tmp_path / "leaf" / "data", files))
    given.write_plugin(damage.LEAF)
    return given


def real_archive(slug: str) -> Path:
    """Return a real archive, or skip the test, saying so."""
    path = SHARED / slug / f"{slug}.zip"
    if not path.is_file():
        pytest.skip(f"the real archive is not here: {path.name} is expected in shared/data beside the checkout")
    return path


@pytest.fixture(scope="session")
def dogs_archive() -> Path:
    return real_archive("dogs-vs-cats-redux-kernels-edition")


@pytest.fixture(scope="session")
def drivers_archive() -> Path:
    return real_archive("state-farm-distracted-driver-detection")
