"""Export of timm models to ONNX graphs: uint8 images in, pooled features and logits out.

N images, H x W pixels, D features, E features of earlier layers, K logits. A graph contains the normalisation, so that
no caller can forget it. Tracing a model takes torch several seconds and does not depend on the weights. The traced
graph is kept as a template without weights; models of the same architecture are made from it in a second or two.
EfficientNet-lite's template needs no tracing.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices, storage
from kagglekit.base.errors import UserError
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import earlier_layers, efficientnet_lite, sessions, timm_models
from kagglekit.models.backbone import LAYERS, Backbone, exporter, graph_key
from kagglekit.models.weights import Weights

if TYPE_CHECKING:
    import onnx
    import torch

TOLERANCE = 1e-3
"""Largest accepted difference between torch and onnxruntime, relative to the largest output."""
IMAGES = "images"
"""Name of the input."""
OUTPUTS = ("pooled", "logits", LAYERS)
"""Names of the outputs; graphs without a plain classifier have the first only."""
_MODEL = "model."
"""Prefix of the names of the model's own weights; other tensors belong to the preprocessing."""


def export(name: str, weights: Weights, image_size: timm_models.Size, folder: Path) -> Backbone:
    """Load a model, export it below `folder`, check it against torch, and return it as a Backbone.

    Raises UserError if the name is unknown, or the weights don't fit or can't be loaded.
    """
    with _garbage_kept(), _half_the_cores():
        return _export(name, weights, image_size, folder)


def _export(name: str, weights: Weights, image_size: timm_models.Size, folder: Path) -> Backbone:
    model, path, licence = timm_models.load_model(name, weights, image_size)
    stamp = storage.stamp(path)  # before the content: a change in between is noticed next time
    sha256 = storage.file_sha256(path)
    preprocessing = timm_models.preprocessing_of(model, image_size)
    key = storage.digest([name, sha256, list(preprocessing.size), graph_key()])
    graph, template = folder / f"{name}-{key}.onnx", folder / f"{name}-{key}.template.onnx"
    outputs = _write(model, preprocessing, graph, template)
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
        template=str(template),
        made_by=exporter(),
    )


def trained(backbone: Backbone, model: Any, weights: Mapping[str, torch.Tensor]) -> bytes:
    """Return the serialised graph of `model`, the backbone with a new head, with `weights`.

    uint8 (N, H, W, 3) -> pooled (N, D) and logits (N, C).
    """
    import onnx

    arrays = {key: value.detach().cpu().numpy() for key, value in weights.items()}
    if "logits" in backbone.outputs:
        graph = _filled(onnx.load(backbone.template), arrays, model.num_classes)
    else:  # the template has no plain classifier whose place the new head could take
        traced = _trace(wrap(model, backbone.preprocessing, whole=True), backbone.preprocessing, outputs=2)
        graph = _filled(_emptied(traced, arrays), arrays)
    return bytes(graph.SerializeToString())


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a graph to half precision; inputs and outputs keep their types."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny weights become zero; callers check the loss
        converted: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return converted


def _filled(template: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], classes: int = 0) -> onnx.ModelProto:
    """Fill a template with weights, given by timm's names.

    `classes` is the number of classes of the weights' own head; no other head sees the earlier layers then.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    places = [value.name for value in graph.input if value.name != IMAGES]
    arrays = {name: np.ascontiguousarray(weights[name.removeprefix(_MODEL)]) for name in places}
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    images = [value for value in graph.input if value.name == IMAGES]
    del graph.input[:], graph.value_info[:]  # its shapes may be those of another head
    graph.input.extend(images)
    for output in list(graph.output) if classes else ():
        if output.name == "logits":
            output.type.tensor_type.shape.dim[1].dim_value = classes
        elif output.name == LAYERS:
            graph.output.remove(output)
    return _optimised(model)


def _emptied(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Return the traced graph with the weights called `names` as inputs instead of constants."""
    import onnx

    template = onnx.ModelProto()
    template.CopyFrom(model)
    graph = template.graph
    learnt = {_MODEL + name for name in names}  # other tensors, such as position tables, are the same for all
    weights = [tensor for tensor in graph.initializer if tensor.name in learnt]
    kept = [tensor for tensor in graph.initializer if tensor.name not in learnt]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.input.extend(onnx.helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in weights)
    return template


