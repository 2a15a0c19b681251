"""`run`, `blend`."""

from __future__ import annotations

from typing import Annotated

import typer

from kagglekit.cli.options import Backbones, Data, Message, Method, Name, Provider, Seed, Set, Wait, examples, settings

commands = typer.Typer()


@commands.command(
    epilog=examples(
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
    data: Data = None,
    method: Method = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time limit, such as 20m or 2h. Default: 20m on a CPU, none on a GPU."),
    ] = None,
    backbone: Backbones = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Plan (phases) of fine-tuning: quick, eight-step, ladder or auto. See `kagglekit guide fine-tuning`."
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN:PHASE", help="Start from the weights that a run saved after a phase."),
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Train only this fold. Run again without --fold to combine all folds.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Number of training processes on this machine, one per GPU.")
    ] = 1,
    head: Annotated[
        str | None, typer.Option(help="Head on the features: auto, logistic, mlp, nearest or ordinal.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Number of cross-validation folds. Default: 5, or fewer to fit the budget.")
    ] = None,
    holdout: Annotated[
        int | None, typer.Option(help="Validate on this many held-out images instead of cross-validation.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Use only this many training and test images, for a quick trial.")
    ] = None,
    seed: Seed = None,
    provider: Provider = None,
    set_: Set = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Submit to Kaggle at the end; download missing data first.")
    ] = False,
    message: Message = None,
    wait: Wait = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write report.html.")] = False,
) -> None:
    """Train, predict, and write a validated submission.

    If the run is killed, repeat the command: it resumes.
    """
    from kagglekit.cli import running

    chosen = settings(
        set_,
        method=method,
        budget=budget,
        plan=recipe,
        start=from_,
        backbone=backbone,
        head=head,
        folds=folds,
        holdout=holdout,
        validation=None if holdout is None else "holdout",
        sample=sample,
        seed=seed,
        provider=provider,
    )
    sending = running.Sending(message=message, wait=wait) if submit else None
    if sending is None:
        running.refuse_without_submit(message, wait=wait)
    running.run(name, data, chosen, fold=fold, processes=processes, sending=sending, report=not no_report)


@commands.command(
    epilog=examples(
        "kagglekit blend dogs-vs-cats",
        "kagglekit blend dogs-vs-cats 0a1b2c3d 4e5f6a7b",
    )
)
def blend(
    name: Name,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN…]", help="Runs to combine. Default: all finished ones with the same folds."),
    ] = None,
    data: Data = None,
    set_: Set = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write report.html.")] = False,
) -> None:
    """Combine runs into one that predicts better.

    It tries their mean and weighted sums, also of models and views inside a run, and keeps what is proven to gain.
    The result is a run like any other.
    """
    from kagglekit.cli import blending

    blending.blend(name, runs or [], data, settings(set_), report=not no_report)
