"""What is built, and what the documents promise."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from kagglekit.authoring import testing
from kagglekit.authoring.testing import check_plugin
from kagglekit.competitions import hookspecs, installed, plugins
from kagglekit.deploy import bundle
from kagglekit.recipe import Recipe, meanings
from tests import pages

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "kagglekit" / "guide" / "plugins.md"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_core_and_the_plugins_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "kagglekit", "kagglekit_dogs_vs_cats", "kagglekit_gallery", "kagglekit_state_farm",
    }  # fmt: skip
    assert "kagglekit/py.typed" in names
    shipped = {path for ending in ("py", "md", "png") for path in (ROOT / "kagglekit").rglob(f"*.{ending}")}
    assert {path.relative_to(ROOT).as_posix() for path in shipped} <= set(names)


def test_the_installed_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # dependencies are borrowed from here; the editable install's own .pth is not followed from there
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    where = run(python, "-c", "import kagglekit, kagglekit_state_farm; print(kagglekit.__file__)", cwd=tmp_path)
    assert str(site) in where
    assert "state-farm" in run(python, "-m", "kagglekit", "list", cwd=tmp_path)
    assert "hair and make-up" in run(python, "-m", "kagglekit", "info", "state-farm", cwd=tmp_path)
    assert run(python, "-m", "kagglekit", "guide", "plugins", cwd=tmp_path).startswith("# Plugins")
    for name in ("plugins", "tests", "benchmarks"):
        missing = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
        run(python, "-c", missing, cwd=tmp_path)


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: texts for name, texts in project["optional-dependencies"].items() if name != "dev"}
    named = [*project["dependencies"], *itertools.chain(*extras.values())]
    declared = {re.split(r"[^A-Za-z0-9-]", text)[0].lower() for text in named}
    homes = packages_distributions()
    beside = {module.__name__.rpartition(".")[2] for module in bundle.MODULES}
    for path in [*(ROOT / "kagglekit").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - beside:
                if not top.startswith("kagglekit"):
                    assert declared & {home.lower().replace("_", "-") for home in homes.get(top, [top])}, (
                        f"{path.name} imports {top}"
                    )


def test_readme_has_two_set_up_commands_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert "kagglekit run dogs-vs-cats" in commands[0]
    assert commands[1].endswith("nox")
    (marked,) = re.findall(r"<!-- tests -->\n```\n(.*)\n```\n<!-- /tests -->", readme)
    assert marked == commands[1]


def test_the_plugin_guide_has_every_hook_with_its_exact_signature() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    source = Path(str(hookspecs.__file__)).read_text(encoding="utf-8")
    signatures = re.findall(r"^def \w+\([^)]*\) -> [^:]+(?=:$)", source, re.MULTILINE)
    assert len(signatures) == 7
    for signature in signatures:
        assert signature in guide, signature


def examples_of_the_guide() -> list[str]:
    return pages.blocks(GUIDE, "python")


def test_the_first_plugin_is_the_same_in_the_guide_and_in_readme() -> None:
    assert pages.blocks(ROOT / "plugins" / "README.md", "python") == examples_of_the_guide()[:1]


@pytest.mark.parametrize("example", [text for text in examples_of_the_guide() if "@hookimpl" in text])
def test_every_plugin_of_the_guide_keeps_the_contract(example: str, tmp_path: Path, tiny: str) -> None:
    (tmp_path / "example.py").write_text(example)
    check_plugin(tmp_path / "example.py", settings={"backbone": tiny})


def test_the_plugin_test_of_the_guide_passes(
    tmp_path: Path, tiny: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, test = (next(e for e in examples_of_the_guide() if word in e) for word in ("@hookimpl", "def test_"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(testing.QUICK, "backbone", tiny)
    Path("leaf.py").write_text(first)
    names: dict[str, Any] = {}
    exec(test, names)  # as pytest would
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".cache").symlink_to(home / ".cache")
    names["test_plugin"](tmp_path / "home")
    assert list((tmp_path / "home" / "leaf" / "synthetic" / "runs").glob("*/submission.synthetic.csv"))


@pytest.mark.parametrize("listing", installed.listings(), ids=lambda listing: listing.name)
def test_every_installed_plugin_keeps_its_contract(listing: installed.Listing) -> None:
    plugin = plugins.load(listing.name)
    competition = plugin.competition()
    assert competition.name == listing.name
    assert competition.kaggle in (listing.name, *listing.aliases)
    assert listing.task == competition.target.kind
    assert set(plugin.recipe()) <= set(meanings())
    assert all(competition.classes.values())
    assert plugin.file is not None
    lines = [line for line in plugin.file.read_text().splitlines() if line.strip()]
    assert len(lines) <= 65  # a description in about 30, augmentations, and what is tuned and searched


def test_every_setting_has_its_meaning() -> None:
    assert set(meanings()) == set(Recipe().as_dict())
    assert all(sentence.endswith(".") for sentence in meanings().values())
