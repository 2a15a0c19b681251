"""The search space of a study: which settings are searched, and among which values.

Values are written as on the command line: `logistic,mlp` are choices, `1e-4..1e-2` is a range. Within a choice of a
setting that is a list, `+` joins its parts: `plain,plain+mirror`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias, get_origin

import numpy as np

from kagglekit import recipe
from kagglekit.base.errors import UserError
from kagglekit.recipe.names import convert
from kagglekit.recipe.recipe import FORMER_NAMES

_UNSEARCHED = {"method", "start", "members"}
_SECTIONS = ("features", "heads", "training", "augmentation", "schedule", "finish")
SEARCHABLE = {
    *(name for name, section in recipe.SECTION_OF.items() if section in _SECTIONS and name not in _UNSEARCHED),
    "balance",
}
"""Settings that may be searched: with them, all trials have the same folds and are comparable."""
_ONLY_WITH = {"mlp_width": ("head", "mlp"), "mlp_dropout": ("head", "mlp"), "mlp_epochs": ("head", "mlp")}
"""Setting -> setting and value without which it has no effect."""
_DIGITS = 3
"""Significant digits of numbers from a range."""
_WIDE = 10
"""A range whose ends differ by this factor is searched on a logarithmic scale."""
_MOST_LISTED = 2000

Typed: TypeAlias = dict[str, str]
"""Setting -> value as written in a search space."""
Check = Callable[[Mapping[str, Any]], object]
"""Raises UserError for settings that no run can have."""


@dataclass(frozen=True)
class Choices:
    """Values to choose from, each as text."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.values)

    def draw(self, random: np.random.Generator) -> str:
        """Return a random value."""
        return self.values[int(random.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, inclusive."""

    low: float
    high: float
    whole: bool

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"

    @property
    def log(self) -> bool:
        """Whether the scale is logarithmic."""
        return self.low > 0 and self.high >= _WIDE * self.low

    def draw(self, random: np.random.Generator) -> float:
        """Return a random value."""
        if self.log:
            found = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        else:
            found = random.uniform(self.low, self.high)
        return round(found) if self.whole else found


Values: TypeAlias = Choices | Range
Space: TypeAlias = Mapping[str, Values]


def searched(assignments: Sequence[str], check: Check) -> Space:
    """Return the space of the command line. Raises UserError for anything that can't be searched."""
    written: Typed = {}
    for text in assignments:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or not values.strip():
            raise UserError(f"--search {text!r}: write it as --search learning_rate=1e-4..1e-2 or head=logistic,mlp.")
        if name in written:
            raise UserError(f"--search {name} is given twice: leave one out.")
        written[name] = values.strip()
    return parsed(written, "--search", check)


def parsed(written: Mapping[str, str], source: str, check: Check) -> Space:
    """Return the space that a source writes. Raises UserError for values that a setting can't have."""
    space = {}
    for name, text in written.items():
        today = FORMER_NAMES.get(name, name)
        space[today] = _values(today, text, source)
        for end in _ends(space[today]):
            check(settings({today: end}))
    return space


def possible(written: Mapping[str, str], check: Check) -> Space:
    """Return a default space without the choices that no run can have, and settings that leave nothing to choose."""
    space: dict[str, Values] = {}
    for name, text in written.items():
        values = _values(name, text, "the default search space")
        able = [end for end in _ends(values) if _passes(check, settings({name: end}))]
        if isinstance(values, Choices):
            values = Choices(tuple(able))
        if len(able) > 1:
            space[name] = values
    return space


def _passes(check: Check, own: Mapping[str, Any]) -> bool:
    try:
        check(own)
    except UserError:
        return False
    return True


def _values(name: str, text: str, source: str) -> Values:
    _check_name(name, text, source)
    low, dots, high = text.partition("..")
    if dots and recipe.TYPES[name] in (int, float):
        ends = [convert(name, end.strip(), f"{source} {name}={text}") for end in (low, high)]
        if not ends[0] < ends[1]:
            raise UserError(f"{source} {name}={text}: a range goes from a smaller number to a larger one.")
        values: Values = Range(ends[0], ends[1], whole=recipe.TYPES[name] is int)
    else:
        values = Choices(tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip())))
    for end in _ends(values):
        own = settings({name: end})[name]
        recipe.Recipe.of(**{name: convert(name, own, f"{source} {name}={text}")})
    return values


def _check_name(name: str, text: str, source: str) -> None:
    if name not in recipe.TYPES:
        convert(name, text, source)
    if name not in SEARCHABLE:
        why = "trials must have the same images, folds and method to be compared, and a machine is not tuned"
        raise UserError(f"{source}: {name} can't be searched: {why}; `--set {name}=…` sets it for all trials.")


def _ends(values: Values) -> tuple[str, ...]:
    """Return the choices, or the ends of a range, as text."""
    if isinstance(values, Choices):
        return values.values
    return tuple(shown(end) for end in (values.low, values.high))


def shown(value: Any) -> str:
    """Return a parameter as text: numbers with few digits."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.{_DIGITS}g}"


def settings(typed: Mapping[str, str]) -> dict[str, Any]:
    """Return settings as `--set` takes them."""
    return {
        name: text.replace("+", ",") if get_origin(recipe.TYPES[name]) is tuple else text
        for name, text in typed.items()
    }


def ordered(space: Space) -> Iterator[str]:
    """Yield the settings, those that have an effect only with others after them."""
    yield from (name for name in space if name not in _ONLY_WITH)
    yield from (name for name in space if name in _ONLY_WITH)


def has_effect(name: str, found: Mapping[str, Any]) -> bool:
    """Return whether a setting has an effect beside those found so far."""
    other, value = _ONLY_WITH.get(name, ("", ""))
    return not other or found.get(other, value) == value


def may_matter(name: str, searched: Collection[str], fixed: Mapping[str, Any]) -> bool:
    """Return whether a setting can have an effect in some trial, beside others that are searched or fixed."""
    other, value = _ONLY_WITH.get(name, ("", ""))
    return not other or other in searched or fixed[other] == value


def draws(space: Space, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield random parameters: of a small space all, each once, else as many as one may want to try."""
    for drawn in _all(space, random) or _some(space, random):
        found: dict[str, Any] = {}
        for name in ordered(space):
            if has_effect(name, found):
                found[name] = drawn[name]
        yield found


def _all(space: Space, random: np.random.Generator) -> list[dict[str, Any]]:
    """Return all points of a small space in random order; of a large or continuous one, nothing."""
    sides = [_listed(values) for values in space.values()]
    if not all(sides) or math.prod(map(len, sides)) > _MOST_LISTED:
        return []
    points = [dict(zip(space, point, strict=True)) for point in product(*sides)]
    return [points[place] for place in random.permutation(len(points)).tolist()]


def _listed(values: Values) -> Sequence[Any]:
    if isinstance(values, Choices):
        return values.values
    return range(int(values.low), int(values.high) + 1) if values.whole else ()


def _some(space: Space, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    for _ in range(_MOST_LISTED):
        yield {name: values.draw(random) for name, values in space.items()}
