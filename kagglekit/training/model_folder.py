"""The files of one model's training: weights by phase, a checkpoint, the history and the sweeps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.base import storage
from kagglekit.base.distributed import World
from kagglekit.runs import filenames, record
from kagglekit.runs.record import SweepRecord
from kagglekit.training import checkpoints, plots
from kagglekit.training.lr_finder import Sweep

if TYPE_CHECKING:
    import torch


class ModelFolder:
    """One model's folder; of several processes only the first one writes."""

    def __init__(self, path: Path, world: World, description: Mapping[str, Any]) -> None:
        """Use the folder at `path`; `description` goes into each weights file."""
        self.path = path
        self._world, self._description = world, description

    def save_weights(self, name: str, weights: checkpoints.State) -> None:
        """Write weights under the name of their phase; all processes wait for them."""
        if self._world.is_first:
            checkpoints.save_weights(self._weights(name), weights, {**self._description, "phase": name})
        self._world.wait()

    def load_weights(self, name: str) -> dict[str, torch.Tensor]:
        """Return what `save_weights` wrote."""
        return checkpoints.load_weights(self._weights(name))[0]

    def _weights(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def save_checkpoint(self, kept: Mapping[str, Any]) -> None:
        """Write the checkpoint that a killed command resumes from."""
        if self._world.is_first:
            checkpoints.save_progress(self.path / checkpoints.FILE, kept)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return what `save_checkpoint` wrote; None without a file."""
        return checkpoints.load_progress(self.path / checkpoints.FILE)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write losses and rates after a phase, and a plot of them."""
        if self._world.is_first:
            plots.history_plot(rows, self.path / filenames.HISTORY_PLOT, "training")
            storage.write_json(self.path / filenames.HISTORY, [_writable(row) for row in rows])

    def write_sweep(self, phase: str, curve: Sweep, suggestions: dict[str, float]) -> None:
        """Write the learning-rate finder's sweep before a phase, and a plot of it."""
        if self._world.is_first:
            plot = self.path / filenames.FINDER_PLOT.format(phase)
            plots.finder_plot(curve, suggestions, plot, f"{phase}: learning rate")
            swept = SweepRecord(**dataclasses.asdict(curve), suggestions=suggestions)
            record.write(self.path / filenames.FINDER.format(phase), swept)


def _writable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make a row valid JSON: NaN and infinity become null."""
    not_finite = {key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in not_finite else value for key, value in row.items()}
