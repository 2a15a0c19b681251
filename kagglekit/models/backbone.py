"""What a backbone is once it is ready: weights known by hash, graph exported."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from kagglekit.images.decoding import PREPROCESSING_VERSION, Preprocessing
from kagglekit.models.weights import Source, Weights
from kagglekit.runs.record import BackboneRecord

EXPORT_VERSION = 2
"""Raised whenever the exported graph changes; part of a backbone's key."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone that is ready: weights known by hash, graph exported."""

    name: str
    """timm's model name."""
    source: Source
    """Where the weights come from."""
    weights: str
    """The weights file."""
    weights_stamp: tuple[int, int]
    """Its size in bytes and time of change in ns when it was hashed."""
    sha256: str
    """Hash of the weights file."""
    licence: str
    """Licence of the weights as their source states it."""
    parameters: int
    """Number of parameters."""
    outputs: dict[str, int]
    """Output of the graph -> its width: `pooled`, and `logits` where the weights have a classifier."""
    preprocessing: Preprocessing
    """What its input is made by."""
    graph: str
    """The exported ONNX file: uint8 (N, H, W, 3) -> float32 (N, width)."""
    template: str
    """The same graph as torch traced it, without weights: other weights of the architecture fit in."""
    made_by: dict[str, str]
    """Versions of what exported the graph."""

    def record(self) -> BackboneRecord:
        """Return what a run's record keeps."""
        return BackboneRecord(
            name=self.name,
            source=self.source,
            sha256=self.sha256,
            licence=self.licence,
            parameters=self.parameters,
            outputs=self.outputs,
            made_by=self.made_by,
            preprocessing=dataclasses.asdict(self.preprocessing),
            pixels=PREPROCESSING_VERSION,
        )


def exporter() -> dict[str, str]:
    """Return the versions of everything that decides what an exported graph computes."""
    packages = ("timm", "torch", "onnx", "onnxscript")
    return {"export": str(EXPORT_VERSION)} | {package: version(package) for package in packages}


def weights_of(backbone: Backbone) -> Weights:
    """Return where a backbone's weights lie: those of the hub are in its cache by now."""
    return Weights(backbone.source, Path(backbone.weights), backbone.licence)
