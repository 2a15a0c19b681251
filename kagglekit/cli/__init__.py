"""The command line; importing it loads neither torch nor timm, pandas or onnxruntime."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from kagglekit.base import interrupts
from kagglekit.base.errors import OwnError, UserError

app = typer.Typer(
    name="kagglekit",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a Kaggle image-classification competition to a validated submission with one command.",
    epilog="Start with `kagglekit list`, then `kagglekit run dogs-vs-cats --data ARCHIVE`.",
)


def _examples(*commands: str) -> str:
    # \b keeps the lines as they are
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Competition: a name, an alias, or a path to a plugin or a folder of images."),
]


@app.command(
    epilog=_examples(
        "kagglekit run dogs-vs-cats --data dogs-vs-cats-redux-kernels-edition.zip",
        "kagglekit run state-farm --sample 500",
        "kagglekit run state-farm --method finetune --budget 20m",
        "kagglekit run state-farm --method finetune --recipe eight-step --processes 2",
        "kagglekit run dogs-vs-cats --backbone tf_efficientnet_lite0,tf_efficientnet_lite2",
        "kagglekit run ./leaf.py --set head=mlp --set feature_views=plain",
        "kagglekit run dogs-vs-cats --submit --wait -m 'first try'",
    )
)
def run(
    name: Name,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive as Kaggle delivers it; else the workspace's data folder."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="features (heads on frozen backbones), finetune (train the backbone), or auto.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time that the run may take: 20m, 2h; on a CPU 20m if not given.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME[,NAME…]", help="timm models side by side, each NAME or NAME=FILE."),
    ] = None,
    recipe_: Annotated[
        str | None, typer.Option("--recipe", help="Steps of fine-tuning: quick, eight-step, ladder, or auto.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="RUN:PHASE", help="Start from the weights of a run's phase.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Train this fold's models only; the same command without it joins all.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Train in this many processes on this machine, one a GPU.")] = 1,
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
    submit: Annotated[
        bool, typer.Option("--submit", help="Download what is not here yet, and send the submission to Kaggle.")
    ] = False,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="What Kaggle shows beside the score, with --submit.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With --submit: wait for the score.")] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Leave out report.html, which is written after the submission.")
    ] = False,
) -> None:
    """Take a competition from its data to a validated submission."""
    from kagglekit import recipe
    from kagglekit.base import distributed as together
    from kagglekit.pipeline.run import run as take

    options = {
        "method": method,
        "budget": budget,
        "plan": recipe_,
        "start": from_,
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
    if submit:
        from kagglekit.cli import kaggle

        kaggle.check_before_run(name, data, fold=fold, sample=bool(settings.get("sample")))
    elif message is not None or wait:
        raise UserError("--message and --wait are of a submission: give --submit too.")
    if processes > 1 and together.count() == 1:
        raise typer.Exit(together.launch(processes, str(settings.get("provider", "auto"))))
    together.end_with_launcher()
    made = take(name, data, settings, together.console(), fold)
    together.part()
    if together.is_first():
        from kagglekit.cli import looking

        with looking.report_after(None if no_report or fold is not None else made):
            if submit:
                kaggle.submit(name, None, str(made.folder), message, wait=wait, force=False)


@app.command(epilog=_examples("kagglekit download dogs-vs-cats", "kagglekit download state-farm"))
def download(name: Name) -> None:
    """Bring a competition's data from Kaggle; the same command goes on where it was cut off."""
    from kagglekit.cli import kaggle

    kaggle.download(name)


@app.command(
    epilog=_examples(
        "kagglekit submit dogs-vs-cats --wait",
        "kagglekit submit dogs-vs-cats --run 0a1b2c3d -m 'two backbones'",
        "kagglekit submit state-farm blend.csv -m 'mean of three runs'",
    )
)
def submit(
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A submission; if not given, that of the best run.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Submit this run's submission: its id, or the end of it.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="What Kaggle shows beside the score.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the score.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Send what was sent before, or what a run on a sample has made.")
    ] = False,
) -> None:
    """Check a submission again and send it to Kaggle."""
    from kagglekit.cli import kaggle

    kaggle.submit(name, file, run, message, wait=wait, force=force)


