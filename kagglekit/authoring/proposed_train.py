"""Propose where labels are and what is predicted, from what the data holds."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.authoring import proposed_table
from kagglekit.authoring.evidence import Evidence, below, key
from kagglekit.authoring.findings import Choose, LabelTable, Train, folders_of
from kagglekit.base import csv_files
from kagglekit.base.errors import UserError
from kagglekit.competitions.locations import CocoLabels, CsvGroups, FilenameLabels, FolderLabels
from kagglekit.tasks.targets import Classes, FromTrain, Labels

if TYPE_CHECKING:
    pass

_IN_NAME = re.compile(r"(?P<label>[^\W\d].*?)(?P<between>[._\- ]+)\d+")
_MOST_LABELS = 200
_COCO = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}


def propose(evidence: Evidence, tests: Sequence[str], choose: Choose, given: str = "") -> Train:
    """Return the proposal. `tests` are the folders of test images; `given` is FILE:ID:LABEL, if the user said it.

    Raises UserError if the data does not show where labels are.
    """
    table = _table(evidence, given)
    return (
        _in_json(evidence, tests)
        or _in_folders(evidence, tests, table)
        or proposed_table.propose(evidence, tests, table, choose, given)
        or _in_names(evidence, tests)
        or _nowhere(evidence)
    )


def _table(evidence: Evidence, given: str) -> LabelTable | None:
    """Return the table of training images: the one with most of them, apart from that of test images."""
    asked = set(map(key, evidence.asked))
    if given:
        if given.count(":") < 2:
            raise UserError(f"--labels {given!r}: write it as FILE:ID:LABEL, for example train.csv:id:label.")
        name, column, _ = given.rsplit(":", 2)
        if name not in evidence.tables:
            raise UserError(f"--labels {given!r}: the tables there are {', '.join(evidence.tables) or 'none'}.")
        if column not in evidence.tables[name]:
            columns = ", ".join(evidence.tables[name].columns)
            raise UserError(f"--labels {given!r}: {name} has no column {column!r}; it has {columns}.")
        return LabelTable(name, evidence.tables[name], column)
    found = []
    for name, rows in evidence.tables.items():
        column = evidence.naming(rows, evidence.images) if len(rows) else ""
        if len(rows.columns) == 2 and (joined := evidence.joined_in(rows.iloc[:, 0].tolist())):
            found.append(LabelTable(name, rows, rows.columns[0], joined))
        elif column and not rows[column].map(key).isin(asked).all() and len(rows.columns) > 1:
            found.append(LabelTable(name, rows, column))
    wanted = set(evidence.asked_columns)
    return max(found, key=lambda each: (bool(wanted & set(each.rows.columns)), len(each.rows)), default=None)


def _in_json(evidence: Evidence, tests: Sequence[str]) -> Train | None:
    """Return the proposal for a JSON file as COCO has it."""
    for name, path in evidence.files.paths.items():
        if not name.lower().endswith(".json"):
            continue
        content = _parsed(path)
        if not isinstance(content, dict) or not all(_have(content.get(part), keys) for part, keys in _COCO.items()):
            continue
        ids = [str(each["file_name"]) for each in content["images"]]
        folders = folders_of(evidence, tests, set(map(key, ids)))
        several = len({each["image_id"] for each in content["annotations"]}) < len(content["annotations"])
        names = {str(each["name"]) for each in content["categories"]}
        category = "name" if names & _in_sample(evidence) else "id"
        images = evidence.pattern_of_paths(ids) or evidence.pattern(folders, ids, "file_name")
        layout = CocoLabels(name, images=images, category=category)
        said = [f"labels: the annotations of {name}, by the {category} of the category"]
        return Train(layout=layout, target=Labels(FromTrain()) if several else Classes(FromTrain()), said=said)
    return None


def _have(objects: Any, keys: Sequence[str]) -> bool:
    """Return whether there is a list of objects that have all keys."""
    return isinstance(objects, list) and all(isinstance(each, dict) and set(keys) <= each.keys() for each in objects)


def _in_sample(evidence: Evidence) -> set[str]:
    """Return the columns and the values of the sample submission."""
    return set() if evidence.sample is None else {*evidence.asked_columns, *evidence.sample.iloc[:, -1]}


def _parsed(path: Path) -> Any:
    """Return what a JSON file holds; nothing if it is none."""
    try:
        return json.loads(csv_files.decoded(path.read_bytes())[0])
    except ValueError:
        return None


def _in_folders(evidence: Evidence, tests: Sequence[str], table: LabelTable | None) -> Train | None:
    """Return the proposal for one folder a class, if the sample has these names or no table has labels."""
    inside = [folder for folder in evidence.images if folder not in tests and "/" in folder]
    parents = {folder.rpartition("/")[0] for folder in inside}
    names = sorted(folder.rpartition("/")[2] for folder in inside)
    if len(parents) != 1 or len(names) < 2:
        return None
    if table is not None and not _in_sample(evidence) & set(names):
        return None
    parent = parents.pop()
    groups, said = _other_groups(table, names)
    said = [f"labels: the folders {parent}/{names[0]} … {names[-1]}, {len(names)} classes", *said]
    said += [] if table else _remarks_on_folders(evidence, names)
    layout = FolderLabels(f"{parent}/{{label}}")
    return Train(layout=layout, target=Classes(FromTrain()), groups=groups, labels=names, said=said)


def _remarks_on_folders(evidence: Evidence, names: Sequence[str]) -> list[str]:
    """Return a remark on a table of the folders. Raises UserError if the sample submission asks for what it says."""
    folders = set(map(key, names))
    for table, rows in evidence.tables.items():
        for column in rows.columns:
            if len(folders.intersection(map(key, rows[column]))) * 2 <= len(folders):
                continue
            others = {*rows.columns, *(value for other in rows.columns if other != column for value in rows[other])}
            if _in_sample(evidence) & (others - {column}):
                raise UserError(
                    f"{table} says something of each folder in column {column!r}, and not of each image: write the "
                    "plugin without --from, with the hook train_table."
                )
            return [f"assumed: {table}, which names these folders, says nothing more of them"]
    return []


def _other_groups(table: LabelTable | None, labels: Sequence[str] = ()) -> tuple[CsvGroups | None, list[str]]:
    """Return the groups that a table beside the layout has."""
    column = table.group_column(labels) if table is not None else ""
    if table is None or not column:
        return None, []
    return CsvGroups(table.name, image=table.id, group=column), [f"groups: column {column!r} of {table.name}"]


def _in_names(evidence: Evidence, tests: Sequence[str]) -> Train | None:
    """Return the proposal for labels in file names, such as `cat.0.jpg`."""
    for folder, names in evidence.images.items():
        matches = [_IN_NAME.fullmatch(name.rpartition(".")[0]) for name in names]
        if folder in tests or None in matches:
            continue
        parts = [(match["label"], match["between"]) for match in matches if match]
        labels, between = sorted({label for label, _ in parts}), {each for _, each in parts}
        if len(between) != 1 or not 2 <= len(labels) <= _MOST_LABELS:
            continue
        ending = {name.rpartition(".")[2] for name in names}
        written = f"{{label}}{between.pop()}{{number}}{'.' + ending.pop() if len(ending) == 1 else ''}"
        pattern = below(folder, written)
        said = [f"labels: the beginning of file names, {below(folder, names[0])}: {', '.join(labels[:5])}"]
        return Train(layout=FilenameLabels(pattern), target=Classes(labels), labels=labels, said=said)
    return None


def _nowhere(evidence: Evidence) -> Train:
    has = ", ".join(evidence.tables) or "no CSV file beside the sample submission"
    raise UserError(
        f"{evidence.files.origin} does not show where labels are (it has {has}): name them with "
        "--labels FILE:ID:LABEL, or write the plugin without --from."
    )
