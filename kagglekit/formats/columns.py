"""Formats whose cells are numbers: probabilities, shares or numbers. C columns of the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kagglekit.base import patterns
from kagglekit.formats import faults, rows
from kagglekit.formats.faults import Fault
from kagglekit.formats.submission import Submission, check_renaming, renamed
from kagglekit.tasks.targets import Target

if TYPE_CHECKING:
    import pandas as pd

_SUM_OF_SAMPLE = 0.05
"""How far a sample's rows may be from a sum of one without a remark: they may be rounded."""


@dataclass(frozen=True, kw_only=True)
class _OfNumbers(Submission):
    holds_numbers = True

    def faults(self, values: pd.DataFrame, target: Target) -> Iterator[Fault]:
        """Yield rows without numbers, and with impossible probabilities."""
        yield from faults.of_numbers(values)
        if target.predicts == "probability":
            yield from faults.of_range(values, target.bounds)

    def late_faults(self, values: pd.DataFrame, target: Target, tolerance: float) -> Iterator[Fault]:  # noqa: ARG002
        """Yield numbers outside their range: a sample may have zeros anywhere."""
        if target.predicts != "probability":
            yield from faults.of_range(values, target.bounds)


@dataclass(frozen=True, kw_only=True)
class Probability(_OfNumbers):
    """One probability per row: that of one of two classes, or of one label."""

    kinds = ("classes", "labels")

    of: str
    """The class or label whose probability is submitted."""
    label: str = "label"
    """Name of the column with the probability."""

    @property
    def positive(self) -> str:
        """The class or label whose probability is submitted."""
        return self.of

    def check_names(self, target: Target) -> None:
        """Raise ValueError if there is no such class, or more than two."""
        if self.of not in target.columns:
            raise ValueError(f"submission.of {self.of!r} is not one of the {target.kind}")
        if target.exclusive and len(target.columns) != 2:
            raise ValueError(f"Probability needs two classes, not {len(target.columns)}: use ProbabilityPerClass")

    def value_columns(self, target: Target) -> list[str]:  # noqa: ARG002
        """Return the column of the probability."""
        return [self.label]

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return whose probability it is."""
        return f"the probability of {self.of}"


@dataclass(frozen=True, kw_only=True)
class ProbabilityPerClass(_OfNumbers):
    """One column per class, label or share, in the order of the sample submission, if any, else of the target.

    Probabilities of classes sum to one; those of labels, and shares, need not.
    """

    kinds = ("classes", "grades", "labels", "shares")

    write: Mapping[str, str] = field(default_factory=dict)
    """Label in the data -> name of its column, where they differ."""

    def check_names(self, target: Target) -> None:
        """Raise ValueError for a wrong renaming."""
        check_renaming(self.write, target)

    def value_columns(self, target: Target) -> list[str]:
        """Return the columns of the target."""
        return renamed(self.write, target)

    def words(self, target: Target) -> str:
        """Return what each column has."""
        return f"one {target.predicts} per {target.noun}"

    def late_faults(self, values: pd.DataFrame, target: Target, tolerance: float) -> Iterator[Fault]:
        """Yield rows that do not sum to one, where one of the classes is true."""
        yield from super().late_faults(values, target, tolerance)
        if target.exclusive:
            yield from faults.of_sums(values, tolerance)

    def sample_remark(self, sample: pd.DataFrame, target: Target) -> str:
        """Return that the rows' sums are not those of classes, if one of the classes should be true."""
        if not target.exclusive:
            return ""
        sums = self.typed(sample).drop(columns=self.id).sum(axis=1)
        off = sums[(sums - 1).abs() > _SUM_OF_SAMPLE]
        if off.empty:
            return ""
        return (
            f"{len(off)} rows of the sample submission do not sum to 1, for example to {off.iloc[0]:g}: if an image "
            "may have several labels, the plugin's target is Labels"
        )


@dataclass(frozen=True, kw_only=True)
class _OfDecidedNumbers(_OfNumbers):
    kinds = ("numbers", "shares")

    round: int | None = None
    """Number of decimals; 0 writes whole numbers. By default all are written."""

    def check_names(self, target: Target) -> None:
        """Raise ValueError if rounded numbers could leave the range."""
        for bound in target.bounds:
            if self.round is not None and bound is not None and round(bound, self.round) != bound:
                raise ValueError(f"submission.round {self.round} would round {bound:g}, an end of the numbers' range")

    def _rounding(self) -> str:
        return "" if self.round is None else f", rounded to {self.round} decimals"


@dataclass(frozen=True, kw_only=True)
class Value(_OfDecidedNumbers):
    """The number that is predicted, within its range."""

    label: str = "label"
    """Name of the column with the number."""

    def check_names(self, target: Target) -> None:
        """Raise ValueError if there are several numbers."""
        super().check_names(target)
        if len(target.columns) != 1:
            raise ValueError(f"Value needs one number, not {len(target.columns)}: use Values")

    def value_columns(self, target: Target) -> list[str]:  # noqa: ARG002
        """Return the column of the number."""
        return [self.label]

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return that a row has a number."""
        return f"a number{self._rounding()}"


@dataclass(frozen=True, kw_only=True)
class Values(_OfDecidedNumbers):
    """One column per number, in the order of the sample submission, if any, else of the target."""

    write: Mapping[str, str] = field(default_factory=dict)
    """Number's name in the data -> name of its column, where they differ."""

    def check_names(self, target: Target) -> None:
        """Raise ValueError for a wrong renaming."""
        super().check_names(target)
        check_renaming(self.write, target)

    def value_columns(self, target: Target) -> list[str]:
        """Return the columns of the target."""
        return renamed(self.write, target)

    def words(self, target: Target) -> str:  # noqa: ARG002
        """Return that a row has a number per column."""
        return f"one number per column{self._rounding()}"


@dataclass(frozen=True, kw_only=True)
class Long(_OfNumbers):
    """A row for each image and label, or number."""

    kinds = ("labels", "shares", "numbers")

    row: str = "{id}_{label}"
    """The id of a row, from the id of its image and the label."""
    label: str = "label"
    """Name of the column with the probability or number."""
    write: Mapping[str, str] = field(default_factory=dict)
    """Label in the data -> how a row's id writes it, where they differ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(patterns.placeholders(self.row)) != ["id", "label"]:
            raise ValueError(f"row {self.row!r} must have the placeholders {{id}} and {{label}} once, and no other")

    def check_names(self, target: Target) -> None:
        """Raise ValueError for a wrong renaming."""
        check_renaming(self.write, target)

    def value_columns(self, target: Target) -> list[str]:  # noqa: ARG002
        """Return the column of the numbers."""
        return [self.label]

    def words(self, target: Target) -> str:
        """Return whose number it is."""
        return f"the {target.predicts} of one image and {target.noun}, {self.row}"

    def image_ids(self, listed: Sequence[str], target: Target) -> list[str]:
        """Return the images of the rows."""
        return rows.image_ids(self.plain(target), listed)

    def row_ids(self, ids: Sequence[str], target: Target) -> list[str]:
        """Return a row for each image and label."""
        return rows.row_ids(self.plain(target), ids)

    def sample_fault(self, sample: pd.DataFrame, target: Target) -> str:
        """Return also why the rows are not those of all images and labels."""
        listed = sample[self.id].unique().tolist()
        images = self.image_ids(listed, target)
        wrong = faults.of_ids(listed, self.row_ids(images, target))
        wrong = wrong.replace("not in the test set", f"that are not {self.row} of the labels")
        return wrong or super().sample_fault(sample, target)
