"""Propose how a CSV file has labels, and what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kagglekit.authoring import label_values
from kagglekit.authoring.evidence import Evidence, key
from kagglekit.authoring.findings import Choose, LabelTable, Train, folders_of
from kagglekit.authoring.joined_ids import JoinedIds
from kagglekit.authoring.label_values import Values
from kagglekit.base.errors import UserError
from kagglekit.competitions.label_columns import Columns, LabelColumns, OneHot, RowPerLabel, Tags
from kagglekit.competitions.locations import CsvLabels
from kagglekit.recipe import DEFAULT_FOLDS
from kagglekit.tasks.targets import Classes, FromCsv, FromTrain, Grades, Labels, Number, Numbers, Shares, Target

if TYPE_CHECKING:
    import pandas as pd

_FEW = 0.02
"""Share of images with rows of different labels up to which these are mistakes."""


def propose(
    evidence: Evidence, tests: Sequence[str], table: LabelTable | None, choose: Choose, given: str
) -> Train | None:
    """Return the proposal for a CSV file with labels."""
    if table is None:
        return None
    if table.joined is not None:
        return _joined(evidence, tests, table, table.joined)
    group = table.group_column()
    columns = _label_columns(evidence, table, group, given)
    names = table.rows[table.id].tolist()
    folders, options, said = _images(evidence, tests, table, names)
    label, target, of_labels = _labels(table, columns, choose)
    if group:
        options["group"] = group
        said.append(f"groups: column {group!r} of {table.name}")
    grouped = not group and _are_groups(evidence, folders, columns[0].texts)
    images = evidence.pattern(folders, names, folder="group" if grouped else "folder")
    said += _remark_on_groups(folders[0], str(images)) if grouped else []
    layout = CsvLabels(table.name, images=images, id=table.id, label=label, **options)
    return Train(layout=layout, target=target, values=columns, labels=_names(columns), said=[*of_labels, *said])


def _remark_on_groups(folder: str, pattern: str) -> list[str]:
    """Return what was assumed of folders that may be groups, of which a pattern of several levels names none."""
    if "{group}" in pattern:
        rest = "which folds never split; if they have no meaning, write {folder} for {group} in the plugin"
        return [f"groups: the folders, such as {folder}, {rest}"]
    return [f"assumed: no folder, such as {folder}, is a group; if one is, write {{group}} for it in the plugin"]


def _images(
    evidence: Evidence, tests: Sequence[str], table: LabelTable, names: Sequence[str]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Return the folders with the images that a table names, what the layout declares of others, and both in words."""
    keys = set(map(key, names))
    folders = folders_of(evidence, tests, keys)
    if not folders:
        raise UserError(f"column {table.id!r} of {table.name} names no image of the data, for example {names[0]!r}.")
    there = {key(name) for folder in folders for name in evidence.images[folder]}
    options: dict[str, Any] = {}
    said = []
    if there - keys:
        options["only_listed"] = True
        said.append(f"images without a row in {table.name} ({len(there - keys)}) are no training images")
    if keys - there:
        options["only_present"] = True
        said.append(f"rows of {table.name} without an image ({len(keys - there)}) are left out")
    return folders, options, said


def _joined(evidence: Evidence, tests: Sequence[str], table: LabelTable, joined: JoinedIds) -> Train:
    """Return the proposal for a table with a row for each image and label, which both are in its ids."""
    value = str(table.rows.columns[1])
    cells = Values(value, table.rows[value].str.strip().tolist())
    if not cells.flags:
        raise UserError(
            f"{table.name} has a row for each image and label, and {cells.texts[0]!r} in column {value!r}, which is "
            "neither 0 nor 1: write the plugin without --from, with the hook train_table."
        )
    folders, options, said = _images(evidence, tests, table, joined.images)
    layout = CsvLabels(
        table.name,
        images=evidence.pattern(folders, joined.images),
        id=table.id,
        label=RowPerLabel(joined.pattern, value=value),
        **options,
    )
    labels = list(joined.labels)
    where = f"labels: a row of {table.name} for each image and label, {joined.pattern}: {', '.join(labels[:5])}"
    return Train(layout=layout, target=Labels(labels), labels=labels, said=[where, *said])


