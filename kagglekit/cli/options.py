"""Arguments and options that several commands share, and the settings of --set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Competition: a name, an alias, or the path of a plugin or of an image folder."
    ),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run: its id, the last characters of its id, or its path.")]
NewFolder = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to create; it must not exist yet.")]

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder or archive (zip, tar, 7z). Default: the workspace's data folder."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change any setting; repeatable. `info NAME` lists them."),
]
Backbone = Annotated[
    str | None, typer.Option("--backbone", metavar="NAME", help="timm model: NAME, or NAME=FILE with its weights.")
]
Backbones = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="NAME[,NAME…]",
        help="timm models to combine, each NAME[@SIZE][=FILE of its weights].",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="features (classifiers on frozen backbones), finetune (train the backbone), or auto (both, given time)."
    ),
]
Provider = Annotated[str | None, typer.Option("--provider", help="Where to compute: auto, cpu or cuda.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Random seed.")]
Message = Annotated[
    str | None,
    typer.Option("--message", "-m", metavar="TEXT", help="Description of the submission, which Kaggle shows."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for Kaggle's score.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def settings(assignments: Iterable[str] | None, **given: Any) -> dict[str, Any]:
    """Return the settings of the command line: the options in `given`, then the assignments of `--set`.

    None means that an option was not given. Raises UserError for an assignment that is not KEY=VALUE.
    """
    from kagglekit import recipe

    chosen = {key: value for key, value in given.items() if value is not None}
    assigned = dict(recipe.parse_assignment(text) for text in assignments or ())
    return recipe.laid_over(chosen, assigned, "the command line")


def examples(*commands: str) -> str:
    """Return an epilog that shows `commands`, one per line."""
    # \b keeps the line breaks
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
