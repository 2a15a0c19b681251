"""Arrays as the whole package names them, and the one function on them that every room needs.

N rows, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Probabilities, losses, scores."""


def softmax(scores: Floats) -> Floats:
    """(…, C) -> (…, C), rows sum to one."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result
