"""Read tables of training and test images from files in a declared layout."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kagglekit.base import image_names, patterns
from kagglekit.base.errors import UserError
from kagglekit.base.walking import natural_key
from kagglekit.competitions import coco, csv_tables, label_tables, matching, row_groups, samples
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import (
    Alternatives,
    CocoIds,
    CocoLabels,
    CsvIds,
    CsvLabels,
    ListedIds,
    Listing,
    TrainLayout,
)
from kagglekit.competitions.spelling import speller

if TYPE_CHECKING:
    import pandas as pd

Found = list[tuple[str, re.Match[str]]]
"""Relative path of each image, and what the placeholders of its pattern match."""
Asked = tuple[tuple[str, re.Match[str]], str, str]
"""A test image, its id, and its group, if any."""


def has_train(competition: Competition, files: DataFiles) -> bool:
    """Return whether there is any training image."""
    return _first_matching(competition.train.image_patterns, files) is not None


def has_all_folders(competition: Competition, files: DataFiles) -> bool:
    """Return whether there are images in all folders of the layouts in use."""
    splits = (competition.train.image_patterns, competition.test_alternatives)
    used = [pattern for layouts in splits for pattern in _first_matching(layouts, files) or ()]
    return all(next(iter(_each_match(pattern, files)), None) is not None for pattern in used)


def has_test(competition: Competition, files: DataFiles) -> bool:
    """Return whether there is any test image, or no test set is declared."""
    layouts = competition.test_alternatives
    return not layouts or _first_matching(layouts, files) is not None


def folders(competition: Competition, files: DataFiles) -> list[str]:
    """Return the folders of training, validation and test images; an empty name is the whole data."""
    splits = [layout.image_patterns for layout in (competition.train, competition.valid) if layout is not None]
    found = [_first_matching(each, files) or () for each in (*splits, competition.test_alternatives)]
    return list(dict.fromkeys(patterns.folder_of(pattern) for layout in found for pattern in layout))


def has_tables(competition: Competition, files: DataFiles) -> bool:
    """Return whether a sample submission and all other files that the description names exist."""
    named = [each.source for each in (competition.train, competition.test) if isinstance(each, _LISTED)]
    named += [] if competition.groups is None else [competition.groups.csv]
    return all(files.first([name]) for name in named) and samples.find(competition, files) is not None


def fits_any(competition: Competition, path: str) -> bool:
    """Return whether a relative path fits a pattern of the description."""
    return any(_match(pattern, path) is not None for pattern in _all_patterns(competition))


def tops(competition: Competition) -> set[str]:
    """Return the upper folders that the description names, in small letters."""
    named = {patterns.folder_of(pattern).partition("/")[0].lower() for pattern in _all_patterns(competition)}
    return named - {""}


def _all_patterns(competition: Competition) -> list[str]:
    layouts = [competition.train.image_patterns, competition.test_alternatives]
    layouts += [] if competition.valid is None else [competition.valid.image_patterns]
    return [pattern for layout in sum(layouts, ()) for pattern in layout]


def read_train(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Return `id`, `path`, `label` and, if the competition has them, `group`, `row` and `valid`; sorted by id.

    An id is the path below the training folder, without the image extension. A row is what one of the submission would
    be of. Raises UserError for images or label rows that don't fit the layout.
    """
    import pandas as pd

    table = _read_layout(competition.train, competition, files)
    if competition.valid is not None:
        valid = _read_layout(competition.valid, competition, files)
        valid["id"] = "valid/" + valid["id"]
        table = pd.concat([table.assign(valid=False), valid.assign(valid=True)], ignore_index=True)
    if competition.groups is not None:
        table["group"] = matching.groups(competition.groups, table, files)
    if "row" in table and "group" not in table:
        table["group"] = table["row"]
    if competition.submission.per_group and "row" not in table:
        table["row"] = table["group"]
    keys = list(map(natural_key, table["id"].tolist()))
    order = sorted(range(len(table)), key=keys.__getitem__)
    return table.drop(columns="key").iloc[order].reset_index(drop=True)


