"""The file of a run's heads: their arrays as safetensors, each named HEAD.ARRAY.

ARRAY is the name of the layer's field, prefixed with one `hidden_` for each linear layer that follows. The metadata
name what comes between two linear layers and the activation that ends every head; if they do not, that is a ReLU and a
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
from kagglekit.heads.layers import Head, Layer, Linear, Ordered, Relu, Standardise, Unit
from kagglekit.tasks.activations import ACTIVATIONS, SOFTMAX, Activation

Arrays = dict[str, NDArray[Any]]
_HIDDEN = "hidden_"
_BETWEEN: dict[str, Relu | Unit] = {"relu": Relu(), "unit": Unit()}
_USUAL = (SOFTMAX.name, "relu")


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
        chosen, *ends = [text] if isinstance(text, str) else text
        activation, between = [*ends, *_USUAL[len(ends) :]]
        heads[name] = Head(_layers(found[name], ACTIVATIONS[activation], _BETWEEN[between]), chosen)
    return heads


def _described(head: Head) -> str | list[str]:
    """Return what was chosen, the activation and what comes between linear layers; no names where they are usual."""
    ends = [head.activation.name, _between(head)]
    while ends and ends[-1] == _USUAL[len(ends) - 1]:
        ends.pop()
    return [head.chosen, *ends] if ends else head.chosen


def _between(head: Head) -> str:
    return "unit" if any(isinstance(layer, Unit) for layer in head.layers) else "relu"


def arrays(head: Head) -> Arrays:
    """Return a head's arrays by their names in the file; raise ValueError for layers that these can't represent."""
    found: Arrays = {}
    to_come = sum(isinstance(layer, Linear) for layer in head.layers)
    for layer in head.layers:
        to_come -= isinstance(layer, Linear)
        before = _HIDDEN * to_come if isinstance(layer, Linear) else ""
        found |= {before + name: array for name, array in vars(layer).items()}
    if _kinds(_layers(found, head.activation, _BETWEEN[_between(head)])) != _kinds(head.layers):
        raise ValueError(f"heads.safetensors can't store these layers: {_kinds(head.layers)}")
    return found


def _layers(found: Mapping[str, NDArray[Any]], activation: Activation, between: Relu | Unit) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    if "mean" in found:
        layers.append(Standardise(mean=found["mean"], scale=found["scale"]))
    for to_come in reversed(range(1 + max(name.count(_HIDDEN) for name in found))):
        before = _HIDDEN * to_come
        layers.append(Linear(weights=found[f"{before}weights"], bias=found[f"{before}bias"]))
        if to_come:
            layers.append(between)
    if "cuts" in found:
        layers.append(Ordered(cuts=found["cuts"]))
    return (*layers, activation)


def _kinds(layers: tuple[Layer, ...]) -> list[str]:
    return [type(layer).__name__ for layer in layers]
