"""What drawn images show. C columns of the target."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kagglekit.competitions.competition import Competition
from kagglekit.competitions.label_columns import RowPerLabel
from kagglekit.competitions.locations import CocoLabels, CsvLabels
from kagglekit.tasks.targets import SEPARATOR, Classes, Grades, Labels, Numbers, Shares, Target

TRAIN_IMAGES = 120
"""Least number of training images."""
_MOST_TEST_IMAGES = 200
_RARE_EVERY = 40
"""One image in so many has the last of three labels or more."""
_ALONE_EVERY = 4
"""One group in so many has one image only."""
_SPAN = 100
"""Range of numbers whose range is not known."""
_UNKNOWN_EVERY = 3
"""One number in so many is unknown, where images may lack some."""


@dataclass(frozen=True)
class Subject:
    """What an image shows."""

    label: str
    """Its label, as the table of training images has it."""
    amounts: tuple[tuple[int, float], ...]
    """Columns that can be seen, and how much of each: from 0 to 1."""


Turn = tuple[Subject, int]
"""What an image shows, and by what it gets its group: images of one class count on."""


class Subjects(ABC):
    """What images show of one kind of target."""

    def __init__(self, competition: Competition) -> None:
        self.competition = competition
        self.columns = competition.labels

    @abstractmethod
    def train(self, groups: int, folds: int) -> list[Turn]:
        """Return what training images show, so many that each of `folds` has all."""

    @abstractmethod
    def valid(self, train: int) -> list[Turn]:
        """Return what the data's own validation set shows, beside so many training images."""

    @abstractmethod
    def test(self, labelled: int) -> list[Turn]:
        """Return what test images show, beside so many images with labels."""


