"""Formats whose cells name classes or labels. C columns of the target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from kagglekit.formats import faults, texts
from kagglekit.formats.faults import Fault
from kagglekit.formats.submission import Submission, check_renaming, renamed
from kagglekit.tasks.targets import Target

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.arrays import Labels
    from kagglekit.tasks.decisions import Decision
    from kagglekit.tasks.task import Task


_LOOKED_AT = 100
"""Different cells of a sample submission of which one must fit."""


@dataclass(frozen=True, kw_only=True)
class _OfNames(Submission):
    label: str = "label"
    """Name of the column after the id."""
    write: Mapping[str, str] = field(default_factory=dict)
    """Label in the data -> how the submission writes it, where they differ."""

    def check_names(self, target: Target) -> None:
        """Raise ValueError for a wrong renaming."""
        check_renaming(self.write, target)

    def value_columns(self, target: Target) -> list[str]:  # noqa: ARG002
        """Return the column of the names."""
        return [self.label]

    @abstractmethod
    def split(self, cell: str) -> list[str]:
        """Return the names in a cell."""

    def sample_fault(self, sample: pd.DataFrame, target: Target) -> str:
        """Return why no value of a sample submission can be of the format: some may be placeholders."""
        fault = super().sample_fault(sample, target)
        return "" if fault and self._fits_anywhere(sample, target) else fault

    def stripped(self, cells: pd.Series[str], target: Target) -> pd.Series[str]:
        """Return cells (N,) without the white space around them, unless a name has it."""
        return cells.where(cells.isin(list(renamed(self.write, target))), cells.str.strip())

    def sample_remark(self, sample: pd.DataFrame, target: Target) -> str:
        """Return that some values are placeholders."""
        fault = super().sample_fault(sample, target)
        return f"the sample submission has placeholders: {fault}" if fault else ""

    def _fits_anywhere(self, sample: pd.DataFrame, target: Target) -> bool:
        """Return whether one of the first different cells has no fault."""
        different = sample[texts.filled(sample[[self.label]])].drop_duplicates(self.label)[:_LOOKED_AT]
        return any(not super(_OfNames, self).sample_fault(row.to_frame().T, target) for _, row in different.iterrows())

    def faults(self, values: pd.DataFrame, target: Target) -> Iterator[Fault]:
        """Yield rows with a name that is none, or twice there."""
        cells = [None if text is None else self.split(text) for text in texts.of_cells(values[self.label])]
        yield from faults.of_names(cells, renamed(self.write, target), target.noun)


@dataclass(frozen=True, kw_only=True)
class ClassLabel(_OfNames):
    """The class, or grade, that is decided: by default the most probable one."""

    kinds = ("classes", "grades")

    def words(self, target: Target) -> str:
        """Return that a row has the class."""
        return f"the {target.noun}"

    def split(self, cell: str) -> list[str]:
        """Return the cell."""
        return [cell]


@dataclass(frozen=True, kw_only=True)
class _Separated(_OfNames):
    sep: str = " "
    """What separates the parts of a cell."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sep:
            raise ValueError("submission.sep must not be empty")

    def check_names(self, target: Target) -> None:
        """Raise ValueError for names with the separator in them."""
        super().check_names(target)
        wrong = next((name for name in renamed(self.write, target) if self.sep in name), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} has the separator {self.sep!r} in it: declare submission.sep or write")

    def split(self, cell: str) -> list[str]:
        """Return the parts of a cell."""
        parts = (part.strip() for part in cell.split(self.sep))
        return [part for part in parts if part]


@dataclass(frozen=True, kw_only=True)
class JoinedLabels(_Separated):
    """All labels that an image is decided to have, in one cell."""

    kinds = ("labels",)

    none: str = ""
    """What is written for an image without any label."""
    order: Literal["declared", "probability"] = "declared"
    """Whether labels are in the order of the target, or the most probable first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ("declared", "probability"):
            raise ValueError(f"submission.order {self.order!r} is not 'declared' or 'probability'")

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return that a row has labels."""
        return f"the labels, separated by {self.sep!r}"

    def split(self, cell: str) -> list[str]:
        """Return the labels in a cell."""
        return [] if cell == self.none else super().split(cell)


@dataclass(frozen=True, kw_only=True)
class TopClasses(_Separated):
    """A list of guesses, the best first, in one cell."""

    kinds = ("classes", "labels")

    k: int = 5
    """Largest number of guesses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"submission.k must be 1 or more, not {self.k}")

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return how many guesses a row has."""
        return f"{self.k} guesses, separated by {self.sep!r}, the best first"

    def usual(self, task: Task) -> Decision:
        """Return the lists of the k most probable."""
        return task.lists(self.k)

    def faults(self, values: pd.DataFrame, target: Target) -> Iterator[Fault]:
        """Yield also rows of too many guesses."""
        yield from super().faults(values, target)
        yield Fault(self._counts(values) > self.k, f"have more than {self.k} guesses")

    def late_faults(self, values: pd.DataFrame, target: Target, tolerance: float) -> Iterator[Fault]:  # noqa: ARG002
        """Yield rows without a guess."""
        yield Fault(self._counts(values) == 0, "have no guess")

    def _counts(self, values: pd.DataFrame) -> Labels:
        """Return the number of guesses of each row, (N,)."""
        import numpy as np

        return np.array([len(self.split(text or "")) for text in texts.of_cells(values[self.label])], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class ClassAndScore(_Separated):
    """The class that is decided and its probability in one cell, which is empty if there is none."""

    kinds = ("classes",)

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return that a row has two parts."""
        return f"the class and its probability, separated by {self.sep!r}"

    def faults(self, values: pd.DataFrame, target: Target) -> Iterator[Fault]:
        """Yield rows whose cell is neither empty nor a class and a number."""
        import numpy as np

        cells = [None if text is None else self.split(text) for text in texts.of_cells(values[self.label])]
        one = [None if parts is None else parts[:1] for parts in cells]
        yield from faults.of_names(one, renamed(self.write, target), target.noun)
        wrong = [parts is not None and len(parts) > 0 and not _scored(parts) for parts in cells]
        yield Fault(np.array(wrong, dtype=bool), "have no class with one number from 0 to 1")


def _scored(parts: Sequence[str]) -> bool:
    """Return whether the second of two parts is a probability."""
    try:
        return len(parts) == 2 and 0 <= float(parts[1]) <= 1
    except ValueError:
        return False
