"""Choose the names, labels and groups of all images."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kagglekit.base import image_names, patterns
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.locations import Alternatives, CocoLabels, CsvLabels, FolderLabels, TrainLayout
from kagglekit.competitions.synthetic import subjects
from kagglekit.competitions.synthetic.subjects import Subject, Turn

_GROUPS = 6


@dataclass(frozen=True)
class Picture:
    """An image to draw."""

    path: str
    id: str
    """What tables call it: a test id, or what the placeholder of a training image matches."""
    subject: Subject
    group: int

    @property
    def group_name(self) -> str:
        """What tables call its group."""
        return _group_name(self.group)

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
    planned = Plan()
    turns = series.train(groups, folds)
    if _groups_name_images(competition.train, shape):
        groups = 1 + max(turn for _, turn in turns)
    planned.train = _labelled(competition.train, shape, turns, groups, 1)
    if competition.valid is not None:
        turns = series.valid(len(planned.train))
        planned.valid = _labelled(competition.valid, shape, turns, groups, len(planned.train) + 1)
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


def _labelled(layout: TrainLayout, shape: int, turns: Sequence[Turn], groups: int, start: int) -> list[Picture]:
    """Return images with labels, whose numbers count on from `start`."""
    made = []
    for number, (subject, turn) in enumerate(turns, start):
        values = {"label": text_of(layout, subject.label), "group": _group_name(turn % groups)}
        path, name = _train_path(layout, shape, values, number)
        made.append(Picture(path, name, subject, turn % groups))
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
            path, test_id = _test_path(competition, shape, len(labelled) + 1 + number, start + number, group)
            made.append(Picture(path, test_id, subject, group))
        if taken.isdisjoint(one.path for one in made):
            break
    return made


def _group_name(group: int) -> str:
    return f"g{group:02}"


def _train_path(layout: TrainLayout, shape: int, values: Mapping[str, str], number: int) -> tuple[str, str]:
    """Return (path, what a table of labels calls the image)."""
    together = _together(layout.alternatives, shape)
    pattern = together[number % len(together)]
    if isinstance(layout, FolderLabels):
        pattern += f"/img_{number}.jpg"
    path = _filled(pattern, values, str(number))
    key = layout.key if isinstance(layout, CsvLabels | CocoLabels) else ""
    match = patterns.compile_pattern(pattern).fullmatch(path)
    named = match.groupdict() if match is not None else {}
    return path, named.get(key) or path[len(_folder_of(together)) :]


def _test_path(competition: Competition, shape: int, name: int, number: int, group: int) -> tuple[str, str]:
    """Return (path, test id)."""
    together = _together(competition.test_alternatives, shape)
    pattern = together[number % len(together)]
    whole_name = not image_names.is_image(pattern.replace("{id}", "1").replace("{id/}", "1"))
    values = {"id": f"img_{name}.jpg" if whole_name else str(number), "group": _group_name(group)}
    path = _filled(pattern, values, "1")
    match = patterns.compile_pattern(pattern).fullmatch(path)
    assert match is not None
    return path, match["id"]


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
