"""`report`, `audit`, `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kagglekit.cli.options import Data, Name, Open, Run, Set, examples, settings

commands = typer.Typer()


@commands.command(epilog=examples("kagglekit report 0a1b2c3d --open", "kagglekit report 0a1b2c3d --text"))
def report(
    run: Run,
    open_: Open = False,
    text: Annotated[bool, typer.Option("--text", help="Print a summary; write no page.")] = False,
) -> None:
    """Write a run's report.html.

    It shows images, confusion, calibration, training curves and what the model looked at.
    """
    from kagglekit.cli import looking

    looking.report(run, show=open_, text=text)


@commands.command(
    epilog=examples(
        "kagglekit audit dogs-vs-cats --data dogs-vs-cats-redux-kernels-edition.zip",
        "kagglekit audit dogs-vs-cats --open",
        "kagglekit audit dogs-vs-cats --apply competitions/dogs-vs-cats/audit/candidates.csv",
    )
)
def audit(
    name: Name,
    data: Data = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Run whose predictions reveal label errors. Default: the best run."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Exclude the training images listed in this CSV from later runs. Columns: id, reason, drop.",
        ),
    ] = None,
    open_: Open = False,
    set_: Set = None,
) -> None:
    """Check a competition's data.

    It finds duplicates, leaks, odd images and class imbalance; after a run, suspected label errors too.
    """
    from kagglekit.cli import looking

    looking.audit(name, data, settings(set_), run, apply, show=open_)


@commands.command(
    epilog=examples("kagglekit compare 0a1b2c3d 4e5f6a7b", "kagglekit compare 0a1b2c3d 4e5f6a7b 8c9d0e1f")
)
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN…", help="Two or more runs; each is compared with the first.")
    ],
) -> None:
    """Compare runs image by image.

    It shows whether the difference is significant, and whether a blend scores better.
    """
    from kagglekit.cli import looking

    looking.compare(runs)
