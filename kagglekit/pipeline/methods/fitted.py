"""What a method leaves: networks, and what makes probabilities of their outputs.

N images, V views, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, softmax
from kagglekit.heads import heads
from kagglekit.heads.layers import Head
from kagglekit.models import backbone, onnx_export, timm_models
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.views import ViewClasses
from kagglekit.training import checkpoints

if TYPE_CHECKING:
    import onnx
    import torch

WHOLE = "all"
"""The part of a run that predicts the test set; the others predict what they have not seen: `fold0` …"""


@dataclass(frozen=True)
class Network:
    """A backbone as a run uses it: frozen, or with trained weights."""

    name: str
    backbone: Backbone
    weights: Path | None = None
    """Of a trained one."""
    classes: int = 0
    """Of a trained one's own head."""

    def graph(self) -> onnx.ModelProto:
        """Return its ONNX graph."""
        import onnx

        if self.weights is None:
            return onnx.load(self.backbone.graph)
        model = self.model()
        return onnx.load_from_string(onnx_export.trained(self.backbone, model, model.state_dict()))

    def module(self) -> torch.nn.Module:
        """Return it as torch computes it: uint8 (N, H, W, 3) -> pooled (N, D), logits where there are any."""
        return onnx_export.wrap(self.model(), self.backbone.preprocessing, whole=self.weights is not None)

    def model(self) -> Any:
        """Return it as a timm model, in evaluation mode."""
        if self.weights is None:
            weights = backbone.weights_of(self.backbone)
            return timm_models.load_model(self.backbone.name, weights, self.backbone.preprocessing.size)[0]
        model = timm_models.create(self.backbone.name, self.backbone.preprocessing.size, num_classes=self.classes)
        model.load_state_dict(checkpoints.load_weights(self.weights)[0])
        return model.eval()


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A part of a finished run, which predicts by itself: the whole, or the models that have not seen a fold.

    The export and the report read it, too: both compute what `probabilities` does.
    """

    networks: tuple[Network, ...]
    """None where the method has no network: then nothing can be exported or explained."""
    head: Head | None = None
    """What makes probabilities of all networks' outputs side by side; None where each network has its own head."""
    output: Literal["pooled", "logits"] = "logits"
    """Which of the networks' outputs is read."""

    def probabilities(
        self, outputs: Sequence[Sequence[Mapping[str, NDArray[Any]]]], view_classes: ViewClasses
    ) -> Floats:
        """Return probabilities (N, C) from the outputs of each network in each view, by name (N, …)."""
        read = [[view[self.output] for view in network] for network in outputs]
        if self.head is not None:
            by_view = [np.concatenate(beside, axis=1) for beside in zip(*read, strict=True)]
            return heads.predict(self.head, np.stack(by_view, axis=1), view_classes)
        plain = [
            softmax(logits.astype(np.float64))[:, list(classes)]
            for network in read
            for logits, classes in zip(network, view_classes, strict=True)
        ]
        mean: Floats = np.mean(plain, axis=0)
        return mean
