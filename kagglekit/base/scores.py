"""Scores and gains as text."""

from __future__ import annotations


def shown(value: float) -> str:
    """Format a score or a gain; a zero has no minus."""
    return f"{round(value, 5) + 0.0:.5f}"
