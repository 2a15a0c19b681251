"""Features of frozen backbones, from the bank or computed into it.

N images, V views, D features (of all backbones side by side).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.console import Advance, Console
from kagglekit.engines import devices, images, inference
from kagglekit.engines.backbones import Backbone
from kagglekit.engines.bank import Bank
from kagglekit.engines.contents import ContentIndex
from kagglekit.errors import UserError
from kagglekit.recipe import Recipe


@dataclass(frozen=True)
class Features:
    """Features of some images: in the bank, and copied to memory only where they are asked for."""

    contents: list[bytes | None]
    """Hash of what each image file holds; None for an unreadable one."""
    unreadable: dict[int, str]
    """Position of each unreadable image -> reason."""
    banks: list[list[Bank]]
    """[backbone][view]"""
    widths: list[int]
    """Features of each backbone."""

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of the images at `places` (N,), which must be readable: (N, V, D)."""
        digests = [digest for place in places.tolist() if (digest := self.contents[place]) is not None]
        rows = np.empty((len(places), len(self.banks[0]), sum(self.widths)), np.float32)
        start = 0
        for width, views in zip(self.widths, self.banks, strict=True):
            for view, bank in enumerate(views):
                bank.gather(digests, rows[:, view, start : start + width])
            start += width
        return rows


class FeatureEngine:
    """Frozen backbones, opened once, with their place in the bank."""

    def __init__(self, backbones: Sequence[Backbone], views: Sequence[str], recipe: Recipe, folder: Path) -> None:
        """Open a session a backbone; `folder` is the bank's.

        Raises UserError where CUDA is asked for and a session does not get it, or logits where there are none.
        """
        self._requests = [
            request for backbone in backbones for request in _open(backbone, views, recipe)
        ]  # in the order of backbones, then of views
        self._banks = [Bank(folder, _address(request)) for request in self._requests]
        self._index = ContentIndex(folder / "contents.parquet")
        self._num_views = len(views)
        on_cpu = any(request.device == "cpu" for request in self._requests)
        self.device: devices.Device = "cpu" if on_cpu else "cuda"
        self._batch = recipe.batch_size or inference.automatic_batch(self.device)
        self._workers = recipe.threads or devices.cores()

    def compute(self, paths: Sequence[str], console: Console) -> Features:
        """Return the features of the images at `paths`, having computed those that the bank did not have."""
        known = [self._index.get(path) for path in paths]
        todo = [path for path, digest in zip(paths, known, strict=True) if digest is None or self._missing(digest)]
        failed: dict[str, str] = {}
        if todo:
            with console.progress("features", len(todo), "images") as advance:
                failed = self._fill(todo, advance)
            known = [None if path in failed else self._index.get(path) for path in paths]
        else:
            console.say(f"features: all {len(paths)} images are in the bank")
        banks = [self._banks[start : start + self._num_views] for start in range(0, len(self._banks), self._num_views)]
        widths = [r.backbone.outputs[r.output] for r in self._requests[:: self._num_views]]
        gone = "changed or disappeared while it was read"
        unreadable = {
            place: failed.get(path, gone)
            for place, (path, digest) in enumerate(zip(paths, known, strict=True))
            if digest is None
        }
        return Features(known, unreadable, banks, widths)

    def _missing(self, digest: bytes) -> list[int]:
        return [number for number, bank in enumerate(self._banks) if digest not in bank]

    def _fill(self, paths: Sequence[str], advance: Advance) -> dict[str, str]:
        """Compute what is missing; return the path of each unreadable image -> reason."""
        failed: dict[str, str] = {}
        results = inference.compute(paths, self._requests, self._missing, batch_size=self._batch, workers=self._workers)
        try:
            for result in results:
                if result.error:
                    failed[result.path] = result.error
                else:
                    for number, row in result.rows.items():
                        self._banks[number].add(result.content, row)
                    self._index.put(result.path, result.stamp, result.content)
                advance(1)
        finally:  # what was computed before a failure or Ctrl-C is kept
            for bank in self._banks:
                bank.flush()
            self._index.save()
        return failed


def _open(backbone: Backbone, views: Sequence[str], recipe: Recipe) -> list[inference.Request]:
    """Open one session, and return a request a view."""
    if recipe.output not in backbone.outputs:
        raise UserError(f"output = 'logits': the weights of {backbone.name} have no plain classifier; use pooled.")
    session, device = devices.open_session(Path(backbone.graph), devices.choose(recipe.provider), 1)
    if recipe.provider == "cuda" and device == "cpu":
        raise UserError(
            "provider = 'cuda': onnxruntime could not open the GPU (its CUDA or cuDNN library is missing); "
            "install kagglekit again, or use --provider cpu."
        )
    turn = threading.Lock() if device == "cuda" else contextlib.nullcontext()
    return [inference.Request(backbone, session, recipe.output, view, device, turn) for view in views]


def _address(request: inference.Request) -> dict[str, Any]:
    """Everything that decides the numbers of a row, besides the image's content."""
    return {
        "backbone": request.backbone.name,
        "weights": request.backbone.sha256,
        "made_by": request.backbone.made_by,
        "preprocessing": asdict(request.backbone.preprocessing),
        "preprocessing_version": images.PREPROCESSING_VERSION,
        "view": request.view,
        "output": request.output,
        "precision": "float32" if request.device == "cpu" else "tf32",
        "provider": request.device,
        "versions": {name: version(name) for name in ("opencv-python-headless", "pillow")}
        | {"onnxruntime": _onnxruntime_version()},
    }


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
