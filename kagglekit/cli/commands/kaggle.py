"""`download`, `submit`, `submissions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kagglekit.cli.options import Message, Name, Wait, examples

commands = typer.Typer()


@commands.command(epilog=examples("kagglekit download dogs-vs-cats", "kagglekit download state-farm"))
def download(name: Name) -> None:
    """Download a competition's data from Kaggle.

    If the download is interrupted, repeat the command: it resumes.
    """
    from kagglekit.cli import kaggle

    kaggle.download(name)


@commands.command(
    epilog=examples(
        "kagglekit submit dogs-vs-cats --wait",
        "kagglekit submit dogs-vs-cats --run 0a1b2c3d -m 'two backbones'",
        "kagglekit submit state-farm blend.csv -m 'mean of three runs'",
    )
)
def submit(
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Submission file. Default: the best run's submission.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Send this run's submission: its id, or the last characters of it."),
    ] = None,
    message: Message = None,
    wait: Wait = False,
    force: Annotated[
        bool, typer.Option("--force", help="Send a file that was sent before, or the submission of a sample run.")
    ] = False,
) -> None:
    """Check a submission and send it to Kaggle."""
    from kagglekit.cli import kaggle

    kaggle.submit(name, file, run, message, wait=wait, force=force)


@commands.command(epilog=examples("kagglekit submissions dogs-vs-cats"))
def submissions(name: Name) -> None:
    """List your submissions with their Kaggle scores."""
    from kagglekit.cli import kaggle

    kaggle.submissions(name)
