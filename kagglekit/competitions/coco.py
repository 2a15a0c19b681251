"""Read labels and ids from a JSON file as COCO has it: `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kagglekit.base import csv_files, image_names, patterns
from kagglekit.base.errors import UserError
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import CocoIds, CocoLabels

_Object = dict[str, Any]
_Keyed = list[tuple[Any, _Object]]
"""Objects with their keys."""
_KEYS = {"images": ("id", "image_id"), "categories": ("id", "category_id"), "annotations": ("image_id",)}
"""Part of a file -> fields that may have the key of an object; the first that is there counts."""
_NAMES = ("name", "scientificName")
"""Fields that may have a category's name for people."""


@dataclass(frozen=True)
class Annotated:
    """What a file says of its images, by their `file_name`."""

    labels: Mapping[str, list[str]]
    """The label of each annotation of an image; empty for an image without any."""
    groups: Mapping[str, str]
    """The group of each image; empty if no group is declared."""
    rows: Mapping[str, str]
    """What a row of the submission would be of, for each image; empty if that is not declared."""


def read(layout: CocoLabels, files: DataFiles) -> Annotated:
    """Return the labels and groups of all images in the file. Raises UserError for a broken file."""
    content = _content(layout, files)
    records = _images(content, layout)
    categories = {key: str(_label(each, key, layout)) for key, each in _values(content, "categories", layout)}
    labels: dict[str, list[str]] = {_file_name(record): [] for record in records.values()}
    for image, annotation in _values(content, "annotations", layout, "category_id"):
        category = annotation["category_id"]
        if image not in records or category not in categories:
            what = f"category {category}" if image in records else f"image {image}"
            raise UserError(f"an annotation in {layout.source} is of {what}, which is not in it: download it again.")
        labels[_file_name(records[image])].append(categories[category])
    named = list(records.values())
    return Annotated(labels, _fields(layout, layout.group, named), _fields(layout, layout.row, named))


def ids(layout: CocoIds, files: DataFiles) -> tuple[dict[str, str], dict[str, str]]:
    """Return file name -> id of all images in the file, and file name -> group, which is empty if none is declared.

    Raises UserError for a broken file.
    """
    records = _images(_content(layout, files), layout)
    return {_file_name(each): str(key) for key, each in records.items()}, _fields(
        layout, layout.group, list(records.values())
    )


def names(layout: CocoLabels, files: DataFiles) -> dict[str, str]:
    """Return label -> name for people of all categories in the file."""
    categories = _values(_content(layout, files), "categories", layout)
    return {str(_label(each, key, layout)): str(_name(each, key)) for key, each in categories}


def _content(layout: CocoLabels | CocoIds, files: DataFiles) -> _Object:
    """Return the object in a file; a list is that of its images."""
    path = files.first([layout.source])
    if path is None:
        raise UserError(f"{files.origin} has no {layout.source}: download the competition's data again.")
    try:
        text, encoding = csv_files.decoded(path.read_bytes())
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{layout.source} can't be read as JSON: {error}; download it again.") from error
    if isinstance(content, list) and isinstance(layout, CocoIds):
        content = {"images": content}
    if not isinstance(content, dict):
        parts = "images" if isinstance(layout, CocoIds) else "images, annotations and categories"
        raise UserError(f"{layout.source} holds no JSON object with {parts}.")
    if encoding:
        files.remarks.append(f"{path.name} is read as {encoding}")
    return content


def _images(content: _Object, layout: CocoLabels | CocoIds) -> dict[Any, _Object]:
    """Return the images by their keys, of which no two are the same, nor their names."""
    listed = _values(content, "images", layout, "file_name")
    records = dict(listed)
    if len(records) < len(listed):
        raise UserError(f"{layout.source} has {len(listed) - len(records)} images whose id another has: remove them.")
    different = len({_file_name(record) for record in records.values()})
    if different < len(records):
        raise UserError(f"{layout.source} has {len(records) - different} images whose file_name another has.")
    return records


def _values(content: _Object, part: str, layout: CocoLabels | CocoIds, *others: str) -> _Keyed:
    """Return the objects in a list of the file, with their keys; each has the fields `others`. Raises UserError."""
    listed = content.get(part)
    if not isinstance(listed, list):
        raise UserError(f"{layout.source} has no list {part!r}; it has {', '.join(content)}.")
    return list(_keyed(listed, part, layout, others))


def _keyed(
    listed: list[Any], part: str, layout: CocoLabels | CocoIds, others: tuple[str, ...]
) -> Iterator[tuple[Any, _Object]]:
    for each in listed:
        fields = each if isinstance(each, dict) else {}
        key = next((name for name in _KEYS[part] if name in fields), None)
        lacking = [*([" or ".join(map(repr, _KEYS[part]))] if key is None else [])]
        lacking += [repr(name) for name in others if name not in fields]
        if key is None or lacking:
            raise UserError(f"{layout.source} has an object in {part!r} without {lacking[0]}: {each!s:.80}.")
        yield each[key], each


def _label(category: _Object, key: Any, layout: CocoLabels) -> Any:
    """Return the label that a category with this key is: the key, or the field that is declared."""
    if layout.category == "id":
        return key
    found = _name(category, None) if layout.category == "name" else category.get(layout.category)
    if found is None:
        raise UserError(f"{layout.source} has an object in 'categories' without {layout.category!r}: {category!s:.80}.")
    return found


def _name(category: _Object, key: Any) -> Any:
    """Return the name of a category for people; its key if it has none."""
    return next((category[name] for name in _NAMES if name in category), key)


def _file_name(record: _Object) -> str:
    return image_names.to_text(str(record["file_name"]))


def _fields(layout: CocoLabels | CocoIds, declared: str, records: list[_Object]) -> dict[str, str]:
    """Return file name -> the field of each image that is declared, or several, joined; nothing if none is."""
    if not declared:
        return {}
    wanted = patterns.columns(declared)
    cells = [{name: _text(record.get(name)) for name in wanted} for record in records]
    named = list(map(_file_name, records))
    for name in wanted:
        without = [file for file, each in zip(named, cells, strict=True) if not each[name]]
        if without:
            raise UserError(
                f"{layout.source} gives {len(without)} images no {name}, for example {without[0]!r}: folds can't keep "
                "groups together."
            )
    return {file: patterns.joined(declared, each) for file, each in zip(named, cells, strict=True)}


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
