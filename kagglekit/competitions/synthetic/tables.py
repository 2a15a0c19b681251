"""The tables of a drawn competition: labels, groups, names and the sample submission."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kagglekit.competitions import submissions
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.label_columns import Columns, OneHot, RowPerLabel, Tags
from kagglekit.competitions.locations import CocoIds, CocoLabels, CsvGroups, CsvIds, CsvLabels
from kagglekit.competitions.synthetic.plan import Picture, Plan, text_of
from kagglekit.tasks.targets import SEPARATOR, FromCsv, Source

Table = dict[str, list[str]]
"""Column -> its cells."""
Rows = list[tuple[Picture, str]]
"""The image of each row, and its label where a row has only one of several."""


def contents(competition: Competition, source: Source | None, planned: Plan) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files that the description names, and of the sample submission.

    `source` is where the description says that the data lists what is predicted.
    """
    layout, test, form = competition.train, competition.test, competition.submission
    found: dict[str, Table] = {}
    rows: Rows = [(one, "") for one in planned.train]
    if isinstance(layout, CsvLabels):
        rows = _rows(competition, layout, planned)
        found[layout.source] = _labels(competition, layout, rows)
    if competition.groups is not None:
        _add_groups(found, competition.groups, rows, planned)
    if isinstance(source, FromCsv):
        own = isinstance(layout, CsvLabels) and source.csv == layout.source
        _add_names(found, source, competition, rows if own else [(one, "") for one in planned.labelled])
    sample = form.sample[:1] if planned.test and not form.by_hook else ()
    if isinstance(test, CsvIds) and test.source not in sample:
        found.setdefault(test.source, {}).update(_ids(test, planned.test))
    for name, values in found.items():
        yield name, _csv(pd.DataFrame(values))
    if isinstance(layout, CocoLabels):
        yield layout.source, json.dumps(_coco(competition, layout, planned)).encode()
    if isinstance(test, CocoIds):
        images = [{"id": int(one.id), "file_name": one.called} | one.cells for one in planned.test]
        yield test.source, json.dumps({"images": images}).encode()
    for name in sample:
        yield name, _csv(_sample(competition, planned))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _rows(competition: Competition, layout: CsvLabels, planned: Plan) -> Rows:
    """Return the rows of a file of labels: one for each image or group, or for each of its labels, or all."""
    listed = list({one.group_name: one for one in planned.train}.values()) if layout.per_group else planned.train
    if not isinstance(layout.label, RowPerLabel):
        return [(one, "") for one in listed]
    if layout.label.value or layout.label.in_id:
        return [(one, label) for one in listed for label in competition.labels]
    return [(one, label) for one in listed for label in _own(one)]


def _own(one: Picture) -> list[str]:
    """Return the labels, or numbers, of an image."""
    return one.subject.label.split(SEPARATOR) if one.subject.label else []


def _labels(competition: Competition, layout: CsvLabels, rows: Rows) -> Table:
    """Return the columns of a file of labels."""
    table = _ids(layout, [one for one, _ in rows])
    label = layout.label
    if isinstance(label, RowPerLabel):
        return table | _long(layout, label, rows)
    if isinstance(label, OneHot):
        names = {text_of(layout, name): name for name in competition.labels}
        wanted = label.columns or names
        return table | {text: _flags(names.get(text, text), rows) for text in wanted}
    if isinstance(label, Tags):
        texts = [label.sep.join(text_of(layout, name) for name in _own(one)) for one, _ in rows]
        return table | {label.column: texts}
    if isinstance(label, Columns):
        columns = label.columns or [text_of(layout, name) for name in competition.labels]
        return table | {name: [_own(one)[place] for one, _ in rows] for place, name in enumerate(columns)}
    return table | {label: [text_of(layout, one.subject.label) for one, _ in rows]}


def _ids(layout: CsvLabels | CsvIds, images: Sequence[Picture]) -> Table:
    """Return the columns that say which image, or which group of images, a row is of, and its groups."""
    per_group = isinstance(layout, CsvLabels) and layout.per_group
    own = [one.group_name if per_group else one.id for one in images]
    named = {} if "{" in layout.id else {layout.id: own}
    return named | {column: [one.cells[column] for one in images] for column in images[0].cells}


def _flags(name: str, rows: Rows) -> list[str]:
    """Return 1 for each row whose image has a label, else 0."""
    return [str(int(name in _own(one))) for one, _ in rows]


def _long(layout: CsvLabels, label: RowPerLabel, rows: Rows) -> Table:
    """Return the columns of a file with several rows an image."""
    texts = [text_of(layout, name) for _, name in rows]
    table: Table = {} if label.in_id else {label.label: texts}
    if label.in_id:
        ids = [one.group_name if layout.per_group else one.id for one, _ in rows]
        joined = [
            label.label.replace("{id}", image).replace("{label}", text) for image, text in zip(ids, texts, strict=True)
        ]
        table[layout.id] = joined
    if label.value:
        table[label.value] = [str(int(name in _own(one))) for one, name in rows]
    return table


def _add_groups(found: dict[str, Table], groups: CsvGroups, rows: Rows, planned: Plan) -> None:
    """Add the columns of groups. One CSV file may hold labels too: then its id column also names the images."""
    shared = groups.csv in found
    images = [one for one, _ in rows] if shared else planned.labelled
    table = found.setdefault(groups.csv, {})
    table.setdefault(groups.image, [one.file_name for one in images])
    table[groups.group] = [one.group_name for one in images]


def _add_names(found: dict[str, Table], source: FromCsv, competition: Competition, rows: Rows) -> None:
    """Add the columns that list what is predicted, for people too: to a table with a row an image, or a new one."""
    layout = competition.train
    labels = [label or one.subject.label for one, label in rows]
    if source.csv not in found:
        labels = list(competition.labels)
    table = found.setdefault(source.csv, {})
    table.setdefault(source.column, [text_of(layout, label) for label in labels])
    if source.names:
        table.setdefault(source.names, [f"a drawn {label}" for label in labels])


def _coco(competition: Competition, layout: CocoLabels, planned: Plan) -> dict[str, Any]:
    """Return the images, annotations and categories."""
    texts = {name: text_of(layout, name) for name in competition.labels}
    by_name = layout.category != "id"
    keys: dict[str, Any] = {
        name: number if by_name else _number(texts[name]) for number, name in enumerate(competition.labels, 1)
    }
    images = []
    for number, one in enumerate(planned.train):
        images.append({"id": number, "file_name": one.id} | one.cells)
    pairs = [(number, name) for number, one in enumerate(planned.train) for name in _own(one)]
    annotations = [
        {"id": place, "image_id": number, "category_id": keys[name]} for place, (number, name) in enumerate(pairs)
    ]
    meanings = competition.target.meanings
    field = layout.category if by_name else "name"
    categories = [{"id": keys[name], field: texts[name] if by_name else meanings[name]} for name in competition.labels]
    return {"images": images, "annotations": annotations, "categories": categories}


def _number(text: str) -> int | str:
    """Return the number that a text is as JSON has it, if it is one."""
    return int(text) if text.isdecimal() and str(int(text)) == text else text


def _sample(competition: Competition, planned: Plan) -> pd.DataFrame:
    """Return a sample submission with the same predictions in all rows."""
    of = (one.row if competition.submission.per_group else one.id for one in planned.test)
    ids = [submissions.written_id(competition, name) for name in dict.fromkeys(of)]
    columns = len(competition.labels)
    even = np.full((len(ids), columns), 1 / columns if competition.target.exclusive else 0.5)
    return submissions.lay_out(competition, ids, even, None)
