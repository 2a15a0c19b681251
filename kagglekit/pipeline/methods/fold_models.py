"""The models that fine-tuning trains, and where each lies in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kagglekit.models.backbone import Backbone
from kagglekit.recipe import DataSettings
from kagglekit.runs import filenames


@dataclass(frozen=True)
class FoldModel:
    """One model: of a fold, a backbone, and a repetition."""

    fold: int
    number: int
    """Within the fold."""
    backbone: Backbone

    @property
    def name(self) -> str:
        """What its stage and its folder are called."""
        return f"fold{self.fold}-{self.number}"

    @property
    def folder(self) -> str:
        """Where it lies in the run's folder."""
        return f"{filenames.MODELS}/{self.name}"


def fold_models(data: DataSettings, repetitions: int, backbones: Sequence[Backbone]) -> list[FoldModel]:
    """Return all models of a run, fold by fold, each backbone `repetitions` times."""
    count = data.num_folds if data.validation == "folds" else 1
    each = [backbone for backbone in backbones for _ in range(repetitions)]
    return [FoldModel(fold, number, backbone) for fold in range(count) for number, backbone in enumerate(each)]
