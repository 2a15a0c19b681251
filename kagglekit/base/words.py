"""Words for what is listed in messages."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 8
"""A line names at most so many: nobody reads a hundred class names."""


def listed(names: Sequence[str], most: int = MOST) -> str:
    """Return `a, b and 98 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
