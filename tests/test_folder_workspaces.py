"""Each folder without a plugin has a workspace of its own, whatever it is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kagglekit.base.workspace import Workspace
from kagglekit.competitions import folder_workspaces, plugins
from tests import damage, drawing
from tests.conftest import Cli, succeeded


def pets(folder: Path) -> Path:
    names = [(label, n) for label in ("cat", "dog") for n in range(3)]
    files = {f"train/{label}/{n}.jpg": drawing.image(label == "dog", n) for label, n in names}
    return damage.write(folder, files | {"test/1.jpg": drawing.image(0, 9)})


def workspaces(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir() if not path.name.startswith("."))


def name_of(folder: Path) -> str:
    return plugins.load(str(folder)).competition().name


def test_two_folders_of_one_name_share_no_list_of_drops(
    cli: Cli, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    one, other = pets(tmp_path / "one" / "data"), pets(tmp_path / "other" / "data")
    listed = damage.write(tmp_path, {"listed.csv": b"id\ncat/1\n"}) / "listed.csv"
    succeeded(cli("audit", one, "--apply", listed))
    assert "drops.csv" not in succeeded(cli("audit", other)).out
    assert "1 training images are in your drops.csv" in succeeded(cli("audit", one)).out
    first, second = workspaces(home)
    assert first == "data"
    assert second.startswith("data-")
    assert (name_of(one), name_of(other)) == (first, second)
    assert str(home / second) in succeeded(cli("info", other)).out.replace("\n", "")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Pets", "my-pets"),
        ("картинки", "картинки"),
        ("写真_2", "写真-2"),
        ("Cafe\u0301", "café"),
        ("--", "folder"),
        ("dogs-vs-cats", "dogs-vs-cats-folder"),
    ],
)
def test_letters_of_any_language_stay_in_the_name(tmp_path: Path, folder: str, name: str) -> None:
    assert name_of(pets(tmp_path / folder)) == name


def test_looking_makes_no_workspace(cli: Cli, tmp_path: Path, home: Path) -> None:
    succeeded(cli("info", pets(tmp_path / "data")))
    assert workspaces(home) == []


@pytest.mark.parametrize(("folder", "before"), [("data", "data"), ("картинки", "folder"), ("фото 2024", "2024")])
def test_a_workspace_from_before_belongs_to_the_folder_that_comes_first(
    tmp_path: Path, home: Path, folder: str, before: str
) -> None:
    (home / before / "runs").mkdir(parents=True)
    one, other = pets(tmp_path / "one" / folder), pets(tmp_path / "other" / folder)
    assert name_of(one) == before
    folder_workspaces.claim(Workspace.of(before), one)
    assert name_of(one) == before
    assert name_of(other) != before


def test_a_workspace_that_moved_with_its_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(tmp_path / "here" / "competitions"))
    one = pets(tmp_path / "here" / "data")
    folder_workspaces.claim(Workspace.of("data"), one)
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    monkeypatch.setenv("KAGGLEKIT_HOME", str(tmp_path / "copy" / "competitions"))
    assert name_of(tmp_path / "copy" / "data").startswith("data-"), "the first is still there"
    (tmp_path / "here").rename(tmp_path / "gone")
    assert name_of(tmp_path / "copy" / "data") == "data"
