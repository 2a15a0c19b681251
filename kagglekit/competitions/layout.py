"""Read tables of training and test images from files in a declared layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kagglekit.base import image_names, patterns
from kagglekit.base.errors import UserError
from kagglekit.base.walking import natural_key
from kagglekit.competitions import csv_tables, samples
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import CsvGroups, CsvLabels, FilenameLabels, FolderLabels

if TYPE_CHECKING:
    import pandas as pd


def has_train(competition: Competition, files: DataFiles) -> bool:
    """Return whether there is any training image."""
    layouts = competition.train
    return any(_any_match(_image_pattern(layouts, alternative), files) for alternative in layouts.alternatives)


def has_test(competition: Competition, files: DataFiles) -> bool:
    """Return whether there is any test image, or no test set is declared."""
    return not competition.test_patterns or any(_any_match(pattern, files) for pattern in competition.test_patterns)


def folders(competition: Competition, files: DataFiles) -> list[str]:
    """Return the folders of training, validation and test images; an empty name is the whole data."""
    layouts = [layout for layout in (competition.train, competition.valid) if layout is not None]
    candidates = [[_image_pattern(layout, each) for each in layout.alternatives] for layout in layouts]
    found = [_first_matching(each, files) for each in (*candidates, competition.test_patterns)]
    return list(dict.fromkeys(patterns.folder_of(pattern) for pattern in found if pattern is not None))


def has_tables(competition: Competition, files: DataFiles) -> bool:
    """Return whether a sample submission and all CSV files that the description names exist."""
    named = [
        layout.csv for layout in (competition.train, competition.groups) if isinstance(layout, CsvLabels | CsvGroups)
    ]
    return all(files.first([name]) for name in named) and samples.find(competition, files) is not None


def read_train(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Return `id`, `path`, `label` and, if the competition has them, `group` and `valid`; sorted by id.

    An id is the path below the training folder, without the image extension. Raises UserError for images or label
    rows that don't fit the layout.
    """
    import pandas as pd

    table = _read_layout(competition.train, competition, files)
    if competition.valid is not None:
        valid = _read_layout(competition.valid, competition, files)
        valid["id"] = "valid/" + valid["id"]
        table = pd.concat([table.assign(valid=False), valid.assign(valid=True)], ignore_index=True)
    if competition.groups is not None:
        table["group"] = _groups(competition.groups, table, files)
    order = sorted(range(len(table)), key=lambda row: natural_key(table["id"].iloc[row]))
    return table.drop(columns="key").iloc[order].reset_index(drop=True)


