"""From a timm model to an ONNX graph: uint8 images in, pooled features and ImageNet logits out.

N images, H x W pixels, D features, K logits. The graph normalises by itself, so that nobody who runs it
can forget to.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit import storage
from kagglekit.engines import devices, timm_models
from kagglekit.engines.backbones import Backbone, Weights, exporter
from kagglekit.engines.decoding import Preprocessing
from kagglekit.errors import UserError

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
"""Largest difference between torch and onnxruntime, relative to the largest output, that a graph is kept with."""


def export(name: str, weights: Weights, image_size: timm_models.Size, folder: Path) -> Backbone:
    """Load a model, export it below `folder`, check it against torch, and return it as a Backbone.

    Raises UserError where the name is unknown, the weights don't fit or can't be had.
    """
    model, path, licence = timm_models.load_model(name, weights, image_size)
    stamp = storage.stamp(path)  # before the content: a change in between is noticed next time
    sha256 = storage.file_sha256(path)
    preprocessing = timm_models.preprocessing_of(model, image_size)
    key = storage.digest([name, sha256, list(preprocessing.size), exporter()])
    graph = folder / f"{name}-{key}.onnx"
    outputs = _write_graph(model, preprocessing, graph)
    return Backbone(
        name=name,
        source=weights.source,
        weights=str(path),
        weights_stamp=(stamp[0], stamp[1]),
        sha256=sha256,
        licence=licence,
        parameters=sum(p.numel() for p in model.parameters()),
        outputs=outputs,
        preprocessing=preprocessing,
        graph=str(graph),
        made_by=exporter(),
    )


def _has_plain_classifier(model: Any, preprocessing: Preprocessing) -> bool:
    """Say whether the logits are one layer on the pooled features; distilled and convolutional heads are not."""
    import torch

    pixels = torch.randn(2, 3, *preprocessing.size, generator=torch.Generator().manual_seed(0))
    if not model.num_classes or not isinstance(model.get_classifier(), torch.nn.Module):
        return False
    with torch.inference_mode():
        try:
            logits = model.get_classifier()(model.forward_head(model.forward_features(pixels), pre_logits=True))
        except RuntimeError:
            return False
        whole = model(pixels)
    return bool(logits.shape == whole.shape and torch.allclose(logits, whole, rtol=1e-3, atol=1e-4))


def _wrap(model: Any, preprocessing: Preprocessing) -> torch.nn.Module:
    import torch

    plain_classifier = _has_plain_classifier(model, preprocessing)

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            # in the units of uint8 pixels
            self.pixel_mean: torch.Tensor
            self.pixel_std: torch.Tensor
            self.register_buffer("pixel_mean", 255 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
            self.register_buffer("pixel_std", 255 * torch.tensor(preprocessing.std).view(1, 3, 1, 1))

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            pixels = images.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
            pixels = (pixels - self.pixel_mean) / self.pixel_std
            pooled = self.model.forward_head(self.model.forward_features(pixels), pre_logits=True)  # (N, D)
            if not plain_classifier:
                return (pooled,)
            return pooled, self.model.get_classifier()(pooled)  # (N, D), (N, K)

    return Graph().eval()


def _write_graph(model: Any, preprocessing: Preprocessing, path: Path) -> dict[str, int]:
    """Export, check at two batch sizes against torch, and only then give the file its name."""
    import torch

    graph = _wrap(model, preprocessing)
    height, width = preprocessing.size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = graph(images)
    outputs = {name: out.shape[1] for name, out in zip(("pooled", "logits"), expected, strict=False)}
    with storage.replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own internals
            torch.onnx.export(
                graph,
                (images[:2],),
                str(temporary),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                input_names=["images"],
                output_names=list(outputs),
                verbose=False,
            )
        for count in (1, 3):
            _compare(temporary, images[:count].numpy(), [out[:count].numpy() for out in expected], path.stem)
    return outputs


def _compare(path: Path, images: Any, expected: list[Any], name: str) -> None:
    import numpy as np

    session, _ = devices.open_session(path, "cpu", devices.cores())
    for torch_out, onnx_out in zip(expected, session.run(None, {"images": images}), strict=True):
        difference = float(np.abs(torch_out - onnx_out).max() / max(np.abs(torch_out).max(), 1e-9))
        if difference > TOLERANCE:
            raise UserError(
                f"{name}: torch and onnxruntime differ by {difference:.2g} of the largest output at batch "
                f"{len(images)}, more than {TOLERANCE}; the exported graph was not kept: use another --backbone."
            )
