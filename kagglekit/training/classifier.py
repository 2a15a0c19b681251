"""A timm model to train: pretrained weights, a new head and regularisation.

D features, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.base.arrays import Floats
from kagglekit.base.errors import UserError
from kagglekit.models import timm_models
from kagglekit.models.backbone import Backbone, weights_of
from kagglekit.recipe import TrainingSettings
from kagglekit.tasks.activations import Standardised
from kagglekit.tasks.columns import Counted
from kagglekit.tasks.task import Task
from kagglekit.training import checkpoints

if TYPE_CHECKING:
    import torch


def build(
    backbone: Backbone, classes: int, training: TrainingSettings, *, seed: int, compiled: bool = False
) -> torch.nn.Module:
    """Return the backbone with its pretrained weights and a new head for `classes`, in evaluation mode.

    `seed` initialises the new head; `compiled` turns on torch.compile. Raises UserError if the architecture does not
    support the dropout or drop_path that is set.
    """
    import torch

    pretrained, _, _ = timm_models.load_model(backbone.name, weights_of(backbone), backbone.preprocessing.size)
    torch.manual_seed(seed)  # for the new head
    model = _create(backbone, classes, training)
    own = model.state_dict()
    same = {key: value for key, value in pretrained.state_dict().items() if _fits(own.get(key), value)}
    head = {name for name, _ in _head_parameters(model)}
    left = set(own) - set(same) - head
    if left:
        raise RuntimeError(f"{backbone.name}: no pretrained weights for {', '.join(sorted(left)[:3])}")
    model.load_state_dict({key: value for key, value in same.items() if key not in head}, strict=False)
    new_head = model.get_classifier()
    if isinstance(new_head, torch.nn.Linear):
        # EfficientNet's own initialisation depends on the number of classes: with few, it is confidently wrong
        new_head.reset_parameters()
    if compiled:
        model.compile(dynamic=False)
    return model.eval()  # type: ignore[no-any-return]


def check_regularisation(backbone: Backbone, training: TrainingSettings) -> None:
    """Raise UserError if the architecture does not support the dropout or drop_path that is set; load no weights."""
    import torch

    if training.dropout or training.drop_path:
        with torch.device("meta"):
            _create(backbone, 2, training)


def _create(backbone: Backbone, classes: int, training: TrainingSettings) -> Any:
    wanted = {"drop_rate": training.dropout, "drop_path_rate": training.drop_path}
    arguments = {name: value for name, value in wanted.items() if value}
    try:
        return timm_models.create(backbone.name, backbone.preprocessing.size, num_classes=classes, **arguments)
    except TypeError as error:
        off = " ".join(f"--set {_SETTINGS[name]}=0" for name in arguments if name in str(error)) or "--set drop_path=0"
        raise UserError(f"{backbone.name} can't take {', '.join(arguments)}: use {off}.") from error


_SETTINGS = {"drop_rate": "dropout", "drop_path_rate": "drop_path"}


def _fits(own: Any, value: Any) -> bool:
    return own is not None and own.shape == value.shape


def _head_parameters(model: Any) -> list[tuple[str, Any]]:
    names = model.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    return [(name, value) for name, value in model.named_parameters() if name.startswith(prefixes)]


def set_head(model: Any, weights: Floats, bias: Floats) -> bool:
    """Set the last layer's weights (D, C) and bias (C,), fitted on its features; return False if they don't fit."""
    import torch

    layer = model.get_classifier()
    if not isinstance(layer, torch.nn.Linear) or layer.weight.shape != weights.T.shape:
        return False
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights.T))
        layer.bias.copy_(torch.from_numpy(bias))
    return True


def describe(backbone: Backbone, task: Task, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata that is needed to use the weights again."""
    activation = task.network_activation
    units = {"units": dataclasses.asdict(activation)} if isinstance(activation, Standardised) else {}
    return {
        "model": backbone.name,
        "classes": list(task.columns),
        "preprocessing": backbone.preprocessing.to_plain(),
        "pretrained_sha256": backbone.sha256,
        "versions": dict(versions),
    } | units


def learnt(path: Path, task: Task) -> Task:
    """Return a task in the units of the numbers that the weights at `path` have learnt.

    Older versions saved none: these were the task's own, of all training images.
    """
    if not isinstance(task, Counted):
        return task
    units = checkpoints.description(path).get("units")
    return task if units is None else task.in_units(**units)
