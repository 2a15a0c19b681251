"""Retry a computation with half the batch size when memory runs out."""

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
    """Return `compute(size)`, halving the size each time that it raises `out_of_memory`.

    `halved` gets the size that did not fit and the next one to try. An error at size 1 is raised.
    """
    while True:
        try:
            return compute(size)
        except out_of_memory:
            if size == 1:
                raise
        # outside the handler, in which the exception keeps the allocated memory alive
        smaller = -(-size // 2)
        halved(size, smaller)
        size = smaller
