"""Implementation of `new` and `check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from kagglekit.authoring import answers, from_data, scaffold, testing
from kagglekit.base.console import Console


def new(name: str, given: Mapping[str, str], data: Path | None) -> None:
    """Write a plugin into the current folder. On a terminal, ask for missing answers."""
    ask = typer.prompt if sys.stdin.isatty() else None
    folder = scaffold.place(name, Path())
    console = Console()
    if data is None:
        proposal = answers.propose(name, given, ask, lambda text: typer.echo(f"WARNING: {text}", err=True))
    else:
        proposal = from_data.propose(name, data, given, ask, console)
    text = proposal.source()
    plugin = scaffold.plugin(name, text)
    for line in proposal.said:
        console.say(line)
    if data is not None:
        console.say(from_data.read(plugin, data, console))
    scaffold.write(name, text, folder)
    typer.echo(scaffold.next_steps(name, folder, data))


def check(name: str, data: Path | None, settings: Mapping[str, Any]) -> None:
    """Check the whole contract of a plugin, and print each passed check."""
    console = Console()
    testing.check_plugin(
        name, data=data, settings=settings, say=lambda text: console.say(f"ok: {text}"), console=console
    )
    console.say(f"{name}: all checks passed")
