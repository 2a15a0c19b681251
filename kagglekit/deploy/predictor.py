"""Predict any images with an exported file, which contains its classes and preprocessing.

N: images, C: classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices, gpu, memory, parallel
from kagglekit.base.errors import UserError
from kagglekit.deploy.onnx_graph import PROBABILITIES
from kagglekit.images import decoding, files
from kagglekit.images.decoding import ImageError, Pixels, Preprocessing
from kagglekit.models import batch_sizes, sessions
from kagglekit.tasks import decisions
from kagglekit.tasks.activations import ACTIVATIONS

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Image:
    """An image file to predict."""

    id: str
    """Name of the image in the result."""
    path: Path


@dataclass(frozen=True)
class Row:
    """The prediction of an image."""

    id: str
    probabilities: Probabilities | None
    """Probabilities of the classes, (C,); None if the image can't be read."""
    decided: str = ""
    """Labels that are decided, separated by `|`; of numbers, and where nothing was decided, empty."""
    error: str = ""
    """Reason why the image can't be read."""


class Predictor:
    """An onnxruntime session of an exported file."""

    def __init__(self, file: Path, provider: str, warn: sessions.Say, *, batch: int = 0, threads: int = 0) -> None:
        """Load a file on the device of `provider`. A `batch` of 0 is chosen by measurement.

        Raises UserError if kagglekit did not write the file, or if the provider is not available.
        """
        gpu.choose(provider, warn)
        try:
            self.session = sessions.open_on(file, provider, 1, warn)
        except UserError:
            raise
        except Exception as error:  # onnxruntime has a separate class for each kind of failure
            reason = " ".join(str(error).split())[-200:]
            raise UserError(f"{file} can't be opened: {reason}: export the run again.") from error
        about = self.session.metadata
        if "kagglekit" not in about:
            raise UserError(f"{file} was not written by `kagglekit export`: its metadata has no classes.")
        self.classes: dict[str, str] = json.loads(about["classes"])
        """Label -> name for people, in the order of probabilities."""
        self.activation = ACTIVATIONS[about.get("activation", "softmax")]
        """What predictions are: probabilities or numbers."""
        self.decision = decisions.from_plain(json.loads(about["decision"])) if "decision" in about else None
        """What is decided from predictions; None in files of older versions."""
        self.preprocessings = {
            name: Preprocessing.from_plain(plain) for name, plain in json.loads(about["preprocessing"]).items()
        }
        self._levels = next(iter(self.preprocessings.values())).levels
        if about["precision"] == "float16" and about["checked_on"] == "cpu" and self.session.device == "cuda":
            warn(
                f"{file.name} was checked on a CPU, which can't show float16 overflows: export it again on this machine"
            )
        self._floats = about["input"] == "float32"
        self._batch = batch
        self._sizes = batch_sizes.BatchSizes(self.session.device)
        self._workers = threads or devices.cores()
        self._max_megapixels = int(about["max_megapixels"])

    def predict(self, wanted: Iterable[Image]) -> Iterator[Row]:
        """Yield one row per image, in order. Few images are in memory at a time; an unreadable one affects no other."""
        source = iter(wanted)

        def chunks() -> Iterator[list[Image]]:
            while chunk := list(islice(source, self._batch or self._sizes.next())):
                yield chunk

        for rows in parallel.overlapped(chunks(), self._compute, self._workers):
            yield from rows

    def run(self, batch: Sequence[Mapping[str, Pixels]]) -> Probabilities:
        """Return the probabilities (N, C) of preprocessed images. Each maps input names to uint8 pixels (H, W, 3)."""

        def compute(size: int) -> Probabilities:
            return np.concatenate([self._run_together(some) for some in parallel.chunks(batch, size)])

        # onnxruntime has no separate class for lack of memory; any other failure also occurs with a single image
        return memory.halving(len(batch), compute, lambda _: True, lambda failed, _: self._sizes.leave_out(failed))

    def _run_together(self, batch: Sequence[Mapping[str, Pixels]]) -> Probabilities:
        feeds = {name: np.stack([image[name] for image in batch]) for name in self.preprocessings}
        if self._floats:
            feeds = {name: pixels.astype(np.float32) / 255 for name, pixels in feeds.items()}  # type: ignore[misc]
        (found,) = self.session.run((PROBABILITIES,), feeds, self._sizes.note)
        return found

    def prepare(self, image: Pixels) -> dict[str, Pixels]:
        """Scale and crop an image for each input: input name -> pixels."""
        return {name: preprocessing.apply(image) for name, preprocessing in self.preprocessings.items()}

    def _compute(self, chunk: Sequence[Image]) -> list[Row]:
        prepared: list[dict[str, Pixels]] = []
        errors: dict[int, str] = {}
        for index, image in enumerate(chunk):
            try:
                content, _ = files.read_bytes(image.path)
                prepared.append(self.prepare(decoding.decode_whole(content, self._max_megapixels, self._levels)))
            except ImageError as error:
                errors[index] = str(error)
        rows = iter(self.run(prepared)) if prepared else iter(())
        return [
            Row(image.id, None, error=errors[index]) if index in errors else self._row(image.id, next(rows))
            for index, image in enumerate(chunk)
        ]

    def _row(self, name: str, predictions: Probabilities) -> Row:
        if not np.isfinite(predictions).all():
            reason = "has no finite probabilities: the file's precision overflows; use the float32 file"
            return Row(name, None, error=reason)
        if self.decision is None:
            return Row(name, predictions)
        decided = self.decision.apply(predictions[None].astype(np.float64))
        (words,) = decisions.labels_of(decided, list(self.classes))
        if decided.dtype.kind == "f":  # numbers within their range
            predictions = decided[0].astype(np.float32)
        return Row(name, predictions, words)
