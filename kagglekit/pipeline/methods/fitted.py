"""The result of a method: networks, and the head that turns their outputs into probabilities.

N: images, V: views, D: features, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats
from kagglekit.heads import prediction
from kagglekit.heads.layers import Head
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import backbone, onnx_export, timm_models
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.views import ViewClasses
from kagglekit.tasks.activations import SOFTMAX, Activation
from kagglekit.training import checkpoints

if TYPE_CHECKING:
    import onnx
    import torch

WHOLE = "all"
"""Name of the part that predicts the test set. The other parts, `fold0` …, predict their held-out images."""

Output = Literal["pooled", "logits", "layers"]


@dataclass(frozen=True)
class Network:
    """A backbone of a run, frozen or trained."""

    name: str
    backbone: Backbone
    weights: Path | None = None
    """File of the trained weights; None for a frozen backbone."""
    classes: int = 0
    """Number of columns of a trained network's own head; 0 for a frozen backbone."""
    activation: Activation = SOFTMAX
    """From the scores of its own head to predictions."""

    @property
    def key(self) -> tuple[str, str, Preprocessing, str]:
        """What tells networks apart, of one run or of several."""
        return self.name, self.backbone.sha256, self.backbone.preprocessing, str(self.weights)

    def graph(self) -> onnx.ModelProto:
        """Return the ONNX graph."""
        import onnx

        if self.weights is None:
            return onnx.load(self.backbone.graph)
        model = self.model()
        return onnx.load_from_string(onnx_export.trained(self.backbone, model, model.state_dict()))

    def module(self) -> torch.nn.Module:
        """Return a torch module: uint8 (N, H, W, 3) -> pooled (N, D), and logits (N, C) if trained."""
        return onnx_export.wrap(self.model(), self.backbone.preprocessing, whole=self.weights is not None)

    def model(self) -> Any:
        """Return the timm model, in evaluation mode."""
        if self.weights is None:
            weights = backbone.weights_of(self.backbone)
            return timm_models.load_model(self.backbone.name, weights, self.backbone.preprocessing.size)[0]
        model = timm_models.create(self.backbone.name, self.backbone.preprocessing.size, num_classes=self.classes)
        model.load_state_dict(checkpoints.load_weights(self.weights)[0])
        return model.eval()


@dataclass(frozen=True, kw_only=True)
class Term:
    """Networks that predict together: a term of the weighted sum that a run predicts."""

    networks: tuple[Network, ...]
    views: tuple[str, ...]
    """Views of an image that each network sees."""
    view_classes: ViewClasses
    """For each view, the class that an image of class c shows, (V, C)."""
    head: Head | None = None
    """Head on the concatenated outputs of all networks; None if each network has its own head."""
    output: Output = "logits"
    """Output of the networks that is used."""
    weight: float = 1.0

    def probabilities(self, outputs: Sequence[Sequence[Mapping[str, NDArray[Any]]]]) -> Floats:
        """Return probabilities (N, C). `outputs` has one mapping per network and view: output name -> (N, …)."""
        read = [[view[self.output] for view in network] for network in outputs]
        if self.head is not None:
            by_view = [np.concatenate(beside, axis=1) for beside in zip(*read, strict=True)]
            return prediction.predict(self.head, np.stack(by_view, axis=1), self.view_classes)
        plain = [
            network.activation.predictions(logits.astype(np.float64))[:, list(classes)]
            for network, by_view in zip(self.networks, read, strict=True)
            for logits, classes in zip(by_view, self.view_classes, strict=True)
        ]
        mean: Floats = np.mean(plain, axis=0)
        return mean


@dataclass(frozen=True)
class Fitted:
    """A part of a finished run that can predict: the whole, or the models of one fold.

    Export and report reproduce the weighted sum of `Term.probabilities`.
    """

    terms: tuple[Term, ...] = ()
    """Their weights sum to one. If the method has no networks, there are none: nothing can be exported or explained."""

    @property
    def networks(self) -> tuple[Network, ...]:
        """Networks of all terms."""
        return tuple(network for term in self.terms for network in term.networks)
