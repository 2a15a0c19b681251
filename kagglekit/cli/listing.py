"""The lines of `kagglekit list`. Importing this module loads neither rich nor any plugin."""

from __future__ import annotations

from kagglekit.base.workspace import Workspace
from kagglekit.competitions import installed
from kagglekit.runs import filenames


def table() -> list[str]:
    """Return the lines. rich is not used, because it would double the start-up time."""
    rows = [("name", "runs here", "package", "aliases")]
    for listing in installed.listings():
        runs = Workspace.of(listing.name).runs
        count = sum(1 for _ in runs.glob(f"*/{filenames.RECORD}")) if runs.is_dir() else 0
        rows.append((listing.name, str(count), listing.module, ", ".join(listing.aliases)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join((*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3])) for row in rows]
