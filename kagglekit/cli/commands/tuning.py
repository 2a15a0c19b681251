"""`tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import Backbones, Data, Method, Name, Set, examples, settings

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "kagglekit tune dogs-vs-cats --data dogs-vs-cats-redux-kernels-edition.zip",
        "kagglekit tune dogs-vs-cats --trials 50 --budget 2h --write",
        "kagglekit tune state-farm --search learning_rate=1e-4..1e-2 --search augment=in-car,strong",
    )
)
def tune(
    name: Name,
    data: Data = None,
    trials: Annotated[int, typer.Option(min=1, help="Number of trials of the study, earlier ones included.")] = 20,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time limit of the command, such as 20m or 2h. Default: none."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="Search only this setting, among choices (head=logistic,mlp) or in a range "
            "(learning_rate=1e-4..1e-2); repeatable. Default: what the plugin or the method says.",
        ),
    ] = None,
    method: Method = None,
    backbone: Backbones = None,
    set_: Set = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write recipe.toml in the workspace, if the gain is proven.")
    ] = False,
) -> None:
    """Search for better settings, and say honestly what they gain.

    If the command is killed, repeat it: it resumes. Typed in several shells, they share the work.
    """
    from kagglekit.cli import tuning

    chosen = settings(set_, method=method, backbone=backbone)
    tuning.tune(name, data, chosen, trials=trials, budget=budget, search=search or (), write=write)