@app.command(epilog=_examples("kagglekit submissions dogs-vs-cats"))
def submissions(name: Name) -> None:
    """Bring the scores of all submissions from Kaggle and list them."""
    from kagglekit.cli import kaggle

    kaggle.submissions(name)


@app.command(
    epilog=_examples(
        "kagglekit new leaf",
        "kagglekit new leaf --classes oak,elm,ash --submission per-class",
        "kagglekit new dog-breed --layout csv --labels labels.csv:id:breed --classes labels.csv:breed",
    )
)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the competition will be called.")],
    layout: Annotated[str | None, typer.Option(help="Where labels are: folders, filenames or csv.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,…|FILE", help="Labels; or a CSV's column FILE:COLUMN, or a sample submission."),
    ] = None,
    submission: Annotated[str | None, typer.Option(help="A row holds: probability, per-class or label.")] = None,
    metric: Annotated[str | None, typer.Option(help="log_loss or accuracy.")] = None,
    groups: Annotated[
        str | None,
        typer.Option(metavar="FILE:IMAGE:GROUP", help="CSV and columns of groups that folds never split; or none."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE:ID:LABEL", help="CSV and columns of labels, for layout csv.")
    ] = None,
    train: Annotated[str | None, typer.Option(metavar="PATTERN", help="Training images.")] = None,
    test: Annotated[str | None, typer.Option(metavar="PATTERN", help="Test images.")] = None,
    flip: Annotated[str | None, typer.Option(help="Mirrored images keep their class: allowed or forbidden.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Id column of the submission.")] = None,
    kaggle: Annotated[str | None, typer.Option(help="Slug at Kaggle.")] = None,
) -> None:
    """Write a plugin of your own: two files that run at once."""
    from kagglekit.authoring import scaffold

    given = {
        "kaggle": kaggle,
        "layout": layout,
        "classes": classes,
        "submission": submission,
        "metric": metric,
        "groups": groups,
        "labels": labels,
        "train": train,
        "test": test,
        "flip": flip,
        "id": id_,
    }
    ask = typer.prompt if sys.stdin.isatty() else None
    folder = scaffold.write(name, {key: value for key, value in given.items() if value is not None}, Path(), ask)
    typer.echo(scaffold.next_steps(name, folder))


@app.command(epilog=_examples("kagglekit check ./kagglekit-leaf", "kagglekit check leaf --data leaf.zip"))
def check(
    name: Name,
    data: Annotated[
        Path | None, typer.Option(help="Check on a sample of this folder or archive, instead of drawn images.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the run; `info NAME` lists them."),
    ] = None,
) -> None:
    """Check that a plugin keeps its contract, on a competition drawn in its layout."""
    from kagglekit import recipe
    from kagglekit.authoring import testing
    from kagglekit.base.console import Console

    console = Console()
    settings = dict(recipe.parse_assignment(text) for text in set_ or [])
    testing.check_plugin(
        name, data=data, settings=settings, say=lambda text: console.say(f"ok: {text}"), console=console
    )
    console.say(f"{name} keeps the contract")


@app.command(
    "lr-find",
    epilog=_examples(
        "kagglekit lr-find state-farm --data state-farm-distracted-driver-detection.zip",
        "kagglekit lr-find dogs-vs-cats --train head --backbone tf_efficientnet_lite0",
    ),
)
def lr_find(
    name: Name,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive as Kaggle delivers it; else the workspace's data folder."),
    ] = None,
    train: Annotated[
        str, typer.Option(help="What is unfrozen: head, late (the last stage too), later (half of the stages) or all.")
    ] = "all",
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="A timm model, NAME or NAME=FILE.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting; `info NAME` lists them."),
    ] = None,
) -> None:
    """Sweep the learning rate, and suggest some; nothing is trained."""
    from kagglekit import recipe
    from kagglekit.cli import training

    settings = {} if backbone is None else {"backbone": backbone}
    settings |= dict(recipe.parse_assignment(text) for text in set_ or [])
    training.lr_find(name, data, settings, train)