def read_test(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Return `id` (what the test pattern's `{id}` matches) and `path`, in natural order of the ids.

    The table is empty if no test set is declared.
    """
    import pandas as pd

    pattern = _first_matching(competition.test_patterns, files)
    if not competition.test_patterns:
        return pd.DataFrame(columns=["id", "path"], dtype="str")
    if pattern is None:
        wanted = " or ".join(competition.test_patterns[:3])
        more = ", …" if len(competition.test_patterns) > 3 else ""
        raise UserError(f"{files.origin} has no test images: looked for {wanted}{more}.")
    found = list(_matches(pattern, files))
    _check_strays(pattern, {path for path, _ in found}, _other_patterns(competition, competition.test), files)
    rows = [(match["id"], files.absolute(path)) for path, match in found]
    rows.sort(key=lambda row: natural_key(row[0]))
    return pd.DataFrame(rows, columns=["id", "path"], dtype="str")


def _image_pattern(layout: FilenameLabels | FolderLabels | CsvLabels, alternative: str) -> str:
    return f"{alternative}/" if isinstance(layout, FolderLabels) else alternative


def _matches(pattern: str, files: DataFiles) -> Iterable[tuple[str, re.Match[str]]]:
    """Yield (path, match) for images that `pattern` matches; a final slash matches everything below."""
    compiled = patterns.compile_pattern(pattern)
    match = compiled.match if pattern.endswith("/") else compiled.fullmatch
    for path in files.paths:
        found = match(path)
        if found is not None and files.is_image(path):
            yield path, found


def _any_match(pattern: str, files: DataFiles) -> bool:
    return next(iter(_matches(pattern, files)), None) is not None


def _first_matching(candidates: Iterable[str], files: DataFiles) -> str | None:
    return next((pattern for pattern in candidates if _any_match(pattern, files)), None)


def _read_layout(
    layout: FilenameLabels | FolderLabels | CsvLabels, competition: Competition, files: DataFiles
) -> pd.DataFrame:
    """Return `id`, `path`, `label` and `key`, the name that the image may have in a CSV file."""
    import pandas as pd

    pattern = _first_matching([_image_pattern(layout, p) for p in layout.alternatives], files)
    if pattern is None:
        raise UserError(f"{files.origin} has no images like {' or '.join(layout.alternatives)}.")
    found = list(_matches(pattern, files))
    if isinstance(layout, CsvLabels):
        spelled = [image_names.spellings(match["id"], path) for path, match in found]
        keys = [bare for _, bare in spelled]
        labels = _csv_labels(layout, spelled, competition, files)
    else:
        keys = ["" for _ in found]
        labels = _labels((match["label"] for _, match in found), competition)
        _check_strays(pattern, {path for path, _ in found}, _other_patterns(competition, layout), files)
    folder = patterns.folder_of(pattern)
    start = len(folder) + 1 if folder else 0
    ids = [image_names.without_ending(path[start:]) for path, _ in found]
    paths = [files.absolute(path) for path, _ in found]
    return pd.DataFrame({"id": ids, "path": paths, "label": labels, "key": keys}, dtype="str")


def _check_strays(pattern: str, found: set[str], others: list[str], files: DataFiles) -> None:
    """Raise UserError for images in the same folder that fit no pattern: they would be ignored silently."""
    folder = patterns.folder_of(pattern)
    if not folder:
        return
    start = f"{folder.lower()}/"
    strays = [path for path in files.paths if path.lower().startswith(start) and path not in found]
    strays = [path for path in strays if files.is_image(path) and not any(_fits(other, path) for other in others)]
    if strays:
        raise UserError(
            f"{len(strays)} images under {folder}/ do not fit {pattern!r}, for example {strays[0]!r}: "
            "move them out of the folder, or add their pattern to the plugin."
        )


def _other_patterns(competition: Competition, split: object) -> list[str]:
    """Return the image patterns of all declared splits except `split`. Splits may share a folder."""
    layouts = [layout for layout in (competition.train, competition.valid) if layout not in (None, split)]
    tests = competition.test_patterns if split != competition.test else ()
    return [*(_image_pattern(layout, p) for layout in layouts if layout for p in layout.alternatives), *tests]


def _fits(pattern: str, path: str) -> bool:
    compiled = patterns.compile_pattern(pattern)
    return (compiled.match if pattern.endswith("/") else compiled.fullmatch)(path) is not None


def _labels(texts: Iterable[str], competition: Competition) -> list[str]:
    """Return the class that each label means, in the spelling of the competition.

    White space around it has no meaning, unless a class has it.
    """
    spelled: dict[str, str] = {}
    for label in competition.labels:
        spelled.setdefault(image_names.composed(label), label)
    return [
        text if text in competition.classes else spelled.get(image_names.composed(text.strip()), text.strip())
        for text in texts
    ]


def _csv_labels(
    layout: CsvLabels, spelled: Sequence[tuple[str, str]], competition: Competition, files: DataFiles
) -> list[str]:
    """Return the label of each image, which is `spelled` with its extension and without."""
    known = _known_labels(layout, competition, files)
    names = list(known)
    rows = image_names.match(spelled, names)
    used = [names[row] for row in rows if row is not None]
    unused = sorted(known.keys() - set(used))
    missing = [bare for (_, bare), row in zip(spelled, rows, strict=True) if row is None]
    if missing:
        raise UserError(
            f"{len(missing)} training images have no row in {layout.csv}, for example {missing[0]!r}"
            f"{image_names.told_apart(missing[0], names) or _unlike(layout.csv, unused)}: remove them, or download "
            "the data again."
        )
    _check_unused(layout, unused, used, files)
    remark_loose(zip(spelled, used, strict=True), layout.csv, files)
    return [known[name] for name in used]


def _known_labels(layout: CsvLabels, competition: Competition, files: DataFiles) -> dict[str, str]:
    """Return name of an image in the CSV file -> label. Raises UserError for two labels of an image, and for none."""
    table = csv_tables.read(files, layout.csv, (layout.id, layout.label))
    csv_tables.require_columns(table, (layout.id, layout.label), layout.csv)
    known: dict[str, str] = {}
    labels = _labels(table[layout.label], competition)
    for name, label in zip(table[layout.id], labels, strict=True):
        if known.setdefault(name, label) != label:
            raise UserError(f"{layout.csv} has {name!r} twice in column {layout.id!r}: remove one row.")
    empty = [name for name, label in known.items() if not label and label not in competition.classes]
    if empty:
        raise UserError(
            f"{len(empty)} rows of {layout.csv} have no {layout.label}, for example that of {empty[0]!r}: fill it in, "
            "or remove these rows and their images."
        )
    csv_tables.remark_twice(len(table) - len(known), layout.csv, files)
    return known


def remark_loose(pairs: Iterable[tuple[tuple[str, str], str]], source: str, files: DataFiles) -> None:
    """Remark how images, in two spellings each, and their names in the table `source` differ, if they do."""
    different = [(image[0], name) for image, name in pairs if image_names.is_loose(image, name)]
    if different:
        image, name = different[0]
        files.remarks.append(f"{source} names {len(different)} images differently: {name!r} is taken to be {image!r}")


def _check_unused(layout: CsvLabels, unused: Sequence[str], used: Sequence[str], files: DataFiles) -> None:
    """Raise UserError for rows that belong to no image, or to one that has a row."""
    if not unused:
        return
    csv = layout.csv
    keys = {image_names.key_of(name): name for name in used}
    same = keys.get(image_names.key_of(unused[0]))
    if same is not None:
        raise UserError(f"{csv} has {same!r} and {unused[0]!r} for one image: remove one row.")
    raise UserError(
        f"{len(unused)} rows of {csv} have no image, for example {unused[0]!r}"
        f"{_misfit(unused[0], layout, files)}: remove them, or download the data again."
    )


def _misfit(name: str, layout: CsvLabels, files: DataFiles) -> str:
    """Return a remark on an image of this name that fits no pattern, such as `1.heic` beside `{id}.jpg`."""
    folders = tuple(patterns.folder_of(pattern).lower() for pattern in layout.alternatives)
    wanted = f"{image_names.key_of(name)}."
    for path in files.paths:
        file = image_names.composed(path.rpartition("/")[2])
        if path.lower().startswith(folders) and f"{file}.".startswith(wanted) and files.is_image(path):
            return f" ({path!r} does not fit {layout.images!r})"
    return ""


def _unlike(csv: str, unused: Sequence[str]) -> str:
    """Return a remark that shows how the rows without an image look."""
    return f" (rows of {csv} without an image look like {unused[0]!r})" if unused else ""


def _groups(groups: CsvGroups, table: pd.DataFrame, files: DataFiles) -> list[str]:
    rows = csv_tables.read(files, groups.csv, (groups.image, groups.group))
    csv_tables.require_columns(rows, (groups.image, groups.group), groups.csv)
    known: dict[str, str] = {}
    for image, group in zip(rows[groups.image], rows[groups.group].str.strip(), strict=True):
        before = known.setdefault(image, group)
        if before != group or not group:
            what = f"two groups, {before!r} and {group!r}" if group else "no group"
            raise UserError(f"{groups.csv} gives {image!r} {what}: folds can't keep groups together.")
    names, values = list(known), list(known.values())
    spelled, found = _matched_groups(table, names)
    missing = [image_id for image_id, row in zip(table["id"], found, strict=True) if row is None]
    if missing:
        unused = sorted(set(names) - {names[row] for row in found if row is not None})
        raise UserError(
            f"{len(missing)} training images have no group in {groups.csv}, for example {missing[0]!r}"
            f"{image_names.told_apart(missing[0], names) or _unlike(groups.csv, unused)}: folds can't keep groups "
            "together without it."
        )
    used = [names[row] for row in found if row is not None]
    remark_loose(zip(spelled, used, strict=True), groups.csv, files)
    return [values[row] for row in found if row is not None]


def _matched_groups(table: pd.DataFrame, names: Sequence[str]) -> tuple[list[tuple[str, str]], list[int | None]]:
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
