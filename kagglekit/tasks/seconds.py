"""Second numbers: what people ask for besides the metric. Importing this module loads nothing heavy."""

from __future__ import annotations

ACCURACY, EXACT_MATCH, ABSOLUTE_ERROR = "accuracy", "exact match", "mean absolute error"


def shown(name: str, value: float) -> str:
    """Format a second number."""
    return f"{value:.5g}" if name == ABSOLUTE_ERROR else f"{value:.2%}"
