"""Scores and gains as text."""

from __future__ import annotations

DIGITS = 5


def shown(value: float, digits: int = DIGITS) -> str:
    """Format a score; a zero has no minus."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int = DIGITS) -> str:
    """Format a gain, with its sign; a zero has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
