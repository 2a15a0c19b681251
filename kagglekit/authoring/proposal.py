"""What a new plugin says, before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kagglekit.authoring import source
from kagglekit.competitions.competition import Competition


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The fields of a Competition."""

    fields: Mapping[str, Any]
    """Name -> value; `classes` are a mapping."""
    said: list[str] = field(default_factory=list)
    """What was taken from where, a line each."""

    def competition(self) -> Competition:
        """Return the description. Raises ValueError if it is none."""
        return Competition(**self.fields)

    def source(self) -> str:
        """Return the text of the module."""
        classes = self.fields.get("classes", {})
        fields = dict(self.fields) | ({"classes": source.Constant("CLASSES")} if classes else {})
        return source.module(self.fields["name"], fields, classes)
