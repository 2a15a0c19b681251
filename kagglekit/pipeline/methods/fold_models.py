"""The models that fine-tuning trains, and their folders within the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kagglekit.models.backbone import Backbone
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames
from kagglekit.runs.store import Run


@dataclass(frozen=True)
class FoldModel:
    """A model of one fold: a backbone, perhaps one of several repetitions."""

    fold: int
    number: int
    """Number of the model within the fold."""
    backbone: Backbone

    @property
    def name(self) -> str:
        """Name of the model's stage and folder."""
        return f"fold{self.fold}-{self.number}"

    @property
    def folder(self) -> str:
        """Path of the model's folder within the run's folder."""
        return f"{filenames.MODELS}/{self.name}"


def fold_models(run: Run, recipe: Recipe, backbones: Sequence[Backbone]) -> list[FoldModel]:
    """Return the models of a run, fold by fold, without the folds that it left out."""
    return [model for model in planned_models(recipe, backbones) if model.fold not in run.left_out]


def planned_models(recipe: Recipe, backbones: Sequence[Backbone]) -> list[FoldModel]:
    """Return the models of all folds, fold by fold."""
    count = recipe.data.num_folds if recipe.data.validation == "folds" else 1
    each = [backbone for backbone in backbones for _ in range(recipe.training.models)]
    return [FoldModel(fold, number, backbone) for fold in range(count) for number, backbone in enumerate(each)]