def read_test(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Return `id`, `path` and, if a row of the submission is of a group of images, `row`; in natural order of the ids.

    The id is what the test pattern's `{id}` matches, or what a file says; of those of groups, the path. Training images
    in the same folder are left out. The table is empty if no test set is declared.
    """
    import pandas as pd

    columns = ["id", "path", *(["row"] if competition.submission.per_group else [])]
    if not competition.test_patterns:
        return pd.DataFrame(columns=columns, dtype="str")
    layout = _first_matching(competition.test_alternatives, files)
    if layout is None:
        wanted = " or ".join(competition.test_patterns[:3])
        more = ", …" if len(competition.test_patterns) > 3 else ""
        raise UserError(f"{files.origin} has no test images: looked for {wanted}{more}.")
    found = _matches(layout, files)
    if isinstance(competition.test, ListedIds):
        asked: list[Asked] = _listed(competition.test, found, layout, files)
    else:
        _check_strays(layout, {path for path, _ in found}, _other_patterns(competition, competition.test), files)
        taken = _taken(competition, found, files)
        per_group = competition.submission.per_group  # images of two groups may have one name
        named = zip(found, _ids(found, layout), strict=True)
        asked = [
            (each, own if per_group else each[1]["id"], _group(each)) for each, own in named if each[0] not in taken
        ]
    cells = [(image_id, files.absolute(path), row) for (path, _), image_id, row in asked]
    cells.sort(key=lambda row: natural_key(row[0]))
    return pd.DataFrame(cells, columns=["id", "path", "row"], dtype="str")[columns]


_LISTED = (CsvLabels, CocoLabels, CsvIds, CocoIds)


def _each_match(pattern: str, files: DataFiles) -> Iterable[tuple[str, re.Match[str]]]:
    """Yield (path, match) for images that `pattern` matches; a final slash matches everything below."""
    match = _matcher(pattern)
    for path in files.paths:
        found = match(path)
        if found is not None and files.is_image(path):
            yield path, found


def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    compiled = patterns.compile_pattern(pattern)
    return compiled.match if pattern.endswith("/") else compiled.fullmatch


def _match(pattern: str, path: str) -> re.Match[str] | None:
    return _matcher(pattern)(path)


def _matches(layout: Sequence[str], files: DataFiles) -> Found:
    """Return the images of all patterns of a layout, each once."""
    found: dict[str, re.Match[str]] = {}
    for pattern in layout:
        for path, match in _each_match(pattern, files):
            found.setdefault(path, match)
    return list(found.items())


def _first_matching(layouts: Alternatives, files: DataFiles) -> tuple[str, ...] | None:
    """Return the patterns of the first layout that has images for all of them, else of the first that has any."""
    there = [[next(iter(_each_match(each, files)), None) is not None for each in layout] for layout in layouts]
    for enough in (all, any):
        found = next((layout for layout, has in zip(layouts, there, strict=True) if enough(has)), None)
        if found is not None:
            return found
    return None


def _read_layout(layout: TrainLayout, competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Return `id`, `path`, `label`, `key`, what the image may be called in a CSV file, and any `group` and `row`."""
    import pandas as pd

    used = _first_matching(layout.image_patterns, files)
    if used is None:
        wanted = " or ".join(" and ".join(each) for each in layout.alternatives)
        raise UserError(f"{files.origin} has no images like {wanted}.")
    if isinstance(layout, CsvLabels | CocoLabels):
        found, values = _labelled(layout, used, competition, files)
    else:
        found = _matches(used, files)
        _check_strays(used, {path for path, _ in found}, _other_patterns(competition, layout), files)
        found = [each for each in found if not _is_test(competition, layout, each[0])]
        spell = speller(layout.labels, competition)
        values = {"label": [spell(match["label"]) for _, match in found], "key": [""] * len(found)}
    if layout.has_groups and "group" not in values:
        values["group"] = list(map(_group, found))
    ids, paths = _ids(found, used), [files.absolute(path) for path, _ in found]
    return pd.DataFrame({"id": ids, "path": paths} | values, dtype="str")


def _ids(found: Found, used: Sequence[str]) -> list[str]:
    """Return the ids of images: their paths below the folder of the patterns `used`, without the image extension."""
    start = len(_folder_of(used))
    return [image_names.without_ending(path[start:]) for path, _ in found]


def _group(found: tuple[str, re.Match[str]]) -> str:
    """Return the group in an image's path; empty if it has none."""
    return found[1].groupdict().get("group", "")


def _labelled(
    layout: CsvLabels | CocoLabels, used: Sequence[str], competition: Competition, files: DataFiles
) -> tuple[Found, dict[str, list[str]]]:
    """Return the images that have a row, and their columns `label`, `key` and, if the file has them, `group` and `row`.

    `used` are the patterns of the images.
    """
    found = _matches(used, files)
    table = label_tables.read(layout, competition, files)
    spelled = _spelled(layout, found, used)
    if isinstance(layout, CsvLabels) and layout.per_group:
        groups = _groups(spelled, found, used, competition, files)
        names = matching.rows_of_groups(layout, groups, [*table.labels, *table.left_out], files)
    else:
        names = matching.rows_of(layout, spelled, [*table.labels, *table.left_out], files)
    kept = [row for row, name in enumerate(names) if name in table.labels]
    rows = [name for name in names if name is not None and name in table.labels]
    label_tables.check_filled(layout, {name: table.labels[name] for name in rows}, competition)
    values = {"label": [table.labels[name] for name in rows], "key": [spelled[row][1] for row in kept]}
    values |= {
        column: [of[name] for name in rows] for column, of in (("group", table.groups), ("row", table.rows)) if of
    }
    return [found[row] for row in kept], values


def _groups(
    spelled: Sequence[matching.Spelled], found: Found, used: Sequence[str], competition: Competition, files: DataFiles
) -> list[str]:
    """Return the group of each image, which its path or a table of its own says."""
    import pandas as pd

    if competition.groups is None:
        return list(map(_group, found))
    cells = {
        "id": _ids(found, used),
        "path": [files.absolute(path) for path, _ in found],
        "key": [bare for _, bare in spelled],
    }
    return matching.groups(competition.groups, pd.DataFrame(cells, dtype="str"), files)


def _named(layout: Listing, found: Found, used: Sequence[str]) -> list[str]:
    """Return what the file may call each image: what its placeholder matches, else the path below the folder."""
    start = len(_folder_of(used))
    return [match.groupdict().get(layout.key, path[start:]) for path, match in found]


def _spelled(layout: Listing, found: Found, used: Sequence[str]) -> list[matching.Spelled]:
    """Return how the file may spell what it calls each image."""
    named = _named(layout, found, used)
    return [image_names.spellings(name, path) for name, (path, _) in zip(named, found, strict=True)]


def _listed(layout: ListedIds, found: Found, used: Sequence[str], files: DataFiles) -> list[Asked]:
    """Return the test images that a file lists. `used` are the patterns of the images."""
    ids, groups = coco.ids(layout, files) if isinstance(layout, CocoIds) else _csv_ids(layout, files)
    names = matching.rows_of(layout, _spelled(layout, found, used), list(ids), files)
    return [
        (each, each[1].groupdict().get("id", ids[name]), groups[name] if groups else _group(each))
        for each, name in zip(found, names, strict=True)
        if name is not None
    ]


def _csv_ids(layout: CsvIds, files: DataFiles) -> tuple[dict[str, str], dict[str, str]]:
    """Return the ids of a file, by themselves, and their groups, if it has them."""
    keys = [text for text in (layout.id, layout.group) if text]
    wanted = list(dict.fromkeys(column for text in keys for column in patterns.columns(text)))
    table = csv_tables.read(files, layout.source, wanted)
    csv_tables.require_columns(table, wanted, layout.source)
    table = csv_tables.with_joined(table, keys)
    names = table[layout.id].tolist()
    groups = row_groups.of_images(names, table[layout.group].tolist(), layout.source) if layout.group else {}
    return {name: name for name in names}, groups


def _taken(competition: Competition, found: Found, files: DataFiles) -> set[str]:
    """Return the test pattern's images that are training images. Splits may share a folder."""
    train = competition.train
    every = sum(train.image_patterns, ())
    shared = [path for path, _ in found if any(_match(pattern, path) for pattern in every)]
    if not shared:
        return set()
    if not isinstance(train, CsvLabels | CocoLabels):
        return {path for path in shared if not _is_test(competition, train, path)}
    if not (train.only_listed or getattr(train, "only_labelled", False)):
        return set()
    used = _first_matching(train.image_patterns, files) or ()
    return {path for path, _ in _labelled(train, used, competition, files)[0]}


def _is_test(competition: Competition, layout: TrainLayout, path: str) -> bool:
    """Return whether an image of a train layout is a test image: one below a folder of test images inside it."""
    deepest = max(len(patterns.folder_of(pattern)) for pattern in sum(layout.image_patterns, ()))
    inside = [pattern for pattern in competition.test_patterns if len(patterns.folder_of(pattern)) > deepest]
    return any(_match(pattern, path) is not None for pattern in inside)


def _folder_of(layout: Sequence[str]) -> str:
    """Return the folder that has all images of a layout, with a slash; empty if it is the whole data."""
    folders_ = [patterns.folder_of(pattern) for pattern in layout]
    common = posixpath.commonpath(folders_) if all(folders_) else ""
    return f"{common}/" if common else ""


def _check_strays(layout: Sequence[str], found: set[str], others: Sequence[str], files: DataFiles) -> None:
    """Raise UserError for images in the same folders that fit no pattern: they would be ignored silently."""
    for pattern in layout:
        folder = patterns.folder_of(pattern)
        start = f"{folder.lower()}/"
        strays = [path for path in files.paths if folder and path.lower().startswith(start) and path not in found]
        strays = [path for path in strays if files.is_image(path) and not any(_match(each, path) for each in others)]
        if strays:
            raise UserError(
                f"{len(strays)} images under {folder}/ do not fit {pattern!r}, for example {strays[0]!r}: "
                "move them out of the folder, or add their pattern to the plugin."
            )


def _other_patterns(competition: Competition, split: object) -> list[str]:
    """Return the image patterns of all declared splits except `split`. Splits may share a folder."""
    layouts = [layout for layout in (competition.train, competition.valid) if layout not in (None, split)]
    tests = competition.test_patterns if split != competition.test else ()
    return [*(pattern for layout in layouts if layout for pattern in sum(layout.image_patterns, ())), *tests]
