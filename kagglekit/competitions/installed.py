"""Installed competitions, listed from package metadata without importing a plugin."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import NamedTuple

from kagglekit.base.workspace import Workspace

GROUP = "kagglekit.competitions"


class Listing(NamedTuple):
    """An installed plugin."""

    name: str
    aliases: tuple[str, ...]
    module: str


def listings() -> list[Listing]:
    """Return the installed plugins by name; of several names for a module, the shortest is the name."""
    by_module: dict[str, set[str]] = {}
    for entry in entry_points(group=GROUP):
        by_module.setdefault(entry.value, set()).add(entry.name)
    found = []
    for module, names in by_module.items():
        name, *aliases = sorted(names, key=lambda name: (len(name), name))
        found.append(Listing(name, tuple(aliases), module))
    return sorted(found)


def table() -> list[str]:
    """Return the lines of `kagglekit list`, without rich, which would double the start-up time."""
    rows = [("name", "runs here", "package", "aliases")]
    for listing in listings():
        runs = Workspace.of(listing.name).runs
        count = sum(1 for _ in runs.glob("*/run.json")) if runs.is_dir() else 0
        rows.append((listing.name, str(count), listing.module, ", ".join(listing.aliases)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join((*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3])) for row in rows]
