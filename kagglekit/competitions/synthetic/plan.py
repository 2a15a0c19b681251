"""Choose the names, labels and groups of all images."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kagglekit.base import image_names, patterns
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.locations import (
    Alternatives,
    CocoIds,
    CocoLabels,
    CsvIds,
    CsvLabels,
    FolderLabels,
    TrainLayout,
    named_in_all,
)
from kagglekit.competitions.synthetic import subjects
from kagglekit.competitions.synthetic.subjects import Subject, Turn

_GROUPS = 6
_MANY = 10_000
"""More groups than images show."""


@dataclass(frozen=True)
class Picture:
    """An image to draw."""

    path: str
    id: str
    """A test id, or what tables call a training image."""
    subject: Subject
    group: int
    group_name: str
    """What tables call its group."""
    row: str
    """The row of the submission that it belongs to, if that is of a group of images."""
    cells: dict[str, str]
    """Its cells in the columns that its group and its row have, and those that are joined to its id."""
    called: str = ""
    """What a JSON file calls a test image."""

    @property
    def file_name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]


@dataclass
class Plan:
    """All images to draw."""

    train: list[Picture] = field(default_factory=list)
    valid: list[Picture] = field(default_factory=list)
    """The data's own validation set."""
    test: list[Picture] = field(default_factory=list)

    @property
    def labelled(self) -> list[Picture]:
        """The images with labels."""
        return [*self.train, *self.valid]

    @property
    def images(self) -> list[Picture]:
        """All images."""
        return [*self.labelled, *self.test]


def of(competition: Competition, folds: int, shape: int) -> Plan:
    """Plan a competition in one of its archive layouts, large enough for `folds`."""
    series = subjects.of(competition)
    groups = max(_GROUPS, folds) if competition.has_groups else 1
    turns = series.train(groups, folds)
    if subjects.in_groups(competition):
        groups = _MANY
    elif _groups_name_images(competition.train, shape):
        groups = 1 + max(turn for _, turn in turns)
    planned = Plan()
    planned.train = _labelled(competition, competition.train, shape, turns, groups, start=1)
    if competition.valid is not None:
        start = len(planned.train) + 1
        turns = series.valid(len(planned.train))
        planned.valid = _labelled(competition, competition.valid, shape, turns, groups, start=start)
    if competition.test_patterns:
        planned.test = _asked(competition, shape, series.test(len(planned.labelled)), groups, planned.labelled)
    return planned


def _groups_name_images(layout: TrainLayout, shape: int) -> bool:
    """Return whether only the group tells the images of a class apart: each class has one image of each group."""
    named = {name for pattern in _together(layout.alternatives, shape) for name in patterns.placeholders(pattern)}
    return not isinstance(layout, FolderLabels) and named <= {"label", "group"}


def text_of(layout: TrainLayout, label: str) -> str:
    """Return how the data of a layout writes a label."""
    return next((text for text, meaning in layout.labels.items() if meaning == label), label)


def _labelled(
    competition: Competition, layout: TrainLayout, shape: int, turns: Sequence[Turn], groups: int, *, start: int
) -> list[Picture]:
    """Return images with labels, whose numbers count on from `start`."""
    made = []
    rows = 2 if getattr(layout, "row", "") and getattr(layout, "group", "") else 1  # of each group
    for number, (subject, turn) in enumerate(turns, start):
        group = turn // rows % groups
        plain = _group_name(group)
        cells = _cells(layout, plain, f"{plain}-{turn % rows}", number)
        values = {"label": text_of(layout, subject.label), "group": plain} | _joined_id(layout, cells)
        path, name = _train_path(layout, shape, values, number)
        row = _name(layout, "row", cells) or _name(layout, "group", cells) or plain
        alone = competition.groups is None and not named_in_all("group", layout.alternatives)
        named = _name(layout, "group", cells) or (row if alone else plain)
        made.append(Picture(path, name, subject, group, named, row, cells))
    return made


