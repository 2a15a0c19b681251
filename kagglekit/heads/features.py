"""Features of frozen backbones, from the store or computed into it.

N images, V views, D features (of all backbones side by side).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kagglekit.base import devices, gpu, native_output
from kagglekit.base.arrays import Floats32, Indices
from kagglekit.base.console import Advance, Console
from kagglekit.base.errors import UserError
from kagglekit.heads import inference
from kagglekit.images import decoding
from kagglekit.images.row_store import RowStore
from kagglekit.models import batch_sizes, sessions
from kagglekit.models.backbone import Backbone
from kagglekit.recipe import ComputeSettings

_FLUSH_EVERY = 20.0
"""Seconds of work that a killed command may lose."""


@dataclass(frozen=True)
class Features:
    """Features of a list of images; they stay in the store and are copied to memory on request."""

    contents: Sequence[bytes]
    """Content hash of each image file."""
    stores: list[list[RowStore]]
    """Indexed by backbone, then by view."""
    widths: list[int]
    """Number of features of each backbone."""

    def of_backbone(self, place: int) -> Features:
        """Return the features of one backbone."""
        return Features(self.contents, self.stores[place : place + 1], self.widths[place : place + 1])

    def rows(self, indices: Indices) -> Floats32:
        """Return the features of the images at `indices` (N,): (N, V, D)."""
        digests = [self.contents[index] for index in indices.tolist()]
        rows = np.empty((len(indices), len(self.stores[0]), sum(self.widths)), np.float32)
        start = 0
        for width, views in zip(self.widths, self.stores, strict=True):
            for view, store in enumerate(views):
                store.gather(digests, rows[:, view, start : start + width])
            start += width
        return rows


@dataclass(frozen=True)
class FeatureRows:
    """Features of consecutive images as rows (N, V, D), which stay in the store until they are read."""

    features: Features
    start: int
    count: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, V, D)."""
        return self.count, len(self.features.stores[0]), sum(self.features.widths)

    def __getitem__(self, indices: Indices, /) -> Floats32:
        return self.features.rows(self.start + indices)


class FeatureEngine:
    """Frozen backbones, opened when features are missing, with their folders in the store."""

    def __init__(
        self,
        backbones: Sequence[Backbone],
        views: Sequence[str],
        output: str,
        compute: ComputeSettings,
        folder: Path,
        *,
        also: str = "",
        batch_size: int = 0,
        warn: sessions.Say = print,
    ) -> None:
        """Have one session per backbone; `folder` is the store's, `batch_size` 0 chooses by device.

        With `output`, the output `also` is computed, of the backbones that have it.

        `warn` gets a message if the GPU leaves something to the CPU.

        Raises UserError if CUDA is requested but not available, or logits that a backbone does not have.
        """
        self.device: devices.Device = gpu.choose(compute.provider)
        """Device that computes features."""
        self._requests = [
            request
            for backbone in backbones
            for request in _requests(backbone, views, (output, also), _session(backbone, self.device, warn))
        ]  # in the order of backbones, then of views
        self._stores = [
            {each: RowStore(folder, _address(request, each, self.device)) for each in request.outputs}
            for request in self._requests
        ]
        self._output, self._num_views = output, len(views)
        smallest = min((backbone.preprocessing.size for backbone in backbones), key=math.prod)
        self._batch = batch_size or batch_sizes.automatic_batch(self.device, smallest)
        self._workers = compute.num_threads

    def compute(self, paths: Sequence[str], contents: Sequence[bytes], console: Console) -> Features:
        """Return the features of readable images; compute those that are not in the store.

        `contents` are the content hashes of the files at `paths`.
        """
        first: dict[bytes, str] = {}
        for path, content in zip(paths, contents, strict=True):
            first.setdefault(content, path)  # files with the same content are one image
        todo = [
            inference.Task(path, content, lacking)
            for content, path in first.items()
            if (lacking := self._missing(content))
        ]
        if todo:
            if len(todo) < len(first):
                console.say(f"features: {len(first) - len(todo)} of {len(first)} images are in the cache")
            with console.progress("features", len(todo), "images") as advance:
                self._fill(todo, advance)
        else:
            console.say(f"features: all {len(paths)} images are in the cache")
        return self.stored(contents, self._output)

    def stored(self, contents: Sequence[bytes], output: str) -> Features:
        """Return features that are computed already, of the backbones that have this output."""
        stores = [views[output] for views in self._stores if output in views]
        by_backbone = [stores[start : start + self._num_views] for start in range(0, len(stores), self._num_views)]
        backbones = [request.backbone for request in self._requests[:: self._num_views] if output in request.outputs]
        return Features(contents, by_backbone, [backbone.outputs[output] for backbone in backbones])

    def seconds_per_image(self, paths: Sequence[str], contents: Sequence[bytes]) -> float:
        """Return the time that an image takes in all views, measured on these; nothing is stored."""
        every = list(range(len(self._requests)))
        tasks = [inference.Task(path, content, every) for path, content in zip(paths, contents, strict=True)]
        batch = min(self._batch, max(1, len(tasks) // (2 * self._workers)))
        for request in self._requests:
            request.session.opened()
        started = time.perf_counter()
        for _ in inference.compute(tasks, self._requests, batch_size=batch, workers=self._workers):
            pass
        return (time.perf_counter() - started) / len(tasks)

    def _missing(self, content: bytes) -> list[int]:
        return [
            number
            for number, stores in enumerate(self._stores)
            if any(content not in store for store in stores.values())
        ]

    @native_output.decoders_silenced()
    def _fill(self, tasks: Sequence[inference.Task], advance: Advance) -> None:
        flushed = time.monotonic()
        try:
            for result in inference.compute(tasks, self._requests, batch_size=self._batch, workers=self._workers):
                for number, rows in result.rows.items():
                    for store, row in zip(self._stores[number].values(), rows, strict=True):
                        if result.content not in store:
                            store.add(result.content, row)
                if time.monotonic() - flushed > _FLUSH_EVERY:
                    self._flush()
                    flushed = time.monotonic()
                advance(1)
        finally:  # what was computed before a failure or Ctrl-C is kept
            self._flush()

    def _flush(self) -> None:
        for stores in self._stores:
            for store in stores.values():
                store.flush()


def _session(backbone: Backbone, device: devices.Device, warn: sessions.Say) -> sessions.Later:
    return sessions.Later(lambda: sessions.open_on(Path(backbone.graph), device, 1, warn))


def _requests(
    backbone: Backbone, views: Sequence[str], wanted: tuple[str, str], session: sessions.Later
) -> list[inference.Request]:
    """Return one request per view, for the outputs `wanted`, of which the first must be there."""
    if wanted[0] not in backbone.outputs:
        raise UserError(f"output = 'logits': the weights of {backbone.name} have no plain classifier; use pooled.")
    outputs = tuple(output for output in wanted if output in backbone.outputs)
    return [inference.Request(backbone, session, outputs, view) for view in views]


def _address(request: inference.Request, output: str, device: devices.Device) -> dict[str, Any]:
    """Return the cache key of an output: everything that affects a row except the image's content."""
    return {
        "backbone": request.backbone.name,
        "weights": request.backbone.sha256,
        "made_by": request.backbone.made_by,
        "preprocessing": request.backbone.preprocessing.to_plain(),
        "preprocessing_version": decoding.PREPROCESSING_VERSION,
        "view": request.view,
        "output": output,
        "precision": "float32" if device == "cpu" else "tf32",
        "provider": device,
        "versions": {name: version(name) for name in ("opencv-python-headless", "pillow")}
        | {"onnxruntime": _onnxruntime_version()},
    }


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
