"""The format that only a plugin knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kagglekit.base import image_names
from kagglekit.formats import faults
from kagglekit.formats.faults import Fault
from kagglekit.formats.submission import Submission
from kagglekit.tasks.targets import KINDS, Target

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class OwnFormat(Submission):
    """Any other format: the plugin's hook `submission` writes the rows."""

    kinds = tuple(KINDS)
    by_hook = True

    one_row_per_id: bool = True
    """Whether the id column has each id exactly once; if not, an id may have several rows, or none."""

    def value_columns(self, target: Target) -> list[str]:  # noqa: ARG002
        """Return nothing: the hook knows the columns."""
        return []

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return that the plugin knows."""
        return "what the plugin's hook writes"

    def fits(self, target: Target, columns: Sequence[str]) -> bool:  # noqa: ARG002
        """Return whether the table has the id column."""
        return self.id in columns

    def expected_ids(self, listed: Sequence[str], target: Target, written: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Return the ids of the sample if half of them are images; else those of all test images."""
        rows = image_names.match([image_names.spellings(name, name) for name in written], listed)
        found = sum(row is not None for row in rows)
        return list(listed) if found * 2 >= len(listed) else list(written)

    def refusal(
        self,
        frame: pd.DataFrame,
        target: Target,  # noqa: ARG002
        ids: Sequence[str],
        sample: pd.DataFrame | None,
        tolerance: float,  # noqa: ARG002
    ) -> str:
        """Return how a table differs from the columns and ids of the sample, if any, or that values are missing."""
        return _of_table(frame, sample) or (self._of_ids(frame, ids, sample) if self.one_row_per_id else "")

    def _of_ids(self, frame: pd.DataFrame, ids: Sequence[str], sample: pd.DataFrame | None) -> str:
        if self.id not in frame:
            return f"its columns {list(frame.columns)} have no {self.id!r}"
        wanted = ids if sample is None else list(map(str, sample[self.id].unique()))
        return faults.of_ids([str(value) for value in frame[self.id]], wanted)

    def faults(self, values: pd.DataFrame, target: Target) -> Iterator[Fault]:  # noqa: ARG002
        """Yield nothing: only the plugin knows."""
        yield from ()


def _of_table(frame: pd.DataFrame, sample: pd.DataFrame | None) -> str:
    """Return how a table differs from the columns of the sample, if any, or that it lacks rows or values."""
    names = list(frame.columns)
    if not frame.columns.is_unique:
        return f"two of its columns {names} have one name"
    wrong = faults.of_columns(names, names if sample is None else list(sample.columns))
    if wrong or frame.empty:
        return wrong or "it has no rows"
    empty = [name for name in names if frame[name].isna().any()]
    return f"column {empty[0]!r} has missing values" if empty else ""
