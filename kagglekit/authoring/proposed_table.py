"""Propose how a CSV file has labels, and what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kagglekit.authoring import label_values
from kagglekit.authoring.evidence import Evidence, key
from kagglekit.authoring.findings import Choose, LabelTable, Train, folders_of
from kagglekit.authoring.label_values import Values
from kagglekit.base.errors import UserError
from kagglekit.competitions.label_columns import Columns, LabelColumns, OneHot, RowPerLabel, Tags
from kagglekit.competitions.locations import CsvLabels
from kagglekit.tasks.targets import Classes, FromCsv, FromTrain, Grades, Labels, Number, Numbers, Shares, Target

if TYPE_CHECKING:
    import pandas as pd


def propose(
    evidence: Evidence, tests: Sequence[str], table: LabelTable | None, choose: Choose, given: str
) -> Train | None:
    """Return the proposal for a CSV file with labels."""
    if table is None:
        return None
    group = table.group_column()
    columns = _label_columns(evidence, table, group, given)
    names = table.rows[table.id].tolist()
    keys = set(map(key, names))
    folders = folders_of(evidence, tests, keys)
    label, target, said = _labels(table, columns, choose)
    there = {key(name) for folder in folders for name in evidence.images[folder]}
    options: dict[str, Any] = {"group": group} if group else {}
    if there - keys:
        options["only_listed"] = True
        said.append(f"images without a row in {table.name} ({len(there - keys)}) are no training images")
    if keys - there:
        options["only_present"] = True
        said.append(f"rows of {table.name} without an image ({len(keys - there)}) are left out")
    if group:
        said.append(f"groups: column {group!r} of {table.name}")
    layout = CsvLabels(table.name, images=evidence.pattern(folders, names), id=table.id, label=label, **options)
    labels = _names(columns)
    return Train(layout=layout, target=target, values=columns, labels=labels, said=said)


def _names(columns: Sequence[Values]) -> list[str]:
    """Return the labels that columns have: their names, or what is in the only one."""
    if len(columns) > 1:
        return [column.name for column in columns]
    (column,) = columns
    separator = column.separator()
    if not separator:
        return column.distinct
    return sorted({part.strip() for cell in column.texts for part in cell.split(separator)} - {""})


def _label_columns(evidence: Evidence, table: LabelTable, group: str, given: str) -> list[Values]:
    """Return the columns with labels: those that the user or the sample submission names, or the only one left."""
    rows = table.rows
    others = [column for column in rows.columns if column and column not in (table.id, group)]
    wanted = given.rsplit(":", 1)[1] if given else ""
    if wanted and wanted not in others:
        raise UserError(f"{table.name} has no column {wanted!r}; it has {', '.join(others)}.")
    shared = [wanted] if wanted else _asked_for(evidence, rows[others])
    if not shared:
        raise UserError(
            f"{table.name} has the columns {', '.join(others[:6])}{', …' if len(others) > 6 else ''}: which of them "
            f"has the labels? Name it with --labels {table.name}:{table.id}:COLUMN."
        )
    return [Values(column, rows[column].str.strip().tolist()) for column in shared]


def _asked_for(evidence: Evidence, rows: pd.DataFrame) -> list[str]:
    """Return the columns that the sample submission has too, or whose values it has, or that are the only ones."""
    names = list(rows.columns)
    asked = [] if evidence.sample is None else list(evidence.sample.columns[1:])
    shared = [column for column in asked if column in names]
    if not shared and len(asked) > 1:
        shared = [column for column in names if set(rows[column]) <= set(asked)][:1]
    if not shared and len(asked) == 1 and evidence.sample is not None:
        named = set(evidence.sample[asked[0]])
        texts = [column for column in names if Values(column, rows[column].tolist()).numbers is None]
        shared = [column for column in texts if named <= set(rows[column])]
    if len(shared) == 1 or (shared and len(shared) == len(asked)):
        return shared
    flags = all(Values(column, rows[column].tolist()).flags for column in names)
    return names if len(names) == 1 or flags else []


def _labels(table: LabelTable, columns: Sequence[Values], choose: Choose) -> tuple[LabelColumns, Target, list[str]]:
    """Return how the label's columns are declared, the target, and what was taken from where."""
    names = [column.name for column in columns]
    where = f"{names[0]!r}" if len(names) == 1 else f"{names[0]!r} … {names[-1]!r}"
    if len(names) > 1:
        kind = label_values.set_kind(columns)
        said = [f"labels: {len(names)} columns of {table.name}, {where}: {kind}"]
        of_kind: dict[str, tuple[LabelColumns, Target]] = {
            "classes": (OneHot(names), Classes(names)),
            "labels": (OneHot(names), Labels(names)),
            "shares": (Columns(names), Shares(names)),
            "numbers": (Columns(names), Numbers(names)),
        }
        return *of_kind[kind], said
    (column,) = columns
    kind = column.kind()
    if kind in ("grades", "classes") and column.whole and not column.flags:
        question = f"Are the numbers in {column.name!r} ordered grades, codes of classes, or just numbers"
        kind = choose("task", question, ("grades", "classes", "numbers"), kind)
    said = [f"labels: column {where} of {table.name}: {kind}, for example {column.texts[0]!r}"]
    return *_target(table, column, kind), said


def _target(table: LabelTable, column: Values, kind: str) -> tuple[LabelColumns, Target]:
    if kind == "labels":
        separator = column.separator()
        label: LabelColumns = Tags(column.name) if separator == " " else Tags(column.name, sep=separator)
        if table.rows[table.id].duplicated().any():
            label = RowPerLabel(column.name)
        return label, Labels(FromTrain(), at_least_one="" not in column.texts)
    if kind == "numbers":
        return column.name, Number(*column.range())
    if kind == "grades":
        return column.name, Grades(column.distinct)
    if table.rows[table.id].duplicated().any():
        return RowPerLabel(column.name), Labels(FromTrain())
    return column.name, Classes(column.distinct if column.flags else FromCsv(table.name, column.name))
