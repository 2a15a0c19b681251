"""The command line; importing it loads neither torch nor timm, pandas or onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kagglekit.errors import UserError

app = typer.Typer(
    name="kagglekit",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a Kaggle image-classification competition to a validated submission with one command.",
    epilog="Start with [bold]kagglekit list[/], then [bold]kagglekit run dogs-vs-cats --data ARCHIVE[/].",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Competition: a name, an alias, or a path to a plugin file.")]


@app.command(
    epilog="[bold]Examples[/]\n\n"
    "kagglekit run dogs-vs-cats --data dogs-vs-cats-redux-kernels-edition.zip\n\n"
    "kagglekit run state-farm --sample 500\n\n"
    "kagglekit run dogs-vs-cats --backbone tf_efficientnet_lite0,tf_efficientnet_lite2 --folds 10\n\n"
    "kagglekit run ./leaf.py --set head=mlp --set views=plain"
)
def run(
    name: Name,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive as Kaggle delivers it; else the workspace's data folder."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME[,NAME…]", help="timm models side by side, each NAME or NAME=FILE."),
    ] = None,
    head: Annotated[str | None, typer.Option(help="Classifier on the features: logistic or mlp.")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validation folds.")] = None,
    holdout: Annotated[int | None, typer.Option(help="Score a hold-out of this many images instead of folds.")] = None,
    sample: Annotated[int | None, typer.Option(help="Run on this many images only, to see that all works.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes folds and all that is drawn.")] = None,
    provider: Annotated[str | None, typer.Option(help="Where onnxruntime computes: auto, cpu or cuda.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting; `info NAME` lists them."),
    ] = None,
) -> None:
    """Take a competition from its data to a validated submission."""
    from kagglekit import pipeline, recipe
    from kagglekit.console import Console

    options = {
        "backbone": backbone,
        "head": head,
        "folds": folds,
        "holdout": holdout,
        "validation": "holdout" if holdout is not None else None,
        "sample": sample,
        "seed": seed,
        "provider": provider,
    }
    settings = {key: value for key, value in options.items() if value is not None}
    settings |= dict(recipe.parse_assignment(text) for text in set_ or [])
    pipeline.run(name, data, settings, Console())


@app.command("list", epilog="[bold]Example[/]\n\nkagglekit list")
def list_() -> None:
    """List the installed competitions, with their aliases and runs."""
    from kagglekit import plugins
    from kagglekit.console import Console
    from kagglekit.workspace import Workspace

    rows = []
    for listing in plugins.installed():
        runs = Workspace.of(listing.name).runs
        count = sum(1 for _ in runs.glob("*/run.json")) if runs.is_dir() else 0
        rows.append((listing.name, ", ".join(listing.aliases), listing.distribution, str(count)))
    Console().table("competitions", ("name", "aliases", "from", ">runs here"), rows)


@app.command(
    epilog="[bold]Examples[/]\n\nkagglekit info dogs-vs-cats\n\nkagglekit info 20260101-1200-0a1b2c3d",
)
def info(
    target: Annotated[str, typer.Argument(metavar="NAME|RUN", help="A competition, or a run's id or path.")],
) -> None:
    """Show a competition with all its settings, or a run with all its numbers."""
    from kagglekit.cli import inspection

    inspection.info(target)


@app.command(epilog="[bold]Examples[/]\n\nkagglekit runs\n\nkagglekit runs state-farm")
def runs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Competition; all when left out.")] = None,
) -> None:
    """List runs, best score first."""
    from kagglekit.cli import inspection

    inspection.runs(name)


@app.command(
    epilog="[bold]Examples[/]\n\nkagglekit backbones\n\nkagglekit backbones 'convnext*'\n\n"
    "kagglekit backbones lite --limit 100"
)
def backbones(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Part of a name, or a pattern with *.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows of the hub's models.")] = 20,
) -> None:
    """List backbones: what is installed here, and what the model hub has."""
    from kagglekit.cli import inspection

    inspection.backbones(pattern, limit)


def main() -> None:
    """Run the command line; what the user can fix ends in one line and exit code 1."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"kagglekit: {error}\n")
        sys.exit(1)
