"""The lines of `kagglekit list`. Importing this module loads neither rich nor any plugin."""

from __future__ import annotations

from kagglekit.base.workspace import Workspace
from kagglekit.competitions import installed
from kagglekit.runs import filenames


def table() -> list[str]:
    """Return the lines, grouped by task. rich is not used, because it would double the start-up time."""
    listings = sorted(installed.listings(), key=lambda listing: (listing.task or "~", listing.name))
    rows = [("task", "name", "runs here", "package", "aliases")]
    before = ""
    for listing in listings:
        runs = Workspace.of(listing.name).runs
        count = sum(1 for _ in runs.glob(f"*/{filenames.RECORD}")) if runs.is_dir() else 0
        task = listing.task or "not said"
        rows.append(
            (
                "" if task == before else task,
                listing.name,
                str(count),
                listing.module,
                ", ".join(listing.aliases),
            )
        )
        before = task
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join((*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4])) for row in rows)
    return [line.rstrip() for line in lines]
