"""Read which label, and which group, a file of the data gives each image. Errors name the file, a value and a cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions import coco, csv_tables, label_cells
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.label_columns import Columns, OneHot
from kagglekit.competitions.locations import CocoLabels, CsvLabels
from kagglekit.competitions.spelling import joiner, speller


@dataclass(frozen=True)
class LabelTable:
    """What a file says of images, by what it calls them."""

    labels: Mapping[str, str]
    """The label of each image: one class or grade, or labels or numbers with `targets.SEPARATOR` between them."""
    groups: Mapping[str, str]
    """The group of each image; empty if the file has none."""


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
            "or remove these rows and their images."
        )


def columns(competition: Competition, files: DataFiles) -> list[str]:
    """Return the labels that are columns of the file of labels, in its order; none if labels are in cells."""
    layout = competition.train
    if not (isinstance(layout, CsvLabels) and isinstance(layout.label, OneHot | Columns)):
        return []
    table = csv_tables.read(files, layout.csv, [layout.id, *layout.label.columns])
    return list(map(speller(layout.labels, competition), label_cells.used_columns(layout, competition, table.columns)))


def meanings(competition: Competition, files: DataFiles) -> dict[str, str]:
    """Return label -> name for people, as the file of labels has them; empty if it has none."""
    layout = competition.train
    if not isinstance(layout, CocoLabels):
        return {}
    spell = speller(layout.labels, competition)
    return {spell(label): name for label, name in coco.names(layout, files).items()}


def _of_json(layout: CocoLabels, competition: Competition, files: DataFiles) -> LabelTable:
    """Return what annotations say. An image without any is left out, unless an image may have no label."""
    found = coco.read(layout, files)
    spell, join = speller(layout.labels, competition), joiner(competition)
    optional = not competition.task.fault("")
    labels = {name: join(map(spell, own)) for name, own in found.labels.items() if own or optional}
    return LabelTable(labels, found.groups)


def _of_csv(layout: CsvLabels, competition: Competition, files: DataFiles) -> LabelTable:
    first = [layout.id, *([layout.group] if layout.group else [])]
    table = csv_tables.read(files, layout.csv, [*first, *label_cells.named_columns(layout.label), *competition.labels])
    columns = label_cells.used_columns(layout, competition, table.columns)
    csv_tables.require_columns(table, [*first, *columns], layout.csv)
    _remark_unused([name for name in table.columns if name and name not in (*first, *columns)], layout.csv, files)
    cells = label_cells.Cells(layout, competition, table, columns, files)
    groups = label_cells.group_of(cells.images(), table[layout.group].tolist(), layout.csv) if layout.group else {}
    return LabelTable(cells.labels(), groups)


def _remark_unused(columns: Sequence[str], source: str, files: DataFiles) -> None:
    """Remark on columns that nothing is made of, such as a table of measurements beside the images."""
    if columns:
        files.remarks.append(f"{source} has other columns, which are not used: {listed(columns, 3)}")
