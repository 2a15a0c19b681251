"""Arrays as the whole package names them, and the one function on them that every room needs.

N rows, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Probabilities, losses, scores."""
Floats32 = NDArray[np.float32]
"""What networks and heads compute with: features, logits, weights."""
Labels = NDArray[np.int64]
"""Each row's class, as an index into the competition's classes."""
Indices = NDArray[np.int64]
"""Rows that are meant, by their index."""
Mask = NDArray[np.bool_]
"""Whether each row is meant."""


def softmax(scores: Floats) -> Floats:
    """(…, C) -> (…, C), rows sum to one."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result
