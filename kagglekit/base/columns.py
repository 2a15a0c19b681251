"""Names of columns in tables that have one column per class."""

from __future__ import annotations

from collections.abc import Collection


def beside(column: str, labels: Collection[str]) -> str:
    """Return the name of a column, with underscores added if a class has that name, such as `id`."""
    while column in labels:
        column += "_"
    return column
