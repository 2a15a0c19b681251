"""The guide: every page is there, is shown on any terminal, and what it says can be typed."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from kagglekit import guide, recipe
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.cli import app
from kagglekit.competitions import plugins
from kagglekit.pipeline import summary
from kagglekit.runs.record import Result
from kagglekit.runs.store import Run
from tests import drawing, pages
from tests.conftest import Cli, Terminal, succeeded

LINES = sorted({line for path in pages.documents() for line in pages.command_lines(path)})
"""Every command that a document shows."""


def test_what_is_said_is_not_taken_for_emoji() -> None:
    file = io.StringIO()
    Console(file).say("kagglekit new leaf --labels labels.csv:id:breed")
    assert "labels.csv:id:breed" in file.getvalue()


def test_without_a_topic_all_are_listed_with_their_titles() -> None:
    file = io.StringIO()
    guide.show(None, Console(file))
    for topic, title in guide.topics().items():
        assert topic in file.getvalue()
        assert title in file.getvalue()


def test_an_unknown_topic_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no topic 'geting-startd': did you mean 'getting-started'"):
        guide.show("geting-startd", Console(io.StringIO()))
    with pytest.raises(UserError, match="`kagglekit guide` lists them"):
        guide.show("qqq", Console(io.StringIO()))


@pytest.mark.parametrize("topic", guide.topics())
def test_every_page_is_laid_out_on_a_terminal(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal("utf-8")
    guide.show(topic, Console(terminal))
    shown = terminal.shown()
    assert guide.topics()[topic].split(":")[0] in shown
    for mark in ("<!--", "```", "](", "[[["):
        assert mark not in shown, "Markdown that was not understood"
    assert shown.count("…") == guide.page(topic).count("…"), "a cell that was cut"


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize("topic", guide.topics())
def test_no_encoding_of_a_terminal_ends_a_page(topic: str, encoding: str) -> None:
    terminal = Terminal(encoding)
    guide.show(topic, Console(terminal))
    assert "kagglekit" in terminal.shown()


@pytest.mark.parametrize("topic", guide.topics())
def test_a_piped_page_is_markdown_without_what_only_its_writers_need(topic: str) -> None:
    file = io.StringIO()
    guide.show(topic, Console(file))
    assert file.getvalue() == guide.page(topic)
    assert file.getvalue().startswith(f"# {guide.topics()[topic]}\n")
    assert "<!--" not in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_generated_parts_are_what_would_be_generated_now() -> None:
    command = (sys.executable, "-m", "cogapp", "--check", "--diff", "pyproject.toml", *map(str, pages.documents()))
    done = subprocess.run(command, cwd=pages.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`nox -s docs` writes them again\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", pages.documents(), ids=lambda path: path.relative_to(pages.ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.prose(path)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert there.is_relative_to(pages.ROOT)
        assert not anchor or anchor in pages.anchors(there), target


def test_what_readme_says_was_measured_stands_in_the_benchmarks() -> None:
    measured = (pages.ROOT / "kagglekit" / "guide" / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("|") and ("EPYC" in line or "Xeon" in line)]
    assert rows
    assert [row for row in rows if row not in measured] == []


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (pages.ROOT / "kagglekit" / "guide" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"\b[a-z_]+(?:/[a-z_]+)+\.py\b", text)
    assert named
    assert [name for name in named if not (pages.ROOT / "kagglekit" / name).is_file()] == []


@pytest.mark.parametrize("topic", guide.topics())
def test_code_fits_a_terminal_of_eighty_columns(topic: str) -> None:
    path = pages.ROOT / "kagglekit" / "guide" / f"{topic}.md"
    for block in (*pages.blocks(path, ""), *pages.blocks(path, "toml")):
        if "Usage:" not in block and "def " not in block:  # help pages and signatures are what they are
            assert max(map(len, block.splitlines())) <= 78, block


def command_of(name: str) -> tuple[Any, Any]:
    """Return a command and the context that it is called in."""
    group: Any = typer.main.get_command(app)
    parent = group.make_context("kagglekit", [name])
    command = group.get_command(parent, name)
    assert command is not None, f"there is no command {name}"
    return command, parent


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_documents_can_be_typed(line: str) -> None:
    name, *words = shlex.split(line, comments=True)[1:]
    if "…" in words or name in ("COMMAND", "--help"):
        return
    command, parent = command_of(name)
    if not words:  # named in a sentence
        return
    given = command.make_context(name, words, parent=parent).params
    settings = {key: given[key] for key in ("method", "head", "validation", "folds") if given.get(key)}
    settings |= dict(recipe.parse_assignment(text) for text in given.get("set_") or [])
    recipe.resolve({}, "none", Path(os.devnull), settings)


def test_the_recipe_of_the_guide_is_one() -> None:
    (example,) = pages.blocks(pages.ROOT / "kagglekit" / "guide" / "settings.md", "toml")
    assert recipe.resolve({}, "none", Path(os.devnull), tomllib.loads(example)).data.folds == 10


def squeezed(text: str) -> set[str]:
    """Return the lines of an output without its layout."""
    return {" ".join(line.split()) for line in text.splitlines() if line.strip(" ─…")}


def test_what_a_run_prints_is_what_the_documents_show() -> None:
    result = Result(
        metric="log loss",
        lower_is_better=True,
        out_of_fold=0.03105,
        standard_error=0.00846,
        accuracy=0.9917,
        before_finish=0.03105,
        clusters=1200,
        scored_images=1200,
        validation="folds",
        backbones=("tf_efficientnet_lite2",),
        device="cpu",
        seconds={"features": 54.2},
    )
    file = io.StringIO()
    run = Run(Path("competitions", "dogs-vs-cats", "runs", "20261123-0745-37f4ae66"))
    summary.show(run, plugins.load("dogs-vs-cats"), result, Console(file))
    for path in (pages.ROOT / "README.md", pages.ROOT / "kagglekit" / "guide" / "getting-started.md"):
        (shown,) = (block for block in pages.blocks(path, "") if "all stages" in block)
        assert squeezed(shown) <= squeezed(file.getvalue())


def test_state_farm_without_its_groups_is_a_plugin(tmp_path: Path) -> None:
    (example,) = pages.blocks(pages.ROOT / "competitions" / "state-farm" / "README.md", "python")
    (tmp_path / "random_split.py").write_text(example)
    plugin = plugins.load(str(tmp_path / "random_split.py"))
    assert plugin.competition().groups is None
    assert plugin.recipe() == {"method": "features", "crop": "squash"}


CHEAP = [
    line for line in LINES if line.split()[1] in ("list", "info", "runs", "guide", "new") and len(line.split()) > 2
]


@pytest.mark.parametrize("line", CHEAP)
def test_the_cheap_ones_are_typed(line: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("id,breed\n1,pug\n2,boxer\n")
    drawing.dogs(tmp_path).rename("leaf-classification.zip")
    meant = {"NAME": "dogs-vs-cats", "TOPIC": "export"}
    succeeded(cli(*(meant.get(word, word) for word in shlex.split(line, comments=True)[1:])))
