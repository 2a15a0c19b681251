"""Advice from the losses of a phase: under-fitting, over-fitting, too many epochs, and which settings help.

Remedies for over-fitting come in the order of fast.ai's course (Practical Deep Learning for Coders, part 1, lesson 3):
more data, more augmentation, an architecture that generalises better, regularisation, a simpler architecture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CLEAR = 1.2
"""Ratio from which one loss counts as clearly above the other."""
_CLEAR_INFLATED = 1.5
"""The same for a training loss that augmentation or dropout inflates."""
_GUESSING = 0.9
"""Share of the loss of guessing above which nothing counts as learnt."""
_MOST_EPOCHS = 50
_STRONGER = {"none": "light", "light": "strong", "side-on": "strong", "top-down": "strong"}
_WEAKER = {"strong": "light", "side-on": "light", "top-down": "light", "light": "none"}


@dataclass(frozen=True, kw_only=True)
class PhaseLosses:
    """The results of a phase of fine-tuning; losses are means of the task's loss, such as cross-entropies in nats."""

    name: str
    """Name in the setting `phases`."""
    kind: str
    """What was trained: `head`, `late`, `later` or `all`."""
    num_epochs: int
    """0 if `phases` has no such phase: the head on precomputed features."""
    guessing: float
    """Loss of predicting the same of every image."""
    smooths: bool = True
    """Whether label smoothing has an effect."""
    train_loss: float
    """Loss over the last epoch, including augmentation, dropout, mixup and label smoothing if they are on."""
    valid_loss: float | None = None
    """Loss on the validation split; None without one."""
    before: float | None = None
    """Validation loss before the phase."""
    spread: float = 0.0
    """Standard error of `valid_loss`."""
    train_is_augmented: bool = True
    is_cut: bool = False
    """Whether the phase was shortened to end within the budget."""
    trend: tuple[float, ...] = ()
    """Validation loss after each epoch."""
    settings: Mapping[str, Any]
    """All settings by name; those already in use are not advised again."""


def judge(losses: PhaseLosses) -> list[str]:
    """Return one to three lines for the log: the losses, a verdict with advice, a warning about the trend."""
    if not math.isfinite(losses.train_loss) or not math.isfinite(losses.valid_loss or 0.0):
        return [f"{_numbers(losses)}: the training diverged. {_try(_gentler(losses.settings))}"]
    trend = _trend(losses)
    return [f"{_numbers(losses)}.", _verdict(losses), *([trend] if trend else [])]


def _numbers(losses: PhaseLosses) -> str:
    text = f"{losses.name}: training loss {losses.train_loss:.4f}"
    if losses.valid_loss is None:
        return f"{text}, no validation loss"
    text += f", validation loss {losses.valid_loss:.4f}"
    if losses.spread > 0:
        text += f" ± {losses.spread:.4f}"
    return text if losses.before is None else f"{text} (before this phase {losses.before:.4f})"


def _verdict(losses: PhaseLosses) -> str:
    train, valid, settings = losses.train_loss, losses.valid_loss, losses.settings
    if min(train, math.inf if valid is None else valid) >= _GUESSING * losses.guessing:
        return f"under-fitting: hardly better than guessing. {_try(_against_under_fitting(losses))}"
    if valid is None:
        cure = _try(["--set validation_share=0.1"]) if settings["validation_share"] == 0 else ""
        return f"without a validation split the training loss alone can't show over-fitting. {cure}".rstrip()
    certain = abs(valid - train) > 2 * losses.spread
    if certain and valid > _CLEAR * train:
        cures = _try(_against_over_fitting(losses))
        return f"over-fitting: the validation loss is clearly above the training loss. {cures}"
    inflated = losses.train_is_augmented or settings["dropout"] > 0 or settings["drop_path"] > 0
    if certain and train > (_CLEAR_INFLATED if inflated else _CLEAR) * valid:
        softened = [name for name in ("mixup", "cutmix", *_smoothing(losses)) if settings[name] > 0]
        if softened:
            return f"no over-fitting; {' and '.join(softened)} raise the training loss, so under-fitting can't be seen."
        cures = _try(_against_under_fitting(losses))
        return f"under-fitting: the training loss is clearly above the validation loss. {cures}"
    return "neither over-fitting nor clearly under-fitting."


