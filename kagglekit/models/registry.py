"""Backbones: from a name to an exported graph with known weights.

A spec is `NAME` (any timm model) or `NAME=FILE` (with its weights, a .safetensors or .pth file); `NAME@SIZE` gives it
an input size of its own, such as 320 or 256x320, and `NAME@squash` or `NAME@SIZE@squash` lets it see the whole image.
`weights` says where weights are searched. A resolved backbone is recorded beside its exported graph, so that the next
run needs no torch.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kagglekit.base import devices, storage
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import backbones_folder
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import mounted_weights, weights
from kagglekit.models.backbone import Backbone, graph_key
from kagglekit.recipe import FeatureSettings

_SMALLEST = 32
"""Pixels of a side."""
_SQUASH = "squash"
DEFAULT_CPU = ("tf_efficientnet_lite2", "tf_efficientnet_lite1", "tf_efficientnet_lite2@352")
"""As many of them as there is time for. On six archives all three side by side were better than the first, on three of
them beyond noise (plant-seedlings, plant-pathology-2021, aptos2019). A fourth, lite0, gained too little for its time.
"""
DEFAULT_CPU_OBLONG = (DEFAULT_CPU[0], f"{DEFAULT_CPU[0]}@squash", *DEFAULT_CPU[1:])
"""The same where images are so long that a crop cuts much off: one backbone sees all of them."""
_COSTS = dict(zip(DEFAULT_CPU_OBLONG, (1.0, 1.0, 0.6, 1.9), strict=True))
"""Time that each takes, in that of the first."""
DEFAULT_GPU = ("convnext_base.fb_in22k_ft_in1k_384", "tf_efficientnetv2_m.in21k_ft_in1k")
DEFAULT_TRAINED_CPU = ("tf_efficientnet_lite0",)
DEFAULT_TRAINED_GPU = ("tf_efficientnetv2_s.in21k_ft_in1k",)


def default(
    device: devices.Device, affordable: float = math.inf, *, oblong: bool = False
) -> tuple[tuple[str, ...], str]:
    """Return the default backbones for frozen features on a device, and why they were chosen.

    `affordable` is how many times the first of a CPU's backbones may see all images.
    """
    members = DEFAULT_CPU_OBLONG if oblong else DEFAULT_CPU
    totals = list(itertools.accumulate(_COSTS[name] for name in members))
    count = max(1, sum(total <= affordable for total in totals))
    names, why = _reachable(device, DEFAULT_GPU, members[:count])
    fewer = device == "cpu" and count < len(totals)
    return names, f"{why}; more take too long here" if fewer else why


def candidates(features: FeatureSettings, device: devices.Device, *, oblong: bool = False) -> tuple[str, ...]:
    """Return the specs to choose frozen backbones from by a race, the default ones first; none if there are no others.

    The others are named beside `auto`, or their weights are attached in Kaggle's input folders.
    """
    if not features.chooses:
        return ()
    named = tuple(spec for spec in features.backbone if spec != "auto")
    known = {split(spec)[0] for spec in named} | {f"{name}.in1k" for name in weights.EMBEDDED}
    attached = tuple(name for name in mounted_weights.attached() if name not in known)
    usual = default(device, 1.0 if features.shape is not None else math.inf, oblong=oblong)[0]
    return tuple(dict.fromkeys((*usual, *named, *attached))) if named or attached else ()


def cost(names: Sequence[str]) -> float:
    """Return the time that default backbones of a CPU take, in that of the first."""
    return sum(_COSTS.get(name, 0.0) for name in names) or 1.0


def default_trained(device: devices.Device) -> tuple[tuple[str, ...], str]:
    """Return the default backbone to train on a device, and why; only one, since each fold trains its own."""
    return _reachable(device, DEFAULT_TRAINED_GPU, DEFAULT_TRAINED_CPU)


def _reachable(device: devices.Device, on_gpu: tuple[str, ...], on_cpu: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    if device == "cpu":
        return on_cpu, "weights are installed with kagglekit, and fast on a CPU"
    if all(weights.are_here(name) for name in on_gpu):
        return on_gpu, "there is a GPU, and the weights are on this machine"
    if weights.hub_answers():
        return on_gpu, "there is a GPU and the model hub answers"
    return on_cpu, "there is a GPU, but the model hub does not answer: weights installed with kagglekit"


def resolve(spec: str, features: FeatureSettings, say: Any = print) -> Backbone:
    """Return the backbone of a spec; export it first if that has not been done yet.

    Raises UserError if the name is unknown, the file is unusable or the hub does not answer.
    """
    pointer = _pointer(spec, features)
    backbone = _read(pointer)
    if backbone is None:
        from kagglekit.models import onnx_export

        name, size, file = parsed(spec, features)
        found = weights.locate(name, file)
        say(f"weights of {name}: {found.described}; exporting to ONNX (once)")
        backbone = onnx_export.export(name, found, size, backbones_folder())
        plain = dataclasses.asdict(backbone) | {"preprocessing": backbone.preprocessing.to_plain()}
        storage.write_json(pointer, plain)
    return dataclasses.replace(backbone, preprocessing=backbone.preprocessing.cropped(crop_of(spec, features)))


def is_ready(spec: str, features: FeatureSettings) -> bool:
    """Return whether the backbone of a spec is exported already."""
    return _read(_pointer(spec, features)) is not None


def _pointer(spec: str, features: FeatureSettings) -> Path:
    return backbones_folder() / "specs" / f"{storage.digest(_identity(spec, features), 24)}.json"


def _identity(spec: str, features: FeatureSettings) -> dict[str, Any]:
    """Return the cache key of a spec: everything that affects the graph except the weights' bytes."""
    name, size, file = parsed(spec, features)
    return {
        "name": name,
        "file": str(Path(file).resolve()) if file else "",
        "image_size": size,
        "made_by": graph_key(),
    }


def parsed(spec: str, features: FeatureSettings) -> tuple[str, tuple[int, int] | None, str]:
    """Return name, input size and weights file of a spec. Raises UserError for a size that is none."""
    name, suffixes, file = split(spec)
    size = "@".join(suffix for suffix in suffixes if suffix != _SQUASH)
    if not size and set(suffixes) <= {_SQUASH}:
        return name, features.shape, file
    sides = size.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) >= _SMALLEST for side in sides):
        raise UserError(f"--backbone {spec}: {size!r} must be sides of at least {_SMALLEST} pixels, as 320 or 256x320.")
    return name, (int(sides[0]), int(sides[-1])), file


def split(spec: str) -> tuple[str, list[str], str]:
    """Return name, input size and crop as far as there are any, and weights file of a spec, as they are written."""
    model, _, file = spec.partition("=")
    name, *suffixes = model.split("@")
    return name, suffixes, file


def crop_of(spec: str, features: FeatureSettings) -> str:
    """Return the crop of a spec."""
    return _SQUASH if _SQUASH in split(spec)[1] else features.crop


def _read(pointer: Path) -> Backbone | None:
    """Return the recorded backbone if its graph exists and its weights file has not changed."""
    plain = storage.read_json(pointer)
    if plain is None:
        return None
    plain["weights_stamp"] = tuple(plain["weights_stamp"])
    preprocessing = Preprocessing.from_plain(plain.pop("preprocessing"))
    backbone = Backbone(**plain, preprocessing=preprocessing)
    file = Path(backbone.weights)
    fresh = file.is_file() and tuple(storage.stamp(file)) == backbone.weights_stamp
    here = Path(backbone.graph).is_file() and Path(backbone.template).is_file()
    return backbone if fresh and here else None
