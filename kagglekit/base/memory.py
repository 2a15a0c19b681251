"""Work that takes as much memory as is computed together: where it runs out, less is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def halving(
    size: int,
    compute: Callable[[int], Result],
    out_of_memory: type[Exception],
    halved: Callable[[int, int], None],
) -> Result:
    """Return what `compute(size)` returns, or with half the size, and so on, where that raises `out_of_memory`.

    `halved` is told the size that did not fit and the one that is tried next. What size 1 raises is raised.
    """
    while True:
        try:
            return compute(size)
        except out_of_memory:
            if size == 1:
                raise
        # only here: until the error is let go of, it holds the memory that was allocated
        smaller = -(-size // 2)
        halved(size, smaller)
        size = smaller
