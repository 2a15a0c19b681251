"""The file of a run's heads: their arrays as safetensors, each named HEAD.ARRAY.

ARRAY is the name of the layer's field, prefixed with one `hidden_` for each linear layer that follows. A ReLU comes
between two linear layers, and every head ends with the activation that the metadata names; if they name none, with a
softmax.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import storage
from kagglekit.heads.layers import Head, Layer, Linear, Relu, Standardise
from kagglekit.tasks.activations import ACTIVATIONS, SOFTMAX, Activation

Arrays = dict[str, NDArray[Any]]
_HIDDEN = "hidden_"


def save(path: Path, fitted: Mapping[str, Head]) -> None:
    """Write all heads by name; raise ValueError for a head that the format can't represent."""
    from safetensors.numpy import save_file

    named = {
        f"{name}.{key}": np.ascontiguousarray(array)
        for name, head in fitted.items()
        for key, array in arrays(head).items()
    }
    # one entry: safetensors writes several in random order
    described = json.dumps({name: _described(head) for name, head in fitted.items()})
    with storage.replacing(path) as temporary:
        save_file(named, temporary, metadata={"heads": described})


def load(path: Path) -> dict[str, Head]:
    """Read what `save` wrote, in any version."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        described: dict[str, str | list[str]] = json.loads(file.metadata()["heads"])
        found: dict[str, Arrays] = {name: {} for name in described}
        for key in file.keys():  # noqa: SIM118  not a mapping
            name, _, part = key.partition(".")
            found[name][part] = file.get_tensor(key)
    heads = {}
    for name, text in described.items():
        chosen, activation = (text, SOFTMAX.name) if isinstance(text, str) else text
        heads[name] = Head(_layers(found[name], ACTIVATIONS[activation]), chosen)
    return heads


def _described(head: Head) -> str | list[str]:
    """Return what was chosen, and the activation unless it is the softmax, which earlier versions did not name."""
    return head.chosen if head.activation is SOFTMAX else [head.chosen, head.activation.name]


def arrays(head: Head) -> Arrays:
    """Return a head's arrays by their names in the file; raise ValueError for layers that these can't represent."""
    found: Arrays = {}
    to_come = sum(isinstance(layer, Linear) for layer in head.layers)
    for layer in head.layers:
        to_come -= isinstance(layer, Linear)
        before = _HIDDEN * to_come if isinstance(layer, Linear) else ""
        found |= {before + name: array for name, array in vars(layer).items()}
    if _kinds(_layers(found, head.activation)) != _kinds(head.layers):
        raise ValueError(f"heads.safetensors can't store these layers: {_kinds(head.layers)}")
    return found


def _layers(found: Mapping[str, NDArray[Any]], activation: Activation) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    if "mean" in found:
        layers.append(Standardise(mean=found["mean"], scale=found["scale"]))
    for to_come in reversed(range(1 + max(name.count(_HIDDEN) for name in found))):
        before = _HIDDEN * to_come
        layers.append(Linear(weights=found[f"{before}weights"], bias=found[f"{before}bias"]))
        layers.append(Relu() if to_come else activation)
    return tuple(layers)


def _kinds(layers: tuple[Layer, ...]) -> list[str]:
    return [type(layer).__name__ for layer in layers]
