"""Read labels from the cells of a CSV file, in each way in which a plugin may declare that they are written.

N rows. Errors name the file, a value and a cure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base import patterns
from kagglekit.base.arrays import Mask
from kagglekit.base.errors import UserError
from kagglekit.competitions import csv_tables
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.label_columns import Columns, LabelColumns, OneHot, RowPerLabel, Tags
from kagglekit.competitions.locations import CocoLabels, CsvLabels
from kagglekit.competitions.spelling import joiner, speller
from kagglekit.tasks.targets import SEPARATOR

if TYPE_CHECKING:
    import pandas as pd

_YES, _NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
_MINUS = frozenset({"-1", "-1.0"})
"""Means no in a column without any of the others."""
_SEPARATORS = (",", ";", SEPARATOR, " ")
"""What may separate tags, the more telling first."""
_DISAGREE = "keep one row of each, or set only_agreed=True in the plugin's train to leave such images out"
"""What to do with images of which rows give different labels."""


def marks(texts: Iterable[str]) -> dict[str, bool] | None:
    """Return whether each of the different texts of a column means yes; None if one means neither yes nor no."""
    meant = {text: text.strip().lower() for text in texts}
    no = _NO if _NO.intersection(meant.values()) else _NO | _MINUS
    return {text: each in _YES for text, each in meant.items()} if {*meant.values()} <= _YES | no else None


def named_columns(label: LabelColumns) -> tuple[str, ...]:
    """Return the columns that a declaration names."""
    if isinstance(label, str):
        return (label,)
    if isinstance(label, Tags):
        return (label.column,)
    if isinstance(label, RowPerLabel):
        return tuple(name for name in ("" if label.in_id else label.label, label.value) if name)
    return tuple(label.columns)


def key_columns(layout: CsvLabels) -> list[str]:
    """Return the columns that say which image or group a row is of."""
    texts = filter(None, (layout.id, layout.group, layout.row))
    return list(dict.fromkeys(column for text in texts for column in patterns.columns(text)))


def used_columns(layout: CsvLabels, competition: Competition, columns: Iterable[str]) -> list[str]:
    """Return the columns of the file's `columns` that have labels: those declared, of the target, or all others."""
    named = named_columns(layout.label)
    if named:
        return list(named)
    if competition.labels and not layout.labels:
        return list(competition.labels)
    keys = key_columns(layout)
    return [name for name in columns if name and name not in keys]


def joined(
    sets: Mapping[str, Sequence[str]], competition: Competition, layout: CsvLabels | CocoLabels
) -> dict[str, str]:
    """Return the joined labels of each image. Where exactly one is declared, different ones are left out, or an error.

    Raises UserError unless the layout leaves them out.
    """
    join = joiner(competition)
    found = {name: join(labels) for name, labels in sets.items()}
    if not competition.target.exclusive:
        return found
    several = {name: labels for name, labels in sets.items() if len(set(labels) - {""}) > 1}
    if several and not layout.only_agreed:
        name, labels = next(iter(several.items()))
        first, second, *_ = dict.fromkeys(filter(None, labels))
        raise UserError(
            f"{layout.source} gives {len(several)} images several labels, for example {name!r} {first!r} and "
            f"{second!r}, and exactly one is declared: {_DISAGREE}, or declare target=Labels(…)."
        )
    return {name: label for name, label in found.items() if name not in several}


