"""All settings of a run: a recipe holds its sections, and shows them as one flat table where names are enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, get_type_hints

from kagglekit.recipe.sections import (
    AugmentationSettings,
    ComputeSettings,
    DataSettings,
    FeatureSettings,
    FinishSettings,
    HeadSettings,
    ScheduleSettings,
    TrainingSettings,
)
from kagglekit.recipe.setting import Section, Setting, described
from kagglekit.recipe.values import coerce


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings; every one can be given as `--set name=value`, in `recipe.toml`, or by a plugin."""

    data: DataSettings = field(default_factory=DataSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    heads: HeadSettings = field(default_factory=HeadSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    finish: FinishSettings = field(default_factory=FinishSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Return the defaults but for these settings, named without their sections."""
        return cls().changed(**settings)

    def changed(self, **settings: Any) -> Self:
        """Return it with other values of these settings, named without their sections.

        Raises TypeError or ValueError for unknown names and wrong types, UserError for a value that breaks its rule.
        """
        if unknown := set(settings) - set(SECTION_OF):
            raise TypeError(f"no settings called {', '.join(sorted(unknown))}")
        sections: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            sections.setdefault(SECTION_OF[name], {})[name] = coerce(TYPES[name], value)
        changes: dict[str, Any] = {
            section: dataclasses.replace(getattr(self, section), **values) for section, values in sections.items()
        }
        return dataclasses.replace(self, **changes)

    def by_section(self) -> dict[str, dict[str, Any]]:
        """Return section -> name -> plain value, tuples as lists."""
        return {
            section: {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
            for section, values in dataclasses.asdict(self).items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return name -> plain value without the sections, tuples as lists."""
        return {name: value for values in self.by_section().values() for name, value in values.items()}

    def identity(self) -> dict[str, Any]:
        """Return the settings that change results: with others it is another run.

        They go by their first names, so that a setting's new name does not make another run of an old one; nor does a
        new setting, unless it is used.
        """
        usual = type(self)().as_dict()
        unused = {name for name, value in self.as_dict().items() if SETTINGS[name].late and value == usual[name]}
        kept = {k: v for k, v in self.as_dict().items() if SETTINGS[k].changes_results and k not in unused}
        return by_first_names(kept)


SECTIONS: dict[str, type[Section]] = get_type_hints(Recipe)
"""Name of a section -> its class."""
SECTION_OF = {name: section for section, kind in SECTIONS.items() for name in described(kind)}
"""Setting -> the section that holds it."""
SETTINGS: dict[str, Setting] = {name: about for kind in SECTIONS.values() for name, about in described(kind).items()}
TYPES: dict[str, Any] = {name: hint for kind in SECTIONS.values() for name, hint in get_type_hints(kind).items()}
"""Setting -> its type."""
FORMER_NAMES = {about.formerly: name for name, about in SETTINGS.items() if about.formerly}
"""Older name of a setting -> its name."""


def by_first_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by the names that they had in the first version."""
    return {SETTINGS[name].formerly or name: value for name, value in settings.items()}


def by_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by the names that they have now."""
    return {FORMER_NAMES.get(name, name): value for name, value in settings.items()}


def purpose(section: str) -> str:
    """Return the sentence on what a section's settings are about."""
    return (SECTIONS[section].__doc__ or "").partition("\n")[0]


def meanings() -> dict[str, str]:
    """Return setting -> a sentence on what it does."""
    return {name: about.meaning for name, about in SETTINGS.items()}
