"""The description of a backbone that is ready to use."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from kagglekit.images.decoding import PREPROCESSING_VERSION, Preprocessing
from kagglekit.images.depth import Levels
from kagglekit.models.weights import Source, Weights
from kagglekit.runs.record import BackboneRecord

EXPORT_VERSION = 3
"""Increased whenever the exported graph changes; part of a backbone's cache key."""
LAYERS: Final = "layers"
"""The output of a graph that has the features of earlier layers. It came later, and is no part of the version: features
of the other outputs that are cached, and runs on them, stay valid."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone that is ready to use: its weights are hashed and its graph is exported."""

    name: str
    """timm's model name."""
    source: Source
    """Where the weights come from."""
    weights: str
    """Path of the weights file."""
    weights_stamp: tuple[int, int]
    """Size in bytes and modification time in ns of the weights file when it was hashed."""
    sha256: str
    """Hash of the weights file."""
    licence: str
    """Licence of the weights as their source states it."""
    parameters: int
    """Number of parameters."""
    outputs: dict[str, int]
    """Output of the graph -> its width: `pooled`, `logits` if the weights have a plain classifier, and `layers`, the
    features of earlier layers, where timm gives them too."""
    preprocessing: Preprocessing
    """Preprocessing of its input images."""
    graph: str
    """Path of the exported ONNX file: uint8 (N, H, W, 3) -> float32 (N, width)."""
    template: str
    """Path of the same graph without weights, before optimisation; it takes any weights of the architecture."""
    made_by: dict[str, str]
    """Versions of the packages that exported the graph."""

    def with_levels(self, levels: Levels) -> Backbone:
        """Return the backbone for a data set whose images are decoded with `levels`."""
        return dataclasses.replace(self, preprocessing=dataclasses.replace(self.preprocessing, levels=levels))

    def without_layers(self) -> Backbone:
        """Return the backbone for those who don't use the features of its earlier layers."""
        outputs = {name: width for name, width in self.outputs.items() if name != LAYERS}
        return dataclasses.replace(self, outputs=outputs)

    def record(self) -> BackboneRecord:
        """Return the part that a run's record keeps."""
        return BackboneRecord(
            name=self.name,
            source=self.source,
            sha256=self.sha256,
            licence=self.licence,
            parameters=self.parameters,
            outputs=self.outputs,
            made_by=self.made_by,
            preprocessing=self.preprocessing.to_plain(),
            pixels=PREPROCESSING_VERSION,
        )


def exporter() -> dict[str, str]:
    """Return the versions of everything that affects an exported graph."""
    packages = ("timm", "torch", "onnx", "onnxscript")
    return {"export": str(EXPORT_VERSION)} | {package: version(package) for package in packages}


def graph_key() -> dict[str, str]:
    """Return the versions of everything that affects the graph of a model, with an output that came later."""
    return exporter() | {LAYERS: "1"}


def weights_of(backbone: Backbone) -> Weights:
    """Return the location of a backbone's weights; those from the hub are in its cache by now."""
    return Weights(backbone.source, Path(backbone.weights), backbone.licence)
