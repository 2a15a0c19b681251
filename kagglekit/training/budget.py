"""What fits into the budget: whether to train a backbone, and the folds, image size and epochs of plan `quick`.

Everything is decided before training starts, from the time of a step, measured on this machine. While the run goes on,
`pacing` compares it with the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kagglekit.base import devices, distributed
from kagglekit.base.errors import UserError
from kagglekit.recipe import DEFAULT_FOLDS, DataSettings, Recipe, ScheduleSettings
from kagglekit.runs.choices import BackbonePace, Pace
from kagglekit.tasks.task import Task
from kagglekit.training import phases, second_cycle, throughput
from kagglekit.training.pacing import RESERVE
from kagglekit.training.throughput import Speed

MIN_IMAGES = 500
"""With fewer images `auto` does not train a backbone."""
MIN_EPOCHS, MAX_EPOCHS = 5, 12
"""Epochs of plan `quick`: fewer underfit, more overfit."""
_SIDES = (192, 160, 128, 96)
_ENLARGED = 1.2
"""Largest factor by which small images are enlarged: more adds no information, and costs time."""
_MULTIPLE = 8
"""Sides are multiples of this number of pixels, since most networks halve them several times."""
_FIXED = 45.0
"""Seconds for exporting the backbone, its features, the heads and the finish."""
_ENDING = 30.0
"""Seconds from the last model to the end of the command: its part of `_FIXED`, and the report."""
_BLEND = 40.0
"""Seconds of a blend with frozen features, and by which its report takes longer, on two cores."""
_FIXED_OF_MODEL = 6.0
_ADAPTING = 3
"""Views that take as long as batch-norm statistics of each scene."""
_PAIR = 6e-8
"""Seconds to compare two images in the search for look-alikes: 1,280 features and as many pixels, two cores."""
SHARE_OF_RACED = 0.5
"""Part of the budget that raced frozen backbones may take, by a measurement on this machine."""
_FEATURES_PER_CORE = 15.0
"""Images per second and core that pass through the default frozen backbone in two views, on a slow machine."""
_SHARE_OF_FEATURES = 0.25
"""Part of the budget that several frozen backbones may take, on a slow machine."""
_MAX_RATE_PER_CORE = 32.0
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
    elongation: float = 1.0
    """Longer by shorter side of a typical image."""
    valid_images: int = 0
    """Number of training images that belong to the data's own validation set."""
    task: Task = throughput.TEN_CLASSES
    """What is predicted: a last layer of many columns takes time."""
    after: float = 0.0
    """Seconds that the command takes after the run."""
    raced: tuple[str, ...] = ()
    """The frozen backbones that a race has chosen; empty if there was none."""
    raced_seconds: float = 0.0
    """Seconds that their features of all images take."""


@dataclass(frozen=True)
class Plan:
    """A decision: settings of the recipe, and the reason."""

    settings: dict[str, Any]
    reason: str
    pace: Pace | None = None
    """Expected times, if the run has to end within a budget."""


Measure = Callable[[tuple[int, int]], Sequence[Speed]]
"""Height and width of images -> the speed of each backbone."""


def plan(recipe: Recipe, backbones: Sequence[str], work: Work, device: devices.Device) -> Plan:
    """Choose the plan of fine-tuning; raise UserError if the budget is too small."""
    budget = recipe.compute.budget_seconds(device)
    limited = not math.isinf(budget)
    steps = steps_of(recipe, device)
    # stored, so that a run resumed with another number of processes takes the same steps
    batch = recipe.training.train_batch or throughput.default_batch(device) * distributed.count()
    settled = {"plan": steps, "folds": recipe.data.num_folds, "train_batch": batch}
    if steps != "quick":
        unused = f"; budget = {recipe.compute.budget} has no effect, since only plan quick fits one"
        return Plan(settled, f"plan {steps}{'' if recipe.compute.budget == 'auto' else unused}")
    if not limited:
        return Plan(settled, "plan quick, with the epochs of its phases")
    found = _fit_quick(recipe, backbones, work, budget, _measuring(recipe, backbones, work, device))
    return replace(found, settings=settled | found.settings)


def steps_of(recipe: Recipe, device: devices.Device) -> str:
    """Return the name of the steps: only `quick` fits a budget, of which a GPU has none unless it is set."""
    if recipe.schedule.plan != "auto":
        return recipe.schedule.plan
    return "quick" if device == "cpu" or not math.isinf(recipe.compute.budget_seconds(device)) else "eight-step"


def affordable_features(recipe: Recipe, work: Work, device: devices.Device) -> float:
    """Return how many times the default frozen backbone may see all images."""
    if device == "cuda":
        return math.inf
    return _SHARE_OF_FEATURES * recipe.compute.budget_seconds(device) / _seconds_of_features(work)


def beside_features(work: Work, device: devices.Device, cost: float) -> Work:
    """Return the work of training after a run of frozen features, and before both are blended.

    `cost` is how many times as long these take as those of the default backbone.
    """
    first = work.raced_seconds or (0.0 if device == "cuda" else cost * _seconds_of_features(work))
    return replace(work, spent=work.spent + first, after=_BLEND)


