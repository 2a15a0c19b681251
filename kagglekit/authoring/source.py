"""The source of a plugin's module, from the values of its description."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from kagglekit.competitions.locations import Together
from kagglekit.tasks.targets import Grades, Numbers, Target

_WIDTH = 88
"""Default line length of formatters."""
_STEP = 4
_FUNCTION = "Number"
"""Makes the target of one number."""


def module(name: str, fields: Mapping[str, Any], classes: Mapping[str, str]) -> str:
    """Return the text of a module whose hook returns a Competition with these fields.

    `classes`, if there are any, are a constant before it.
    """
    depth = 2 * _STEP
    body = "".join(f"{' ' * depth}{key}={_text(value, depth, len(key) + 2)},\n" for key, value in fields.items())
    listed = "".join(f"    {_quoted(label)}: {_quoted(meaning)},\n" for label, meaning in classes.items())
    constant = (
        f"# label in the data -> readable name; probabilities are in this order\nCLASSES = {{\n{listed}}}\n\n\n"
        if classes
        else "\n"
    )
    imported = {"Competition", "hookimpl"} | set(_names(fields.values()))
    return (
        f'"""{name}: its images, what is predicted and its submission.\n\n'
        f'`kagglekit guide plugins` explains every field and every hook.\n"""\n\n'
        f"{_import(sorted(imported, key=_order))}\n\n{constant}"
        f"@hookimpl\ndef competition() -> Competition:\n"
        f'    """Describe the competition."""\n'
        f"    return Competition(\n{body}    )\n"
    )


@dataclasses.dataclass(frozen=True)
class Constant:
    """The name of a constant, as a value."""

    name: str


def _names(values: Iterable[Any]) -> Iterable[str]:
    """Yield what must be imported for these values."""
    for value in values:
        if dataclasses.is_dataclass(value) and not isinstance(value, Constant | type):
            yield _called(value)
            yield from _names(part for _, part in _arguments(value))


def _order(name: str) -> tuple[bool, str]:
    # as formatters sort: classes, then functions
    return name.islower(), name.lower()


def _import(names: Iterable[str]) -> str:
    line = f"from kagglekit import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return "from kagglekit import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _text(value: Any, depth: int, taken: int) -> str:
    """Return an expression, on several lines if it does not fit into one with `depth` + `taken` other characters."""
    line = _line(value)
    parts = _parts(value)
    if len(line) + depth + taken <= _WIDTH or not parts:
        return line
    opening, closing = _brackets(value)
    inner = depth + _STEP
    rows = [f"{' ' * inner}{before}{_text(part, inner, len(before) + 1)},\n" for before, part in parts]
    return f"{opening}\n{''.join(rows)}{' ' * depth}{closing}"


def _line(value: Any) -> str:
    if isinstance(value, Constant):
        return value.name
    if isinstance(value, str):
        return _quoted(value)
    if not isinstance(value, tuple | list | Mapping) and not dataclasses.is_dataclass(value):
        return repr(value)
    opening, closing = _brackets(value)
    inside = ", ".join(f"{before}{_line(part)}" for before, part in _parts(value))
    return f"{opening}{inside}{',' if isinstance(value, tuple) and len(value) == 1 else ''}{closing}"


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return "{", "}"
    if isinstance(value, tuple | list):
        return ("(", ")") if isinstance(value, tuple) else ("[", "]")
    return f"{_called(value)}(", ")"


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return what stands between the brackets: the text before each value, and the value."""
    if isinstance(value, Mapping):
        return [(f"{_quoted(key)}: ", part) for key, part in value.items()]
    if isinstance(value, tuple | list):
        return [("", part) for part in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, Constant):
        return []
    return [(f"{name}=" if name else "", part) for name, part in _arguments(value)]


def _called(value: Any) -> str:
    return _FUNCTION if _is_number(value) else type(value).__name__


def _is_number(value: Any) -> bool:
    return isinstance(value, Numbers) and value.columns == ("number",)


def _arguments(value: Any) -> list[tuple[str, Any]]:
    """Return the arguments of an object's constructor that are not defaults; the first has no name if it needs none."""
    if isinstance(value, Together):
        return [("", pattern) for pattern in value.patterns]
    fields = sorted(dataclasses.fields(value), key=lambda each: bool(each.kw_only))
    given = []
    for place, each in enumerate(fields):
        own = _shortest(value) if isinstance(value, Target) and each.name == "names" else getattr(value, each.name)
        needless = _is_number(value) and each.name == "names"
        if not needless and own != _default(each):
            given.append(("" if place == 0 and not each.kw_only else each.name, own))
    return given


def _shortest(target: Target) -> Any:
    """Return the names of a target as one would write them."""
    names = list(target.columns)
    if target.source is not None or names != list(target.meanings.values()):
        return target.names
    counted = isinstance(target, Grades) and names == [str(grade) for grade in range(len(names))]
    return len(names) if counted else names


def _default(each: dataclasses.Field[Any]) -> Any:
    return each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default


def _quoted(text: str) -> str:
    if '"' in text and "'" not in text and text.isprintable():
        return "'" + text.replace("\\", "\\\\") + "'"
    return json.dumps(text, ensure_ascii=False)
