"""Implementation of `new` and `check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from kagglekit.authoring import scaffold, testing
from kagglekit.base.console import Console


def new(name: str, answers: Mapping[str, str]) -> None:
    """Write a plugin into the current folder. On a terminal, ask for missing answers."""
    ask = typer.prompt if sys.stdin.isatty() else None
    folder = scaffold.write(name, answers, Path(), ask, lambda text: typer.echo(f"WARNING: {text}", err=True))
    typer.echo(scaffold.next_steps(name, folder))


def check(name: str, data: Path | None, settings: Mapping[str, Any]) -> None:
    """Check the whole contract of a plugin, and print each passed check."""
    console = Console()
    testing.check_plugin(
        name, data=data, settings=settings, say=lambda text: console.say(f"ok: {text}"), console=console
    )
    console.say(f"{name}: all checks passed")
