"""Dataclasses as JSON objects: reading one and writing it again loses nothing."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

_LEFT_OUT = "left out where it is None"


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Base class of dataclasses that are stored as JSON objects: fields are keys, written in order.

    Fields may be JSON values, `Plain` objects, tuples of either, and mappings from text to either. A field that older
    versions did not write needs a default.
    """

    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keys that a newer version wrote and this one does not know; they are written last."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read a JSON object; raise ValueError, naming the keys, if it lacks any without a default."""
        kinds = _kinds(cls)
        missing = [name for name in _required(cls) if name not in plain]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        known = {name: _typed(kinds[name], value) for name, value in plain.items() if name in kinds}
        return cls(**known, unknown={name: value for name, value in plain.items() if name not in kinds})

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON object, including unknown keys."""
        values = ((each, getattr(self, each.name)) for each in dataclasses.fields(self) if each.name != "unknown")
        written = {each.name: value for each, value in values if value is not None or _LEFT_OUT not in each.metadata}
        return {name: _untyped(value) for name, value in written.items()} | dict(self.unknown)


def left_out() -> Any:
    """Return a field that is None by default; its key is not written while it is None."""
    return field(default=None, metadata={_LEFT_OUT: True})


def _kinds(cls: type[Plain]) -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(cls).items() if name != "unknown"}


def _required(cls: type[Plain]) -> list[str]:
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing]


def _typed(kind: Any, value: Any) -> Any:
    """Convert a JSON value to the type of a field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _typed(arguments[0], value)
    if origin is tuple:
        return tuple(_typed(arguments[0], each) for each in value)
    if origin is Mapping:
        return {name: _typed(arguments[1], each) for name, each in value.items()}
    return kind.from_plain(value) if isinstance(kind, type) and issubclass(kind, Plain) else value


def _untyped(value: Any) -> Any:
    """Convert a field's value to a JSON value."""
    if isinstance(value, Plain):
        return value.to_plain()
    if isinstance(value, tuple):
        return [_untyped(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _untyped(each) for name, each in value.items()}
    return value
