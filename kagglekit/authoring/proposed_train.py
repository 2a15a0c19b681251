"""Propose where labels are and what is predicted, from what the data holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kagglekit.authoring import proposed_folders, proposed_json, proposed_table
from kagglekit.authoring.evidence import Evidence, below, key, whole_key
from kagglekit.authoring.findings import Choose, LabelTable, Train
from kagglekit.base.errors import UserError
from kagglekit.competitions.locations import FilenameLabels
from kagglekit.tasks.targets import Classes

if TYPE_CHECKING:
    import pandas as pd

_IN_NAME = re.compile(r"(?P<label>[^\W\d].*?)(?P<between>[._\- ]+)\d+")
_MOST_LABELS = 200


def propose(evidence: Evidence, tests: Sequence[str], choose: Choose, given: str = "") -> Train:
    """Return the proposal. `tests` are the folders of test images; `given` is FILE:ID:LABEL, if the user said it.

    Raises UserError if the data does not show where labels are.
    """
    table = _table(evidence, given)
    return (
        proposed_json.train(evidence, tests)
        or proposed_folders.propose(evidence, tests, table)
        or proposed_table.propose(evidence, tests, table, choose, given)
        or _in_names(evidence, tests)
        or _nowhere(evidence)
    )


def _table(evidence: Evidence, given: str) -> LabelTable | None:
    """Return the table of training images: the one with most of them, apart from that of test images."""
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
        elif column and not _lists_only(rows[column], evidence.asked) and len(rows.columns) > 1:
            found.append(LabelTable(name, rows, column))
    wanted = set(evidence.asked_columns)
    return max(found, key=lambda each: (bool(wanted & set(each.rows.columns)), len(each.rows)), default=None)


def _lists_only(names: pd.Series, asked: Sequence[str]) -> bool:
    """Return whether all names are those of images that the sample submission asks for."""
    by = whole_key if any("/" in name for name in asked) and names.str.contains("/").any() else key
    return bool(names.map(by).isin(set(map(by, asked))).all())


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
