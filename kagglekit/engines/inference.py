"""Running backbones over image files: each worker decodes a few images and computes them itself.

N images in a chunk, H x W pixels, D features. On a CPU every worker runs the session with one
thread, so that no core waits for another; onnxruntime and the decoders release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kagglekit.engines import decoding, devices, images
from kagglekit.engines.backbones import Backbone
from kagglekit.engines.sessions import Session
from kagglekit.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Rows = NDArray[np.float32]


def overlapped(items: Iterable[Item], work: Callable[[Item], Result], workers: int) -> Iterator[Result]:
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
    """Yield `size` items at a time, and the rest."""
    return (items[start : start + size] for start in range(0, len(items), size))


@dataclass(frozen=True)
class Request:
    """One output of one backbone for one view."""

    backbone: Backbone
    session: Session
    output: str
    view: str

    def run(self, pixels: Sequence[decoding.Pixels]) -> Rows:
        """Compute N images, uint8 (H, W, 3) each: (N, D)."""
        batch = np.stack([image if self.view == "plain" else image[:, ::-1] for image in pixels])
        (out,) = self.session.run([self.output], {"images": batch})
        return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True)
class Task:
    """One image file that features are wanted of."""

    path: str
    content: bytes
    """Hash of what the audit saw in it."""
    requests: Sequence[int]
    """Positions of the requests that it is to be computed for."""


@dataclass(frozen=True)
class Computed:
    """One image's features."""

    content: bytes
    rows: dict[int, Rows] = field(default_factory=dict)
    """Position of the request -> (D,)."""


def compute(tasks: Sequence[Task], requests: Sequence[Request], *, batch_size: int, workers: int) -> Iterator[Computed]:
    """Yield each task's result in order; raise UserError for a file that is no longer what the audit saw."""

    def work(chunk: Sequence[Task]) -> list[Computed]:
        return _compute_chunk(chunk, requests)

    for chunk in overlapped(chunks(tasks, batch_size), work, workers):
        yield from chunk


def decode(path: str, audited: bytes) -> decoding.Pixels:
    """Decode an image file, (H, W, 3); raise UserError where it no longer holds what the audit saw in it."""
    try:
        content, _ = images.read_bytes(path)
    except decoding.ImageError as error:
        raise UserError(f"{path} {error}, and could be a moment ago: type the command again.") from error
    if hashlib.blake2b(content, digest_size=16).digest() != audited:
        raise UserError(f"{path} has changed while the run was going: type the command again.")
    return decoding.decode(content)


def _compute_chunk(chunk: Sequence[Task], requests: Sequence[Request]) -> list[Computed]:
    """Decode each image once, scale it once a preprocessing, and run each request on the images that lack it."""
    results = [Computed(task.content) for task in chunk]
    pixels: list[dict[decoding.Preprocessing, decoding.Pixels]] = []
    wanted: list[list[int]] = [[] for _ in requests]
    for place, task in enumerate(chunk):
        scaled: dict[decoding.Preprocessing, decoding.Pixels] = {}
        pixels.append(scaled)
        image = decode(task.path, task.content)
        for number in task.requests:
            preprocessing = requests[number].backbone.preprocessing
            if preprocessing not in scaled:
                scaled[preprocessing] = preprocessing.apply(image)
            wanted[number].append(place)
    for number, (request, places) in enumerate(zip(requests, wanted, strict=True)):
        if places:
            rows = request.run([pixels[place][request.backbone.preprocessing] for place in places])
            for place, row in zip(places, rows, strict=True):
                results[place].rows[number] = row
    return results


class BatchSizes:
    """Finds the batch size that computes most images a second, on the work itself: nothing is computed twice."""

    def __init__(self, device: devices.Device) -> None:
        sizes = (1, 2, 4, 8) if device == "cpu" else (16, 32, 64, 128, 256)
        self._trials = deque(sizes * _TRIALS)
        self._noted: dict[int, list[float]] = {size: [] for size in sizes}
        self._usual = automatic_batch(device)

    def next(self) -> int:
        """Return how many images to compute together now: another size to try, and when all are tried the best."""
        return self._trials.popleft() if self._trials else self.best()

    def note(self, size: int, seconds: float) -> None:
        """Tell how long a batch of this size took to compute."""
        if size in self._noted:  # not so the last one, which may be smaller
            self._noted[size].append(seconds)

    def leave_out(self, size: int) -> None:
        """Try none of this size or larger any more: they don't fit in memory."""
        self._trials = deque(trial for trial in self._trials if trial < size)
        self._noted = {smaller: seconds for smaller, seconds in self._noted.items() if smaller < size}
        self._usual = min(self._usual, max(size // 2, 1))

    def best(self) -> int:
        """Return the best size so far; a larger one must be faster by more than measurements vary."""
        best, best_rate = self._usual, 0.0
        for size, seconds in self._noted.items():
            rate = size / statistics.median(seconds) if seconds else 0.0
            if rate > best_rate * _CLEARLY:
                best, best_rate = size, rate
        return best


_TRIALS = 6
_CLEARLY = 1.02


USUAL_SIZE = (224, 224)
"""Of backbones' inputs, where it is not known yet."""


def automatic_batch(device: devices.Device, size: tuple[int, int] = USUAL_SIZE) -> int:
    """Return the images of a size that one worker computes together.

    Few on a CPU, where they should stay in its cache: 2 images gave 42.0 a second, 4 40.5, 8 39.8, 16 39.0
    (tf_efficientnet_lite2 at 260 x 260, two views, two cores); at 72 x 96 (tf_efficientnet_lite0, one view) 2 gave
    1,425, 4 1,590, 8 1,630 and 32 1,540.
    """
    if device == "cuda":
        return 64
    return min(max(_PIXELS // (size[0] * size[1]), 2), 8)


_PIXELS = 60_000
"""That are computed together on a CPU."""