def _seconds_of_features(work: Work) -> float:
    return max(1, work.images + work.test_images) / (_FEATURES_PER_CORE * devices.cores())


def fits(recipe: Recipe, backbones: Sequence[str], work: Work, device: devices.Device) -> tuple[bool, str]:
    """Return whether `auto` should train a backbone too: there are images and time for it; and the reason."""
    if recipe.data.sample:
        return False, "a sample is for a quick trial"
    if work.images < MIN_IMAGES:
        return False, f"{work.images} training images are too few to train a backbone"
    budget = recipe.compute.budget_seconds(device)
    if math.isinf(budget):
        return True, f"{work.images} images, and {'a GPU' if device == 'cuda' else 'no limit on time'}"
    return _fits_in(budget, recipe, backbones, work, device)


def _fits_in(
    budget: float, recipe: Recipe, backbones: Sequence[str], work: Work, device: devices.Device
) -> tuple[bool, str]:
    """Return whether enough epochs fit, and the reason; measure a step unless the answer is clear."""
    shape = _shapes(recipe, backbones, work)[0]
    area = shape[0] * shape[1] / 224**2
    at_best = [Speed(area / (_MAX_RATE_PER_CORE * devices.cores()), 0.0)] * len(backbones)
    folds = _fold_counts(recipe.data)[-1]
    if device == "cpu" and _epochs(recipe, work, folds, at_best, budget) < MIN_EPOCHS:
        return False, f"{budget / 60:.0f} min on {devices.cores()} cores is too little time to train a backbone"
    epochs = max(_epochs(recipe, work, folds, _measuring(recipe, backbones, work, device)(shape), budget), 0)
    time = f"by a measured step, there is time for {_epochs_text(epochs)} in {budget / 60:.0f} min"
    return epochs >= MIN_EPOCHS, time if epochs >= MIN_EPOCHS else f"{time}, and fewer than {MIN_EPOCHS} underfit"


def _shapes(recipe: Recipe, backbones: Sequence[str], work: Work) -> list[tuple[int, int]]:
    """Return the image shapes to try, largest first."""
    if recipe.features.shape:
        return [recipe.features.shape]
    return shapes_for(own_shape(backbones[0]), work.native, recipe.features.crop)


def _fit_quick(recipe: Recipe, backbones: Sequence[str], work: Work, budget: float, measure_: Measure) -> Plan:
    """Return folds, image size and epochs that fit: enough epochs come first, then image size, then folds.

    If nothing fits, the default budget gives the smallest plan. Raises UserError for a budget that the user gave.
    """
    shapes, fold_counts = _shapes(recipe, backbones, work), _fold_counts(recipe.data)
    wanted = _wanted_epochs(recipe.schedule)
    for shape in shapes:
        speeds = measure_(shape)
        for folds in fold_counts:
            cost = _cost(recipe, work, folds, speeds)
            epochs, is_last = cost.epochs(budget), (shape, folds) == (shapes[-1], fold_counts[-1])
            if epochs >= (wanted or MIN_EPOCHS) or (is_last and epochs >= (wanted or 1)):
                return _quick(recipe, _Fit(shape, folds, wanted or min(epochs, MAX_EPOCHS), speeds), cost, budget)
    least = cost.budget(wanted or 1)
    if recipe.compute.budget == "auto":
        return _quick(recipe, _Fit(shape, folds, wanted or 1, speeds), cost, budget)
    raise UserError(
        f"budget = {recipe.compute.budget!r}: {budget / 60:.0f} min is too little for {_epochs_text(wanted or 1)} of "
        f"{work.images} images with {' and '.join(backbones)}, {folds} folds at {shape[0]}x{shape[1]}: use --budget "
        f"{math.ceil(least / 60)}m or more, or use --method features."
    )


def _wanted_epochs(schedule: ScheduleSettings) -> int:
    """Return the epochs that the user set, or 0."""
    is_set = any("epochs=" in change for change in schedule.phases if change.startswith("all "))
    return phases.of(replace(schedule, plan="quick"))[0].epochs if is_set else 0


@dataclass(frozen=True)
class _Fit:
    shape: tuple[int, int]
    folds: int
    epochs: int
    speeds: Sequence[Speed]


