"""Where a competition's images, labels and groups are, as its plugin declares it.

The constructors check all values and raise ValueError. Importing this module loads nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from kagglekit.base import patterns


@dataclass(frozen=True)
class _LabelsInPaths:
    pattern: str
    """Path pattern below the data folder, with `{label}` and any other placeholders."""
    also: tuple[str, ...] = ()
    """Patterns of other archive layouts in use; the first that matches any image is used."""

    def __post_init__(self) -> None:
        for pattern in self.alternatives:
            patterns.check(pattern, "label")

    @property
    def alternatives(self) -> tuple[str, ...]:
        """All patterns, in the order in which they are tried."""
        return (self.pattern, *self.also)


@dataclass(frozen=True)
class FilenameLabels(_LabelsInPaths):
    """Training images with the label in the file name: `train/{label}.{number}.jpg`."""

    def __post_init__(self) -> None:
        for pattern in self.alternatives:
            patterns.check_images(pattern, "label")


@dataclass(frozen=True)
class FolderLabels(_LabelsInPaths):
    """Training images in one folder per class, `imgs/train/{label}`; every image below it counts."""


@dataclass(frozen=True)
class CsvLabels:
    """Training images in one folder, labels in a CSV file."""

    csv: str
    """Path of the CSV below the data folder."""
    images: str
    """Path pattern with `{id}`: `train/{id}.jpg`."""
    id: str
    """Column of the CSV with the text that `{id}` matches, with or without the image extension."""
    label: str
    """Column of the CSV with the label."""
    also: tuple[str, ...] = ()
    """Image patterns of other archive layouts in use."""

    def __post_init__(self) -> None:
        for pattern in self.alternatives:
            patterns.check_images(pattern, "id")
        patterns.check_relative(self.csv)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """All image patterns, in the order in which they are tried."""
        return (self.images, *self.also)


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


TrainLayout = FilenameLabels | FolderLabels | CsvLabels
