"""What fits into the budget: whether to train a backbone, and the folds, image size and epochs of plan `quick`.

Everything is decided before training starts, from the time of a step, measured on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kagglekit.base import devices, distributed
from kagglekit.base.errors import UserError
from kagglekit.recipe import DEFAULT_FOLDS, DataSettings, Recipe
from kagglekit.training import phases, throughput
from kagglekit.training.throughput import Speed

MIN_IMAGES = 2000
"""With fewer images `auto` does not train a backbone: on 1,200 cats and dogs frozen features have half the loss."""
MIN_EPOCHS, MAX_EPOCHS = 5, 12
"""Epochs of plan `quick`: fewer underfit, more overfit."""
_SIDES = (192, 160, 128, 96)
_ENLARGED = 1.2
"""Largest factor by which small images are enlarged: more adds no information, and costs time."""
_MULTIPLE = 8
"""Sides are multiples of this number of pixels, since most networks halve them several times."""
_KEPT_BACK = 0.15
"""Share of the budget held in reserve, for example for a machine that slows down."""
_FIXED = 45.0
"""Seconds for exporting the backbone, its features, the heads and the finish."""
_FIXED_OF_MODEL = 6.0
_PAIR = 3e-8
"""Seconds to compare two images in the search for look-alikes: 1,280 features, two cores."""
_MAX_RATE_PER_CORE = 16.0
"""Upper bound on images per second and core when training a small backbone at 224 x 224: if even this is too slow,
nothing is measured."""


@dataclass(frozen=True)
class Work:
    """The work that a budget must cover."""

    images: int
    """Number of training images."""
    test_images: int
    spent: float
    """Seconds since the command began."""
    native: tuple[int, int]
    """Height and width of a typical image."""


@dataclass(frozen=True)
class Plan:
    """A decision: settings of the recipe, and the reason."""

    settings: dict[str, Any]
    reason: str


Measure = Callable[[tuple[int, int]], Speed]
"""Height and width of images -> speed."""


def plan(recipe: Recipe, backbone: str, work: Work, device: devices.Device) -> Plan:
    """Choose the plan of fine-tuning; raise UserError if the budget is too small."""
    budget = recipe.compute.budget_seconds(device)
    limited = not math.isinf(budget)
    # only `quick` fits a budget: a GPU has none by default, and uses `quick` if one is set
    steps = (
        recipe.schedule.plan
        if recipe.schedule.plan != "auto"
        else "quick"
        if device == "cpu" or limited
        else "eight-step"
    )
    # stored, so that a run resumed with another number of processes takes the same steps
    batch = recipe.training.train_batch or throughput.default_batch(device) * distributed.count()
    settled = {"plan": steps, "folds": recipe.data.num_folds, "train_batch": batch}
    if steps != "quick":
        unused = f"; budget = {recipe.compute.budget} has no effect, since only plan quick fits one"
        return Plan(settled, f"plan {steps}{'' if recipe.compute.budget == 'auto' else unused}")
    if not limited:
        return Plan(settled, "plan quick, with the epochs of its phases")
    settings, how = _fit_quick(recipe, backbone, work, budget, _measuring(recipe, backbone, device))
    return Plan(settled | settings, how)


def is_worth_training(recipe: Recipe, backbone: str, work: Work, device: devices.Device) -> tuple[bool, str]:
    """Return whether images and budget are enough to train a backbone, and the reason."""
    budget = recipe.compute.budget_seconds(device)
    if work.images < MIN_IMAGES:
        return False, f"{work.images} training images are too few to train a backbone"
    if math.isinf(budget):
        return True, f"{work.images} images, and {'a GPU' if device == 'cuda' else 'no limit on time'}"
    return _is_worth_training_in(budget, recipe, backbone, work, device)


def _is_worth_training_in(
    budget: float, recipe: Recipe, backbone: str, work: Work, device: devices.Device
) -> tuple[bool, str]:
    """Return whether enough epochs fit, and the reason; measure a step unless the answer is clear."""
    shape = recipe.features.shape or own_shape(backbone)
    area = shape[0] * shape[1] / 224**2
    at_best = Speed(area / (_MAX_RATE_PER_CORE * devices.cores()), 0.0)
    folds = _fold_counts(recipe.data)[-1]
    if device == "cpu" and _epochs(recipe, work, folds, at_best, budget) < MIN_EPOCHS:
        return False, f"{budget / 60:.0f} min on {devices.cores()} cores is too little time to train a backbone"
    epochs = max(_epochs(recipe, work, folds, _measuring(recipe, backbone, device)(shape), budget), 0)
    return epochs >= MIN_EPOCHS, f"by a measured step, {epochs} epochs fit in {budget / 60:.0f} min"


def _fit_quick(
    recipe: Recipe, backbone: str, work: Work, budget: float, measure_: Measure
) -> tuple[dict[str, Any], str]:
    """Return folds, image size and epochs that fit: enough epochs come first, then image size, then folds."""
    shapes = (
        [recipe.features.shape]
        if recipe.features.shape
        else shapes_for(own_shape(backbone), work.native, recipe.features.crop)
    )
    fold_counts = _fold_counts(recipe.data)
    fixed = phases.of(replace(recipe.schedule, plan="quick"))
    fixed_epochs = any("epochs=" in change for change in recipe.schedule.phases if change.startswith("all "))
    wanted = fixed[0].epochs if fixed_epochs else 0
    for shape in shapes:
        speed = measure_(shape)
        for folds in fold_counts:
            epochs = _epochs(recipe, work, folds, speed, budget)
            is_last = (shape, folds) == (shapes[-1], fold_counts[-1])
            if epochs >= (wanted or MIN_EPOCHS) or (is_last and epochs >= (wanted or 1)):
                chosen = wanted or min(epochs, MAX_EPOCHS)
                settings = {
                    "folds": folds,
                    "image_size": list(shape),
                    "phases": [f"all epochs={chosen}", *recipe.schedule.phases],
                }
                rate = 1 / speed.step
                return settings, (
                    f"plan quick: {folds} folds at {shape[0]}x{shape[1]}, {chosen} epochs: a step was measured at "
                    f"{rate:.0f} images/s, budget {budget / 60:.0f} min"
                )
    cure = f"{wanted} epochs" if wanted else "one epoch"
    least = math.ceil(_cost(recipe, work, fold_counts[-1], speed).budget(wanted or 1) / 60)
    raise UserError(
        f"budget = {recipe.compute.budget!r}: {budget / 60:.0f} min is too little for {cure} of {work.images} images "
        f"with {backbone}: use --budget {least}m or more, or use --method features."
    )


def _fold_counts(data: DataSettings) -> list[int]:
    """Return the numbers of folds to try, most first."""
    return [data.num_folds] if data.folds or data.validation != "folds" else [DEFAULT_FOLDS, 4, 3]


@dataclass(frozen=True)
class _Cost:
    """Seconds that a run takes."""

    fixed: float
    """Independent of the number of epochs."""
    epoch: float
    """Per epoch of all models."""

    def epochs(self, budget: float) -> int:
        return math.floor((budget * (1 - _KEPT_BACK) - self.fixed) / self.epoch)

    def budget(self, epochs: int) -> float:
        return (self.fixed + epochs * self.epoch) / (1 - _KEPT_BACK)


def _epochs(recipe: Recipe, work: Work, folds: int, speed: Speed, budget: float) -> int:
    """Return how many epochs of all folds' models fit."""
    return _cost(recipe, work, folds, speed).epochs(budget)


