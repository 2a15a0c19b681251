"""Settings as they are written: without sections or in them, by today's names or by older ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from kagglekit.base.errors import UserError
from kagglekit.recipe.recipe import FORMER_NAMES, SECTION_OF, SECTIONS, TYPES
from kagglekit.recipe.values import coerce


def flat(layer: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return today's name -> value of what a source says; raise UserError for a setting that it gives twice.

    Unknown names are kept: `convert` refuses them.
    """
    found: dict[str, Any] = {}
    written: dict[str, str] = {}
    for name, value in _leaves(layer, source):
        today = FORMER_NAMES.get(name, name)
        if today in found:
            both = sorted({written[today], name})
            twice = f"setting {name!r} is given twice" if len(both) == 1 else f"{' and '.join(both)} are one setting"
            raise UserError(f"{source}: {twice}: leave one out.")
        found[today], written[today] = value, name
    return found


def _leaves(layer: Mapping[str, Any], source: str) -> Iterator[tuple[str, Any]]:
    for name, value in layer.items():
        if name in SECTIONS and isinstance(value, Mapping):
            for leaf, inner in value.items():
                _check_section(leaf, name, source)
                yield leaf, inner
        else:
            yield name, value


def _check_section(leaf: str, section: str, source: str) -> None:
    own = SECTION_OF.get(FORMER_NAMES.get(leaf, leaf), section)
    if own != section:
        raise UserError(f"{source}: setting {leaf!r} belongs to [{own}], not to [{section}].")


def renamed(layer: Mapping[str, Any], source: str) -> dict[str, str]:
    """Return old name -> current name of the settings that a source gives by an old name."""
    return {name: FORMER_NAMES[name] for name, _ in _leaves(layer, source) if name in FORMER_NAMES}


def laid_over(below: Mapping[str, Any], layer: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a source's settings over those `below`, by today's names, that it does not give by any name."""
    given = flat(layer, source)
    return {name: value for name, value in below.items() if name not in given} | dict(layer)


def convert(name: str, value: Any, source: str) -> Any:
    """Convert a setting's value to its type; raise UserError for a wrong value, or an unknown name with the nearest."""
    if name not in TYPES:
        raise UserError(f"{source}: no setting called {name!r}: {_hint(name, is_table=isinstance(value, Mapping))}")
    try:
        return coerce(TYPES[name], value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: setting {name} = {value!r}: {error}.") from error


def _hint(name: str, *, is_table: bool) -> str:
    known = [*TYPES, *FORMER_NAMES, *(SECTIONS if is_table else ())]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {FORMER_NAMES.get(near[0], near[0])!r}?" if near else "`kagglekit info NAME` lists all."
