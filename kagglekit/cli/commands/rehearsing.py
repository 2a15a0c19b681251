"""`rehearse`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import Backbones, Data, Method, Name, Set, examples, settings

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "kagglekit rehearse dogs-vs-cats --data dogs-vs-cats-redux-kernels-edition.zip",
        "kagglekit rehearse dogs-vs-cats --split mle-bench --seeds 3",
        "kagglekit rehearse state-farm --seeds 10 --set head=logistic",
    )
)
def rehearse(
    name: Name,
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, each with another seed.")] = 5,
    split: Annotated[
        str,
        typer.Option(
            help="Images to hide: random (others with each seed, whole groups) or mle-bench (those of that benchmark)."
        ),
    ] = "random",
    method: Method = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time limit of each run, such as 20m or 2h. Default: as of `run`."),
    ] = None,
    backbone: Backbones = None,
    set_: Set = None,
) -> None:
    """Hide some training images, run down to the submission, and grade it as Kaggle would.

    Is the out-of-fold estimate honest? If the command is killed, repeat it: it resumes.
    """
    from kagglekit.cli import rehearsing

    rehearsing.rehearse(name, data, settings(set_, method=method, budget=budget, backbone=backbone), seeds, split)
