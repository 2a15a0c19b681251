"""All methods, and which of them `auto` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kagglekit.base import devices
from kagglekit.base.errors import UserError
from kagglekit.pipeline.methods.base import Method
from kagglekit.pipeline.methods.features import FrozenFeatures
from kagglekit.pipeline.methods.finetune import FineTuning
from kagglekit.recipe import Recipe
from kagglekit.training.budget import Work

AUTO = "auto"
METHODS: dict[str, Method] = {method.name: method for method in (FineTuning(), FrozenFeatures())}
"""Name -> method, in the order in which `auto` tries them."""


def check(name: str) -> None:
    """Raise UserError unless setting `method` may be `name`."""
    if name not in (AUTO, *METHODS):
        raise UserError(f"setting method = {name!r}: must be one of {', '.join((AUTO, *sorted(METHODS)))}.")


def get(name: str) -> Method:
    """Return a method; raise UserError for an unknown name."""
    check(name)
    return METHODS[name]


def of_run(recipe: Recipe) -> Method:
    """Return the method that made a run; the recipes of early runs don't name it, since there was only one."""
    name = recipe.training.method
    return METHODS[FrozenFeatures.name] if name == AUTO else get(name)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was settled before a run: backbones, and settings that depend on machine and budget."""

    backbones: tuple[str, ...]
    because: str
    """Why these backbones; nothing where they were given."""
    settings: dict[str, Any]
    """The method's name among them."""
    reason: str
    """Why these settings."""


def choose(recipe: Recipe, work: Work, device: devices.Device) -> Choice:
    """Settle the method, its backbones and its plan; raise UserError where the budget is too small."""
    wanted, reason = recipe.training.method, ""
    for method in METHODS.values() if wanted == AUTO else (get(wanted),):
        backbones, because = recipe.features.backbone, ""
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
            )
    raise RuntimeError("no method suits: the last one of the table must suit always")
