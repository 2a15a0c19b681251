"""`doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import examples

commands = typer.Typer()


@commands.command(epilog=examples("kagglekit doctor", "kagglekit doctor dogs-vs-cats"))
def doctor(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Also check this competition: its plugin, data and rules.")
    ] = None,
) -> None:
    """Check the installation, and say how to fix it.

    It checks packages, GPU, disk, weights and Kaggle credentials.
    """
    from kagglekit.base.console import Console
    from kagglekit.cli import diagnosis

    if not diagnosis.examine(name, Console()):
        raise typer.Exit(1)
