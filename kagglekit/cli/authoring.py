"""The work of `new` and `check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from kagglekit.authoring import scaffold, testing
from kagglekit.base.console import Console


def new(name: str, answers: Mapping[str, str]) -> None:
    """Write a plugin into the working folder; on a terminal, ask for the answers that are missing."""
    ask = typer.prompt if sys.stdin.isatty() else None
    folder = scaffold.write(name, answers, Path(), ask)
    typer.echo(scaffold.next_steps(name, folder))


def check(name: str, data: Path | None, settings: Mapping[str, Any]) -> None:
    """Check a plugin's whole contract, and say what holds as it is found."""
    console = Console()
    testing.check_plugin(
        name, data=data, settings=settings, say=lambda text: console.say(f"ok: {text}"), console=console
    )
    console.say(f"{name}: all checks passed")