@app.command(
    epilog=_examples(
        "kagglekit augmentations state-farm --augment strong",
        "kagglekit augmentations dogs-vs-cats --augment mine.json --set image_size=160 --images 8",
    )
)
def augmentations(
    name: Name,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive as Kaggle delivers it; else the workspace's data folder."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="none, light, side-on, top-down, strong, a plugin's own, or a .json file."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=100, help="Images, spread over the classes.")] = 6,
    views: Annotated[int, typer.Option(min=1, max=30, help="Augmented views of each image.")] = 7,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting; `info NAME` lists them."),
    ] = None,
) -> None:
    """Draw a sheet of what training makes of images."""
    from kagglekit import recipe
    from kagglekit.cli import training

    settings = {} if augment is None else {"augment": augment}
    settings |= dict(recipe.parse_assignment(text) for text in set_ or [])
    training.augmentations(name, data, settings, images, views)


@app.command(
    epilog=_examples("kagglekit export 0a1b2c3d", "kagglekit export 0a1b2c3d --output leaf.onnx --floats --fp16")
)
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the end of it, or its path.")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; model.onnx in the run's folder if not given.")
    ] = None,
    floats: Annotated[
        bool,
        typer.Option(
            "--floats", help="The file, model.floats.onnx, takes float32 images in 0 to 1 instead of uint8 ones."
        ),
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Write FILE.fp16.onnx for GPUs too, if the out-of-fold loss stays.")
    ] = False,
) -> None:
    """Write a run as one ONNX file, from images to class probabilities, and check it."""
    from kagglekit.cli import exporting

    exporting.export(run, output, floats=floats, fp16=fp16)


@app.command(
    epilog=_examples(
        "kagglekit predict 0a1b2c3d photo.jpg --top 3",
        "kagglekit predict 0a1b2c3d photos/ --output photos.csv",
        "kagglekit predict leaf.onnx photos/ more/ --output leaves.parquet --provider cuda",
    )
)
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run, or a file that `export` has written.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES…", help="Image files, and folders of which all images count.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .csv or .parquet file; if not given, CSV is printed.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Print a line an image instead, with this many classes.")] = 0,
    provider: Annotated[str, typer.Option(help="Where onnxruntime computes: auto, cpu or cuda.")] = "auto",
    batch: Annotated[int, typer.Option(min=0, help="Images computed together; 0 finds the fastest.")] = 0,
) -> None:
    """Predict any images with a run, or with an exported file, which needs no plugin."""
    from kagglekit.cli import exporting

    exporting.predict(run, images, output, top, provider, batch)


@app.command(epilog=_examples("kagglekit bundle 0a1b2c3d leaf-bundle", "kagglekit bundle 0a1b2c3d out --wheels 3.12"))
def bundle(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the end of it, or its path.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write, which must not be there.")],
    wheels: Annotated[
        str, typer.Option(metavar="VERSION", help="Bring onnxruntime along for this Python on Linux, such as 3.12.")
    ] = "",
) -> None:
    """Write a folder with a notebook that submits from Kaggle without network."""
    from kagglekit.cli import exporting

    exporting.bundle(run, out, wheels)


@app.command(
    epilog=_examples("kagglekit folders dogs-vs-cats dogscats --valid 2000 --sample 200,50", "kagglekit run ./dogscats")
)
def folders(
    name: Name,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write, which must not be there.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive as Kaggle delivers it; else the workspace's data folder."),
    ] = None,
    valid: Annotated[int, typer.Option(help="Images of the validation set; whole groups, where there are any.")] = 2000,
    sample: Annotated[
        str, typer.Option(metavar="TRAIN,VALID", help="Images of each part in the small set too; 0,0 for none.")
    ] = "200,50",
    seed: Annotated[int, typer.Option(help="Fixes what is drawn.")] = 0,
) -> None:
    """Lay the images out in folders a class, as the course does, by hard links: for fastai, Keras or timm."""
    from kagglekit.cli import inspection

    inspection.folders(name, out, data, valid=valid, sample=sample, seed=seed)


