"""Installed competitions, listed from package metadata without importing a plugin."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import NamedTuple

GROUP = "kagglekit.competitions"
TASKS = "kagglekit.tasks"
"""Group of entry points name -> kind of target, so that plugins can be listed by it. They are never loaded."""


class Listing(NamedTuple):
    """An installed plugin."""

    name: str
    aliases: tuple[str, ...]
    module: str
    task: str = ""
    """Kind of target, such as `classes`; empty if the package does not say."""


def listings() -> list[Listing]:
    """Return the installed plugins, sorted by name. If a module has several names, the shortest is used."""
    by_module: dict[str, set[str]] = {}
    for entry in entry_points(group=GROUP):
        by_module.setdefault(entry.value, set()).add(entry.name)
    tasks = {entry.name: entry.value for entry in entry_points(group=TASKS)}
    found = []
    for module, names in by_module.items():
        name, *aliases = sorted(names, key=lambda name: (len(name), name))
        task = next((tasks[each] for each in (name, *aliases) if each in tasks), "")
        found.append(Listing(name, tuple(aliases), module, task))
    return sorted(found)
