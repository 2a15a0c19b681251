"""The report in the terminal."""

from __future__ import annotations

from kagglekit.base.console import Console
from kagglekit.pages.page import percent
from kagglekit.pipeline import summary
from kagglekit.report import facts, stats
from kagglekit.runs.findings import Findings

_MOST = 10
"""Rows of a list; the page has more."""

_CLASS_COLUMNS = ("class", ">images", ">recall", ">precision", ">log loss", ">of the loss")
_GROUP_COLUMNS = ("group", ">images", ">accuracy", ">log loss", ">of the loss")


def tell(found: Findings, console: Console) -> None:
    """Print the report's essentials."""
    synthetic = "SYNTHETIC " if found.result.synthetic else ""
    console.table(f"{synthetic}run {found.run.id}", ("", ">"), summary.facts(found.result))
    standing = facts.standing(found)
    if standing and not synthetic:
        console.say(f"on its own training images it stands {standing}")
    classes = stats.by_class(found.truth, found.probabilities, found.names)
    console.table("classes", _CLASS_COLUMNS, [_cells(part, precision=True) for part in classes])
    if found.groups is not None:
        groups = stats.by_group(found.truth, found.probabilities, found.groups)[:_MOST]
        console.table("groups, the hardest first", _GROUP_COLUMNS, [_cells(part, precision=False) for part in groups])
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


def _cells(part: stats.Part, *, precision: bool) -> tuple[str, ...]:
    own = (percent(part.precision),) if precision else ()
    return (part.name, str(part.images), percent(part.accuracy), *own, f"{part.loss:.4f}", percent(part.share))


def _tell_confused(found: Findings, console: Console) -> None:
    pairs = stats.most_confused(stats.confusion(found.truth, found.predicted, len(found.labels)), _MOST)
    if not pairs:
        console.say("no class is taken for another")
        return
    rows = [
        (found.names[pair.truth], found.names[pair.predicted], str(pair.images), percent(pair.share)) for pair in pairs
    ]
    console.table("most confused", ("is", "taken for", ">images", ">of its class"), rows)


def _tell_worst(found: Findings, console: Console) -> None:
    ids, predicted = found.table["id"].tolist(), found.predicted
    rows = [
        (
            ids[row.place],
            found.names[found.truth[row.place]],
            found.names[predicted[row.place]],
            percent(float(found.probabilities[row.place, found.truth[row.place]])),
            f"{row.loss:.4f}",
            percent(row.so_far),
        )
        for row in stats.worst_rows(found.losses, _MOST)
    ]
    columns = ("image", "is", "said", ">probability of the truth", ">log loss", ">of the loss, so far")
    console.table("most expensive rows", columns, rows)
