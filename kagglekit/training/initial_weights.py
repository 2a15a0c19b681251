"""Initial weights from a phase of another run: `RUN:PHASE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base import storage
from kagglekit.base.errors import UserError
from kagglekit.models import timm_models
from kagglekit.models.backbone import Backbone
from kagglekit.recipe import DataSettings
from kagglekit.runs import filenames, store
from kagglekit.tasks.columns import Counted
from kagglekit.tasks.task import Task
from kagglekit.training import checkpoints, classifier

if TYPE_CHECKING:
    import pandas as pd
    import torch


def digest(start: str) -> str:
    """Return a hash of the weights of RUN:PHASE over all folds; raise UserError if there are none."""
    first = find(start)
    return storage.digest([storage.file_sha256(path) for path in sorted(first.parents[1].glob(f"*/{first.name}"))], 32)


def find(start: str, folder: str = f"{filenames.MODELS}/fold0-0") -> Path:
    """Return the weights file of RUN:PHASE in a model's `folder` of the run; raise UserError if there is none."""
    reference, colon, phase = start.rpartition(":")
    if not colon:
        raise UserError(f"--from {start!r}: write it as RUN:PHASE, for example --from 0a1b2c3d:all.")
    run = store.find(reference)
    path = run.folder / folder / f"{phase}.safetensors"
    if not path.is_file():
        there = sorted(found.stem for found in path.parent.glob("*.safetensors"))
        has = f"it has {', '.join(there)}" if there else f"it has no {folder}"
        raise UserError(f"--from {start!r}: run {run.id} has no phase {phase!r}: {has}.")
    return path


def learnt(path: Path, start: str, task: Task) -> Task:
    """Return a task in the units of the numbers that the weights at `path` have learnt, with which a model goes on.

    Raises UserError if they predict something else.
    """
    before = store.Run(path.parents[2]).record.competition.task
    if before.network_activation.name != task.network_activation.name:
        raise UserError(
            f"start = {start!r}: these are weights for {before.target.kind}, and this competition has "
            f"{task.target.kind}; start from another run."
        )
    known = classifier.learnt(path, before)
    if not (isinstance(task, Counted) and isinstance(known, Counted)):
        return task
    return task.in_units(known.target.means, known.target.scales)


def check_folds(path: Path, start: str, now: pd.Series[int], fold: int) -> None:
    """Raise UserError if the weights at `path` were trained on images that they are to be scored on.

    `now` is each image's fold by id, `fold` the one that is scored.
    """
    before = store.Run(path.parents[2]).folds()
    shared = before.index.intersection(now.index)
    seen = (before.loc[shared] != fold) & (now.loc[shared] == fold)
    if seen.any():
        raise UserError(
            f"start = {start!r}: its folds differ from this run's: it was trained on {seen.sum()} images that fold "
            f"{fold} scores, for example {seen.idxmax()}; use the same folds and seed."
        )


def chose_on_others(path: Path, data: DataSettings, validation_share: float) -> bool:
    """Return whether the weights at `path` may have been trained on images that choose epochs in this run."""
    before = store.Run(path.parents[2]).settings
    now = {name: getattr(data, name) for name in _DECIDE_SPLITS} | {"validation_share": validation_share}
    return bool(validation_share) and any(before.get(name) != value for name, value in now.items())


_DECIDE_SPLITS = ("seed", "validation", "holdout", "folds")


def weights(path: Path, start: str, backbone: Backbone, labels: Sequence[str]) -> dict[str, torch.Tensor]:
    """Read weights and adapt them to the image size of the backbone.

    Raises UserError if they are for another model or other classes.
    """
    found, description = checkpoints.load_weights(path)
    if description["model"] != backbone.name:
        raise UserError(
            f"start = {start!r}: these are weights of {description['model']}; use --backbone {description['model']}."
        )
    if description["classes"] != list(labels):
        classes = ", ".join(description["classes"][:10])
        raise UserError(f"start = {start!r}: these weights are for other classes: {classes}; start from another run.")
    height, width = description["preprocessing"]["size"]
    if (height, width) == backbone.preprocessing.size:
        return found
    model = timm_models.create(backbone.name, (height, width), num_classes=len(labels))
    model.load_state_dict(found)
    if hasattr(model, "set_input_size"):  # position embeddings are resampled
        model.set_input_size(img_size=backbone.preprocessing.size)
    resized: dict[str, torch.Tensor] = model.state_dict()
    return resized
