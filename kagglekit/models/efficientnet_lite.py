"""Templates of EfficientNet-lite graphs, written layer by layer: torch takes several seconds to trace them.

N images, H x W pixels, D features, E features of earlier layers, K logits. The layers, strides and widths are read from
timm's model, which is chains of convolutions, each with a batch norm and perhaps an activation. `onnx_export` compares
the result with torch, as it does for all graphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.images.decoding import Preprocessing
from kagglekit.models.weights import EMBEDDED

_OPSET, _IR_VERSION = 20, 10
"""Those of torch's exporter."""
_EARLIER = (-3, -2)
"""The stages whose last blocks are the earlier layers, at strides 16 and 32. The last stage only widens the maps."""


def is_lite(name: str) -> bool:
    """Return whether `template` can write the timm model called `name`."""
    return name.partition(".")[0] in EMBEDDED


def maps(model: Any, pixels: Any) -> tuple[Any, list[Any]]:
    """Return the last maps of a timm model, and those of its earlier layers, from normalised pixels (N, 3, H, W)."""
    found, stages = model.bn1(model.conv_stem(pixels)), []
    for stage in model.blocks:
        found = stage(found)
        stages.append(found)
    return model.bn2(model.conv_head(found)), [stages[place] for place in _EARLIER]


def template(model: Any, preprocessing: Preprocessing, names: tuple[str, str, str, str], prefix: str) -> Any:
    """Return the ONNX graph of a timm model without weights.

    uint8 (N, H, W, 3) -> pooled (N, D), logits (N, K) and the features of earlier layers (N, E). `names` are those of
    the images and of the outputs. Weights are inputs, called as in the model's state but for the `prefix`.
    """
    return _Writer(model, preprocessing, prefix).graph(*names)


class _Writer:
    """A graph that is being written."""

    def __init__(self, model: Any, preprocessing: Preprocessing, prefix: str) -> None:
        self._model, self._preprocessing, self._prefix = model, preprocessing, prefix
        self._names = {part: name for name, part in model.named_modules()}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._weights: list[Any] = []
        self._sides: Sequence[int] = preprocessing.size
        """Height and width of the maps that were written last."""

    def graph(self, images: str, pooled: str, logits: str, layers: str) -> Any:
        from onnx import TensorProto, helper

        model, (height, width) = self._model, self._preprocessing.size
        maps, earlier = self._normalised(images), []
        ends = [model.blocks[place][-1] for place in _EARLIER]
        for block, chain in self._chains():
            before = maps
            for convolution, norm in chain:
                maps = self._convolved(maps, convolution, norm)
            if block is not None and block.has_skip:
                maps = self._node("Add", [maps, before])
            if block in ends:
                earlier.append(self._node("Flatten", [self._node("GlobalAveragePool", [maps])]))
        self._node("Flatten", [self._node("GlobalAveragePool", [maps])], output=pooled)
        self._node("Concat", earlier, output=layers, axis=1)
        classifier = [self._weight(model.classifier, kind) for kind in ("weight", "bias")]
        self._node("Gemm", [pooled, *classifier], output=logits, transB=1)
        described = helper.make_tensor_value_info
        features = sum(block.conv_pwl.out_channels for block in ends)
        inputs = [described(images, TensorProto.UINT8, ["batch", height, width, 3]), *self._weights]
        outputs = [
            described(pooled, TensorProto.FLOAT, ["batch", model.num_features]),
            described(logits, TensorProto.FLOAT, ["batch", model.num_classes]),
            described(layers, TensorProto.FLOAT, ["batch", features]),
        ]
        graph = helper.make_graph(self._nodes, "efficientnet_lite", inputs, outputs, self._constants)
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)

    def _chains(self) -> Iterator[tuple[Any, list[tuple[Any, Any]]]]:
        """Yield each block, or None outside of blocks, and its pairs of convolution and batch norm in their order."""
        model = self._model
        yield None, [(model.conv_stem, model.bn1)]
        for stage in model.blocks:
            for block in stage:
                layers = [part for _, part in block.named_children() if hasattr(part, "weight")]
                yield block, list(zip(layers[::2], layers[1::2], strict=True))
        yield None, [(model.conv_head, model.bn2)]

    def _normalised(self, images: str) -> str:
        from onnx import TensorProto

        pixels = self._node("Cast", [self._node("Transpose", [images], perm=[0, 3, 1, 2])], to=TensorProto.FLOAT)
        # in the units of uint8 pixels
        mean, std = (
            self._constant(name, 255 * np.array(values, np.float32).reshape(1, 3, 1, 1))
            for name, values in (("pixel_mean", self._preprocessing.mean), ("pixel_std", self._preprocessing.std))
        )
        return self._node("Div", [self._node("Sub", [pixels, mean]), std])

    def _convolved(self, maps: str, convolution: Any, norm: Any) -> str:
        import torch

        maps = self._node(
            "Conv",
            [maps, self._weight(convolution, "weight")],
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            pads=self._pads(convolution),
            group=convolution.groups,
        )
        kinds = ("weight", "bias", "running_mean", "running_var")
        maps = self._node("BatchNormalization", [maps, *(self._weight(norm, kind) for kind in kinds)], epsilon=norm.eps)
        if isinstance(norm.act, torch.nn.Identity):
            return maps
        limits = (self._constant(f"{limit:g}", np.float32(limit)) for limit in (norm.act.min_val, norm.act.max_val))
        return self._node("Clip", [maps, *limits])

    def _pads(self, convolution: Any) -> list[int]:
        """Return TensorFlow's SAME padding: of both sides at their starts, then at their ends, which may differ."""
        steps = list(zip(self._sides, convolution.kernel_size, convolution.stride, strict=True))
        self._sides = [-(-side // stride) for side, _, stride in steps]
        totals = [
            max((out - 1) * stride + kernel - side, 0)
            for out, (side, kernel, stride) in zip(self._sides, steps, strict=True)
        ]
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]

    def _node(self, kind: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{kind}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _constant(self, name: str, values: NDArray[np.float32] | np.float32) -> str:
        from onnx import numpy_helper

        if name not in [constant.name for constant in self._constants]:
            self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _weight(self, layer: Any, kind: str) -> str:
        from onnx import TensorProto, helper

        name = f"{self._prefix}{self._names[layer]}.{kind}"
        shape = list(getattr(layer, kind).shape)
        self._weights.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name
