"""Rows of a submission that are of groups of images: which test images are of which, and their predictions.

Bundles contain this file unchanged: it needs only numpy, and the modules that lie beside it there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING or __package__:
    from kagglekit.base import csv_files, image_names
    from kagglekit.deploy import mounted
    from kagglekit.formats import groups
else:  # in a bundle, whose modules lie side by side
    import csv_files
    import groups
    import image_names
    import mounted

Rows = NDArray[np.float64]
_COLUMN = re.compile(r"\{([^{}]+)\}")


Read = Callable[[], bytes]


def of_images(
    about: Mapping[str, Any], files: Mapping[str, Read], found: Mapping[str, re.Match[str]]
) -> dict[str, list[str]]:
    """Return the groups of each test image, by its path, as the file names have them, or a CSV file of the data.

    Raises SystemExit if that file is missing, or has not the columns.
    """
    listed = about.get("listed")
    if not listed or not listed["group"]:
        return {path: [match["group"]] for path, match in found.items()}
    own: dict[str, list[str]] = {}
    for name, group in _pairs(listed, files):
        own.setdefault(name, []).append(group)
    above = posixpath.commonpath([posixpath.dirname(match.string) for match in found.values()])
    below = len(above) + 1 if above else 0
    called = {path: match.groupdict().get("id", match.string[below:]) for path, match in found.items()}
    names = list(own)
    places = image_names.match([image_names.spellings(name, path) for path, name in called.items()], names)
    return {path: own[names[place]] for path, place in zip(found, places, strict=True) if place is not None}


def _pairs(listed: Mapping[str, str], files: Mapping[str, Read]) -> Iterator[tuple[str, str]]:
    """Yield the image and the group of each row of a CSV file."""
    table, path = _table(listed, files)
    parts = [_COLUMN.findall(listed[what]) or [listed[what]] for what in ("id", "group")]
    columns = table.named([*parts[0], *parts[1]])
    lacking = [name for names in parts for name in names if name not in columns]
    if lacking:
        raise SystemExit(f"{path} has no column {lacking[0]!r}; it has {', '.join(columns)}.")
    for row in table.rows:
        cells = dict(zip(columns, map(image_names.to_text, row), strict=True))
        yield _joined(listed["id"], cells), _joined(listed["group"], cells).strip()


def _table(listed: Mapping[str, str], files: Mapping[str, Read]) -> tuple[csv_files.Table, str]:
    """Return the CSV file that lists the test images, and its path."""
    ending = f"/{listed['source'].lower()}"
    path = min((path for path in files if f"/{path.lower()}".endswith(ending)), key=len, default=None)
    if path is None:
        raise SystemExit(f"the data has no {listed['source']}, which says of what each row is.")
    try:
        return csv_files.parse(files[path]()), path
    except (mounted.UnreadableError, ValueError) as error:
        raise SystemExit(f"{path} can't be read as CSV: {error}: it says of what each row is.") from error


def _joined(text: str, cells: Mapping[str, str]) -> str:
    return _COLUMN.sub(lambda found: cells[found[1]].strip(), text) if "{" in text else cells[text]


def as_listed(
    own: Mapping[str, Sequence[str]], ids: Sequence[str], written: Callable[[str], str]
) -> dict[str, list[str]]:
    """Return the groups of each image as the sample submission, with these `ids`, has them; others are left out."""
    names = list(dict.fromkeys(name for groups_ in own.values() for name in groups_))
    places = image_names.match([(written(name), written(name)) for name in names], ids)
    known = {name: ids[place] for name, place in zip(names, places, strict=True) if place is not None}
    kept = {path: [known[name] for name in groups_ if name in known] for path, groups_ in own.items()}
    return {path: groups_ for path, groups_ in kept.items() if groups_}


def combined(about: Mapping[str, Any], own: Mapping[str, Sequence[str]], found: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return the predictions of groups (C,), from those of images; a group without any has none."""
    if not found:
        return {}
    members = groups.Members.of([own[path] for path in found])
    one = about["labels"].index(about["of"]) if about.get("of") and about["exclusive"] else -1
    rows = members.combined(np.stack(list(found.values())), about["per_group"], one)
    return dict(zip(members.names, rows, strict=True))
