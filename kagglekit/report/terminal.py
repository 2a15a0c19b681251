"""Print a summary of the report on the terminal."""

from __future__ import annotations

from kagglekit.base.console import Console
from kagglekit.pages.page import percent
from kagglekit.pipeline import raced, steps, summary
from kagglekit.report import facts, stats
from kagglekit.runs.findings import Findings

_MOST = 10
"""Number of rows per table; the page has more."""
_MANY = 100
"""With more classes, labels or ranges the table has `_MOST` of them."""


def tell(found: Findings, console: Console) -> None:
    """Print the main results of the report."""
    synthetic = "SYNTHETIC " if found.result.synthetic else ""
    console.table(f"{synthetic}run {found.run.id}", ("", ">"), summary.facts(found.result))
    if facts.of_groups(found):
        console.say(facts.of_groups(found))
    if summary.transductive(found.result):
        console.say(summary.transductive(found.result))
    standing = facts.standing(found)
    if standing and not synthetic:
        console.say(f"this score is {standing}")
    loss, kind = f">{found.task.loss}", found.task.target.kind
    slices = stats.by_category(found.cases)
    if len(slices) > _MANY:
        kind = f"{kind}, the {_MOST} of {len(slices)} with the largest share of the loss"
        slices = sorted(slices, key=lambda each: -each.share)[:_MOST]
    categories = [_cells(each, precision=True) for each in slices]
    console.table(kind, ("", ">images", ">recall", ">precision", loss, ">of the loss"), categories)
    if found.groups is not None:
        groups = stats.by_group(found.losses, found.task.correct(found.truth, found.decided), found.groups)[:_MOST]
        columns = ("group", ">images", ">accuracy", loss, ">of the loss")
        console.table("groups, hardest first", columns, [_cells(each, precision=False) for each in groups])
    if found.cases.covers_images:
        _tell_confused(found, console)
    _tell_worst(found, console)
    confidence = found.task.confidence(found.truth, found.probabilities, found.decided)
    if confidence is not None:
        console.say(f"expected calibration error {stats.calibration_error(stats.reliability(confidence)):.4f}")
    raced.show(found.run.race, console)
    steps.show(found.result, console)
    if found.result.synthetic:
        console.warn("the images are synthetic: the score says nothing about the competition")


def _cells(each: stats.Slice, *, precision: bool) -> tuple[str, ...]:
    own = (percent(each.precision),) if precision else ()
    return (each.name, str(each.images), percent(each.accuracy), *own, f"{each.loss:.4f}", percent(each.share))


def _tell_confused(found: Findings, console: Console) -> None:
    names = found.cases.categories
    pairs = stats.most_confused(stats.confusion(found.cases), _MOST)
    if not pairs:
        console.say("no class is confused with another")
        return
    rows = [(names[pair.truth], names[pair.predicted], str(pair.images), percent(pair.share)) for pair in pairs]
    console.table("most confused", ("truth", "predicted as", ">images", ">of its class"), rows)


def _tell_worst(found: Findings, console: Console) -> None:
    rows = [
        (row["id"], row["truth"], row["predicted"], f"{row['loss']:.4f}", percent(row["so_far"]))
        for row in facts.worst(found, _MOST)
    ]
    columns = ("image", "truth", "predicted as", f">{found.task.loss}", ">cumulative share")
    console.table("rows with the largest loss", columns, rows)
