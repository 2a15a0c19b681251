"""Build one ONNX graph of a whole run: networks, views, heads, means and finishing steps.

N: images, V: views, D: features, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.errors import UserError
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.heads.layers import Head, Linear, Ordered, Relu, Standardise, Step, Unit
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import onnx_export
from kagglekit.pipeline.methods.fitted import WHOLE, Network, Term
from kagglekit.pipeline.views import PLAIN
from kagglekit.tasks.activations import SIGMOID, SOFTMAX, Activation, Standardised

if TYPE_CHECKING:
    import onnx

PROBABILITIES = "probabilities"
"""Name of the output, (N, C)."""
_NETWORK = "network"
"""Prefix of the names of a network's nodes and weights."""
_LARGEST = 2_000_000_000
"""Largest size in bytes, slightly below the limit of the format."""
_TINY = 1e-15
"""Lower bound of probabilities before a logarithm, as in the heads and the finishing steps."""
_END = np.iinfo(np.int64).min


def compose(run: FittedRun, part: str = WHOLE, *, floats: bool = False, half: bool = False) -> onnx.ModelProto:
    """Return the graph of a part of a run: images (N, H, W, 3), one input per preprocessing -> probabilities (N, C).

    Images are uint8 RGB, or with `floats` float32 RGB in [0, 1]. With `half`, the networks compute in half precision,
    but not the heads and finishing steps, which take logarithms. Raises UserError if the graph is too large for a file,
    or if the run has no networks.
    """
    return _Composer(run, floats=floats, half=half).compose(part)


