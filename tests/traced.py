"""Traced graphs, shared by all tests: tracing takes torch seconds, and does not depend on the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kagglekit.base import storage
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import onnx_export

if TYPE_CHECKING:
    import onnx
    import torch


def share(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Trace each architecture once; afterwards fill in the weights. The export still compares each graph with torch."""
    trace = onnx_export._trace

    def traced(wrapped: torch.nn.Module, preprocessing: Preprocessing, *, outputs: int) -> onnx.ModelProto:
        import onnx

        path = folder / f"{storage.digest([repr(wrapped), preprocessing.to_plain(), outputs], 32)}.onnx"
        weights = {f"model.{name}": tensor.numpy() for name, tensor in wrapped.model.state_dict().items()}
        if not path.is_file():
            whole = trace(wrapped, preprocessing, outputs=outputs)
            with storage.replacing(path) as temporary:
                onnx.save(onnx_export._emptied(whole, wrapped.model.state_dict()), temporary)
            return whole
        model = onnx.load(path)
        places = [value.name for value in model.graph.input if value.name in weights]
        images = [value for value in model.graph.input if value.name not in weights]
        del model.graph.input[:]
        model.graph.input.extend(images)
        model.graph.initializer.extend(onnx.numpy_helper.from_array(weights[name], name) for name in places)
        return model

    patch.setattr(onnx_export, "_trace", traced)
