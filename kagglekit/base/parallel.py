"""An ordered map in threads, a few items ahead, and splitting into chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def overlapped(items: Iterable[Item], work: Callable[[Item], Result], workers: int) -> Generator[Result, None, None]:
    """Yield `work(item)` in order, computed by `workers` threads a few items ahead: memory stays constant."""
    source = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Result]] = deque(pool.submit(work, item) for item in islice(source, 2 * workers))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(work, item) for item in islice(source, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield `size` items at a time; the last chunk may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
