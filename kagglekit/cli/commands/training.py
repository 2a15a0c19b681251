"""`lr-find`, `augmentations`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import Backbone, Data, Name, Set, examples, settings

commands = typer.Typer()


@commands.command(
    "lr-find",
    epilog=examples(
        "kagglekit lr-find state-farm --data state-farm-distracted-driver-detection.zip",
        "kagglekit lr-find dogs-vs-cats --train head --backbone tf_efficientnet_lite0",
    ),
)
def lr_find(
    name: Name,
    data: Data = None,
    train: Annotated[
        str, typer.Option(help="Layers to train: head; late: head and last stage; later: head and second half; or all.")
    ] = "all",
    backbone: Backbone = None,
    set_: Set = None,
) -> None:
    """Find a good learning rate.

    It plots the loss against the learning rate and suggests rates. It keeps no model.
    """
    from kagglekit.cli import training

    training.lr_find(name, data, settings(set_, backbone=backbone), train)


@commands.command(
    epilog=examples(
        "kagglekit augmentations state-farm --augment strong",
        "kagglekit augmentations dogs-vs-cats --augment mine.json --set image_size=160 --images 8",
    )
)
def augmentations(
    name: Name,
    data: Data = None,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="Policy: none, light, side-on, top-down, strong, one of the plugin's, or a .json file.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=100, help="Number of images, spread over the classes.")] = 6,
    views: Annotated[int, typer.Option(min=1, max=30, help="Augmented views per image.")] = 7,
    set_: Set = None,
) -> None:
    """Write a contact sheet of augmented training images."""
    from kagglekit.cli import training

    training.augmentations(name, data, settings(set_, augment=augment), images, views)