def _are_groups(evidence: Evidence, folders: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether folders can be patients, films or the like: no classes, enough for folds, with several images."""
    are_classes = {folder.rpartition("/")[2] for folder in folders} <= set(labels)
    images = sum(len(evidence.images[folder]) for folder in folders)
    return not are_classes and len(folders) >= DEFAULT_FOLDS and images >= 2 * len(folders)


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
    asked = evidence.asked_cells if len(shared) == 1 else []
    return [Values(column, rows[column].str.strip().tolist(), asked) for column in shared]


def _asked_for(evidence: Evidence, rows: pd.DataFrame) -> list[str]:
    """Return the columns that the sample submission has too, or whose values it has, or that are the only ones."""
    names = list(rows.columns)
    asked = evidence.asked_columns
    shared = [column for column in asked if column in names]
    shared = shared if len(shared) == len(asked) else []
    if not shared and len(asked) > 1:
        shared = [column for column in names if set(rows[column]) <= set(asked)][:1]
    if not shared and len(asked) == 1 and evidence.sample is not None:
        shared = _by_value(evidence.sample[asked[0]], rows) or _by_name(asked[0], names)
    if shared and len(shared) in (1, len(asked)):
        return shared
    flags = all(Values(column, rows[column].tolist()).flags for column in names)
    return names if len(names) == 1 or flags else []


def _by_value(cells: pd.Series, rows: pd.DataFrame) -> list[str]:
    """Return the columns of text that have all values of a sample's cells, or what spaces separate in them."""
    texts = [column for column in rows.columns if Values(column, rows[column].tolist()).numbers is None]
    wholes, parts = set(cells), {part for cell in cells for part in cell.split()}
    return [column for column in texts if wholes <= set(rows[column])] or [
        column for column in texts if parts and parts <= set(rows[column])
    ]


def _by_name(asked: str, names: Sequence[str]) -> list[str]:
    """Return the columns whose names have that of the sample's column in them, as `category_id` has `Category`."""
    return [name for name in names if asked.lower() in name.lower()]


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
    if kind == "classes":
        kind = _one_or_several(table, column, choose)
    if kind in ("grades", "classes") and column.whole and not column.flags:
        question = f"Are the numbers in {column.name!r} ordered grades, codes of classes, or just numbers"
        kind = choose("task", question, ("grades", "classes", "numbers"), kind)
    said = [f"labels: column {where} of {table.name}: {kind}, for example {column.texts[0]!r}"]
    return *_target(table, column, kind), said


def _one_or_several(table: LabelTable, column: Values, choose: Choose) -> str:
    """Return the kind of target of names, by whether images have rows with different ones.

    Raises UserError for a few of these, if an image has one class.
    """
    named = table.rows[[table.id]].assign(label=column.texts).drop_duplicates()
    images = named[table.id].nunique()
    twice = named[named[table.id].duplicated(keep=False)]
    if twice.empty:
        return "classes"
    several = twice[table.id].nunique()
    image, labels = twice[table.id].iloc[0], twice["label"][twice[table.id] == twice[table.id].iloc[0]].tolist()
    what = f"{several} of {images} images in {table.name} have rows with different labels, such as {image!r}"
    usual = "labels" if several > _FEW * images else "classes"
    kind = choose("task", f"{what}: has an image one class, or any of several labels", ("classes", "labels"), usual)
    if kind == "classes":
        raise UserError(
            f"{what} ({labels[0]}, {labels[1]}): remove all but one row of each, or say --task labels if an image may "
            "have several."
        )
    return kind


def _target(table: LabelTable, column: Values, kind: str) -> tuple[LabelColumns, Target]:
    if kind == "labels" and column.separator():
        separator = column.separator()
        label = Tags(column.name) if separator == " " else Tags(column.name, sep=separator)
        return label, Labels(FromTrain(), at_least_one="" not in column.texts)
    if kind == "labels":
        return RowPerLabel(column.name), Labels(FromTrain(), at_least_one="" not in column.texts)
    if kind == "numbers":
        return column.name, Number(*column.range())
    if kind == "grades":
        return column.name, Grades(column.distinct)
    return column.name, Classes(column.distinct if column.flags else FromCsv(table.name, column.name))
