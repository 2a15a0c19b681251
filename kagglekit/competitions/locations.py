"""Where a competition's images, labels and groups are, as its plugin declares it.

The constructors check all values and raise ValueError. Importing this module loads nothing heavy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from kagglekit.base import patterns
from kagglekit.competitions.label_columns import LabelColumns


@dataclass(frozen=True, init=False)
class Together:
    """Path patterns of images in several folders. All are used, where a tuple of patterns offers a choice."""

    patterns: tuple[str, ...]

    def __init__(self, *patterns: str) -> None:
        object.__setattr__(self, "patterns", patterns)
        if not patterns:
            raise ValueError("Together must have a pattern")

    def __repr__(self) -> str:
        return f"Together({', '.join(map(repr, self.patterns))})"


Pattern = str | Together
Alternatives = tuple[tuple[str, ...], ...]
"""Patterns of each layout in which archives have been delivered: all those of the first that matches are used."""


def alternatives_of(layouts: Sequence[Pattern]) -> Alternatives:
    """Return the patterns of each layout."""
    return tuple(each.patterns if isinstance(each, Together) else (each,) for each in layouts)


class _Described:
    """Written as its constructor is called, without the keywords that have their defaults."""

    def __repr__(self) -> str:
        fields = sorted(dataclasses.fields(self), key=lambda each: each.kw_only is True)  # type: ignore[arg-type]
        values = {each.name: getattr(self, each.name) for each in fields}
        unset = {each.name for each in fields if each.kw_only and not values[each.name]}
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items() if name not in unset)
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, repr=False)
class _LabelsInPaths(_Described):
    pattern: Pattern
    """Path pattern below the data folder, with `{label}` and any other placeholders; `{group}` is the image's group."""
    also: tuple[Pattern, ...] = ()
    """Patterns of other archive layouts in use; the first that matches any image is used."""
    labels: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Label in the data -> label that it means, where they differ."""

    def __post_init__(self) -> None:
        self._check(patterns.check)

    def _check(self, check: Callable[[str, str], None]) -> None:
        for pattern in sum(self.alternatives, ()):
            check(pattern, "label")
        object.__setattr__(self, "labels", dict(self.labels))

    @property
    def alternatives(self) -> Alternatives:
        """The patterns of each layout, in the order in which they are tried."""
        return alternatives_of((self.pattern, *self.also))

    @property
    def image_patterns(self) -> Alternatives:
        """The patterns of images; one that ends in a slash matches everything below."""
        return self.alternatives

    @property
    def has_groups(self) -> bool:
        """Whether the layout says each image's group."""
        return named_in_all("group", self.alternatives)


@dataclass(frozen=True, repr=False)
class FilenameLabels(_LabelsInPaths):
    """Training images with the label in the file name: `train/{label}.{number}.jpg`."""

    def __post_init__(self) -> None:
        self._check(patterns.check_images)


@dataclass(frozen=True, repr=False)
class FolderLabels(_LabelsInPaths):
    """Training images in one folder per class, `imgs/train/{label}`; every image below it counts."""

    @property
    def image_patterns(self) -> Alternatives:
        """The patterns of images: everything below the folders."""
        return tuple(tuple(f"{pattern}/" for pattern in layout) for layout in self.alternatives)


@dataclass(frozen=True, repr=False)
class _Listed(_Described):
    """Images in one folder, or several, that a file lists."""

    part: ClassVar[str]
    """What the images are for."""
    key: ClassVar[str]
    """Placeholder that matches what the file calls an image."""

    source: str
    """Path of the file below the data folder."""
    images: Pattern
    """Path pattern with the placeholder; with `{group}` alone, as in `train/{group}_{eye}.jpg`, an image is called by
    all that is below the folder."""
    also: tuple[Pattern, ...] = field(default=(), kw_only=True)
    """Image patterns of other archive layouts in use."""
    group: str = field(default="", kw_only=True)
    """Column or field with the group of each image, if the file has it; or several, joined: `{patient}_{side}`."""
    only_present: bool = field(default=False, kw_only=True)
    """Whether rows without an image are left out."""

    def __post_init__(self) -> None:
        for pattern in sum(self.alternatives, ()):
            check_named(pattern, self.key)
        patterns.check_relative(self.source)
        patterns.check_columns(self.group)

    @property
    def alternatives(self) -> Alternatives:
        """The image patterns of each layout, in the order in which they are tried."""
        return alternatives_of((self.images, *self.also))

    @property
    def image_patterns(self) -> Alternatives:
        """The same."""
        return self.alternatives

    @property
    def has_groups(self) -> bool:
        """Whether the layout says each image's group."""
        return bool(self.group) or named_in_all("group", self.alternatives)


