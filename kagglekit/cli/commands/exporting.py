"""`export`, `predict`, `bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kagglekit.cli.options import NewFolder, Provider, Run, examples

commands = typer.Typer()


@commands.command(
    epilog=examples("kagglekit export 0a1b2c3d", "kagglekit export 0a1b2c3d --output leaf.onnx --floats --fp16")
)
def export(
    run: Run,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write. Default: model.onnx in the run's folder.")
    ] = None,
    floats: Annotated[
        bool,
        typer.Option(
            "--floats",
            help="Export a model for float32 images (0 to 1) instead of uint8. Default file: model.floats.onnx.",
        ),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16", help="Also write FILE.fp16.onnx for GPUs, if the out-of-fold log loss grows by 0.001 at most."
        ),
    ] = False,
) -> None:
    """Export a run as one ONNX file.

    The file maps images to class probabilities. It is checked against the run before it is kept.
    """
    from kagglekit.cli import exporting

    exporting.export(run, output, floats=floats, fp16=fp16)


@commands.command(
    epilog=examples(
        "kagglekit predict 0a1b2c3d photo.jpg --top 3",
        "kagglekit predict 0a1b2c3d photos/ --output photos.csv",
        "kagglekit predict leaf.onnx photos/ more/ --output leaves.parquet --provider cuda",
    )
)
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run, or an ONNX file that `export` wrote.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES…", help="Image files, or folders, searched recursively.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .csv or .parquet file to write. Default: print CSV.")
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Print each image's N most probable classes or labels, or all numbers, on one line; 0: a table.",
        ),
    ] = 0,
    provider: Provider = None,
    batch: Annotated[int, typer.Option(min=0, help="Batch size; 0 finds the fastest.")] = 0,
) -> None:
    """Predict images with a run or an exported file.

    It does not need the plugin.
    """
    from kagglekit.cli import exporting

    exporting.predict(run, images, output, top, "auto" if provider is None else provider, batch)


@commands.command(
    epilog=examples("kagglekit bundle 0a1b2c3d leaf-bundle", "kagglekit bundle 0a1b2c3d out --wheels 3.12 --gpu")
)
def bundle(
    run: Run,
    out: NewFolder,
    wheels: Annotated[
        str, typer.Option(metavar="VERSION", help="Include onnxruntime for this Python version on Linux, such as 3.12.")
    ] = "",
    gpu: Annotated[bool, typer.Option("--gpu", help="With --wheels: include the onnxruntime that uses a GPU.")] = False,
) -> None:
    """Write a Kaggle notebook that needs no internet.

    The folder holds the notebook and everything that it needs to predict and submit.
    """
    from kagglekit.cli import exporting

    exporting.bundle(run, out, wheels, gpu=gpu)
