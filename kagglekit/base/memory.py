"""Retry a computation with half the batch size when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def halving(
    size: int,
    compute: Callable[[int], Result],
    is_out_of_memory: Callable[[Exception], bool],
    halved: Callable[[int, int], None],
) -> Result:
    """Return `compute(size)`, halving the size each time that it raises an error of memory.

    `halved` gets the size that did not fit and the next one to try. An error at size 1 is raised, as are all others.
    """
    while True:
        try:
            return compute(size)
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # outside the handler, in which the exception keeps the allocated memory alive
        smaller = -(-size // 2)
        halved(size, smaller)
        size = smaller


def of_torch(error: Exception) -> bool:
    """Return whether torch raised an error because memory ran out: its own allocator, CUDA, cuBLAS or cuDNN."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


_WORDS = ("out of memory", "STATUS_ALLOC_FAILED")
