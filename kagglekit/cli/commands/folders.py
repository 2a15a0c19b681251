"""`folders`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import Data, Name, NewFolder, Seed, examples

commands = typer.Typer()


@commands.command(
    epilog=examples("kagglekit folders dogs-vs-cats dogscats --valid 2000 --sample 200,50", "kagglekit run ./dogscats")
)
def folders(
    name: Name,
    out: NewFolder,
    data: Data = None,
    valid: Annotated[int, typer.Option(help="Number of validation images; groups stay together.")] = 2000,
    sample: Annotated[
        str,
        typer.Option(
            metavar="TRAIN,VALID", help="Also write a small sample/ with this many images of each set; 0,0 for none."
        ),
    ] = "200,50",
    seed: Seed = 0,
) -> None:
    """Export the images as one folder per class.

    fastai, Keras and timm read this layout. Images are hard links, which take no disk space.
    """
    from kagglekit.cli import folders

    folders.folders(name, out, data, valid=valid, sample=sample, seed=seed or 0)
