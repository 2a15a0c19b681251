"""`list`, `info`, `runs`, `backbones`, `guide`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import examples

commands = typer.Typer()


@commands.command("list", epilog=examples("kagglekit list"))
def list_() -> None:
    """List installed competitions with their aliases and runs."""
    from kagglekit.cli import listing

    for line in listing.table():
        print(line)


@commands.command(epilog=examples("kagglekit info dogs-vs-cats", "kagglekit info 20260101-1200-0a1b2c3d"))
def info(
    target: Annotated[str, typer.Argument(metavar="NAME|RUN", help="A competition, or a run's id or path.")],
) -> None:
    """Show a competition with its settings, or a run."""
    from kagglekit.cli import inspection

    inspection.info(target)


@commands.command(epilog=examples("kagglekit runs", "kagglekit runs state-farm"))
def runs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Competition. Default: all.")] = None,
) -> None:
    """List runs, best score first.

    Sample runs and synthetic runs come last.
    """
    from kagglekit.cli import inspection

    inspection.runs(name)


@commands.command(
    epilog=examples("kagglekit backbones", "kagglekit backbones 'convnext*'", "kagglekit backbones lite --limit 100")
)
def backbones(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Part of a name, or a pattern with *.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of hub models to list.")] = 20,
) -> None:
    """List installed backbones, and those on the model hub."""
    from kagglekit.cli import inspection

    inspection.backbones(pattern, limit)


@commands.command(epilog=examples("kagglekit guide", "kagglekit guide getting-started"))
def guide(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="Page to show. Default: list all.")] = None,
) -> None:
    """Read the guide in the terminal."""
    from kagglekit import guide
    from kagglekit.base.console import Console

    guide.show(topic, Console())
