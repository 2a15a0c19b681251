"""Print the audit on the terminal."""

from __future__ import annotations

from kagglekit.audit import page
from kagglekit.audit.inspection import Inspection
from kagglekit.base.console import Console

_MOST = 8
"""Number of rows per table; the files have all rows."""
_MOST_CROSSING = 4
"""Number of pairs per kind of crossing."""


def tell(found: Inspection, console: Console) -> None:
    """Print the results of the audit."""
    console.table(f"{found.competition.name}: images", page.PARTS_COLUMNS, page.parts_table(found))
    counts = page.class_counts(found)
    rows = [(name, str(count), f"{share:.1%}") for name, count, share in counts]
    console.table(found.competition.target.kind, ("", ">images", ">share"), rows)
    console.say(page.balance(counts))
    groups = page.group_counts(found)
    if groups:
        sizes = [size for _, size, _ in groups]
        console.say(f"{len(groups)} groups of {min(sizes)} to {max(sizes)} images")
    _tell_copies(found, console)
    if found.leak is not None:
        console.say(f"leak check: {found.leak.verdict}")
    _tell_odd(found, console)
    _tell_suspects(found, console)
    if len(found.dropped):
        console.say(f"{len(found.dropped)} training images are in your drops.csv: runs leave them out")


def _tell_copies(found: Inspection, console: Console) -> None:
    count = found.copies.count
    if not count["all"]:
        console.say("no image is a copy or a look-alike of another")
        return
    rows = [
        ("copies and look-alikes", count["all"]),
        ("identical files", count["bytes"]),
        ("in training and in test", count["test"]),
        ("with different labels", count["label"]),
        ("in different folds", count["fold"]),
    ]
    console.table("pairs of look-alikes", ("", ">pairs"), [(name, str(number)) for name, number in rows])
    if found.copies.limits.films:
        console.say(page.FILMS)
    ids, labels = found.table["id"], found.table["label"]
    pairs = [(what, pair) for what in page.CROSSINGS for pair in found.copies.crossing[what][:_MOST_CROSSING]]
    if pairs:
        console.table(
            "closest pairs across splits, labels or folds",
            ("across", "image", "label", "image", "label"),
            [
                (what, ids[pair.first], labels[pair.first], ids[pair.second], labels[pair.second])
                for what, pair in pairs
            ],
        )


def _tell_odd(found: Inspection, console: Console) -> None:
    table = page.odd_table(found)
    if table.empty:
        console.say("no image is unreadable, tiny, blank, or odd in colour or shape")
        return
    rows = table.head(_MOST)[["part", "id", "reason"]].astype(str).to_numpy().tolist()
    console.table(f"{len(table)} unreadable or odd images", ("part", "image", "reason"), rows)


def _tell_suspects(found: Inspection, console: Console) -> None:
    if found.run is None:
        console.say("suspected label errors need a finished run: the audit reads its out-of-fold probabilities")
        return
    if not found.suspects:
        console.say(f"run {found.run.id}: no suspected label errors")
        return
    shown = page.labels_table(found).head(_MOST)
    rows = shown[["id", "label", "suggested", "margin"]].astype(str).to_numpy().tolist()
    console.table(
        f"{len(found.suspects)} suspected label errors, from run {found.run.id}",
        ("image", "label", "may be", ">margin"),
        rows,
    )
