"""Propose a layout of one folder a class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kagglekit.authoring.evidence import Evidence, below, key
from kagglekit.authoring.findings import LabelTable, Train
from kagglekit.base import image_names
from kagglekit.base.errors import UserError
from kagglekit.competitions.locations import CsvGroups, FilenameLabels, FolderLabels, Together
from kagglekit.tasks.targets import Classes, FromTrain

_PARTS = ("train", "test", "val", "valid", "validation", "images", "imgs", "data")
"""Names of folders that are no classes."""


def propose(evidence: Evidence, tests: Sequence[str], table: LabelTable | None) -> Train | None:
    """Return the proposal, if the sample submission has the folders' names or no table has labels."""
    trees = _trees(evidence, tests)
    if not trees:
        return None
    parent = max(trees, key=lambda each: ("train" in each.lower(), len(trees[each])))
    names = sorted(trees[parent])
    if len(names) < 2 or (table is not None and not evidence.said_in_sample & set(names)):
        return None
    beside = sorted(each for each in trees if each != parent and trees[each] <= trees[parent])
    if len(beside) + 1 < len(trees):
        return None
    groups, said = _groups(table, names)
    said = [f"labels: the folders {below(parent, names[0])} … {names[-1]}, {len(names)} classes", *said]
    said += [f"the images of {each} are training images too" for each in beside]
    said += [] if table else _remarks(evidence, names)
    patterns = [below(each, "{label}") for each in (parent, *beside)]
    pattern = Together(*patterns) if beside else patterns[0]
    layout: FolderLabels | FilenameLabels = FolderLabels(pattern)
    if not beside and (file := _same_files(evidence, parent, names)):
        layout = FilenameLabels(f"{patterns[0]}/{file}")
        said.append("groups: images of one name, of which each folder has one")
    return Train(layout=layout, target=Classes(FromTrain()), groups=groups, labels=names, said=said)


def _trees(evidence: Evidence, tests: Sequence[str]) -> Mapping[str, set[str]]:
    """Return folder -> the folders with images in it that may be classes."""
    found = defaultdict(set)
    for folder in evidence.images:
        parent, _, name = folder.rpartition("/")
        if folder not in tests and name and not (parent == "" and name.lower().startswith(_PARTS)):
            found[parent].add(name)
    return found


def _same_files(evidence: Evidence, parent: str, names: Sequence[str]) -> str:
    """Return the pattern of files whose names are the same in all folders; empty if they are not."""
    files = [set(evidence.images[below(parent, name)]) for name in names]
    if len(files[0]) < 2 or any(each != files[0] for each in files):
        return ""
    endings = {image_names.ending_of(name) for name in files[0]}
    return "{group}" + (endings.pop() if len(endings) == 1 else "")


def _remarks(evidence: Evidence, names: Sequence[str]) -> list[str]:
    """Return a remark on a table of the folders. Raises UserError if the sample submission asks for what it says."""
    folders = set(map(key, names))
    for table, rows in evidence.tables.items():
        for column in rows.columns:
            if len(folders.intersection(map(key, rows[column]))) * 2 <= len(folders):
                continue
            others = {*rows.columns, *(value for other in rows.columns if other != column for value in rows[other])}
            if evidence.said_in_sample & (others - {column}):
                raise UserError(
                    f"{table} says something of each folder in column {column!r}, and not of each image: write the "
                    "plugin without --from, with the hook train_table."
                )
            return [f"assumed: {table}, which names these folders, says nothing more of them"]
    return []


def _groups(table: LabelTable | None, labels: Sequence[str]) -> tuple[CsvGroups | None, list[str]]:
    """Return the groups that a table beside the layout has."""
    column = table.group_column(labels) if table is not None else ""
    if table is None or not column:
        return None, []
    return CsvGroups(table.name, image=table.id, group=column), [f"groups: column {column!r} of {table.name}"]
