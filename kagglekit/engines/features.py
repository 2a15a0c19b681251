"""Features of frozen backbones, from the bank or computed into it.

N images, V views, D features (of all backbones side by side).
"""

from __future__ import annotations

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
from kagglekit.engines.contents import Content, ContentIndex
from kagglekit.errors import UserError
from kagglekit.recipe import Recipe


@dataclass(frozen=True)
class Features:
    """Features of some images: in the bank, and copied to memory only where they are asked for."""

    contents: list[Content | None]
    """What each image file holds; None for one that disappeared meanwhile."""
    banks: list[list[Bank]]
    """One bank a backbone and view."""
    widths: list[int]
    """Features of each backbone."""

    def unreadable(self) -> dict[int, str]:
        """Return the position of each unreadable image -> reason."""
        return {
            place: content.error if content else "disappeared while it was read"
            for place, content in enumerate(self.contents)
            if content is None or content.error
        }

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of the images at `places` (N,), which must be readable: (N, V, D)."""
        digests = [content.digest for place in places.tolist() if (content := self.contents[place]) is not None]
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
        self.views = tuple(views)
        wanted = devices.choose(recipe.provider)
        self._workers = recipe.threads or devices.cores()
        self._requests = []
        used = wanted
        for backbone in backbones:
            if recipe.output not in backbone.outputs:
                raise UserError(f"output = 'logits': the weights of {backbone.name} have no classifier; use pooled.")
            session, device = devices.open_session(Path(backbone.graph), wanted, 1)
            used = device if device == "cpu" else used
            self._requests.append(inference.Request(backbone, session, recipe.output, self.views))
        if recipe.provider == "cuda" and used == "cpu":
            raise UserError(
                "provider = 'cuda': onnxruntime could not open the GPU (its CUDA or cuDNN library is missing); "
                "install kagglekit again, or use --provider cpu."
            )
        self.device: devices.Device = used
        self._batch = recipe.batch_size or inference.automatic_batch(used)
        self._index = ContentIndex(folder / "contents.parquet")
        self._banks = [
            [Bank(folder, _address(request, view, used)) for view in self.views] for request in self._requests
        ]

    def compute(self, paths: Sequence[str], console: Console) -> Features:
        """Return the features of the images at `paths`, having computed those that the bank did not have."""
        known = [self._index.get(path) for path in paths]
        todo = [path for path, content in zip(paths, known, strict=True) if not self._is_done(content)]
        if todo:
            with console.progress("features", len(todo), "images") as advance:
                self._fill(todo, advance)
            known = [self._index.get(path) for path in paths]
        else:
            console.say(f"features: all {len(paths)} images are in the bank")
        widths = [request.backbone.outputs[request.output] for request in self._requests]
        return Features(known, self._banks, widths)

    def _is_done(self, content: Content | None) -> bool:
        return content is not None and (bool(content.error) or self._has(content.digest))

    def _has(self, digest: bytes) -> bool:
        return all(digest in bank for banks in self._banks for bank in banks)

    def _fill(self, paths: Sequence[str], advance: Advance) -> None:
        results = inference.compute(paths, self._requests, self._has, batch_size=self._batch, workers=self._workers)
        try:
            for result in results:
                self._index.put(result.path, Content(result.content, result.error))
                for banks, rows in zip(self._banks, result.rows, strict=False):
                    for bank, row in zip(banks, rows, strict=True):
                        bank.add(result.content, row)
                advance(1)
        finally:  # what was computed before a failure or Ctrl-C is kept
            for bank in (bank for banks in self._banks for bank in banks):
                bank.flush()
            self._index.save()


def _address(request: inference.Request, view: str, device: devices.Device) -> dict[str, Any]:
    """Everything that decides the numbers of a row, besides the image's content."""
    return {
        "backbone": request.backbone.name,
        "weights": request.backbone.sha256,
        "preprocessing": asdict(request.backbone.preprocessing),
        "preprocessing_version": images.PREPROCESSING_VERSION,
        "view": view,
        "output": request.output,
        "precision": "float32",
        "provider": device,
        "versions": {name: version(name) for name in ("opencv-python-headless", "pillow", "timm")}
        | {"onnxruntime": _onnxruntime_version()},
    }


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