class _Composer:
    """A graph under construction. Values are referred to by name."""

    def __init__(self, run: FittedRun, *, floats: bool, half: bool) -> None:
        import onnx

        self._run, self._floats, self._half = run, floats, half
        self._graph = onnx.GraphProto(name="run")
        self._header: onnx.ModelProto | None = None
        self._count = 0
        self._images: dict[Preprocessing, str] = {}
        self._stacked: dict[tuple[Preprocessing, tuple[str, ...]], str] = {}
        self._outputs: dict[tuple[Any, ...], str] = {}
        """Networks in several views -> the prefix of their outputs, which several terms may use."""
        self._odds: dict[str, str] = {}
        """Sigmoids -> their scores: 1 - probability loses digits."""

    def compose(self, part: str) -> onnx.ModelProto:
        import onnx

        kind = onnx.TensorProto.FLOAT if self._floats else onnx.TensorProto.UINT8
        for name, preprocessing in self._run.preprocessings().items():
            shape = ["batch", *preprocessing.size, 3]
            self._graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
            self._images[preprocessing] = self._pixels(name)
        fitted = self._run.fitted(part)
        if not fitted.terms:
            method = self._run.recipe.training.method
            raise UserError(f"method {method} has no network to export.")
        found = self._sum([(term.weight, self._term(term)) for term in fitted.terms])
        for step, value in self._run.steps.items():
            if value is not None:
                found = {"temperature": self._temper, "clip": self._clip}[step](found, value)
        self._graph.node.append(onnx.helper.make_node("Identity", [found], [PROBABILITIES]))
        shape = ["batch", len(self._run.labels)]
        self._graph.output.append(onnx.helper.make_tensor_value_info(PROBABILITIES, onnx.TensorProto.FLOAT, shape))
        assert self._header is not None
        size = sum(len(tensor.raw_data) for tensor in self._graph.initializer)
        if size > _LARGEST:
            raise UserError(
                f"the file would hold {size / 1e9:.1f} GB of weights, and one file can hold {_LARGEST / 1e9:.1f}: use "
                "fewer models or a smaller backbone."
            )
        return onnx.helper.make_model(
            self._graph,
            opset_imports=self._header.opset_import,
            ir_version=self._header.ir_version,
            producer_name="kagglekit",
        )

    # --- building blocks

    def _node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        import onnx

        self._count += 1
        name = f"{operation.lower()}{self._count}"
        self._graph.node.append(onnx.helper.make_node(operation, list(inputs), [name], name, **attributes))
        return name

    def _constant(self, value: NDArray[Any] | Sequence[int] | float) -> str:
        import onnx

        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        self._count += 1
        name = f"constant{self._count}"
        self._graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _pixels(self, images: str) -> str:
        """Return the images, scaled to the range of uint8 pixels."""
        return self._node("Mul", images, self._constant(255.0)) if self._floats else images

    def _views(self, preprocessing: Preprocessing, views: tuple[str, ...]) -> str:
        """Return the concatenated views of all images, (V * N, H, W, 3), so that each network runs only once."""
        if (preprocessing, views) not in self._stacked:
            images = self._images[preprocessing]
            seen = [images if view == PLAIN else self._mirrored(images) for view in views]
            self._stacked[preprocessing, views] = seen[0] if len(seen) == 1 else self._node("Concat", *seen, axis=0)
        return self._stacked[preprocessing, views]

    def _mirrored(self, images: str) -> str:
        return self._node("Slice", images, *(self._constant([number]) for number in (-1, _END, 2, -1)))

    def _network(self, network: Network, views: tuple[str, ...]) -> str:
        """Add a network, unless that is done. Return what its names begin with."""
        import onnx

        key = network.key, views
        if key not in self._outputs:
            images = self._views(network.backbone.preprocessing, views)
            prefix = f"{_NETWORK}{len(self._outputs)}."
            model = network.graph()
            prefixed = onnx.compose.add_prefix(onnx_export.halved(model) if self._half else model, prefix)
            self._header = prefixed
            self._graph.node.append(onnx.helper.make_node("Identity", [images], [prefix + onnx_export.IMAGES]))
            self._graph.node.extend(prefixed.graph.node)
            self._graph.initializer.extend(prefixed.graph.initializer)
            self._outputs[key] = prefix
        return self._outputs[key]

    def _by_view(self, rows: str, count: int) -> list[str]:
        """Split (V * N, …) into V values (N, …)."""
        import onnx

        if count == 1:
            return [rows]
        self._count += 1
        names = [f"view{index}.{self._count}" for index in range(count)]
        self._graph.node.append(onnx.helper.make_node("Split", [rows], names, axis=0, num_outputs=count))
        return names

    # --- from the outputs of networks to probabilities; the same steps as in `Term.probabilities`

    def _term(self, term: Term) -> str:
        count = len(term.views)
        computed = [self._by_view(self._network(network, term.views) + term.output, count) for network in term.networks]
        return self._mean_of_networks(term, computed) if term.head is None else self._head(term, term.head, computed)

    def _sum(self, weighted: Sequence[tuple[float, str]]) -> str:
        if len(weighted) == 1:
            return weighted[0][1]
        return self._node("Sum", *(self._node("Mul", term, self._constant(weight)) for weight, term in weighted))

    def _mean_of_networks(self, term: Term, computed: Sequence[Sequence[str]]) -> str:
        back = [
            self._plain_classes(self._activated(network.activation, scores), classes)
            for network, by_view in zip(term.networks, computed, strict=True)
            for classes, scores in zip(term.view_classes, by_view, strict=True)
        ]
        return self._mean(back)

    def _head(self, term: Term, head: Head, computed: Sequence[Sequence[str]]) -> str:
        scores = []
        for index, classes in enumerate(term.view_classes):
            beside = [network[index] for network in computed]
            rows = beside[0] if len(beside) == 1 else self._node("Concat", *beside, axis=1)  # (N, D)
            for layer in head.layers:
                rows = rows if isinstance(layer, Activation) else self._layer(layer, rows)
            scores.append(self._plain_classes(rows, classes))
        return self._activated(head.activation, self._mean(scores))

    def _activated(self, activation: Activation, scores: str) -> str:
        if isinstance(activation, Standardised):
            scaled = self._node("Mul", scores, self._constant(np.array(activation.scales)))
            return self._node("Add", scaled, self._constant(np.array(activation.means)))
        if activation is SOFTMAX:
            return self._node("Softmax", scores, axis=1)
        if activation is not SIGMOID:
            return scores
        found = self._node("Sigmoid", scores)
        self._odds[found] = scores
        return found

    def _layer(self, layer: Step, rows: str) -> str:
        match layer:
            case Standardise():
                return self._node(
                    "Div", self._node("Sub", rows, self._constant(layer.mean)), self._constant(layer.scale)
                )
            case Linear():
                return self._node("Gemm", rows, self._constant(layer.weights), self._constant(layer.bias))
            case Relu():
                return self._node("Relu", rows)
            case Unit():
                return self._node("LpNormalization", rows, axis=1, p=2)
            case Ordered():
                return self._grade_logs(self._node("Sub", rows, self._constant(layer.cuts)), layer)

    def _grade_logs(self, scores: str, layer: Ordered) -> str:
        """Return the logarithms of the probabilities of grades, as `layers.grade_logs` does."""
        above, below = self._node("Softplus", self._node("Neg", scores)), self._node("Softplus", scores)
        padded = (
            self._node("Pad", side, self._constant([0, *before, 0, *after]))
            for side, before, after in ((above, [1], [0]), (below, [0], [1]))
        )
        return self._node("Sub", self._constant(layer.shares), self._node("Add", *padded))

    def _plain_classes(self, predicted: str, classes: tuple[int, ...]) -> str:
        """Return the scores or predictions of a view, with mirrored classes mapped back."""
        if classes == tuple(range(len(classes))):
            return predicted
        return self._node("Gather", predicted, self._constant(list(classes)), axis=1)

    def _mean(self, values: Sequence[str]) -> str:
        return values[0] if len(values) == 1 else self._node("Mean", *values)

    def _log(self, probabilities: str) -> str:
        return self._node("Log", self._node("Clip", probabilities, self._constant(_TINY)))

    def _temper(self, predicted: str, temperature: float) -> str:
        activation = self._run.task.activation
        scores = self._log_odds(predicted) if activation is SIGMOID else self._log(predicted)
        return self._activated(activation, self._node("Div", scores, self._constant(temperature)))

    def _log_odds(self, probabilities: str) -> str:
        """Return the scores; of means of probabilities, as exactly as single precision knows them."""
        others = self._node("Sub", self._constant(1.0), probabilities)
        return self._odds.get(probabilities) or self._node("Sub", self._log(probabilities), self._log(others))

    def _clip(self, probabilities: str, edge: float) -> str:
        clipped = self._node("Clip", probabilities, self._constant(edge), self._constant(1 - edge))
        if self._run.task.activation is SIGMOID:
            return clipped
        return self._node("Div", clipped, self._node("ReduceSum", clipped, self._constant([1]), keepdims=1))
