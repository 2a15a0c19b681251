"""Read which label, and which group, a file of the data gives each image. Errors name the file, a value and a cure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions import coco, csv_tables, label_cells
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.label_columns import Columns, OneHot
from kagglekit.competitions.locations import CocoLabels, CsvLabels
from kagglekit.competitions.spelling import speller
from kagglekit.formats import texts

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class LabelTable:
    """What a file says of images, by what it calls them, or of groups of images, by their names."""

    labels: Mapping[str, str]
    """The label of each image: one class or grade, or labels or numbers with `targets.SEPARATOR` between them."""
    groups: Mapping[str, str]
    """The group of each image; empty if the file has none."""
    rows: Mapping[str, str]
    """What a row of the submission would be of, for each image; empty if the file has it not."""
    left_out: Sequence[str] = ()
    """Images that are left out, because their rows give different labels, or none."""


def read(layout: CsvLabels | CocoLabels, competition: Competition, files: DataFiles) -> LabelTable:
    """Return the labels and groups in the file of a layout. Raises UserError if the file does not fit it."""
    if isinstance(layout, CsvLabels):
        return _of_csv(layout, competition, files)
    return _of_json(layout, competition, files)


def check_filled(layout: CsvLabels | CocoLabels, labels: Mapping[str, str], competition: Competition) -> None:
    """Raise UserError if one of the images has no label and must have one. `labels` are those of images by name."""
    without = [name for name, label in labels.items() if not label]
    if without and competition.task.fault(""):
        what = layout.label if isinstance(layout, CsvLabels) and isinstance(layout.label, str) else "label"
        raise UserError(
            f"{len(without)} rows of {layout.source} have no {what}, for example that of {without[0]!r}: fill it in, "
            "or set only_labelled=True in the plugin's train to leave these rows and their images out."
        )


def columns(competition: Competition, files: DataFiles) -> list[str]:
    """Return the labels that are columns of the file of labels, in its order; none if labels are in cells."""
    layout = competition.train
    if not (isinstance(layout, CsvLabels) and isinstance(layout.label, OneHot | Columns)):
        return []
    table = csv_tables.read(files, layout.source, [*label_cells.key_columns(layout), *layout.label.columns])
    return list(map(speller(layout.labels, competition), label_cells.used_columns(layout, competition, table.columns)))


def meanings(competition: Competition, files: DataFiles) -> dict[str, str]:
    """Return label -> name for people, as the file of labels has them; empty if it has none."""
    layout = competition.train
    if not isinstance(layout, CocoLabels):
        return {}
    spell = speller(layout.labels, competition)
    return {spell(label): name for label, name in coco.names(layout, files).items()}


def _of_json(layout: CocoLabels, competition: Competition, files: DataFiles) -> LabelTable:
    """Return what annotations say. An image without any has no label, or is left out where that is declared."""
    found = coco.read(layout, files)
    spell = speller(layout.labels, competition)
    without = [name for name, own in found.labels.items() if not own]
    if without and competition.task.fault("") and not layout.only_listed:
        raise UserError(
            f"{len(without)} of {len(found.labels)} images in {layout.source} have no annotation, for example "
            f"{without[0]!r}: set only_listed=True in the plugin's train to leave them out, or declare "
            "target=Labels(…) if an image may have no label."
        )
    unlabelled = set(without) if competition.task.fault("") else set()
    sets = {name: list(map(spell, own)) for name, own in found.labels.items() if name not in unlabelled}
    labels = label_cells.joined(sets, competition, layout)
    return LabelTable(labels, found.groups, found.rows, _left_out(labels, sets, layout, files))


def _of_csv(layout: CsvLabels, competition: Competition, files: DataFiles) -> LabelTable:
    keys = label_cells.key_columns(layout)
    table = csv_tables.read(
        files, layout.source, [*keys, *label_cells.named_columns(layout.label), *competition.labels]
    )
    columns = label_cells.used_columns(layout, competition, table.columns)
    csv_tables.require_columns(table, [*keys, *columns], layout.source)
    _remark_unused([name for name in table.columns if name and name not in (*keys, *columns)], layout.source, files)
    table = csv_tables.with_joined(table, (layout.id, layout.group, layout.row))
    every = table[layout.id].tolist()
    if layout.only_labelled:
        table = table[texts.filled(table[columns])].reset_index(drop=True)
    cells = label_cells.Cells(layout, competition, table, columns, files)
    groups, rows = (
        label_cells.group_of(cells.images(), table[column].tolist(), layout.source) if column else {}
        for column in (layout.group, layout.row)
    )
    labels = cells.labels()
    disagreeing = _left_out(labels, cells.images(), layout, files)
    unlabelled = tuple(sorted({*every} - {*table[layout.id]}))
    if unlabelled:
        files.remarks.append(
            f"{layout.source} gives {len(unlabelled)} images no label, and they are left out: {listed(unlabelled, 3)}"
        )
    return LabelTable(labels, groups, rows, (*disagreeing, *unlabelled))


def _left_out(
    labels: Mapping[str, str], images: Iterable[str], layout: CsvLabels | CocoLabels, files: DataFiles
) -> tuple[str, ...]:
    """Return the images whose rows give different labels, and remark on them."""
    left_out = tuple(name for name in dict.fromkeys(images) if name not in labels)
    if left_out:
        files.remarks.append(
            f"{layout.source} gives {len(left_out)} images different labels, and they are left out: "
            f"{listed(left_out, 3)}"
        )
    return left_out


def _remark_unused(columns: Sequence[str], source: str, files: DataFiles) -> None:
    """Remark on columns that nothing is made of, such as a table of measurements beside the images."""
    if columns:
        files.remarks.append(f"{source} has other columns, which are not used: {listed(columns, 3)}")
