"""Starting from the weights that another run's phase has saved: `RUN:PHASE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kagglekit import runs, storage
from kagglekit.engines.finetune import checkpoints
from kagglekit.errors import UserError

if TYPE_CHECKING:
    import torch


def digest(start: str) -> str:
    """Return a hash of the weights that RUN:PHASE means, of all folds; raise UserError where there are none."""
    first = find(start)
    return storage.digest([storage.file_sha256(path) for path in sorted(first.parents[1].glob(f"*/{first.name}"))], 32)


def find(start: str, folder: str = "models/fold0-0") -> Path:
    """Return the file that RUN:PHASE means for the model in a `folder` of the run; raise UserError for none."""
    reference, colon, phase = start.rpartition(":")
    if not colon:
        raise UserError(f"--from {start!r}: write it as RUN:PHASE, for example --from 0a1b2c3d:all.")
    run = runs.find(reference)
    path = run.folder / folder / f"{phase}.safetensors"
    if not path.is_file():
        there = sorted(found.stem for found in path.parent.glob("*.safetensors"))
        has = f"it has {', '.join(there)}" if there else "it has no fine-tuned model of that fold"
        raise UserError(f"--from {start!r}: run {run.id} has no phase {phase!r}: {has}.")
    return path


def check_folds(path: Path, start: str, now: pd.Series[int], fold: int) -> None:
    """Raise UserError where the weights at `path` have seen images that they are to be scored on.

    `now` is each image's fold by id, `fold` the one that is scored.
    """
    before = pd.read_parquet(path.parents[2] / "folds.parquet").set_index("id")["fold"]
    shared = before.index.intersection(now.index)
    seen = (before.loc[shared] != fold) & (now.loc[shared] == fold)
    if seen.any():
        raise UserError(
            f"start = {start!r}: its folds are others than this run's: {seen.sum()} images that fold {fold} is scored "
            f"on were learnt from, such as {seen.idxmax()}; use the same folds and seed."
        )


def weights(path: Path, start: str, model: str, labels: Sequence[str]) -> dict[str, torch.Tensor]:
    """Read weights; raise UserError where they are of another model, or tell other classes apart."""
    found, description = checkpoints.load_weights(path)
    if description["model"] != model or description["classes"] != list(labels):
        raise UserError(
            f"start = {start!r}: these are weights of {description['model']} for classes "
            f"{', '.join(description['classes'])}; use --backbone {description['model']}."
        )
    return found
