"""Read labels from a JSON file as COCO has it: `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kagglekit.base import csv_files, image_names
from kagglekit.base.errors import UserError
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import CocoLabels

_Object = dict[str, Any]


@dataclass(frozen=True)
class Annotated:
    """What a file says of its images, by their `file_name`."""

    labels: Mapping[str, list[str]]
    """The label of each annotation of an image; empty for an image without any."""
    groups: Mapping[str, str]
    """The group of each image; empty if no group is declared."""


def read(layout: CocoLabels, files: DataFiles) -> Annotated:
    """Return the labels and groups of all images in the file. Raises UserError for a broken file."""
    content = _content(layout, files)
    listed = list(_values(content, "images", layout, "id", "file_name"))
    records = dict(listed)
    if len(records) < len(listed):
        raise UserError(f"{layout.json} has {len(listed) - len(records)} images whose id another has: remove them.")
    categories = {key: str(each[layout.category]) for key, each in _categories(content, layout)}
    labels: dict[str, list[str]] = {_file_name(record): [] for record in records.values()}
    if len(labels) < len(records):
        raise UserError(f"{layout.json} has {len(records) - len(labels)} images whose file_name another has.")
    for image, annotation in _values(content, "annotations", layout, "image_id", "category_id"):
        category = annotation["category_id"]
        if image not in records or category not in categories:
            what = f"category {category}" if image in records else f"image {image}"
            raise UserError(f"an annotation in {layout.json} is of {what}, which is not in it: download it again.")
        labels[_file_name(records[image])].append(categories[category])
    return Annotated(labels, _groups(layout, list(records.values())))


def names(layout: CocoLabels, files: DataFiles) -> dict[str, str]:
    """Return label -> name for people of all categories in the file."""
    return {str(each[layout.category]): str(each["name"]) for _, each in _categories(_content(layout, files), layout)}


def _content(layout: CocoLabels, files: DataFiles) -> _Object:
    path = files.first([layout.json])
    if path is None:
        raise UserError(f"{files.origin} has no {layout.json}: download the competition's data again.")
    try:
        text, encoding = csv_files.decoded(path.read_bytes())
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{layout.json} can't be read as JSON: {error}; download it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{layout.json} holds no JSON object with images, annotations and categories.")
    if encoding:
        files.remarks.append(f"{path.name} is read as {encoding}")
    return content


def _categories(content: _Object, layout: CocoLabels) -> Iterator[tuple[Any, _Object]]:
    return _values(content, "categories", layout, "id", "name", layout.category)


def _values(content: _Object, part: str, layout: CocoLabels, key: str, *others: str) -> Iterator[tuple[Any, _Object]]:
    """Yield (value of `key`, object) of a list of objects that have it and the others. Raises UserError."""
    listed = content.get(part)
    if not isinstance(listed, list):
        raise UserError(f"{layout.json} has no list {part!r}; it has {', '.join(content)}.")
    for each in listed:
        lacking = [name for name in (key, *others) if not isinstance(each, dict) or name not in each]
        if lacking:
            raise UserError(f"{layout.json} has an object in {part!r} without {lacking[0]!r}: {each!s:.80}.")
        yield each[key], each


def _file_name(record: _Object) -> str:
    return image_names.to_text(str(record["file_name"]))


def _groups(layout: CocoLabels, records: list[_Object]) -> dict[str, str]:
    if not layout.group:
        return {}
    values = ((_file_name(record), record.get(layout.group)) for record in records)
    groups = {name: "" if value is None else str(value).strip() for name, value in values}
    without = [name for name, group in groups.items() if not group]
    if without:
        raise UserError(
            f"{layout.json} gives {len(without)} images no {layout.group}, for example {without[0]!r}: folds can't "
            "keep groups together."
        )
    return groups
