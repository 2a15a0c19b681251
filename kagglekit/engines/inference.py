"""Running backbones over image files: each worker decodes a few images and computes them itself.

N images in a chunk, H x W pixels, D features. On a CPU every worker runs the session with one
thread, so that no core waits for another; onnxruntime and the decoders release the interpreter lock.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kagglekit.engines import devices, images
from kagglekit.engines.backbones import Backbone

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


@dataclass(frozen=True)
class Request:
    """One output of one backbone for one view."""

    backbone: Backbone
    session: Any
    output: str
    view: str
    device: devices.Device
    """What the session really computes on."""
    turn: AbstractContextManager[Any]
    """Held while the session runs: a GPU computes one batch at a time, a CPU as many as it has cores."""

    def run(self, pixels: Sequence[images.Pixels]) -> Rows:
        """Compute N images, uint8 (H, W, 3) each: (N, D)."""
        batch = np.stack([image if self.view == "plain" else image[:, ::-1] for image in pixels])
        with self.turn:
            (out,) = self.session.run([self.output], {"images": batch})
        return np.asarray(out, dtype=np.float32)


@dataclass
class Computed:
    """One image file: its content's hash, and its features or the reason why there are none."""

    path: str
    content: bytes = b""
    stamp: list[int] = field(default_factory=list)
    """Size and time of change when it was read."""
    error: str = ""
    rows: dict[int, Rows] = field(default_factory=dict)
    """Position of the request -> (D,), for those that were missing."""


Missing = Callable[[bytes], Sequence[int]]
"""Content of an image -> the positions of the requests that it is to be computed for."""


def compute(
    paths: Sequence[str], requests: Sequence[Request], missing: Missing, *, batch_size: int, workers: int
) -> Iterator[Computed]:
    """Yield each path's result in order."""

    def work(chunk: Sequence[str]) -> list[Computed]:
        return _compute_chunk(chunk, requests, missing)

    batches = (paths[start : start + batch_size] for start in range(0, len(paths), batch_size))
    for chunk in overlapped(batches, work, workers):
        yield from chunk


def _compute_chunk(chunk: Sequence[str], requests: Sequence[Request], missing: Missing) -> list[Computed]:
    """Decode each image once, scale it once a preprocessing, and run each request on the images that lack it."""
    results = [Computed(path) for path in chunk]
    pixels: list[dict[images.Preprocessing, images.Pixels]] = []
    wanted: list[list[int]] = [[] for _ in requests]
    for place, result in enumerate(results):
        scaled: dict[images.Preprocessing, images.Pixels] = {}
        pixels.append(scaled)
        try:
            content, result.stamp = images.read_bytes(result.path)
            result.content = hashlib.blake2b(content, digest_size=16).digest()
            lacking = missing(result.content)
            if not lacking:
                continue
            image = images.decode(content)
        except images.ImageError as error:
            result.error = str(error)
            continue
        for number in lacking:
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


def automatic_batch(device: devices.Device) -> int:
    """Return the images computed together by one worker.

    Few on a CPU, where they should stay in its cache: 2 images gave 42.0 a second, 4 40.5, 8 39.8, 16 39.0
    (tf_efficientnet_lite2, two views, two cores).
    """
    return 2 if device == "cpu" else 64
