"""Print a summary of the report on the terminal."""

from __future__ import annotations

from kagglekit.base.console import Console
from kagglekit.pages.page import percent
from kagglekit.pipeline import summary
from kagglekit.report import facts, stats
from kagglekit.runs.findings import Findings

_MOST = 10
"""Number of rows per table; the page has more."""

_CLASS_COLUMNS = ("class", ">images", ">recall", ">precision", ">log loss", ">of the loss")
_GROUP_COLUMNS = ("group", ">images", ">accuracy", ">log loss", ">of the loss")


def tell(found: Findings, console: Console) -> None:
    """Print the main results of the report."""
    synthetic = "SYNTHETIC " if found.result.synthetic else ""
    console.table(f"{synthetic}run {found.run.id}", ("", ">"), summary.facts(found.result))
    standing = facts.standing(found)
    if standing and not synthetic:
        console.say(f"this score is {standing}")
    classes = stats.by_class(found.truth, found.probabilities, found.names)
    console.table("classes", _CLASS_COLUMNS, [_cells(each, precision=True) for each in classes])
    if found.groups is not None:
        groups = stats.by_group(found.truth, found.probabilities, found.groups)[:_MOST]
        console.table("groups, hardest first", _GROUP_COLUMNS, [_cells(each, precision=False) for each in groups])
    _tell_confused(found, console)
    _tell_worst(found, console)
    bins = stats.reliability(found.truth, found.probabilities)
    console.say(f"expected calibration error {stats.calibration_error(bins):.4f}")
    for gate in found.result.finish:
        value = "" if gate.value is None else f" {gate.value:g}"
        kept = "kept" if gate.kept else "not kept"
        console.say(f"{gate.step}{value}: {gate.before:.5f} -> {gate.after:.5f}, {kept}")
    if found.result.synthetic:
        console.warn("the images are synthetic: the score says nothing about the competition")


def _cells(each: stats.Slice, *, precision: bool) -> tuple[str, ...]:
    own = (percent(each.precision),) if precision else ()
    return (each.name, str(each.images), percent(each.accuracy), *own, f"{each.loss:.4f}", percent(each.share))


def _tell_confused(found: Findings, console: Console) -> None:
    pairs = stats.most_confused(stats.confusion(found.truth, found.predicted, len(found.labels)), _MOST)
    if not pairs:
        console.say("no class is confused with another")
        return
    rows = [
        (found.names[pair.truth], found.names[pair.predicted], str(pair.images), percent(pair.share)) for pair in pairs
    ]
    console.table("most confused", ("class", "predicted as", ">images", ">of its class"), rows)


def _tell_worst(found: Findings, console: Console) -> None:
    ids, predicted = found.table["id"].tolist(), found.predicted
    rows = [
        (
            ids[row.index],
            found.names[found.truth[row.index]],
            found.names[predicted[row.index]],
            percent(float(found.probabilities[row.index, found.truth[row.index]])),
            f"{row.loss:.4f}",
            percent(row.so_far),
        )
        for row in stats.worst_rows(found.losses, _MOST)
    ]
    columns = ("image", "class", "predicted as", ">probability of the class", ">log loss", ">cumulative share")
    console.table("rows with the largest loss", columns, rows)