def _asked(
    competition: Competition, shape: int, turns: Sequence[Turn], groups: int, labelled: Sequence[Picture]
) -> list[Picture]:
    """Return test images; they come from groups without training images."""
    taken = {one.path for one in labelled}
    for start in (1, len(labelled) + 1):  # training and test images may have the same folder
        made = []
        for number, (subject, turn) in enumerate(turns):
            group = groups + turn % groups if competition.has_groups else 0
            plain = _group_name(group)
            cells = _cells(competition.test, plain, plain, start + number)
            known = {"group": plain} | _joined_id(competition.test, cells)
            path, test_id, called = _test_path(competition, shape, len(labelled) + 1 + number, start + number, known)
            row = _name(competition.test, "group", cells) or plain
            made.append(Picture(path, test_id, subject, group, plain, row, cells, called))
        if taken.isdisjoint(one.path for one in made):
            break
    return made


def _group_name(group: int) -> str:
    return f"g{group:02}"


def _cells(layout: object, group: str, row: str, number: int) -> dict[str, str]:
    """Return the cells of an image in the columns that a file has for its group and row, and joins to its id."""
    found: dict[str, str] = {}
    for name, cell in (("id", str(number)), ("row", row), ("group", group)):
        declared = getattr(layout, name, "")
        if declared and (name != "id" or "{" in declared):
            found |= dict.fromkeys(patterns.columns(declared), cell)
    return found


def _name(layout: object, kind: str, cells: Mapping[str, str]) -> str:
    """Return the name of an image's group or row in a file; empty if it has none."""
    declared = getattr(layout, kind, "")
    return patterns.joined(declared, cells) if declared else ""


def _joined_id(layout: object, cells: Mapping[str, str]) -> dict[str, str]:
    """Return the id that a file joins of several columns, if it does."""
    declared = getattr(layout, "id", "")
    return {"id": patterns.joined(declared, cells)} if "{" in declared else {}


def _train_path(layout: TrainLayout, shape: int, values: Mapping[str, str], number: int) -> tuple[str, str]:
    """Return (path, what a table of labels calls the image)."""
    together = _together(layout.alternatives, shape)
    pattern = together[number % len(together)]
    if isinstance(layout, FolderLabels):
        pattern += f"/img_{number}.jpg"
    path = _filled(pattern, values, str(number))
    key = layout.key if isinstance(layout, CsvLabels | CocoLabels) else ""
    return path, _matched(pattern, path, key) or path[len(_folder_of(together)) :]


def _test_path(
    competition: Competition, shape: int, name: int, number: int, known: dict[str, str]
) -> tuple[str, str, str]:
    """Return (path, test id, what a JSON file calls the image). `known` are values of placeholders."""
    together = _together(competition.test_alternatives, shape)
    pattern = together[number % len(together)]
    whole_name = not image_names.is_image(pattern.replace("{id}", "1").replace("{id/}", "1"))
    values = {"id": f"img_{name}.jpg" if whole_name else str(number)} | known
    path = _filled(pattern, values, "1" if "{id" in pattern else str(name))
    below = path[len(_folder_of(together)) :]
    if isinstance(competition.test, CocoIds):
        return path, str(number), _matched(pattern, path, CocoIds.key) or below
    by_path = competition.submission.per_group and not isinstance(competition.test, CsvIds)
    named = "" if by_path else _matched(pattern, path, "id")
    return path, named or image_names.without_ending(below), ""


def _matched(pattern: str, path: str, key: str) -> str:
    """Return what a placeholder matches; empty if the pattern has it not."""
    match = patterns.compile_pattern(pattern).fullmatch(path)
    return "" if match is None else match.groupdict().get(key, "")


def _together(layouts: Alternatives, shape: int) -> tuple[str, ...]:
    """Return the patterns of one archive layout, which images take turns to have."""
    return layouts[min(shape, len(layouts) - 1)]


def _folder_of(together: Sequence[str]) -> str:
    """Return the folder that has all images of patterns, with a slash; empty if it is the whole data."""
    folders = [patterns.folder_of(pattern) for pattern in together]
    common = posixpath.commonpath(folders) if all(folders) else ""
    return f"{common}/" if common else ""


def _filled(pattern: str, values: Mapping[str, str], other: str) -> str:
    """Fill in the placeholders, unknown ones with `other`. Add an image extension if the pattern has none."""
    path = pattern
    for name in patterns.placeholders(pattern):
        for written in (f"{{{name}}}", f"{{{name}/}}"):
            path = path.replace(written, values.get(name, other))
    return path if image_names.is_image(path) else f"{path}.jpg"