def _trend(losses: PhaseLosses) -> str:
    """Return a warning if the validation loss rose over the phase, else an empty string.

    A loss that still falls means nothing: with an annealed learning rate, it always does.
    """
    trend, valid = losses.trend, losses.valid_loss
    if valid is not None and losses.before is not None and valid > losses.before + losses.spread:
        return f"this phase made the validation loss worse. {_try(_gentler(losses.settings))}"
    if len(trend) < 2 or not all(map(math.isfinite, trend)):
        return ""
    best = min(range(len(trend)), key=trend.__getitem__)
    # epochs are compared on the same images, so their difference varies by less than half the spread
    noise = max(losses.spread / 2, 0.01 * trend[best])
    if trend[-1] > trend[best] + noise:
        risen = f"the validation loss has risen since epoch {best + 1} of {len(trend)}: use fewer epochs."
        return f"{risen} {_try([_epochs(losses, best + 1)])}"
    return ""


def _against_over_fitting(losses: PhaseLosses) -> list[str]:
    settings = losses.settings
    data = ["--set sample=0"] if settings["sample"] else ["more data"]
    images = {"erasing": 0.25, "mixup": 0.2}  # more augmentation if there is no stronger policy
    if settings["augment"] != "none" and not losses.train_is_augmented:
        augmentation = ["augmentation in this phase too"]
    elif settings["augment"] in _STRONGER:
        augmentation = _settings({"augment": _STRONGER[settings["augment"]]})
    else:
        augmentation = _settings({k: v for k, v in images.items() if settings[k] == 0})[:1]
    wanted = {
        "dropout": 0.2 if settings["dropout"] == 0 else 0.5,
        "weight_decay": 0.05,
        **dict.fromkeys(_smoothing(losses), 0.1),
        "drop_path": 0.0 if losses.kind == "head" else 0.1,
        "ema": 0.999,
    }
    regularisation = _settings({k: v for k, v in wanted.items() if settings[k] < v})[:3]
    better = "a `backbone` that generalises better (`kagglekit backbones`)"
    return [*data, *augmentation, better, *regularisation, "a smaller `backbone`"]


def _against_under_fitting(losses: PhaseLosses) -> list[str]:
    settings = losses.settings
    less = {"dropout": settings["dropout"] / 2 if settings["dropout"] > 0.2 else 0.0}
    less |= dict.fromkeys(("drop_path", "mixup", "cutmix", *_smoothing(losses), "erasing"), 0.0)
    found = _settings({k: v for k, v in less.items() if settings[k] > v})[:3]
    if losses.train_is_augmented and settings["augment"] in _WEAKER:
        found += _settings({"augment": _WEAKER[settings["augment"]]})
    if losses.is_cut:
        found.append("a larger --budget")
    elif 0 < losses.num_epochs < _MOST_EPOCHS:
        found.append(_epochs(losses, min(2 * losses.num_epochs, _MOST_EPOCHS)))
    if losses.kind != "all":
        found.append("to unfreeze more layers (`trains` of a phase in `phases`)")
    return found or ["a larger `backbone`"]


def _smoothing(losses: PhaseLosses) -> tuple[str, ...]:
    """Return the setting of label smoothing, if it has an effect."""
    return ("label_smoothing",) if losses.smooths else ()


def _gentler(settings: Mapping[str, Any]) -> list[str]:
    """Return settings that lower the learning rate."""
    if settings["learning_rate"] > 0:
        return _settings({"learning_rate": settings["learning_rate"] / 10})
    # unlike the other suggestions, minimum/10 keeps a distance from where the loss diverges
    gentle = {} if settings["suggestion"] == "minimum/10" else {"suggestion": "minimum/10"}
    return _settings(gentle) or ["a lower `learning_rate` than the finder suggests"]


def _epochs(losses: PhaseLosses, number: int) -> str:
    """Return the setting that gives the phase `number` epochs and keeps the other changes in `phases`."""
    changes: dict[str, list[str]] = {}
    for change in losses.settings["phases"]:
        name, *words = change.split()
        changes.setdefault(name, []).extend(words)
    kept = [word for word in changes.get(losses.name, []) if not word.startswith("epochs=")]
    changes[losses.name] = [f"epochs={number}", *kept]
    return f"--set 'phases={','.join(' '.join((name, *words)) for name, words in changes.items())}'"


def _settings(values: Mapping[str, float | str]) -> list[str]:
    return [f"--set {name}={v}" if isinstance(v, str) else f"--set {name}={v:g}" for name, v in values.items()]


def _try(cures: Sequence[str]) -> str:
    return f"Try, in this order: {'; '.join(cures)}." if len(cures) > 1 else f"Try {cures[0]}."
