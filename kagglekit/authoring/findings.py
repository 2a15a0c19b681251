"""What a proposal has found out about training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kagglekit.authoring.evidence import Evidence, key
from kagglekit.authoring.joined_ids import JoinedIds
from kagglekit.authoring.label_values import Values
from kagglekit.competitions.locations import CsvGroups, TrainLayout
from kagglekit.tasks.targets import Target

if TYPE_CHECKING:
    import pandas as pd

Choose = Callable[[str, str, Sequence[str], str], str]
"""(option, question, choices, default) -> the answer: one question is asked, or its default is said."""

_GROUP_NAMES = ("patient", "subject", "driver", "group", "person", "animal", "location", "site", "plant_id", "user")
"""Parts of the names of columns whose values are groups."""
_YES_OR_NO = ("0", "1", "")
_HEAVY = (".tif", ".tiff", ".dcm", ".dicom")
"""Endings of images that are taken only where there are no others."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Where labels are, and what they are."""

    layout: TrainLayout
    target: Target
    groups: CsvGroups | None = None
    labels: Sequence[str] = ()
    """The labels, if they are names."""
    values: Sequence[Values] = ()
    """The columns with labels, if a table has them."""
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabelTable:
    """A CSV file with a row for each training image."""

    name: str
    rows: pd.DataFrame
    id: str
    """Column that names the images."""
    joined: JoinedIds | None = None
    """What the ids join, if each row is an image and a label."""

    def group_column(self, labels: Sequence[str] = (), apart_from: Sequence[str] = ()) -> str:
        """Return the column whose name is one of groups, and whose values repeat; empty if there is none.

        It is none of those with the labels, nor of those that it is `apart_from`.
        """
        for column in self.rows.columns:
            values = set(self.rows[column])
            called = any(part in column.lower() for part in _GROUP_NAMES) and column not in (self.id, *apart_from)
            # `Subject Focus` is yes or no, and no subject
            if called and 1 < len(values) < len(self.rows) and not values <= {*labels, *_YES_OR_NO}:
                return str(column)
        return ""


def folders_of(evidence: Evidence, tests: Sequence[str], keys: set[str]) -> list[str]:
    """Return the folders with images that `keys` name: those of test images only if there are no others."""
    having = [folder for folder in evidence.images if evidence.share(folder, keys) > 0]
    own = [folder for folder in having if folder not in tests]
    return without_copies(evidence, own or having)


def without_copies(evidence: Evidence, folders: Sequence[str]) -> list[str]:
    """Return the folders without those whose images others have too, as JPEG beside TIFF."""
    kept: list[str] = []
    seen: set[str] = set()
    for folder in sorted(folders, key=lambda each: (evidence.images[each][0].lower().endswith(_HEAVY), each)):
        keys = set(map(key, evidence.images[folder]))
        if not keys <= seen:
            kept.append(folder)
        seen |= keys
    return sorted(kept)
