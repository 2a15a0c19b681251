"""Match the images of a layout with the rows of tables. Images and rows that do not fit are errors, or are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kagglekit.base import image_names, patterns
from kagglekit.base.errors import UserError
from kagglekit.competitions import csv_tables, label_cells
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import CsvGroups, CsvLabels, Listing

if TYPE_CHECKING:
    import pandas as pd

Spelled = tuple[str, str]
"""How a table may call an image: with its extension, and without."""


def rows_of(layout: Listing, spelled: Sequence[Spelled], names: Sequence[str], files: DataFiles) -> list[str | None]:
    """Return which of `names`, in the file of a layout, each image has; None only where the layout allows it.

    Raises UserError for images and rows that belong to none, unless the layout leaves them out.
    """
    rows = image_names.match(spelled, names)
    _check_once(layout, spelled, rows, names)
    used = [names[row] for row in rows if row is not None]
    unused = sorted(set(names) - set(used))
    missing = [bare for (_, bare), row in zip(spelled, rows, strict=True) if row is None]
    if missing:
        _without_row(layout, missing, names, unused, files)
    if unused:
        _without_image(layout, unused, used, files)
    found = [None if row is None else names[row] for row in rows]
    remark_loose(((image, name) for image, name in zip(spelled, found, strict=True) if name), layout.source, files)
    return found


def rows_of_groups(
    layout: CsvLabels, groups: Sequence[str], names: Sequence[str], files: DataFiles
) -> list[str | None]:
    """Return which of `names`, the groups in the file of a layout, each image's group is; errors as in `rows_of`."""
    known = {name.strip(): name for name in names}
    found = [known.get(group.strip()) for group in groups]
    used = {name for name in found if name is not None}
    unused = sorted(set(names) - used)
    missing = [group for group, name in zip(groups, found, strict=True) if name is None]
    if missing:
        _without_row(layout, missing, names, unused, files)
    if unused:
        _without_image(layout, unused, sorted(used), files)
    return found


def _check_once(layout: Listing, spelled: Sequence[Spelled], rows: Sequence[int | None], names: Sequence[str]) -> None:
    """Raise UserError for a row that two images have."""
    first: dict[int, int] = {}
    for image, row in enumerate(rows):
        if row is not None and first.setdefault(row, image) != image:
            one, other = spelled[first[row]][0], spelled[image][0]
            raise UserError(
                f"row {names[row]!r} of {layout.source} is of two images, {one!r} and {other!r}: rename one, or write "
                f"{{{layout.key}/}} in the plugin if the table has their folders too."
            )


def _without_row(
    layout: Listing, missing: Sequence[str], names: Sequence[str], unused: Sequence[str], files: DataFiles
) -> None:
    source, part = layout.source, layout.part
    looks = image_names.told_apart(missing[0], names) or _unlike(source, unused)
    if not layout.only_listed:
        raise UserError(
            f"{len(missing)} {part} images have no row in {source}, for example {missing[0]!r}{looks}: remove them, or "
            "download the data again."
        )
    if len(unused) == len(set(names)):
        raise UserError(f"no image is in {source}: images look like {missing[0]!r}{looks}; is the plugin's id right?")
    files.remarks.append(f"{len(missing)} images have no row in {source}: they are no {part} images")


def _without_image(layout: Listing, unused: Sequence[str], used: Sequence[str], files: DataFiles) -> None:
    """Raise UserError for rows that belong to an image that has another, and, unless allowed, to none."""
    source = layout.source
    keys = {image_names.key_of(name): name for name in used}
    same = keys.get(image_names.key_of(unused[0]))
    if same is not None:
        raise UserError(f"{source} has {same!r} and {unused[0]!r} for one image: remove one row.")
    if layout.only_present:
        misfit = _misfit(unused[0], layout, files)
        files.remarks.append(
            f"{len(unused)} rows of {source} have no image, for example {unused[0]!r}{misfit}: left out"
        )
        return
    raise UserError(
        f"{len(unused)} rows of {source} have no image, for example {unused[0]!r}{_misfit(unused[0], layout, files)}: "
        "remove them, or download the data again."
    )


def _misfit(name: str, layout: Listing, files: DataFiles) -> str:
    """Return a remark on an image of this name that fits no pattern, such as `1.heic` beside `{id}.jpg`."""
    every = [pattern for alternative in layout.alternatives for pattern in alternative]
    folders = tuple(patterns.folder_of(pattern).lower() for pattern in every)
    wanted = f"{image_names.key_of(name)}."
    for path in files.paths:
        file = image_names.composed(path.rpartition("/")[2])
        if path.lower().startswith(folders) and f"{file}.".startswith(wanted) and files.is_image(path):
            return f" ({path!r} does not fit {every[0]!r})"
    return ""


def _unlike(source: str, unused: Sequence[str]) -> str:
    """Return a remark that shows how the rows without an image look."""
    return f" (rows of {source} without an image look like {unused[0]!r})" if unused else ""


def remark_loose(pairs: Iterable[tuple[Spelled, str]], source: str, files: DataFiles) -> None:
    """Remark how images, in two spellings each, and their names in the table `source` differ, if they do."""
    different = [(image[0], name) for image, name in pairs if image_names.is_loose(image, name)]
    if different:
        image, name = different[0]
        files.remarks.append(f"{source} names {len(different)} images differently: {name!r} is taken to be {image!r}")


def groups(declared: CsvGroups, table: pd.DataFrame, files: DataFiles) -> list[str]:
    """Return the group of each training image. `table` has the `id`, the `path` and the `key` in tables of each."""
    rows = csv_tables.read(files, declared.csv, (declared.image, declared.group))
    csv_tables.require_columns(rows, (declared.image, declared.group), declared.csv)
    known = label_cells.group_of(rows[declared.image], rows[declared.group], declared.csv)
    names, values = list(known), list(known.values())
    spelled, found = _matched_groups(table, names)
    missing = [image_id for image_id, row in zip(table["id"], found, strict=True) if row is None]
    if missing:
        unused = sorted(set(names) - {names[row] for row in found if row is not None})
        raise UserError(
            f"{len(missing)} training images have no group in {declared.csv}, for example {missing[0]!r}"
            f"{image_names.told_apart(missing[0], names) or _unlike(declared.csv, unused)}: folds can't keep groups "
            "together without it."
        )
    used = [names[row] for row in found if row is not None]
    remark_loose(zip(spelled, used, strict=True), declared.csv, files)
    return [values[row] for row in found if row is not None]


def _matched_groups(table: pd.DataFrame, names: Sequence[str]) -> tuple[list[Spelled], list[int | None]]:
    """Return the spelling of each image by which it was found among `names`, and its position there, or None."""
    found: list[int | None] = [None] * len(table)
    best = list(map(image_names.spellings, table["id"], table["path"]))
    last_parts = table["id"].str.rpartition("/")[2]
    for called, folders in ((table["id"], False), (last_parts, False), (table["key"], False), (table["id"], True)):
        spelled = list(map(image_names.spellings, called, table["path"]))
        for number, row in enumerate(image_names.match(spelled, names, folders=folders)):
            if found[number] is None and row is not None:
                found[number], best[number] = row, spelled[number]
    return best, found