@app.command(epilog=_examples("kagglekit report 0a1b2c3d --open", "kagglekit report 0a1b2c3d --text"))
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the end of it, or its path.")],
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print its essentials instead of writing the page.")] = False,
) -> None:
    """Write a run's report.html again: pictures, confusion, calibration, training, what the network sees."""
    from kagglekit.cli import looking

    looking.report(run, show=open_, text=text)


@app.command(
    epilog=_examples(
        "kagglekit audit dogs-vs-cats --data dogs-vs-cats-redux-kernels-edition.zip",
        "kagglekit audit dogs-vs-cats --open",
        "kagglekit audit dogs-vs-cats --apply competitions/dogs-vs-cats/audit/drops.csv",
    )
)
def audit(
    name: Name,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive as Kaggle delivers it; else the workspace's data folder."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Suspect labels by this run; if not given, by the best one."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Leave the training images of this CSV (id,reason) out of later runs."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting; `info NAME` lists them."),
    ] = None,
) -> None:
    """Look at the data before training: copies, leaks, odd images, balance; after a run, suspected label errors."""
    from kagglekit import recipe
    from kagglekit.cli import looking

    settings = dict(recipe.parse_assignment(text) for text in set_ or [])
    looking.audit(name, data, settings, run, apply, show=open_)


@app.command(epilog=_examples("kagglekit compare 0a1b2c3d 4e5f6a7b", "kagglekit compare 0a1b2c3d 4e5f6a7b 8c9d0e1f"))
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN…", help="Runs; the others are compared with the first.")
    ],
) -> None:
    """Compare runs image by image: what differs, is it proven, is a blend worth it."""
    from kagglekit.cli import looking

    looking.compare(runs)


@app.command("list", epilog=_examples("kagglekit list"))
def list_() -> None:
    """List the installed competitions, with their aliases and runs."""
    from kagglekit.competitions import installed

    for line in installed.table():
        typer.echo(line)


@app.command(
    epilog=_examples("kagglekit info dogs-vs-cats", "kagglekit info 20260101-1200-0a1b2c3d"),
)
def info(
    target: Annotated[str, typer.Argument(metavar="NAME|RUN", help="A competition, or a run's id or path.")],
) -> None:
    """Show a competition with its settings, or a run."""
    from kagglekit.cli import inspection

    inspection.info(target)


@app.command(epilog=_examples("kagglekit runs", "kagglekit runs state-farm"))
def runs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Competition; all when left out.")] = None,
) -> None:
    """List runs, best score first; runs on samples and rehearsals last."""
    from kagglekit.cli import inspection

    inspection.runs(name)


@app.command(
    epilog=_examples("kagglekit backbones", "kagglekit backbones 'convnext*'", "kagglekit backbones lite --limit 100")
)
def backbones(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Part of a name, or a pattern with *.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows of the hub's models.")] = 20,
) -> None:
    """List backbones: those here, and on the model hub."""
    from kagglekit.cli import inspection

    inspection.backbones(pattern, limit)


@app.command(epilog=_examples("kagglekit doctor", "kagglekit doctor dogs-vs-cats"))
def doctor(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A competition to examine too: its plugin, data and rules.")
    ] = None,
) -> None:
    """Examine what runs and submissions need, and say what cures what is missing."""
    from kagglekit.base.console import Console
    from kagglekit.cli import diagnosis

    if not diagnosis.examine(name, Console()):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what the user can fix ends in one line and exit code 1."""
    try:
        with interrupts.ending_promptly():
            if sys.argv[1:] == ["list"]:  # nothing to convert: typer would load pydantic, which takes twice the rest
                list_()
            else:
                app()
    except interrupts.Interrupted:
        interrupts.end()
    except OwnError as error:
        _fail(str(error), own=True)
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        from kagglekit.base import storage

        reason = storage.explain(error)
        if reason is None:
            raise
        _fail(reason, own=True)


def _fail(message: str, *, own: bool = False) -> NoReturn:
    rank = os.environ.get("RANK", "0")
    if own and rank != "0":
        sys.stderr.write(f"kagglekit: process {rank}: {message}\n")
    elif rank == "0":  # of several processes the first one speaks for all
        sys.stderr.write(f"kagglekit: {message}\n")
    sys.exit(1)
