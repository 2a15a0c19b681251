"""Propose how JSON files, as COCO has them, say what training images show and which images are test images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit.authoring.evidence import Evidence, key
from kagglekit.authoring.findings import Train, folders_of
from kagglekit.base import csv_files
from kagglekit.competitions.locations import CocoIds, CocoLabels
from kagglekit.tasks.targets import Classes, FromTrain, Labels

_IMAGES = {"images": ("id", "file_name")}
_LABELS = _IMAGES | {"annotations": ("image_id", "category_id"), "categories": ("id", "name")}


def train(evidence: Evidence, tests: Sequence[str]) -> Train | None:
    """Return the proposal for the file with the most annotated images; None if there is none."""
    found = {name: content for name, content in _parsed(evidence).items() if _has(content, _LABELS)}
    if not found:
        return None
    name = max(found, key=lambda each: len(found[each]["images"]))
    content = found[name]
    ids = [str(each["file_name"]) for each in content["images"]]
    keys = set(map(key, ids))
    folders = folders_of(evidence, tests, keys)
    if not folders:
        return None
    several = len({each["image_id"] for each in content["annotations"]}) < len(content["annotations"])
    names = {str(each["name"]) for each in content["categories"]}
    category = "name" if names & evidence.said_in_sample else "id"
    others = sum(key(image) not in keys for folder in folders for image in evidence.images[folder])
    layout = CocoLabels(name, images=_pattern(evidence, folders, ids), category=category, only_listed=bool(others))
    said = [f"labels: the annotations of {name}, by the {category} of the category"]
    said += [f"images that {name} does not list ({others}) are no training images"] if others else []
    return Train(layout=layout, target=Labels(FromTrain()) if several else Classes(FromTrain()), said=said)


def tests(evidence: Evidence) -> tuple[CocoIds, str] | None:
    """Return the test images if a file lists them by the ids that the sample submission has, and that file's name."""
    asked = set(evidence.asked)
    for name, found in _parsed(evidence).items():
        content = {"images": found} if isinstance(found, list) else found
        if not asked or not _has(content, _IMAGES) or not asked <= {str(each["id"]) for each in content["images"]}:
            continue
        ids = [str(each["file_name"]) for each in content["images"]]
        folders = folders_of(evidence, [], set(map(key, ids)))
        if folders:
            return CocoIds(name, images=_pattern(evidence, folders, ids)), name
    return None


def _pattern(evidence: Evidence, folders: Sequence[str], ids: Sequence[str]) -> Any:
    return evidence.pattern_of_paths(ids) or evidence.pattern(folders, ids, "file_name")


def _has(content: Any, parts: Mapping[str, Sequence[str]]) -> bool:
    """Return whether there are lists of objects that have all keys."""
    return isinstance(content, dict) and all(_have(content.get(part), keys) for part, keys in parts.items())


def _have(objects: Any, keys: Sequence[str]) -> bool:
    return isinstance(objects, list) and all(isinstance(each, dict) and set(keys) <= each.keys() for each in objects)


def _parsed(evidence: Evidence) -> dict[str, Any]:
    """Return what JSON files hold; those that hold none are left out."""
    found = {}
    for name, path in evidence.files.paths.items():
        content = _content(path) if name.lower().endswith(".json") else None
        if content is not None:
            found[name] = content
    return found


def _content(path: Path) -> Any:
    try:
        return json.loads(csv_files.decoded(path.read_bytes())[0])
    except ValueError:
        return None
