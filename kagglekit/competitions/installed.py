"""Installed competitions, listed from package metadata without importing a plugin."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import NamedTuple

GROUP = "kagglekit.competitions"


class Listing(NamedTuple):
    """An installed plugin."""

    name: str
    aliases: tuple[str, ...]
    module: str


def listings() -> list[Listing]:
    """Return the installed plugins, sorted by name. If a module has several names, the shortest is used."""
    by_module: dict[str, set[str]] = {}
    for entry in entry_points(group=GROUP):
        by_module.setdefault(entry.value, set()).add(entry.name)
    found = []
    for module, names in by_module.items():
        name, *aliases = sorted(names, key=lambda name: (len(name), name))
        found.append(Listing(name, tuple(aliases), module))
    return sorted(found)
