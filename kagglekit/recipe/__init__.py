"""The settings of a run: what there is to set, and where it comes from."""

from kagglekit.recipe.files import of_run, read_file, to_toml
from kagglekit.recipe.names import flat, laid_over
from kagglekit.recipe.recipe import SECTION_OF, SECTIONS, TYPES, Recipe, by_first_names, by_names, meanings, purpose
from kagglekit.recipe.sections import (
    DEFAULT_FOLDS,
    AugmentationSettings,
    ComputeSettings,
    DataSettings,
    FeatureSettings,
    FinishSettings,
    HeadSettings,
    ScheduleSettings,
    TrainingSettings,
)
from kagglekit.recipe.sources import parse_assignment, resolve
from kagglekit.recipe.values import shown

__all__ = [
    "DEFAULT_FOLDS",
    "SECTIONS",
    "SECTION_OF",
    "TYPES",
    "AugmentationSettings",
    "ComputeSettings",
    "DataSettings",
    "FeatureSettings",
    "FinishSettings",
    "HeadSettings",
    "Recipe",
    "ScheduleSettings",
    "TrainingSettings",
    "by_first_names",
    "by_names",
    "flat",
    "laid_over",
    "meanings",
    "of_run",
    "parse_assignment",
    "purpose",
    "read_file",
    "resolve",
    "shown",
    "to_toml",
]
