"""What competitions want in a row of a submission, checked by their own rules and not by kagglekit's formats.

A label is how the data write what an image shows. Cells are those of a row without its id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import correlation, mean
from typing import ClassVar

Amounts = list[tuple[int, float]]
"""What can be seen: number of a thing, and how much of it there is, from 0 to 1."""


@dataclass(frozen=True)
class Answer(ABC):
    """What one competition wants. The names are those of its submission."""

    names: Sequence[str]

    @abstractmethod
    def amounts(self, label: str) -> Amounts:
        """Return what an image with a label shows."""

    @abstractmethod
    def fits(self, cells: Sequence[str]) -> bool:
        """Return whether the cells of a row are allowed."""

    @abstractmethod
    def tells(self, rows: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
        """Return whether rows tell more of the images than chance would."""


@dataclass(frozen=True)
class Chosen(Answer):
    """An image shows one of the names, which is the number of its label."""

    of: Mapping[str, str] = field(default_factory=dict)
    """Label in the data -> name in the submission, where they differ."""
    enough: ClassVar[float] = 0.6
    """Share of images that must be told. Chance tells fewer than half of them."""

    def amounts(self, label: str) -> Amounts:
        return [(list(self.names).index(self.of.get(label, label)), 1.0)]

    def tells(self, rows: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
        names = [self.of.get(label, label) for label in labels]
        return mean(self.told(cells) == name for cells, name in zip(rows, names, strict=True)) > self.enough

    @abstractmethod
    def told(self, cells: Sequence[str]) -> str:
        """Return the name that a row tells."""


@dataclass(frozen=True)
class Probability(Chosen):
    """The probability of the second of two names."""

    def fits(self, cells: Sequence[str]) -> bool:
        (text,) = cells
        return 0 <= float(text) <= 1

    def told(self, cells: Sequence[str]) -> str:
        return self.names[float(cells[0]) > 0.5]


@dataclass(frozen=True)
class Probabilities(Chosen):
    """A probability for each name, in all one."""

    def fits(self, cells: Sequence[str]) -> bool:
        values = list(map(float, cells))
        return min(values) >= 0 and len(values) == len(self.names) and abs(sum(values) - 1) < 1e-6

    def told(self, cells: Sequence[str]) -> str:
        values = list(map(float, cells))
        return self.names[values.index(max(values))]


@dataclass(frozen=True)
class Name(Chosen):
    """One of the names."""

    def fits(self, cells: Sequence[str]) -> bool:
        (text,) = cells
        return text in self.names

    def told(self, cells: Sequence[str]) -> str:
        return cells[0]


@dataclass(frozen=True)
class Scored(Chosen):
    """One of the names and its score, with a space between."""

    def fits(self, cells: Sequence[str]) -> bool:
        name, score = cells[0].split(" ")
        return len(cells) == 1 and name in self.names and 0 < float(score) <= 1

    def told(self, cells: Sequence[str]) -> str:
        return cells[0].split(" ")[0]


@dataclass(frozen=True, kw_only=True)
class Best(Chosen):
    """Up to k different names with spaces between, the most probable first."""

    k: int

    def fits(self, cells: Sequence[str]) -> bool:
        (text,) = cells
        guesses = text.split(" ")
        return 1 <= len(guesses) <= self.k and len(set(guesses)) == len(guesses) and set(guesses) <= set(self.names)

    def told(self, cells: Sequence[str]) -> str:
        return cells[0].split(" ")[0]


@dataclass(frozen=True)
class _Several(Answer):
    """An image shows several of the names, or none; a label has spaces between them."""

    enough: ClassVar[float] = 0.5
    sep: str = " "
    """What is between the names in a label."""

    def amounts(self, label: str) -> Amounts:
        return [(list(self.names).index(name), 1.0) for name in self.parts(label)]

    def parts(self, label: str) -> list[str]:
        """Return the names in a label."""
        return list(filter(None, label.split(self.sep)))

    def tells(self, rows: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
        pairs = [(self.told(cells), set(self.parts(label))) for cells, label in zip(rows, labels, strict=True)]
        return mean(len(told & true) / len(told | true) if told | true else 1.0 for told, true in pairs) > self.enough

    @abstractmethod
    def told(self, cells: Sequence[str]) -> set[str]:
        """Return the names that a row tells."""


@dataclass(frozen=True)
class Tags(_Several):
    """All names with spaces between."""

    least: int = 0
    """Least number of names in a row."""

    def fits(self, cells: Sequence[str]) -> bool:
        (text,) = cells
        tags = list(filter(None, text.split(" ")))
        return len(tags) >= self.least and len(set(tags)) == len(tags) and set(tags) <= set(self.names)

    def told(self, cells: Sequence[str]) -> set[str]:
        return set(filter(None, cells[0].split(" ")))


@dataclass(frozen=True)
class EachProbability(_Several):
    """A probability for each name."""

    def fits(self, cells: Sequence[str]) -> bool:
        return len(cells) == len(self.names) and all(0 <= float(text) <= 1 for text in cells)

    def told(self, cells: Sequence[str]) -> set[str]:
        return {name for name, text in zip(self.names, cells, strict=True) if float(text) > 0.5}


@dataclass(frozen=True, kw_only=True)
class Numbers(Answer):
    """A number for each name, with commas between them in a label. An image shows the first three."""

    low: float
    high: float

    def amounts(self, label: str) -> Amounts:
        values = list(map(float, label.split(",")))
        return [(place, (value - self.low) / (self.high - self.low)) for place, value in enumerate(values[:3])]

    def fits(self, cells: Sequence[str]) -> bool:
        return len(cells) == len(self.names) and all(self.low <= float(text) <= self.high for text in cells)

    def tells(self, rows: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
        told = [[float(cells[place]) for cells in rows] for place in range(len(self.names))]
        true = [[float(label.split(",")[place]) for label in labels] for place in range(len(self.names))]
        return mean(map(correlation, told, true)) > 0.3
