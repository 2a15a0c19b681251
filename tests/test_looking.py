"""The commands that only look: list, info, runs, backbones, --help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kagglekit.recipe import SECTIONS, Recipe, purpose
from tests import drawing
from tests.conftest import Cli

HEAVY = (
    "torch",
    "timm",
    "pandas",
    "numpy",
    "onnxruntime",
    "albumentations",
    "cv2",
    "sklearn",
    "pyarrow",
    "PIL",
    "rich",
)


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"]], ids=" ".join)
def test_light_commands_import_nothing_heavy_and_no_plugin(words: list[str]) -> None:
    program = (
        "import sys\nfrom kagglekit.cli import main\n"
        f"sys.argv = ['kagglekit', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "found += [name for name in sys.modules if name.startswith('kagglekit_')]\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_list_shows_names_aliases_and_runs(cli: Cli) -> None:
    done = cli("list")
    assert done.code == 0
    for word in ("dogs-vs-cats", "dogs-vs-cats-redux", "state-farm", "state-farm-distracted-driver-detection"):
        assert word in done.out


COMMANDS = ["run", "list", "info", "runs", "backbones", "lr-find", "augmentations"]
COMMANDS += ["download", "submit", "submissions", "doctor", "guide"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert done.code == 0
    assert f"kagglekit {command}" in done.out.partition("Example")[2]


def test_info_shows_a_competition_with_every_setting_and_its_meaning(cli: Cli) -> None:
    done = cli("info", "state-farm")
    assert "driver_imgs_list.csv" in done.out
    assert "hair and make-up" in done.out
    assert "log loss, lower is better" in done.out
    for setting in Recipe().as_dict():
        assert f"\n  {setting} " in done.out, setting
    headings = [done.out.index(f"\n[{section}] {purpose(section)}") for section in SECTIONS]
    assert headings == sorted(headings)
    assert "squash" in done.out


def test_info_says_where_a_setting_comes_from(cli: Cli, home: Path) -> None:
    folder = home / "state-farm"
    folder.mkdir()
    folder.joinpath("recipe.toml").write_text("folds = 7\n[finish]\ntta = 3\n")
    out = cli("info", "state-farm").out
    rows = {words[0]: words[1:3] for line in out.splitlines() if len(words := line.split()) > 2}
    assert rows["folds"] == ["7", "recipe.toml"]
    assert rows["tta_views"] == ["3", "recipe.toml"]
    assert rows["crop"] == ["squash", "plugin"]
    assert rows["mixup"] == ["0.0", "Alpha"]
    assert "tta is now tta_views" in out


def test_runs_and_info_find_a_run_by_its_id_the_end_of_it_and_its_path(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    assert "no runs" in cli("runs").out
    archive = drawing.dogs(tmp_path)
    words = ("run", "dogs-vs-cats", "--backbone", tiny, "--set", "head=logistic")
    assert cli(*words, "--data", archive).code == 0
    second = cli(*words, "--set", "strengths=1e-9")
    assert second.code == 0
    renamed = "note: settings were renamed; the old names still work: strengths is now regularisation_grid (the command"
    assert second.out.count(renamed) == second.out.count("renamed") == 1
    good, bad = sorted(
        (home / "dogs-vs-cats" / "runs").iterdir(), key=lambda run: "1e-09" in run.joinpath("recipe.toml").read_text()
    )
    listed = cli("runs", "dogs-vs-cats").out
    assert listed.index(good.name) < listed.index(bad.name)  # the better one first
    assert "dogs-vs-cats: log loss, lower is better" in listed
    assert listed == cli("runs").out
    for reference in (good.name, good.name[-8:], good):
        shown = cli("info", reference).out
        assert f"run {good.name} of dogs-vs-cats" in shown
        assert "log loss ± standard error" in shown
        assert "result: log loss, lower is better" in shown
        assert "regularisation_grid = [" in shown
    ambiguous = cli("info", "")
    assert ambiguous.code == 1


def test_backbones_shows_what_is_here_and_what_the_hub_has(cli: Cli) -> None:
    done = cli("backbones", "efficientnet_lite0", "--limit", "2")
    here, _, hub = done.out.partition("on the model hub, which does not answer now")
    assert "tf_efficientnet_lite0" in here
    assert "4.7 M" in here
    assert "224 px" in here
    assert "apache-2.0" in here
    assert "tf_efficientnet_lite0.in1k" in hub
    nothing = cli("backbones", "no-such-model")
    assert nothing.code == 1
    assert "no backbone matches 'no-such-model'" in nothing.err


def test_guide_lists_its_topics_and_shows_one(cli: Cli) -> None:
    assert "getting-started" in cli("guide").out
    assert cli("guide", "getting-started").out.startswith("# Getting started")
    unknown = cli("guide", "getting")
    assert unknown.code == 1
    assert "did you mean 'getting-started'?" in unknown.err