def _optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants, and batch norms into convolutions: onnxruntime alone misses some."""
    import onnx_ir
    import torch

    program = torch.onnx.ONNXProgram(onnx_ir.from_proto(model), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about its own internals
        program.optimize()
    return program.model_proto


def _has_plain_classifier(model: Any, preprocessing: Preprocessing) -> bool:
    """Return whether the logits are one layer on the pooled features, unlike distilled and convolutional heads."""
    import torch

    pixels = _noise(preprocessing)
    if not model.num_classes or not isinstance(model.get_classifier(), torch.nn.Module):
        return False
    with torch.inference_mode():
        try:
            logits = model.get_classifier()(model.forward_head(model.forward_features(pixels), pre_logits=True))
        except RuntimeError:
            return False
        whole = model(pixels)
    return bool(logits.shape == whole.shape and torch.allclose(logits, whole, rtol=1e-3, atol=1e-4))


def _noise(preprocessing: Preprocessing) -> torch.Tensor:
    """Return a normalised image of noise, (1, 3, H, W)."""
    import torch

    return torch.randn(1, 3, *preprocessing.size, generator=torch.Generator().manual_seed(0))


def wrap(model: Any, preprocessing: Preprocessing, *, whole: bool = False) -> torch.nn.Module:
    """Return a module from uint8 images to pooled features, and to logits if they are one layer on top.

    After them it returns the features of earlier layers, if the graph has them. With `whole`, it returns pooled
    features and logits in any case, computed by the model's whole head.
    """
    import torch

    plain = not whole and _has_plain_classifier(model, preprocessing)
    with_layers = plain and earlier_layers.are_given(model, _noise(preprocessing))

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
            if with_layers:
                maps, earlier = earlier_layers.maps(self.model, pixels)
                pooled = self.model.forward_head(maps, pre_logits=True)  # (N, D)
                return pooled, self.model.get_classifier()(pooled), earlier_layers.pooled(earlier)  # …, (N, E)
            maps = self.model.forward_features(pixels)
            pooled = self.model.forward_head(maps, pre_logits=True)  # (N, D)
            if whole:
                return pooled, self.model.forward_head(maps)  # (N, D), (N, K)
            return (pooled, self.model.get_classifier()(pooled)) if plain else (pooled,)

    return Graph().eval()


def _trace(wrapped: torch.nn.Module, preprocessing: Preprocessing, *, outputs: int) -> onnx.ModelProto:
    """Return the traced graph of a module with that many outputs, for any batch size, without optimisation."""
    import torch

    with warnings.catch_warnings(), _garbage_kept(), _out_of_place(wrapped):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            wrapped,
            (torch.zeros((2, *preprocessing.size, 3), dtype=torch.uint8),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=[IMAGES],
            output_names=OUTPUTS[:outputs],
            optimize=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _out_of_place(module: torch.nn.Module) -> Iterator[None]:
    """Let activations return new tensors, which halves the time of tracing.

    torch decomposes an operation in place into many, each with arithmetic on the symbolic batch size. The graph is the
    same but for names.
    """
    in_place: list[Any] = [part for part in module.modules() if getattr(part, "inplace", False)]
    try:
        for part in in_place:
            part.inplace = False
        yield
    finally:
        for part in in_place:
            part.inplace = True


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Pause the garbage collector: it takes a quarter of the time of importing torch, and some of tracing."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _half_the_cores() -> Iterator[None]:
    """Use half the cores in torch: its threads spin while one of them waits for a core that others use."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _threads() -> int:
    return max(1, devices.cores() // 2)


def _write(model: Any, preprocessing: Preprocessing, path: Path, template: Path) -> dict[str, int]:
    """Export, compare with torch at two batch sizes, and only then move the files into place."""
    import onnx
    import torch

    wrapped = wrap(model, preprocessing)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, *preprocessing.size, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = [out.numpy() for out in wrapped(images)]
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    if efficientnet_lite.is_lite(model.pretrained_cfg["architecture"]) and len(expected) == len(OUTPUTS):
        empty = efficientnet_lite.template(model, preprocessing, (IMAGES, *OUTPUTS), _MODEL)
        whole = _filled(empty, weights)
    else:
        traced = _trace(wrapped, preprocessing, outputs=len(expected))
        empty, whole = _emptied(traced, weights), _optimised(traced)
    with storage.replacing(path) as temporary:
        onnx.save(whole, temporary)
        _compare(temporary, images.numpy(), expected, path.stem)
    with storage.replacing(template) as temporary:
        onnx.save(empty, temporary)
    return {name: out.shape[1] for name, out in zip(OUTPUTS, expected, strict=False)}


def _compare(path: Path, images: NDArray[np.uint8], expected: Sequence[NDArray[Any]], name: str) -> None:
    """Raise UserError where the outputs for one image or for all (N, H, W, 3) differ from the `expected` ones."""
    session = sessions.Session(path, "cpu", _threads())
    for count in (1, len(images)):
        found = session.run(OUTPUTS[: len(expected)], {IMAGES: images[:count]})
        for torch_out, onnx_out in zip((out[:count] for out in expected), found, strict=True):
            difference = float(np.abs(torch_out - onnx_out).max() / max(np.abs(torch_out).max(), 1e-9))
            if difference > TOLERANCE:
                raise UserError(
                    f"{name}: torch and onnxruntime differ by {difference:.2g} of the largest output at batch "
                    f"{count}, more than {TOLERANCE}; the exported graph was not kept: use another --backbone."
                )