def _quick(recipe: Recipe, fit: _Fit, cost: _Cost, budget: float) -> Plan:
    """Return plan `quick` with the folds, image size and epochs that fit."""
    changed = (f"all epochs={fit.epochs}", *recipe.schedule.phases)
    training = phases.of(replace(recipe.schedule, plan="quick", phases=changed))
    # epochs that the user set are trained, and only one cycle can be stretched
    is_paced = not _wanted_epochs(recipe.schedule) and len(training) == 1 and training[0].schedule == "one-cycle"
    rates = " and ".join(f"{1 / speed.step:.0f}" for speed in fit.speeds)
    minutes, least = f"{budget / 60:.0f} min", cost.budget(fit.epochs)
    if least > budget:
        minutes += f" is too little, so this takes about {least / 60:.0f} min"
    return Plan(
        {"folds": fit.folds, "image_size": list(fit.shape), "phases": list(changed)},
        f"plan quick: {fit.folds} folds at {fit.shape[0]}x{fit.shape[1]}, {_epochs_text(fit.epochs)}: a step was "
        f"measured at {rates} images/s, budget {minutes}",
        cost.pace(budget, fit.epochs) if is_paced else None,
    )


def _epochs_text(count: int) -> str:
    return "one epoch" if count == 1 else f"{count} epochs"


def _fold_counts(data: DataSettings) -> list[int]:
    """Return the numbers of folds to try, most first."""
    return [data.num_folds] if data.folds or data.validation != "folds" else [DEFAULT_FOLDS, 4, 3]


@dataclass(frozen=True)
class _Cost:
    """Seconds that a run takes."""

    shared: float
    """All besides the models."""
    models: int
    """Number of the folds' models of each backbone."""
    refitted: int
    """Number of models of each backbone that are trained on all images after them."""
    longer: float
    """How many times as long an epoch of these takes."""
    backbones: Sequence[BackbonePace]
    """Per model of each backbone."""
    ending: float
    """From the last model to the end of the command; part of what is shared."""

    @property
    def _model(self) -> float:
        """Of a model of each backbone besides their epochs."""
        return sum(each.model for each in self.backbones)

    @property
    def _epoch(self) -> float:
        """Of an epoch of a model of each backbone."""
        return sum(each.epoch for each in self.backbones)

    def _refit(self, epochs: int) -> float:
        """Of the models that are trained on all images."""
        return self.refitted * (self._model + epochs * self.longer * self._epoch)

    def epochs(self, budget: float) -> int:
        """Return how many epochs of all models fit; negative if not even the rest fits."""
        left = budget * (1 - RESERVE) - self.shared - (self.models + self.refitted) * self._model
        return math.floor(left / ((self.models + self.refitted * self.longer) * self._epoch))

    def budget(self, epochs: int) -> float:
        """Return the least budget in which so many epochs fit."""
        of_folds = self.models * (self._model + epochs * self._epoch)
        return (self.shared + of_folds + self._refit(epochs)) / (1 - RESERVE)

    def pace(self, budget: float, epochs: int) -> Pace:
        """Return the expected times of a run with so many epochs."""
        return Pace(
            budget=budget,
            least=self.budget(epochs),
            epochs=epochs,
            epoch=self.backbones[0].epoch,
            model=self.backbones[0].model,
            ending=self.ending + self._refit(epochs),
            others=tuple(self.backbones[1:]),
        )


def _epochs(recipe: Recipe, work: Work, folds: int, speeds: Sequence[Speed], budget: float) -> int:
    """Return how many epochs of all folds' models fit."""
    return _cost(recipe, work, folds, speeds).epochs(budget)


def _cost(recipe: Recipe, work: Work, folds: int, speeds: Sequence[Speed]) -> _Cost:
    parts = folds if recipe.data.validation == "folds" else 1
    held: float = {"folds": work.images / folds, "holdout": recipe.data.holdout, "valid": work.valid_images}[
        recipe.data.validation
    ]
    together = recipe.training.models * len(speeds)
    trained = work.images - held
    validation = trained * recipe.training.validation_share
    views = (2 + recipe.finish.tta_views) if together > 1 else 1
    if recipe.finish.scenes and together > 1:
        views = 2 * views + _ADAPTING
    alike = (held**2 + work.test_images**2) * _PAIR if recipe.finish.neighbours and together > 1 else 0.0
    backbones = [
        BackbonePace(
            epoch=(trained - validation) * speed.step + validation * speed.forward,
            model=_FIXED_OF_MODEL + (held + work.test_images) * views * speed.forward + alike,
        )
        for speed in speeds
    ]
    after, models = work.after, parts * recipe.training.models
    if recipe.finish.pseudo_labels and work.test_images and second_cycle.can_learn(work.task):
        longer = second_cycle.longer(trained - validation, held + work.test_images)
        after += models * sum(each.model + second_cycle.EPOCHS * longer * each.epoch for each in backbones)
    return _Cost(
        shared=work.spent + _FIXED + after + 2 * work.images * sum(speed.forward for speed in speeds),
        models=models,
        refitted=0 if recipe.training.refit == "folds" else recipe.training.models,
        longer=work.images / trained,
        backbones=backbones,
        ending=_ENDING + after,
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


def _measuring(recipe: Recipe, backbones: Sequence[str], work: Work, device: devices.Device) -> Measure:
    train_batch, precision = recipe.training.train_batch, recipe.compute.precision
    return lambda shape: [
        throughput.measure(backbone, shape, device, task=work.task, train_batch=train_batch, precision=precision)
        for backbone in backbones
    ]
