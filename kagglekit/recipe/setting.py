"""One setting: its default, its rule and its help stand beside the field that holds it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kagglekit.base.errors import UserError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Rule:
    """What a value must satisfy beyond its type."""

    holds: Callable[[Any], bool]
    words: str
    """Continues a sentence after "it", such as "must be 1 or more"."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The metadata of a setting besides its name, type and default."""

    meaning: str
    """A sentence for `kagglekit info`."""
    rule: Rule | None
    formerly: str
    """An older name, which still works; empty if there is none."""
    changes_results: bool
    """If false, a run with another value counts as the same run."""
    late: bool
    """Whether there were runs before the setting, which are those with its default."""


def setting(
    default: Value,
    meaning: str,
    rule: Rule | None = None,
    *,
    formerly: str = "",
    changes_results: bool = True,
    late: bool = False,
) -> Value:
    """Return a dataclass field with this default and a `Setting` as metadata."""
    about = Setting(meaning=meaning, rule=rule, formerly=formerly, changes_results=changes_results, late=late)
    field: Value = dataclasses.field(default=default, metadata={_ABOUT: about})
    return field


_ABOUT = "setting"


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings that belong together; raises UserError for a value that breaks its rule."""

    def __post_init__(self) -> None:
        for name, about in described(self).items():
            value = getattr(self, name)
            if about.rule is not None and not about.rule.holds(value):
                raise UserError(f"setting {name} = {value!r}: it {about.rule.words}.")


def described(section: Section | type[Section]) -> dict[str, Setting]:
    """Return name -> `Setting` for each setting of a section."""
    return {field.name: field.metadata[_ABOUT] for field in dataclasses.fields(section)}


def at_least(least: int, means: str = "") -> Rule:
    """Return the rule for finite numbers of at least `least`; `means` says what `least` itself stands for."""
    return Rule(lambda value: least <= value < math.inf, f"must be {_end(least, means)} or more")


def from_to(least: int, most: float, means: str = "") -> Rule:
    """Return the rule for numbers from `least` to `most`, inclusive; `means` says what `least` itself stands for."""
    return Rule(lambda value: least <= value <= most, f"must be from {_end(least, means)} to {most}")


def below_one(means: str = "") -> Rule:
    """Return the rule for numbers from 0 to below 1; `means` says what 0 itself stands for."""
    return Rule(lambda value: 0 <= value < 1, f"must be at least {_end(0, means)} and below 1")


def _end(number: int, means: str) -> str:
    return f"{number} ({means})" if means else str(number)


def each_once(what: str) -> Rule:
    """Return the rule for a non-empty list without duplicates."""
    return Rule(lambda values: len(set(values)) == len(values) > 0, f"must name each {what} once")


POSITIVE_NUMBERS = Rule(
    lambda values: len(values) > 0 and all(0 < value < math.inf for value in values), "must hold numbers above 0"
)
