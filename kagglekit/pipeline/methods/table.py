"""The table of methods, and the choice of `auto`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kagglekit.base import devices
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.data.project import Project
from kagglekit.models import registry
from kagglekit.pipeline.methods.base import Method
from kagglekit.pipeline.methods.blend import Blending
from kagglekit.pipeline.methods.features import FrozenFeatures
from kagglekit.pipeline.methods.finetune import FineTuning
from kagglekit.recipe import Recipe
from kagglekit.runs.choices import Pace
from kagglekit.tasks.activations import IDENTITY
from kagglekit.tasks.task import Task
from kagglekit.training import budget
from kagglekit.training.budget import Work

AUTO = "auto"
_FEATURES, _TRAINING = FrozenFeatures(), FineTuning()
QUICKEST = _FEATURES.name
"""The method whose runs take the least time."""
METHODS: dict[str, Method] = {method.name: method for method in (_FEATURES, _TRAINING)}
"""Name -> method; a blend is added below."""


def resolve(project: Project, command_line: Mapping[str, Any], say: Callable[[str], None]) -> Recipe:
    """Return a project's recipe. Raises UserError as `Project.settings` does, and if there is no such method."""
    recipe = project.settings(command_line, say)
    if recipe.training.method != AUTO:
        get(recipe.training.method)
    return recipe


def get(name: str) -> Method:
    """Return the method called `name`. Raises UserError for an unknown name."""
    if name not in METHODS:
        raise UserError(f"setting method = {name!r}: must be one of {', '.join((AUTO, *sorted(METHODS)))}.")
    return METHODS[name]


def check(recipe: Recipe, task: Task) -> None:
    """Raise UserError for settings that no method can follow, or not the one of a recipe; `auto` may choose another."""
    if recipe.data.balance and task.activation is IDENTITY:
        raise UserError("balance makes rare classes count more, and numbers have none: set it to 0.")
    if recipe.training.members and recipe.training.method != Blending.name:
        raise UserError(f"members = {list(recipe.training.members)}: only `kagglekit blend` combines runs.")
    if recipe.training.method != AUTO:
        get(recipe.training.method).check(recipe, task)


def inputs(recipe: Recipe, workspace: Workspace) -> Mapping[str, Any]:
    """Return what results depend on besides settings, data and backbones."""
    return {} if recipe.training.method == AUTO else get(recipe.training.method).inputs(recipe, workspace)


def of_run(recipe: Recipe) -> Method:
    """Return the method of a run. The recipes of early runs name none: there was only one."""
    name = recipe.training.method
    return METHODS[FrozenFeatures.name] if name == AUTO else get(name)


METHODS[Blending.name] = Blending(of_run)
_BESIDE_FEATURES: Mapping[str, Any] = {"rates": [1.0], "validation_share": 0.0}
"""Settings of steps `quick` where they are blended with frozen features, unless the user has set other ones.

Frozen features have what pretrained layers know: training changes all layers alike, for what they don't. One cycle has
no epoch to choose, so it learns from all images.
"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choices before a run: method and backbones, and settings that depend on machine and budget."""

    backbones: tuple[str, ...]
    because: str
    """Reason for the backbones; empty if the user gave them."""
    settings: dict[str, Any]
    """Chosen settings, including `method`."""
    reason: str
    """Reason for the settings."""
    pace: Pace | None = None
    """Expected times, if the run has to end within a budget."""


def choose(recipe: Recipe, work: Work, device: devices.Device) -> tuple[Choice, ...]:
    """Choose methods, their backbones and plans: of one run, or with `auto` of two that are blended, in order.

    Raises UserError if the budget is too small.
    """
    wanted = recipe.training.method
    if wanted != AUTO:
        return (_choice(get(wanted), recipe, work, device, "as the settings say"),)
    frozen = _backbones(_FEATURES, recipe, work, device)[0]
    later, beside = budget.beside_features(work, device, registry.cost(frozen)), _beside(recipe, device)
    trained = recipe.changed(**beside)
    pays, why = _TRAINING.suits(trained.changed(backbone=_backbones(_TRAINING, recipe, work, device)[0]), later, device)
    if not pays:
        return (_choice(_FEATURES, recipe, work, device, why),)
    last = _choice(_TRAINING, trained, later, device, why)
    last = replace(last, settings=last.settings | beside)
    folds = recipe.changed(folds=last.settings["folds"])
    first = _choice(_FEATURES, folds, work, device, "first, since it takes little time; then a backbone is trained")
    return first, last


def _beside(recipe: Recipe, device: devices.Device) -> dict[str, Any]:
    """Return settings of training beside frozen features that the user has not set."""
    if budget.steps_of(recipe, device) != "quick":
        return {}
    given, usual = recipe.as_dict(), Recipe().as_dict()
    return {name: value for name, value in _BESIDE_FEATURES.items() if given[name] == usual[name]}


def _choice(method: Method, recipe: Recipe, work: Work, device: devices.Device, why: str) -> Choice:
    backbones, because = _backbones(method, recipe, work, device)
    plan = method.plan(recipe.changed(backbone=backbones) if backbones else recipe, work, device)
    return Choice(
        backbones=backbones,
        because=because,
        settings={"method": method.name} | plan.settings,
        reason="; ".join(filter(None, (why, plan.reason))),
        pace=plan.pace,
    )


def _backbones(method: Method, recipe: Recipe, work: Work, device: devices.Device) -> tuple[tuple[str, ...], str]:
    """Return the backbones, and the reason for them, which is empty if the user gave them."""
    if not method.takes_backbones:
        return (), ""
    if not recipe.features.chooses:
        return recipe.features.backbone, ""
    return method.default_backbones(recipe, work, device)
