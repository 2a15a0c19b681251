"""The models that fine-tuning trains, their folders within the run's folder, and their predictions.

N: scored images, R: readable test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np

from kagglekit.base import shortlists
from kagglekit.base.arrays import Indices
from kagglekit.base.shortlists import Wide
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.finished import Asked
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames
from kagglekit.runs.probabilities import Probabilities
from kagglekit.runs.store import Run
from kagglekit.training import second_cycle

ALL = 1 << 31
"""In the place of a fold: of a refitted model, which is trained on all images. No fold has this number."""


@dataclass(frozen=True)
class Place:
    """Where a model of one fold is, or a refitted one."""

    fold: int
    """Fold that the model has not seen, or `ALL`."""
    number: int
    """Number of the model within the fold."""
    trained_on: bool = field(default=False, kw_only=True)
    """Whether it is the model after a second cycle, of pseudo-labels."""

    @property
    def name(self) -> str:
        """Name of the model's stage."""
        return self._name + (f"-{second_cycle.NAME}" if self.trained_on else "")

    @property
    def folder(self) -> str:
        """Path of the model's folder within the run's folder."""
        own = f"{filenames.MODELS}/{self._name}"
        return f"{own}/{second_cycle.NAME}" if self.trained_on else own

    @property
    def is_refitted(self) -> bool:
        """Whether the model is trained on all images."""
        return self.fold == ALL

    @property
    def _name(self) -> str:
        return f"{'all' if self.is_refitted else f'fold{self.fold}'}-{self.number}"

    @property
    def again(self) -> Self:
        """The model after a second cycle."""
        return replace(self, trained_on=True)


@dataclass(frozen=True)
class FoldModel(Place):
    """A model of one fold, or a refitted one: a backbone, perhaps one of several repetitions."""

    backbone: Backbone


AnyPlace = TypeVar("AnyPlace", bound=Place)


def joined(
    run: Run, models: Sequence[Place], view: str, asked: Asked, labels: Sequence[str], *, tested: Sequence[Place] = ()
) -> tuple[Wide, Wide]:
    """Return one view's predictions of the scored images (N, C), and of the readable test images (R, C).

    They are means: over each fold's models, and for the test images over the models `tested`, or else all models.
    """

    def mean(some: Sequence[Place], file: str, ids: Sequence[str]) -> Wide:
        return shortlists.mean(run.read_probabilities(f"{one.folder}/{file}", ids, labels, view=view) for one in some)

    def held_out(fold: int) -> tuple[Indices, Wide]:
        places = np.flatnonzero(asked.fold == fold)
        own = [model for model in models if model.fold == fold]
        return places, mean(own, filenames.OOF, [asked.ids[place] for place in places.tolist()])

    oof = shortlists.arranged(map(held_out, np.unique(asked.fold).tolist()), len(asked.fold))
    return oof, mean(tested or models, filenames.TEST, asked.test)


def views_of(run: Run, models: Sequence[Place], wanted: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return which of the wanted views all models have predicted: earlier versions had fewer."""
    own = [Probabilities.read(run.folder / one.folder / filenames.OOF, labels).known("view")["view"] for one in models]
    had = set(own[0]).intersection(*own[1:])
    return [view for view in wanted if view in had]


def fold_models(run: Run, recipe: Recipe, backbones: Sequence[Backbone]) -> list[FoldModel]:
    """Return the models of a run, fold by fold, without the folds that it left out."""
    return [model for model in planned_models(recipe, backbones) if model.fold not in run.left_out]


def refitted_models(run: Run, recipe: Recipe, backbones: Sequence[Backbone]) -> list[FoldModel]:
    """Return the models of a run that are trained on all images: as many as in each fold, if any."""
    return [FoldModel(ALL, *each) for each in enumerate(_each(recipe, backbones)) if _refits(run, recipe)]


def predicting(models: Sequence[AnyPlace], refitted: Sequence[AnyPlace], recipe: Recipe) -> list[AnyPlace]:
    """Return which models predict the test set. Where refitted ones were left out, those of the folds do."""
    return list(refitted) if refitted and recipe.training.refit == "all" else [*models, *refitted]


def planned_models(recipe: Recipe, backbones: Sequence[Backbone]) -> list[FoldModel]:
    """Return the models of all folds, fold by fold."""
    folds = range(_num_folds(recipe))
    return [FoldModel(fold, *each) for fold in folds for each in enumerate(_each(recipe, backbones))]


def places(run: Run, recipe: Recipe) -> list[Place]:
    """Return where the models of a finished run are, fold by fold, without the folds that it left out."""
    folds = [fold for fold in range(_num_folds(recipe)) if fold not in run.left_out]
    return [Place(fold, number) for fold in folds for number in _numbers(run, recipe)]


def refitted_places(run: Run, recipe: Recipe) -> list[Place]:
    """Return where the models of a finished run are that were trained on all images."""
    return [Place(ALL, number) for number in _numbers(run, recipe) if _refits(run, recipe)]


def _refits(run: Run, recipe: Recipe) -> bool:
    return recipe.training.refit != "folds" and not run.all_left_out.refit


def _each(recipe: Recipe, backbones: Sequence[Backbone]) -> list[Backbone]:
    """Return the backbone of each model of a fold."""
    return [backbone for backbone in backbones for _ in range(recipe.training.models)]


def _numbers(run: Run, recipe: Recipe) -> range:
    return range(len(run.record.backbones) * recipe.training.models)


def _num_folds(recipe: Recipe) -> int:
    return recipe.data.num_folds if recipe.data.validation == "folds" else 1
