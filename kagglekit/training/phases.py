"""Named plans of fine-tuning: the layers, epochs and learning rates of each phase."""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from kagglekit.base.errors import UserError
from kagglekit.recipe import ScheduleSettings
from kagglekit.training.layers import Trained
from kagglekit.training.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a plan; the setting `phases` changes its fields by name."""

    name: str
    trains: Trained
    """Which layers are trained: the head, the last stage too, the later half of the stages too, or all."""
    epochs: int
    rate: float = 1.0
    """Peak rate as a share of the learning rate."""
    schedule: Schedule = "one-cycle"
    cycle: int = 1
    """Epochs of the first cycle of schedule `cosine`."""
    multiplier: int = 2
    """Ratio of the length of each cycle to that of the previous one."""
    augment: bool = True
    """Whether images are augmented."""
    find: bool = True
    """Whether the learning-rate finder runs first; else the rate of the previous phase is kept."""
    rates: tuple[float, ...] = ()
    """Differential learning rates of this phase; empty uses the recipe's."""


HEAD = "features"
"""The phase that fits the head on precomputed features, in one go; its epochs only turn it on or off."""
START = "start"
"""Name of the weights before the first phase."""
_ON_FEATURES = Phase(name=HEAD, trains="head", epochs=1)

PLANS: dict[str, tuple[Phase, ...]] = {
    "quick": (
        # On State Farm a fitted head made the result worse: it is overconfident in the features of its drivers, which
        # change at once when batch norms adapt.
        dataclasses.replace(_ON_FEATURES, epochs=0),
        Phase(name="all", trains="all", epochs=4, find=False),
    ),
    "eight-step": (
        _ON_FEATURES,
        Phase(name="head", trains="head", epochs=3, schedule="cosine", multiplier=1),
        Phase(name="all", trains="all", epochs=7, schedule="cosine"),
    ),
    "ladder": (
        _ON_FEATURES,
        Phase(name="head", trains="head", epochs=2, schedule="cosine", multiplier=1),
        Phase(name="late", trains="late", epochs=3, rate=0.1, schedule="cosine", find=False, rates=(1.0,)),
        Phase(name="later", trains="later", epochs=4, rate=0.01, schedule="cosine", find=False, rates=(1.0,)),
        Phase(name="all", trains="all", epochs=0, rate=0.001, schedule="cosine", find=False, rates=(1.0,)),
    ),
}
"""Name -> its phases; those with 0 epochs run only if the setting `phases` asks for them."""

STEPS = {
    HEAD: "1 augmentation on, features precomputed; 2 regularisation chosen; 3 head on precomputed features",
    "head": "4 head with augmentation, warm restarts",
    "all": "5 unfreeze; 6 earlier layers slower; 7 learning-rate finder again; 8 all layers, restarts growing",
}
"""The course's eight steps, by the phase of `eight-step` that takes them."""

_TYPES: dict[str, Any] = get_type_hints(Phase)


def starts_on_features(schedule: ScheduleSettings, start: str) -> bool:
    """Return whether training starts from a head on precomputed features, and not from the weights `start`.

    Raises UserError as `of` does.
    """
    return not start and any(phase.name == HEAD for phase in _done(schedule))


def of(schedule: ScheduleSettings) -> tuple[Phase, ...]:
    """Return the phases that train, without the head on precomputed features.

    Raises UserError if there are none, or for an invalid change in `phases`.
    """
    found = tuple(phase for phase in _done(schedule) if phase.name != HEAD)
    if not found:
        raise UserError(f"phases = {', '.join(schedule.phases)!r} leave nothing to train: use --method features.")
    return found


def _done(schedule: ScheduleSettings) -> tuple[Phase, ...]:
    phases = {phase.name: phase for phase in PLANS[schedule.plan]}
    for change in schedule.phases:
        name, *words = change.split() or [""]
        if not name:
            raise UserError("phases: an empty change: write it as PHASE setting=value, for example 'all epochs=6'.")
        if name not in phases:
            raise UserError(f"phases: plan {schedule.plan!r} has no phase {name!r}: it has {', '.join(phases)}.")
        phases[name] = dataclasses.replace(phases[name], **dict(_setting(name, word) for word in words))
    return tuple(phase for phase in phases.values() if phase.epochs > 0)


def _setting(phase: str, word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    known = [name for name in _TYPES if name != "name"]
    if not equals or key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}."
        raise UserError(f"phases: {word!r} of phase {phase!r} is not a setting=value of it: {hint}")
    try:
        value = _parse(_TYPES[key], text)
        if (key in ("cycle", "multiplier") and value < 1) or (key == "rate" and value == 0):
            raise ValueError(text)
        return key, value
    except ValueError:
        raise UserError(f"phases: {key} of phase {phase!r} can't be {text!r}.") from None


def _parse(kind: Any, text: str) -> Any:
    if kind in (int, float):
        return _checked(kind(text))
    if kind is bool:
        return {"true": True, "false": False}[text] if text in ("true", "false") else int(text) == 1
    if choices := get_args(kind):
        if Ellipsis in choices:
            return tuple(_checked(float(number)) for number in text.split("/"))
        if text not in choices:
            raise ValueError(text)
    return text


def _checked(value: Any) -> Any:
    """Return the number; raise ValueError if it is negative, infinite or NaN."""
    if not 0 <= value < math.inf:
        raise ValueError(str(value))
    return value
