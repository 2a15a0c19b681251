"""Complete the target of a competition with what its data says: the names of classes, the spread of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base.errors import UserError
from kagglekit.base.walking import natural_key
from kagglekit.competitions import csv_tables, label_tables, samples
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.tasks.targets import SEPARATOR, FromCsv, FromSample, Grades, Labels, Numbers, Target

if TYPE_CHECKING:
    import pandas as pd

Table = Callable[[Competition], "pd.DataFrame"]
"""The table of training images, as the hook returns it."""


def resolve(competition: Competition, files: DataFiles, table: Table) -> Competition:
    """Return the competition with a target whose names are known, and the spread of its numbers.

    Raises UserError if the data has no such names.
    """
    if competition.target.source is not None:
        names = _names(competition, files, table)
        if isinstance(competition.target, Grades) and not all(name.isdecimal() for name in names):
            raise UserError(
                f"the data says no order of the grades {', '.join(list(names)[:5])}: list them in the plugin, from the "
                "lowest to the highest."
            )
        competition = _named(competition, names)
    if isinstance(competition.target, Numbers) and not competition.target.means:
        return measured(competition, table(competition)["label"])
    return competition


def measured(competition: Competition, labels: Iterable[str]) -> Competition:
    """Return the competition with the mean and standard deviation of its numbers, if it has any, in these labels.

    Raises UserError for wrong labels, and for a number that none of them has.
    """
    if not isinstance(competition.target, Numbers):
        return competition
    return competition.with_target(_measured(competition, labels))


def _named(competition: Competition, names: dict[str, str]) -> Competition:
    try:
        return competition.with_target(competition.target.named(names))
    except ValueError as error:
        raise UserError(f"the data has {len(names)} labels: {error}.") from error


def _names(competition: Competition, files: DataFiles, table: Table) -> dict[str, str]:
    source = competition.target.source
    if isinstance(source, FromCsv):
        return _of_csv(source, files)
    if isinstance(source, FromSample):
        return {name: name for name in _of_sample(competition, files)}
    columns = label_tables.columns(competition, files)
    if columns:
        return {name: name for name in columns}
    labels = set(table(competition)["label"])
    if isinstance(competition.target, Labels):
        labels = _separate(labels, SEPARATOR)
    meanings = label_tables.meanings(competition, files)
    return {name: meanings.get(name, name) for name in sorted(labels, key=natural_key)}


def _of_csv(source: FromCsv, files: DataFiles) -> dict[str, str]:
    wanted = [source.column, *([source.names] if source.names else [])]
    rows = csv_tables.read(files, source.csv, wanted)
    csv_tables.require_columns(rows, wanted, source.csv)
    labels = rows[source.column].str.strip()
    named = dict(zip(labels, rows[source.names] if source.names else labels, strict=True))
    if source.sep:
        named = {label: label for label in _separate(labels, source.sep)}
    named.pop("", None)
    return {label: named[label] for label in sorted(named, key=natural_key)}


def _separate(texts: Iterable[str], separator: str) -> set[str]:
    """Return the labels in texts that join several."""
    return {label.strip() for text in texts for label in text.split(separator)} - {""}


def _of_sample(competition: Competition, files: DataFiles) -> list[str]:
    declared = competition.submission.sample
    name = next((name for name in declared if files.first([name]) is not None), None)
    if name is None:
        name = samples.only(list(samples.usual(files)))
    if name is None:
        raise UserError(
            f"{files.origin} has no sample submission, whose columns name what is predicted: download the "
            "competition's data again."
        )
    return [column for column in csv_tables.read(files, name, ()).columns if column != competition.submission.id]


def _measured(competition: Competition, labels: Iterable[str]) -> Target:
    """Return the target with the mean and standard deviation of its columns."""
    task, texts = competition.task, list(labels)
    faults = task.faults(texts)
    if faults:
        count, why = sum(text in faults for text in texts), next(iter(faults.values()))
        raise UserError(f"{count} training images have a wrong label: {why}: correct it, or the plugin's target.")
    truth = task.truth(texts)
    unknown = [name for name, own in zip(competition.labels, truth.T, strict=True) if np.isnan(own).all()]
    if unknown:
        raise UserError(
            f"no training image has the number {unknown[0]!r}: remove it from the plugin, or correct the data."
        )
    return task.learnt_from(truth, slice(None)).target