def check_named(pattern: str, key: str) -> None:
    """Raise ValueError unless a pattern of images has the placeholder `key`, or, without it, `{group}`."""
    named = patterns.placeholders(pattern)
    patterns.check_images(pattern, "group" if "group" in named and key not in named else key)


@dataclass(frozen=True, repr=False)
class _ListedLabels(_Listed):
    """Training images, with their labels."""

    part = "training"

    row: str = field(default="", kw_only=True)
    """Column of what a row of the submission would be of, as `group` has it, where a group has several such rows."""
    labels: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Label in the data -> label that it means, where they differ."""
    only_listed: bool = field(default=False, kw_only=True)
    """Whether images without a row are no training images, as where train and test share a folder."""
    only_agreed: bool = field(default=False, kw_only=True)
    """Whether images whose rows give different labels are left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        patterns.check_columns(self.row)
        object.__setattr__(self, "labels", dict(self.labels))


@dataclass(frozen=True, repr=False)
class CsvLabels(_ListedLabels):
    """Training images and a CSV file of their labels."""

    key = "id"

    id: str
    """Column with the text that `{id}` matches, with or without the image extension."""
    label: LabelColumns
    """Column with the label or number; or `OneHot()`, `Tags("tags")`, `Columns()`, `RowPerLabel("tag")`."""
    per_group: bool = field(default=False, kw_only=True)
    """Whether a row is of a group of images, and `id` is the column of groups."""
    only_labelled: bool = field(default=False, kw_only=True)
    """Whether rows without a label are left out, and their images, as those of test images in the same table."""

    def __post_init__(self) -> None:
        super().__post_init__()
        patterns.check_columns(self.id)
        if self.per_group and (self.group or self.row):
            raise ValueError("per_group: the id column names the groups, and no other column does")


@dataclass(frozen=True, repr=False)
class CocoLabels(_ListedLabels):
    """Training images and a JSON file of their labels, as COCO has it.

    It lists `images` (`id`, `file_name`), `annotations` (`image_id`, `category_id`) and `categories` (`id`, `name`).
    """

    key = "file_name"

    category: str = "id"
    """What of a category is the label: its `id`, or a field such as `name`. The name is always that for people."""


@dataclass(frozen=True)
class CsvGroups:
    """A table with the group of each training image (driver, patient, plant); folds never split a group."""

    csv: str
    """Path of the CSV below the data folder."""
    image: str
    """Column with the image's file name (with or without its extension) or its id."""
    group: str
    """Column with the group."""

    def __post_init__(self) -> None:
        patterns.check_relative(self.csv)


@dataclass(frozen=True, repr=False)
class _ListedIds(_Listed):
    """Test images, in a folder that may have others too."""

    part = "test"
    only_listed: ClassVar[bool] = True
    """Images without a row are no test images."""


@dataclass(frozen=True, repr=False)
class CsvIds(_ListedIds):
    """Test images that a CSV file lists."""

    key = "id"

    id: str
    """Column with the text that `{id}` matches, which is the test id."""

    def __post_init__(self) -> None:
        super().__post_init__()
        patterns.check_columns(self.id)


@dataclass(frozen=True, repr=False)
class CocoIds(_ListedIds):
    """Test images that a JSON file lists: `images` as COCO has them, or a list of such objects. Their ids count."""

    key = "file_name"


TrainLayout = FilenameLabels | FolderLabels | CsvLabels | CocoLabels
ListedIds = CsvIds | CocoIds
Listing = CsvLabels | CocoLabels | CsvIds | CocoIds
TestImages = Pattern | ListedIds | tuple[Pattern, ...]


def named_in_all(placeholder: str, alternatives: Alternatives) -> bool:
    """Return whether all patterns have the placeholder."""
    return all(placeholder in patterns.placeholders(pattern) for layout in alternatives for pattern in layout)
