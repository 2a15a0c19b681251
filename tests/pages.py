"""The documents: which there are, what stands in them, and the parts of them that are generated.

`nox -s docs` writes the generated parts again, by cog; the tests check that they are true.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from kagglekit import guide
from kagglekit.cli import app
from kagglekit.competitions import installed, plugins
from kagglekit.competitions.competition import Competition

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COLUMNS = 80
"""Of the terminal that help pages are written for."""


def documents() -> list[Path]:
    """Return every document for users: the guide's pages and the README files."""
    pages = [ROOT / "kagglekit" / "guide" / f"{topic}.md" for topic in guide.topics()]
    readmes = [ROOT / folder / "README.md" for folder in (".", "plugins", "competitions")]
    return [*readmes, *sorted(ROOT.glob("competitions/*/README.md")), *pages]


def blocks(path: Path, language: str) -> list[str]:
    """Return a document's code blocks in one language; `""` are those without one: commands, and what they print."""
    text = path.read_text(encoding="utf-8")
    return [textwrap.dedent(body) for _, named, body in FENCE.findall(text) if named == language]


def command_lines(path: Path) -> Iterator[str]:
    """Yield every `kagglekit …` that a document shows: lines of blocks, and code in its sentences."""
    text = re.sub(r"<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for _, _, body in FENCE.findall(text):
        joined = body.replace("\\\n", " ")
        yield from (line.strip() for line in joined.splitlines() if line.strip().startswith("kagglekit "))
    prose = FENCE.sub("", text)
    yield from (found for found in re.findall(r"`([^`]+)`", prose) if found.startswith("kagglekit "))


def prose(path: Path) -> str:
    """Return a document without its code."""
    return re.sub(r"`[^`]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> str:
    """Return the help page of every command."""
    group = typer.main.get_command(app)
    os.environ["COLUMNS"] = str(_COLUMNS)
    return "".join(
        f"## kagglekit {name}\n\n```\n{_help(group, name)}\n```\n\n"
        for name, command in group.commands.items()  # type: ignore[attr-defined]
        if not command.hidden
    )


def _help(group: Any, name: str) -> str:
    parent = group.make_context("kagglekit", [name], resilient_parsing=True)
    command = group.commands[name]
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines()).strip()


def entry_points() -> str:
    """Return the entry points of all plugins in the folder `plugins`, in TOML."""
    files = [*ROOT.glob("plugins/*/__init__.py"), *ROOT.glob("plugins/kagglekit_gallery/[a-z]*.py")]
    described: dict[str, Competition] = {}
    for file in files:
        module = ".".join(file.relative_to(ROOT / "plugins").with_suffix("").parts).removesuffix(".__init__")
        if hasattr(importlib.import_module(module), "competition"):
            described[module] = plugins.Plugin(module, importlib.import_module(module)).competition()
    names, tasks = {}, {}
    for module, competition in described.items():
        names |= dict.fromkeys((competition.name, competition.kaggle), module)
        tasks[competition.name] = competition.target.kind
    names["dogs-vs-cats-redux"] = "kagglekit_dogs_vs_cats"
    groups = {installed.GROUP: names, installed.TASKS: tasks}
    return "\n".join(
        f'[project.entry-points."{group}"]\n' + "".join(f'{name} = "{value}"\n' for name, value in sorted(of.items()))
        for group, of in groups.items()
    )


def settings() -> str:
    """Return all settings, a table for each section."""
    from kagglekit import recipe

    text = ""
    for section, values in recipe.Recipe().by_section().items():
        rows = [f"| `{name}` | {_default(value)} | {_meaning(name)} |" for name, value in values.items()]
        head = ("| setting | default | meaning |", "|---|---|---|")
        text += "\n".join([f"## {section}", "", recipe.purpose(section), "", *head, *rows, "", ""])
    return text


def _default(value: Any) -> str:
    from kagglekit import recipe

    text = recipe.shown(value).replace(",", ", ")  # a long list can be wrapped
    return f"`{text}`" if text else "empty"


def _meaning(name: str) -> str:
    from kagglekit.recipe.recipe import SETTINGS

    former = f" Formerly `{SETTINGS[name].formerly}`." if SETTINGS[name].formerly else ""
    return SETTINGS[name].meaning.replace("|", "\\|") + former


def metrics() -> str:
    """Return a table of all metrics by name."""
    from kagglekit.metrics import names

    rows = ["| name | what it is |", "|---|---|"]
    for name in names.known():
        base = name.split("@")[0]
        maker = names.LISTS[base] if base in names.LISTS else names.MAKERS[base]
        meaning = " ".join(inspect.cleandoc(maker.__doc__ or "").split()).removeprefix("Return ").replace("|", "\\|")
        spelled = name if base in names.LISTS else names.usage(base)
        rows.append(f"| `{spelled}` | {meaning} |")
    return "\n".join([*rows, ""])


def plans() -> str:
    """Return a table of the phases of every plan of fine-tuning."""
    from kagglekit.training.phases import HEAD, PLANS

    rows = ["| plan | phase | trains | epochs | schedule |", "|---|---|---|---|---|"]
    for plan, phases in PLANS.items():
        for phase in phases:
            epochs = phase.epochs or "0: left out"
            how = (epochs, phase.schedule) if phase.name != HEAD or not phase.epochs else ("", "fitted on features")
            rows.append(f"| `{plan}` | `{phase.name}` | {phase.trains} | {how[0]} | {how[1]} |")
    return "\n".join(rows) + "\n"


def rooms() -> str:
    """Return the picture of imports: every room from top to bottom, what it holds, and which rooms it imports."""
    import grimp

    graph = grimp.build_graph("kagglekit", cache_dir=None)
    layers = ["\n".join(_room(room, _imported(graph, room)) for room in layer) for layer in _layers()]
    return "```\n" + "\n\n".join(layers) + "\n```\n"


def _layers() -> list[list[str]]:
    """Return the layers of rooms as import-linter checks them, the highest first."""
    (contract,) = (
        contract
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    return [layer.split(" | ") for layer in contract["layers"]]


def _imported(graph: Any, room: str) -> list[str]:
    modules = graph.find_descendants(f"kagglekit.{room}") | {f"kagglekit.{room}"}
    imported = {other for module in modules for other in graph.find_modules_directly_imported_by(module)}
    return sorted({name.split(".")[1] for name in imported if "." in name} - {room})


def _room(room: str, imported: list[str]) -> str:
    source = ROOT / "kagglekit" / room / "__init__.py"
    text = (source if source.is_file() else ROOT / "kagglekit" / f"{room}.py").read_text(encoding="utf-8")
    about = (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
    indent = " " * 14
    lines = textwrap.wrap(f"{room:12}  {about}", 76, subsequent_indent=indent)
    if imported:
        lines += textwrap.wrap(f"-> {', '.join(imported)}", 76, initial_indent=indent, subsequent_indent=indent + "   ")
    return "\n".join(lines)
