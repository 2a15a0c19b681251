"""Inference of backbones on image files: each worker decodes a few images and computes their features.

N images per chunk, H x W pixels, D features. On a CPU every worker runs the session with one
thread, so that no core waits for another; onnxruntime and the decoders release the GIL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from kagglekit.base import parallel
from kagglekit.base.arrays import Floats32
from kagglekit.images import decoding, files
from kagglekit.models.backbone import Backbone
from kagglekit.models.sessions import Later


@dataclass(frozen=True)
class Request:
    """Outputs of one backbone for one view, which are computed together."""

    backbone: Backbone
    session: Later
    outputs: tuple[str, ...]
    view: str

    def run(self, pixels: Sequence[decoding.Pixels]) -> list[Floats32]:
        """Return each output's features (N, D) of N images, uint8 (H, W, 3) each."""
        batch = np.stack([image if self.view == "plain" else image[:, ::-1] for image in pixels])
        found = self.session.run(self.outputs, {"images": batch})
        return [np.asarray(out, dtype=np.float32) for out in found]


@dataclass(frozen=True)
class Task:
    """One image file to compute features of."""

    path: str
    content: bytes
    """Content hash from the scan."""
    requests: Sequence[int]
    """Positions of the requests to compute."""


@dataclass(frozen=True)
class Computed:
    """One image's features."""

    content: bytes
    rows: dict[int, tuple[Floats32, ...]] = field(default_factory=dict)
    """Position of the request -> a row (D,) of each output."""


def compute(tasks: Sequence[Task], requests: Sequence[Request], *, batch_size: int, workers: int) -> Iterator[Computed]:
    """Yield each task's result in order; raise UserError if a file has changed since the scan."""

    def work(chunk: Sequence[Task]) -> list[Computed]:
        return _compute_chunk(chunk, requests)

    for chunk in parallel.overlapped(parallel.chunks(tasks, batch_size), work, workers):
        yield from chunk


def _compute_chunk(chunk: Sequence[Task], requests: Sequence[Request]) -> list[Computed]:
    """Decode each image once, scale it once per preprocessing, and run each request on the images that need it."""
    results = [Computed(task.content) for task in chunk]
    pixels: list[dict[decoding.Preprocessing, decoding.Pixels]] = []
    wanted: list[list[int]] = [[] for _ in requests]
    levels = requests[0].backbone.preprocessing.levels  # of the data set, so the same for all
    for index, task in enumerate(chunk):
        scaled: dict[decoding.Preprocessing, decoding.Pixels] = {}
        pixels.append(scaled)
        image = files.decode(task.path, task.content, levels)
        for number in task.requests:
            preprocessing = requests[number].backbone.preprocessing
            if preprocessing not in scaled:
                scaled[preprocessing] = preprocessing.apply(image)
            wanted[number].append(index)
    for number, (request, indices) in enumerate(zip(requests, wanted, strict=True)):
        if indices:
            rows = request.run([pixels[index][request.backbone.preprocessing] for index in indices])
            for index, *row in zip(indices, *rows, strict=True):
                results[index].rows[number] = tuple(row)
    return results
