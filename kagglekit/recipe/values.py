"""Conversion of a setting's value from text or TOML to its type, and back to text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin


def coerce(kind: Any, value: Any) -> Any:
    """Convert `value` to `kind`; text from the command line is parsed, other types must already match.

    Raises ValueError or TypeError, saying what is expected.
    """
    if get_origin(kind) is tuple:
        return _coerce_list(get_args(kind)[0], value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"must be one of {', '.join(map(str, get_args(kind)))}")
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and kind in _PARSERS:
        parse, wanted = _PARSERS[kind]
        try:
            return parse(value)
        except (ValueError, KeyError):
            raise ValueError(f"must be {wanted}") from None
    if type(value) is not kind:
        raise TypeError(f"must be {kind.__name__}, not {type(value).__name__}")
    return value


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
}


def _coerce_list(element: Any, value: Any) -> tuple[Any, ...]:
    """Convert a list, comma-separated text or a single integer to a tuple."""
    if element is int and type(value) is int:
        value = [value]
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise TypeError("must be a list")
    return tuple(coerce(element, p.strip() if isinstance(p, str) else p) for p in parts if p != "")


def shown(value: Any) -> str:
    """Return a setting's value as it is typed after `--set key=`."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
