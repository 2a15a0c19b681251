"""How the columns of a CSV file write the labels of images, as a plugin declares it.

The constructors check all values and raise ValueError. Importing this module loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from kagglekit.base import patterns


@dataclass(frozen=True)
class OneHot:
    """One column for each class or label, with 1 where an image has it and 0 where it has not.

    Yes and no, true and false, 1 and -1 mean the same.
    """

    kinds: ClassVar[tuple[str, ...]] = ("classes", "grades", "labels")
    """Kinds of targets that are written like this."""

    columns: Sequence[str] = ()
    """The columns; by default those of the target, or, if it names none, all but those of ids and groups."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", _names(self, self.columns))


@dataclass(frozen=True)
class Tags:
    """One column with all labels of an image: `clear primary road`."""

    kinds: ClassVar[tuple[str, ...]] = ("labels",)

    column: str
    """Column with the labels."""
    sep: str = " "
    """What separates them."""

    def __post_init__(self) -> None:
        if not self.sep:
            raise ValueError(f"the tags of {self.column!r} must have a separator")


@dataclass(frozen=True)
class Columns:
    """One column for each number or share of the target."""

    kinds: ClassVar[tuple[str, ...]] = ("numbers", "shares")

    columns: Sequence[str] = ()
    """The columns, in the order of the target's; chosen as for `OneHot` by default."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", _names(self, self.columns))


@dataclass(frozen=True)
class RowPerLabel:
    """Several rows for an image: one for each of its labels, or one for each label that it may have."""

    kinds: ClassVar[tuple[str, ...]] = ("classes", "grades", "labels")

    label: str
    """Column with the label; or, with placeholders, how the id joins image and label: `{id}_{label}`."""
    value: str = ""
    """Column with 1 where the image has the label and 0 where it has not; without it, each row is a label it has."""

    def __post_init__(self) -> None:
        if self.in_id and set(patterns.placeholders(self.label)) != {"id", "label"}:
            raise ValueError(f"{self.label!r} must have the placeholders {{id}} and {{label}} once each")

    @property
    def in_id(self) -> bool:
        """Whether the id has the label."""
        return "{" in self.label


LabelColumns = str | OneHot | Tags | Columns | RowPerLabel
"""A column with one label or number an image, or any other way."""


def _names(of: object, columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise ValueError(f"{type(of).__name__} must list columns, not {columns!r}")  # noqa: TRY004
    twice = next((name for name in columns if list(columns).count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{type(of).__name__} names the column {twice!r} twice")
    return tuple(columns)
