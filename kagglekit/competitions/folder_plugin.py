"""A folder of images that needs no plugin: `<class>/`, or `train/<class>/`, optionally `valid/<class>/` and `test/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit.base import image_names
from kagglekit.base.columns import beside
from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions import csv_tables, folder_layout, folder_workspaces, samples
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.hookspecs import hookimpl
from kagglekit.competitions.locations import FolderLabels
from kagglekit.formats import ClassLabel, Probability, ProbabilityPerClass, Submission


class FolderPlugin:
    """Describe a folder of images as a competition."""

    def __init__(self, folder: Path) -> None:
        """List the images of `folder`. Raises UserError if it has another layout."""
        files = DataFiles.from_folders([folder.resolve()], str(folder))
        layout = folder_layout.find(files)
        if layout is None:
            raise UserError(
                f"{folder} is not a competition: it has {folder_layout.describe(files)}, and needs train/<class>/ or "
                "<class>/ folders with images of two classes or more; `kagglekit new NAME` writes a plugin for another "
                "layout."
            )
        below = files.below(layout.base) if layout.base else files
        if _sample(below, layout.classes) is None and _sample(files, layout.classes) is not None:
            layout, below = layout.from_above(), files
        self.folder = folder.resolve() / layout.base
        self.name = folder_workspaces.name_of(self.folder, folder.resolve().name)
        self._layout = layout
        self._classes: Sequence[str] = layout.classes
        self._files = below

    @hookimpl
    def competition(self) -> Competition:
        """Return a competition whose classes are the folders of training images.

        The sample submission, if any, determines the format of the submission.
        """
        submission, bare = self._submission()
        layout = self._layout
        return Competition(
            name=self.name,
            kaggle="",
            classes={label: label for label in self._classes},
            train=FolderLabels(f"{layout.train}/{{label}}".lstrip("/")),
            valid=FolderLabels(f"{layout.valid}/{{label}}") if layout.valid else None,
            test=self._test_patterns(bare),
            flip="allowed",
            submission=submission,
        )

    def _test_patterns(self, bare: bool) -> tuple[str, ...]:
        """Return the path patterns of the test images that exist.

        If ids are `bare`, the pattern has the images' extension. Where extensions differ, ids include them: the sample
        submission is matched without.
        """
        there = [
            f"{folder}/{shape}{_common_ending(some) if bare else ''}"
            for folder, images in self._layout.tests.items()
            for shape, some in _shapes(images).items()
        ]
        # a sample submission without test images is an error, which names this pattern
        return tuple(there) or (("test/{id}",) if _sample(self._files, self._classes) else ())

    @hookimpl
    def recipe(self) -> Mapping[str, Any]:
        """Score on the folder's own validation set, if it has one."""
        return {"validation": "valid"} if self._layout.valid else {}

    def _submission(self) -> tuple[Submission, bool]:
        """Return the format, and whether ids are without the images' extension."""
        path = _sample(self._files, self._classes)
        if path is None:
            return ProbabilityPerClass(id=beside("id", self._classes)), False
        header, rows, values = _content(path)
        if not rows:
            raise UserError(f"{path} is empty: replace it with the competition's own, or remove it.")
        self._classes = _spelled(self._classes, [*header, *values])
        two_numbers = len(self._classes) == 2 and all(map(_is_number, self._classes))
        if len(values) == 1 and values <= set(self._classes) and two_numbers:
            raise UserError(
                f"{path} has {values.pop()!r} in every row, which may be a class or a probability: "
                "`kagglekit new NAME` writes a plugin that can say which."
            )
        format_ = _format(self._classes, header, values)
        if format_ is None:
            raise UserError(
                f"{path} has the columns {listed(header)}, and the classes are {listed(list(self._classes))}"
                f"{_told_apart(self._classes, header)}: "
                "`kagglekit new NAME` writes a plugin that can say how they relate."
            )
        return format_, not image_names.is_image(rows[0][0])


def _format(classes: Sequence[str], header: Sequence[str], values: set[str]) -> Submission | None:
    """Return the format of a sample submission with the `values` in the second of two columns; None if it fits none."""
    if len(header) > 2 and sorted(header[1:]) == sorted(classes):
        return ProbabilityPerClass(id=header[0])
    if len(header) == 2 and values <= set(classes):
        return ClassLabel(id=header[0], label=header[1])
    if len(header) == 2 and len(classes) == 2 and all(_is_number(value) for value in values):
        return Probability(id=header[0], label=header[1], of=classes[1])
    return None


def _content(path: Path) -> tuple[list[str], list[list[str]], set[str]]:
    """Return a sample's columns, its rows, and the values in the second of two columns."""
    table = csv_tables.parse(path)
    header = table.named()
    return header, table.rows, {row[1].strip() for row in table.rows} if len(header) == 2 else set()


def _fits(path: Path, classes: Sequence[str]) -> bool:
    header, _, values = _content(path)
    return _format(_spelled(classes, [*header, *values]), header, values) is not None


def _shapes(images: Sequence[str]) -> dict[str, list[str]]:
    """Return the end of a pattern -> the images that it means, for test images by their path below a folder."""
    direct = [path for path in images if "/" not in path]
    inner = [path for path in images if path.count("/") == 1]
    if not direct and not inner:
        return {"{id/}": list(images)}
    # where two folders have an image of one name, the folder is part of the id
    distinct = len({path.rpartition("/")[2] for path in inner}) == len(inner)
    shapes = {"{id}": direct, "{folder}/{id}" if distinct else "{id/}": inner}
    return {shape: some for shape, some in shapes.items() if some}


def _common_ending(images: Sequence[str]) -> str:
    """Return the images' extension in lower case; empty if they differ."""
    endings = {image_names.ending_of(path).lower() for path in images}
    return endings.pop() if len(endings) == 1 else ""


def _sample(files: DataFiles, classes: Sequence[str]) -> Path | None:
    """Return the sample submission, if any: a file of the declared names, else one that fits the classes."""
    found = files.first(ProbabilityPerClass().sample)
    if found is not None:
        return found
    usual = [name for name, header in samples.usual(files).items() if len(header) > 1]
    return files.first(filter(None, [samples.only([name for name in usual if _fits(files.paths[name], classes)])]))


def _spelled(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return `names`, with accents in the form that `others` have."""
    forms = {image_names.composed(other): other for other in others}
    return [name if name in others else forms.get(image_names.composed(name), name) for name in names]


def _told_apart(names: Sequence[str], others: Sequence[str]) -> str:
    """Return a remark on the first of `names` that only looks like one of `others`."""
    remarks = (image_names.told_apart(name, others) for name in names if name not in others)
    return next(filter(None, remarks), "")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
