"""`new`, `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kagglekit.cli.options import Name, Set, examples, settings

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "kagglekit new leaf",
        "kagglekit new leaf --from leaf-classification.zip",
        "kagglekit new leaf --classes oak,elm,ash --submission per-class",
        "kagglekit new dog-breed --layout csv --labels labels.csv:id:breed --classes labels.csv:breed",
    )
)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new competition.")],
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="Archive or folder: its tables say layout, task and submission."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What is predicted: classes, labels, grades, numbers or shares.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Where the labels are: folders, filenames or csv.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…|FILE",
            help="Names of what is predicted; or a CSV column as FILE:COLUMN; or a sample submission.",
        ),
    ] = None,
    submission: Annotated[
        str | None, typer.Option(help="What a row of the submission holds: probability, per-class, label, top or long.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the submission with that value.")] = None,
    of: Annotated[
        str | None, typer.Option(metavar="CLASS", help="The class whose probability is submitted, if it is one.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="log_loss, auc, f1(macro), map@5 or another: the guide lists them."),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:IMAGE:GROUP", help="CSV file and columns of the groups that folds keep together; or none."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:ID:LABEL", help="CSV file and columns of the labels, for layout csv; * is a column each."
        ),
    ] = None,
    train: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Path pattern of training images, such as train/{id}.jpg.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Path pattern of test images, such as test/{id}.jpg.")
    ] = None,
    flip: Annotated[
        str | None, typer.Option(help="Whether a mirrored image keeps its class: allowed or forbidden.")
    ] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Id column of the submission.")] = None,
    kaggle: Annotated[str | None, typer.Option(help="Competition's slug on Kaggle.")] = None,
) -> None:
    """Create a plugin for a new competition.

    It writes two files, ready to run. On a terminal it asks what the options leave open. With --from it reads the data
    instead, and says what it took from where.
    """
    from kagglekit.cli import authoring

    answers = {
        "kaggle": kaggle,
        "task": task,
        "layout": layout,
        "classes": classes,
        "submission": submission,
        "column": column,
        "of": of,
        "metric": metric,
        "groups": groups,
        "labels": labels,
        "train": train,
        "test": test,
        "flip": flip,
        "id": id_,
    }
    authoring.new(name, {key: value for key, value in answers.items() if value is not None}, from_)


@commands.command(epilog=examples("kagglekit check ./kagglekit-leaf", "kagglekit check leaf --data leaf.zip"))
def check(
    name: Name,
    data: Annotated[
        Path | None, typer.Option(help="Check with a sample of this folder or archive, not with synthetic images.")
    ] = None,
    set_: Set = None,
) -> None:
    """Check that a plugin works.

    It runs the plugin from archive to submission, on synthetic images in its layout.
    """
    from kagglekit.cli import authoring

    authoring.check(name, data, settings(set_))
