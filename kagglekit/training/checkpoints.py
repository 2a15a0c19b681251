"""Saved weights: checkpoints inside epochs to resume from, and one file after each phase."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.base import storage

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]


FILE = "progress.pt"
"""Name of the checkpoint that a killed training resumes from."""


class Reminder:
    """A timer that tells when the next checkpoint is due."""

    def __init__(self, seconds: float) -> None:
        """Wait `seconds` between checkpoints."""
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether a checkpoint is due; if so, restart the timer."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def save_progress(path: Path, progress: Mapping[str, Any]) -> None:
    """Write everything that a killed command needs to resume: tensors and plain values."""
    import torch

    with storage.replacing(path) as temporary:
        torch.save(dict(progress), temporary)


def load_progress(path: Path) -> dict[str, Any] | None:
    """Return what `save_progress` wrote, on the CPU; None without a file. Nothing else is unpickled."""
    import torch

    if not path.is_file():
        return None
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def save_weights(path: Path, state: State, description: Mapping[str, Any]) -> None:
    """Write a model's weights with what is needed to use them: classes, preprocessing, versions."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with storage.replacing(path) as temporary:
        # one entry: safetensors writes several in random order
        save_file(tensors, temporary, metadata={"kagglekit": json.dumps(description, sort_keys=True)})


def description(path: Path) -> dict[str, Any]:
    """Return what `save_weights` wrote beside the weights."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        found: dict[str, Any] = json.loads(file.metadata()["kagglekit"])
        return found


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return what `save_weights` wrote: (weights, description)."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["kagglekit"])
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118  not a mapping
