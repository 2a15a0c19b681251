"""Running backbones over image files: each worker decodes a few images and computes them itself.

N images in a chunk, V views, H x W pixels, D features. On a CPU every worker runs the session with one
thread, so that no core waits for another; onnxruntime and the decoders release the interpreter lock.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    """What is wanted of one backbone: one output, from the session, for some views."""

    backbone: Backbone
    session: Any
    output: str
    views: tuple[str, ...]


@dataclass
class Computed:
    """One image file: its content's hash, and its features or the reason why there are none."""

    path: str
    content: bytes = b""
    error: str = ""
    rows: list[Rows] = field(default_factory=list)
    """One (V, D) array a request; empty where they were known already."""


def compute(
    paths: Sequence[str],
    requests: Sequence[Request],
    known: Callable[[bytes], bool],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[Computed]:
    """Yield each path's result in order; `known(content)` says that an image need not be computed again."""

    def work(chunk: tuple[str, ...]) -> list[Computed]:
        return _compute_chunk(chunk, requests, known)

    for chunk in overlapped(_batched(paths, batch_size), work, workers):
        yield from chunk


def _compute_chunk(chunk: Sequence[str], requests: Sequence[Request], known: Callable[[bytes], bool]) -> list[Computed]:
    results = [Computed(path) for path in chunk]
    wanted: list[Computed] = []
    pixels: dict[images.Preprocessing, list[images.Pixels]] = {r.backbone.preprocessing: [] for r in requests}
    for result in results:
        try:
            content = images.read_bytes(result.path)
            result.content = hashlib.blake2b(content, digest_size=16).digest()
            if known(result.content):
                continue
            image = images.decode(content)
        except images.ImageError as error:
            result.error = str(error)
            continue
        for preprocessing, made in pixels.items():
            made.append(preprocessing.apply(image))
        wanted.append(result)
    if wanted:
        for request in requests:
            rows = _run(request, pixels[request.backbone.preprocessing])
            for result, row in zip(wanted, rows, strict=True):
                result.rows.append(row)
    return results


def _run(request: Request, pixels: list[images.Pixels]) -> Rows:
    """Compute all views of all images in one call: (N, V, D)."""
    height, width = request.backbone.preprocessing.size
    batch = np.empty((len(pixels), len(request.views), height, width, 3), np.uint8)
    for place, image in enumerate(pixels):
        for view, name in enumerate(request.views):
            batch[place, view] = image if name == "plain" else image[:, ::-1]
    flat = batch.reshape(-1, height, width, 3)
    (out,) = request.session.run([request.output], {"images": flat})
    return np.asarray(out, dtype=np.float32).reshape(len(pixels), len(request.views), -1)


def automatic_batch(device: devices.Device) -> int:
    """Return the images computed together by one worker: few on a CPU, where they should stay in its cache."""
    return 4 if device == "cpu" else 32


def _batched(items: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))