class _OneOf(Subjects):
    """Of each column as many images."""

    def train(self, groups: int, folds: int) -> list[Turn]:
        return self._each(max(math.ceil(TRAIN_IMAGES / len(self.columns)), groups, folds + 1))

    def valid(self, train: int) -> list[Turn]:
        return self._each(max(train // len(self.columns) // 3, 2))

    def test(self, labelled: int) -> list[Turn]:
        count = len(self.columns)
        places = [turn * 7 % count if count % 7 else turn % count for turn in range(_num_test(count, labelled))]
        return [(self._of(place), turn) for turn, place in enumerate(places)]

    def _each(self, count: int) -> list[Turn]:
        return [(self._of(place), turn) for place in range(len(self.columns)) for turn in range(count)]

    def _of(self, place: int) -> Subject:
        return Subject(self.columns[place], ((place, 1.0),))


class _ByColumn(Subjects):
    """An amount of each column; images differ at random, but the same numbers give the same images."""

    least: ClassVar[int] = 0
    """Least number of training images a column."""

    def train(self, groups: int, folds: int) -> list[Turn]:
        return self._some(0, max(TRAIN_IMAGES, 2 * groups, 3 * folds, self.least * len(self.columns)))

    def valid(self, train: int) -> list[Turn]:
        return self._some(train, max(train // 3, 2))

    def test(self, labelled: int) -> list[Turn]:
        return self._some(labelled, _num_test(1, labelled))

    def _some(self, start: int, count: int) -> list[Turn]:
        # groups tell nothing of the label
        turns = np.random.default_rng(start).permutation(count).tolist()
        return [(self._of(start + number), turn) for number, turn in enumerate(turns)]

    @abstractmethod
    def _of(self, number: int) -> Subject: ...


class _AnyOf(_ByColumn):
    """Labels: each now and then, the last seldom, and of each `one_of` one."""

    least = 2

    def __init__(self, competition: Competition) -> None:
        super().__init__(competition)
        target, train = competition.target, competition.train
        assert isinstance(target, Labels)
        rows = getattr(train, "label", None)
        listed = isinstance(train, CsvLabels | CocoLabels)
        self._most = len(self.columns) if listed else 1
        only_there = isinstance(rows, RowPerLabel) and not rows.value
        self._at_least_one = target.at_least_one or only_there or not listed
        self._sets = [[self.columns.index(name) for name in some] for some in target.one_of] if listed else []
        taken = {place for some in self._sets for place in some}
        self._free = [place for place in range(len(self.columns)) if place not in taken]

    def _of(self, number: int) -> Subject:
        random = np.random.default_rng([number, len(self.columns)])
        chosen = [some[(number + random.integers(2)) % len(some)] for some in self._sets]
        *usual, last = self._free or [0]
        rare = len(usual) > 1
        usual = usual if rare else list(self._free)
        chosen += [place for place in usual if random.random() < min(0.25, 2 / len(usual))]
        if usual and number % 2:
            chosen.append(usual[number // 2 % len(usual)])
        if rare and number % _RARE_EVERY == 5:
            chosen.append(last)
        if self._at_least_one and not chosen:
            chosen.append(number % len(self.columns))
        shown = sorted(set(chosen)) if self._most > 1 else chosen[-1:]
        return Subject(SEPARATOR.join(self.columns[place] for place in shown), tuple((place, 1.0) for place in shown))


class _Amounts(_ByColumn):
    """Numbers within the range."""

    def _of(self, number: int) -> Subject:
        drawn = np.random.default_rng([number, len(self.columns)]).random(len(self.columns)).tolist()
        texts = [self._text(amount) for amount in drawn]
        low, high = self._range()
        amounts = tuple((place, (float(text) - low) / (high - low)) for place, text in enumerate(texts))
        if getattr(self.competition.target, "missing", False):
            texts = ["" if (number + place) % _UNKNOWN_EVERY == 0 else text for place, text in enumerate(texts)]
        return Subject(SEPARATOR.join(texts), amounts)

    def _range(self) -> tuple[float, float]:
        low, high = self.competition.target.bounds
        if low is None:
            low = 0.0 if high is None else high - _SPAN
        return low, low + _SPAN if high is None else high

    def _text(self, amount: float) -> str:
        """Return a number as the data writes it: a whole one if the range is of whole ones."""
        low, high = self._range()
        value = low + amount * (high - low)
        whole = low == int(low) and high == int(high) and high - low > 1
        return str(round(value)) if whole else repr(min(max(round(value, 3), low), high))


class _InGroups(Subjects):
    """Groups whose images show the same: two images each, or one."""

    def __init__(self, inner: Subjects) -> None:
        super().__init__(inner.competition)
        self._inner = inner

    def train(self, groups: int, folds: int) -> list[Turn]:
        return _several(self._inner.train(groups, folds), 0)

    def valid(self, train: int) -> list[Turn]:
        return _several(self._inner.valid(train), train)

    def test(self, labelled: int) -> list[Turn]:
        return _several(self._inner.test(labelled), 0)


def _several(turns: list[Turn], start: int) -> list[Turn]:
    """Return the images of groups, which are numbered from `start`."""
    numbered = [(subject, number) for number, (subject, _) in enumerate(turns, start)]
    return [turn for turn in numbered for _ in range(1 if turn[1] % _ALONE_EVERY == 0 else 2)]


_SUBJECTS: dict[type[Target], type[Subjects]] = {
    Classes: _OneOf,
    Grades: _OneOf,
    Labels: _AnyOf,
    Numbers: _Amounts,
    Shares: _Amounts,
}


def of(competition: Competition) -> Subjects:
    """Return what images of a competition show."""
    made = _SUBJECTS[type(competition.target)](competition)
    return _InGroups(made) if in_groups(competition) else made


def in_groups(competition: Competition) -> bool:
    """Return whether all images of a group have one label, and no two groups one image."""
    return bool(competition.submission.per_group) or getattr(competition.train, "per_group", False)


def _num_test(least: int, labelled: int) -> int:
    return min(max(least, labelled // 3), _MOST_TEST_IMAGES)
