"""The table of methods, and the choice of `auto`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kagglekit.base import devices
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.data.project import Project
from kagglekit.pipeline.methods.base import Method
from kagglekit.pipeline.methods.blend import Blending
from kagglekit.pipeline.methods.features import FrozenFeatures
from kagglekit.pipeline.methods.finetune import FineTuning
from kagglekit.recipe import Recipe
from kagglekit.runs.record import Pace
from kagglekit.tasks.activations import IDENTITY
from kagglekit.tasks.task import Task
from kagglekit.training.budget import Work

AUTO = "auto"
METHODS: dict[str, Method] = {method.name: method for method in (FineTuning(), FrozenFeatures())}
"""Name -> method, in the order in which `auto` tries them; a blend is added below, which it never is."""


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


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choices before a run: backbones, and settings that depend on machine and budget."""

    backbones: tuple[str, ...]
    because: str
    """Reason for the backbones; empty if the user gave them."""
    settings: dict[str, Any]
    """Chosen settings, including `method`."""
    reason: str
    """Reason for the settings."""
    pace: Pace | None = None
    """Expected times, if the run has to end within a budget."""


def choose(recipe: Recipe, work: Work, device: devices.Device) -> Choice:
    """Choose the method, its backbones and its plan. Raises UserError if the budget is too small."""
    wanted, reason = recipe.training.method, ""
    for method in METHODS.values() if wanted == AUTO else (get(wanted),):
        backbones, because = recipe.features.backbone if method.takes_backbones else (), ""
        if backbones == ("auto",):
            backbones, because = method.default_backbones(device)
        given = recipe.changed(backbone=backbones) if backbones else recipe
        suits, said = method.suits(given, work, device) if wanted == AUTO else (True, "as the settings say")
        reason = said or reason
        if suits:
            plan = method.plan(given, work, device)
            return Choice(
                backbones=backbones,
                because=because,
                settings={"method": method.name} | plan.settings,
                reason="; ".join(filter(None, (reason, plan.reason))),
                pace=plan.pace,
            )
    raise RuntimeError("no method suits: the last one of the table must suit always")