@dataclass(frozen=True)
class Cells:
    """A CSV file of labels, and what reads its cells."""

    layout: CsvLabels
    competition: Competition
    table: pd.DataFrame
    """The file's content, (N,) rows of strings."""
    columns: list[str]
    """The columns with labels."""
    files: DataFiles

    def images(self) -> list[str]:
        """Return the name of each row's image, (N,)."""
        label = self.layout.label
        if isinstance(label, RowPerLabel) and label.in_id:
            return [image for image, _ in self._ids_and_labels(label)]
        return self.table[self.layout.id].tolist()

    def labels(self) -> dict[str, str]:
        """Return name of an image -> its label. Those with two are left out where that is declared, else UserError."""
        label = self.layout.label
        if isinstance(label, RowPerLabel):
            return self._long(label)
        if isinstance(label, OneHot):
            return self._once(self._one_hot())
        if isinstance(label, Tags):
            return self._once(self._tags(label))
        if isinstance(label, Columns):
            return self._once(self._numbers())
        return self._once(map(speller(self.layout.labels, self.competition), self.table[label].tolist()))

    def _once(self, labels: Iterable[str]) -> dict[str, str]:
        """Return the label of each image, of which two rows may not have different ones."""
        known: dict[str, str] = {}
        others: dict[str, str] = {}
        names = self.table[self.layout.id].tolist()
        for name, label in zip(names, labels, strict=True):
            if known.setdefault(name, label) != label:
                others.setdefault(name, label)
        if others and not self.layout.only_agreed:
            name, label = next(iter(others.items()))
            more = f", as {len(others) - 1} other ids" if len(others) > 1 else ""
            raise UserError(
                f"{self.layout.source} has {name!r} twice in column {self.layout.id!r}, with "
                f"{known[name]!r:.60} and {label!r:.60}{more}: {_DISAGREE}."
            )
        agreed = {name: label for name, label in known.items() if name not in others}
        csv_tables.remark_twice(sum(name in agreed for name in names) - len(agreed), self.layout.source, self.files)
        return agreed

    def _one_hot(self) -> list[str]:
        """Return the joined labels of each row, (N,)."""
        spell, join = speller(self.layout.labels, self.competition), joiner(self.competition)
        has = np.column_stack([self._is_one(column) for column in self.columns])  # (N, L)
        packed, which = np.unique(np.packbits(has, axis=1), axis=0, return_inverse=True)
        names = [spell(column) for column in self.columns]
        sets = np.unpackbits(packed, axis=1, count=len(names)).astype(bool)
        texts = [join(names[place] for place in np.flatnonzero(row)) for row in sets]
        return [texts[place] for place in which.ravel()]

    def _is_one(self, column: str) -> Mask:
        """Return where a column has 1, (N,). Raises UserError for anything but 0 and 1."""
        codes, values = self.table[column].factorize()
        texts = list(map(str, values))
        meant = marks(texts)
        if meant is None:
            strange = np.isin(codes, [place for place, text in enumerate(texts) if marks([text, *_NO]) is None])
            row = self.table.iloc[int(np.argmax(strange))]
            raise UserError(
                f"{self.layout.source} has {row[column]!r} in column {column!r} of {row[self.layout.id]!r}, and in "
                f"{int(strange.sum())} rows neither 0 nor 1: correct them, or name the columns of labels in the "
                "plugin's train."
            )
        ones: Mask = np.array([meant[text] for text in texts], dtype=bool)[codes]
        return ones

    def _tags(self, tags: Tags) -> list[str]:
        """Return the joined labels of each row, (N,)."""
        spell, join = speller(self.layout.labels, self.competition), joiner(self.competition)
        cells = self.table[tags.column].tolist()
        parts = {cell: [part.strip() for part in cell.split(tags.sep)] for cell in dict.fromkeys(cells)}
        texts = {cell: join(map(spell, own)) for cell, own in parts.items()}
        if any(self.competition.task.fault(text) for text in texts.values()) or not self.competition.labels:
            self._check_separator(tags, cells)
        return [texts[cell] for cell in cells]

    def _check_separator(self, tags: Tags, cells: Sequence[str]) -> None:
        """Raise UserError if something else than declared separates tags that are wrong or not known."""
        if tags.sep != " " and any(tags.sep in cell for cell in cells):
            return  # labels may have spaces and commas
        parts = {part.strip() for cell in cells for part in cell.split(tags.sep)}
        for other in _SEPARATORS:
            dividing = [cell for cell in cells if other in cell]
            every = other != " " or not any(tags.sep in cell for cell in cells)
            if other != tags.sep and dividing and every and any(other in part for part in parts):
                raise UserError(
                    f"{len(dividing)} rows of {self.layout.source} have {other!r} in column {tags.column!r}, "
                    f"for example {dividing[0]!r}, and the plugin's Tags are separated by {tags.sep!r}: set "
                    f"sep={other!r}, or label={tags.column!r} if each row is one label."
                )

    def _numbers(self) -> list[str]:
        """Return the joined numbers of each row, (N,), by columns' names if they are the target's, else by place."""
        named = {self.layout.labels.get(column, column): column for column in self.columns}
        target = self.competition.labels
        order = [named[name] for name in target] if set(named) == set(target) else list(self.columns)
        columns = [self.table[column].str.strip().tolist() for column in order]
        return [SEPARATOR.join(row) for row in zip(*columns, strict=True)]

    def _long(self, label: RowPerLabel) -> dict[str, str]:
        """Return the joined labels of each image, which has several rows."""
        spell = speller(self.layout.labels, self.competition)
        pairs = self._ids_and_labels(label)
        has = self._is_one(label.value) if label.value else np.ones(len(pairs), dtype=bool)
        said: dict[tuple[str, str], bool] = {}
        sets: dict[str, list[str]] = defaultdict(list)
        for (image, text), yes in zip(pairs, has.tolist(), strict=True):
            if said.setdefault((image, text), yes) != yes:
                raise UserError(
                    f"{self.layout.source} has two rows of {image!r} and label {text!r}, with 0 and with 1: remove one."
                )
            sets[image] += [spell(text)] if yes else []
        csv_tables.remark_twice(len(pairs) - len(said), self.layout.source, self.files)
        return joined(sets, self.competition, self.layout)

    def _ids_and_labels(self, label: RowPerLabel) -> list[tuple[str, str]]:
        """Return the image and the label of each row, (N,)."""
        ids = self.table[self.layout.id].tolist()
        if not label.in_id:
            return list(zip(ids, self.table[label.label].tolist(), strict=True))
        expression = _expression(label.label, {*self.competition.labels, *self.layout.labels})
        matches = [expression.fullmatch(text) for text in ids]
        wrong = [text for text, match in zip(ids, matches, strict=True) if match is None]
        if wrong:
            raise UserError(
                f"{len(wrong)} rows of {self.layout.source} have an id that is not like {label.label!r} with a label "
                f"of the competition, for example {wrong[0]!r}: correct them, or the plugin's RowPerLabel."
            )
        return [(match["id"], match["label"]) for match in matches if match is not None]


def _expression(pattern: str, labels: Iterable[str]) -> re.Pattern[str]:
    """Return what takes an id apart that joins image and label, of which some may be known."""
    known = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    parts = {"{id}": "(?P<id>.+)", "{label}": f"(?P<label>{known or '[^_]+'})"}
    return re.compile("".join(parts.get(each, re.escape(each)) for each in re.split(r"(\{[a-z]+\})", pattern)))


def group_of(images: Iterable[str], groups: Iterable[str], source: str) -> dict[str, str]:
    """Return name of an image -> its group. Raises UserError for two groups of an image, and for none."""
    known: dict[str, str] = {}
    for image, text in zip(images, groups, strict=True):
        group = text.strip()
        before = known.setdefault(image, group)
        if before != group or not group:
            what = f"two groups, {before!r} and {group!r}" if group else "no group"
            raise UserError(f"{source} gives {image!r} {what}: folds can't keep groups together.")
    return known
