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
    columns = label_columns(evidence, table, given)
    group = table.group_column(apart_from=[column.name for column in columns])
    names = table.rows[table.id].tolist()
    folders, options, said = _images(evidence, tests, table, names)
    label, target, of_labels = labels(table, columns, choose)
    if _without_labels(evidence, folders, table, columns, target):
        options["only_labelled"] = True
        said.append(f"rows of {table.name} without a label are left out, and their images")
    if group:
        options["group"] = group
        said.append(f"groups: column {group!r} of {table.name}")
    grouped = not group and _are_groups(evidence, folders, columns[0].texts)
    images = evidence.pattern(folders, names, folder="group" if grouped else "folder")
    said += _remark_on_groups(folders[0], str(images)) if grouped else []
    layout = CsvLabels(table.name, images=images, id=table.id, label=label, **options)
    return Train(layout=layout, target=target, values=columns, labels=label_names(columns), said=[*of_labels, *said])


def _without_labels(
    evidence: Evidence, folders: Sequence[str], table: LabelTable, columns: Sequence[Values], target: Target
) -> bool:
    """Return whether an image has a row without a label, where it must have one."""
    if isinstance(target, Labels) and len(columns) == 1:
        return False
    there = {key(name) for folder in folders for name in evidence.images[folder]}
    rows = zip(table.rows[table.id], *(column.texts for column in columns), strict=True)
    return any(key(name) in there and not any(cells) for name, *cells in rows)


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
    if not cells.marks:
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


def label_names(columns: Sequence[Values]) -> list[str]:
    """Return the labels that columns have: their names, or what is in the only one."""
    if len(columns) > 1:
        return [column.name for column in columns]
    (column,) = columns
    separator = column.separator()
    if not separator:
        return column.distinct
    return sorted({part.strip() for cell in column.texts for part in cell.split(separator)} - {""})


def label_columns(evidence: Evidence, table: LabelTable, given: str) -> list[Values]:
    """Return the columns with labels: those that the user or the sample submission names, or the only one left."""
    rows = table.rows
    others = [column for column in rows.columns if column and column != table.id]
    wanted = given.rsplit(":", 1)[1] if given else ""
    if wanted and wanted not in others:
        raise UserError(f"{table.name} has no column {wanted!r}; it has {', '.join(others)}.")
    shared = [wanted] if wanted else _asked_for(evidence, rows[others]) or _only_ones(table, others)
    if not shared:
        raise UserError(
            f"{table.name} has the columns {', '.join(others[:6])}{', …' if len(others) > 6 else ''}: which of them "
            f"has the labels? Name it with --labels {table.name}:{table.id}:COLUMN."
        )
    asked = (evidence.asked_cells or evidence.asked_columns) if len(shared) == 1 else []
    return [Values(column, rows[column].str.strip().tolist(), asked) for column in shared]


def _only_ones(table: LabelTable, names: Sequence[str]) -> list[str]:
    """Return the only column that can have labels, apart from one of groups, or all if all say yes or no."""
    group = table.group_column()
    own = [Values(name, table.rows[name].tolist()) for name in names if name != group or len(names) == 1]
    columns = [column for column in own if len(own) == 1 or not column.differs_always]
    marked = all(column.marks for column in columns)
    return [column.name for column in columns] if len(columns) == 1 or marked else []


def _asked_for(evidence: Evidence, rows: pd.DataFrame) -> list[str]:
    """Return the columns that the sample submission has too, perhaps with an addition, or whose values it has."""
    asked = evidence.asked_columns
    shared = [column for column in asked if column in rows.columns]
    if shared and len(shared) == len(asked):
        return shared
    if len(asked) > 1:
        return _with_names(asked, rows) or list(with_additions(asked, list(rows.columns)).values())
    if len(asked) == 1 and evidence.sample is not None:
        found = _by_value(evidence.sample[asked[0]], rows) or _by_name(asked[0], list(rows.columns))
        return found if len(found) == 1 else []
    return []


def _with_names(asked: Sequence[str], rows: pd.DataFrame) -> list[str]:
    """Return the first column that holds names of the sample's columns, one or several a cell, if there is any."""
    for column in rows.columns:
        names = set(label_names([Values(column, rows[column].str.strip().tolist(), asked)]))
        if names and names <= set(asked):
            return [column]
    return []


def with_additions(asked: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the sample's columns -> those of a table with the same addition to all, as `X4_mean` has; else nothing."""
    for name in names:
        addition = name.removeprefix(asked[0])
        if addition and addition != name and all(f"{column}{addition}" in names for column in asked):
            return {column: f"{column}{addition}" for column in asked}
    return {}


def _by_value(cells: pd.Series, rows: pd.DataFrame) -> list[str]:
    """Return the columns that have all values of a sample's cells, or what spaces separate in them, or its beginning.

    Numbers tell nothing by themselves: they may be placeholders.
    """
    values = {column: set(rows[column]) - {""} for column in rows.columns}
    texts = [column for column in rows.columns if Values(column, rows[column].tolist()).numbers is None]
    wholes = set(cells) - {""}
    parts = {part for cell in wholes for part in cell.split()}
    firsts = {cell.split()[0] for cell in wholes if " " in cell.strip()}
    for wanted, names in ((wholes, texts), (parts, texts), (firsts, list(values))):
        found = [name for name in names if wanted and wanted <= values[name]]
        if found:
            return found
    return []


def _by_name(asked: str, names: Sequence[str]) -> list[str]:
    """Return the columns whose names have that of the sample's column in them, as `category_id` has `Categories`."""
    for stem in (asked, asked.removesuffix("s")):
        found = [name for name in names if stem.lower() in name.lower()]
        if found:
            return found
    return []


def labels(table: LabelTable, columns: Sequence[Values], choose: Choose) -> tuple[LabelColumns, Target, list[str]]:
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
            "numbers": (Columns(names), Numbers(names, missing=any(column.lacking for column in columns))),
        }
        return *of_kind[kind], said
    (column,) = columns
    kind = column.kind()
    if kind == "classes":
        kind = _one_or_several(table, column, choose)
    if kind in ("grades", "classes") and column.whole and not column.flags:
        question = f"Are the numbers in {column.name!r} ordered grades, codes of classes, or just numbers"
        kind = choose("task", question, ("grades", "classes", "numbers"), kind)
    said = [f"labels: column {where} of {table.name}: {kind}, for example {column.distinct[0]!r}"]
    return *_target(table, column, kind), said


def _one_or_several(table: LabelTable, column: Values, choose: Choose) -> str:
    """Return the kind of target of names, by whether images have rows with different ones.

    Raises UserError for a few of these, if an image has one class.
    """
    named = table.rows[[table.id]].assign(label=column.texts).drop_duplicates()
    named = named[named["label"] != ""]
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