def _cost(recipe: Recipe, work: Work, folds: int, speed: Speed) -> _Cost:
    parts = folds if recipe.data.validation == "folds" else 1
    held = {"folds": work.images / folds, "holdout": recipe.data.holdout, "valid": 0}[recipe.data.validation]
    together = recipe.training.models * len(recipe.features.backbone)
    trained = work.images - held
    validation = trained * recipe.training.validation_share
    views = (2 + recipe.finish.tta_views) if together > 1 else 1
    alike = (held**2 + work.test_images**2) * _PAIR if recipe.finish.neighbours and together > 1 else 0.0
    of_model = _FIXED_OF_MODEL + (held + work.test_images) * views * speed.forward + alike
    models = parts * together
    return _Cost(
        fixed=work.spent + _FIXED + 2 * work.images * speed.forward + models * of_model,
        epoch=models * ((trained - validation) * speed.step + validation * speed.forward),
    )


def own_shape(backbone: str) -> tuple[int, int]:
    """Return the input height and width of a timm model."""
    import timm

    config = timm.get_pretrained_cfg(backbone)
    size = config.input_size if config is not None else (3, 224, 224)
    return int(size[1]), int(size[2])


def shapes_for(own: tuple[int, int], native: tuple[int, int], crop: str) -> list[tuple[int, int]]:
    """Return the shapes to try, largest first: squares, none much larger than the images.

    If the whole image is kept (crop `squash`), they have nearly its aspect ratio.
    """
    height, width = native
    narrow = min(max(height / width, 0.5), 2.0) ** 0.5 if crop == "squash" else 1.0
    limits = native if crop == "squash" else (min(native), min(native))
    found = []
    for side in (min(own), *(side for side in _SIDES if side < min(own))):
        wanted = (side * narrow, side / narrow)
        shape = tuple(_rounded(min(a, _ENLARGED * limit)) for a, limit in zip(wanted, limits, strict=True))
        found.append((shape[0], shape[1]))
    return list(dict.fromkeys(found))


def _rounded(side: float) -> int:
    return max(round(side / _MULTIPLE) * _MULTIPLE, 32)


def _measuring(recipe: Recipe, backbone: str, device: devices.Device) -> Measure:
    train_batch, precision = recipe.training.train_batch, recipe.compute.precision
    return lambda shape: throughput.measure(backbone, shape, device, train_batch=train_batch, precision=precision)
