"""Targets: what a competition predicts, as its plugin declares it.

The constructors check all values and raise ValueError. Importing this module loads nothing heavy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self

SEPARATOR = "|"
"""What stands between the labels, or the numbers, of one image in the column `label` of a table."""


@dataclass(frozen=True)
class FromCsv:
    """The names in a column of a CSV file of the data, in natural order."""

    csv: str
    """Path of the CSV below the data folder."""
    column: str
    """Column with the labels."""
    names: str = ""
    """Column with the name for people of each label, if any."""
    sep: str = ""
    """What separates several labels of one row, if any."""

    @property
    def told(self) -> str:
        """Where the names are, for people."""
        return f"in column {self.column} of the data's {self.csv}"


@dataclass(frozen=True)
class FromTrain:
    """The labels of the training images, in natural order."""

    @property
    def told(self) -> str:
        """Where the names are, for people."""
        return "of the data's training images"


@dataclass(frozen=True)
class FromSample:
    """The columns of the sample submission after the id, in their order."""

    @property
    def told(self) -> str:
        """Where the names are, for people."""
        return "in the columns of the data's sample submission"


Source = FromCsv | FromTrain | FromSample
Names = Mapping[str, str] | Sequence[str] | Source


@dataclass(frozen=True)
class Target:
    """Base class of targets. Its columns are what a model predicts of an image."""

    kind: ClassVar[str]
    """Name of the kind of target, as metrics and formats list those that they are for."""
    noun: ClassVar[str]
    """What a column of it is called in messages."""
    predicts: ClassVar[str] = "probability"
    """What is predicted of each column."""
    exclusive: ClassVar[bool] = False
    """Whether an image has exactly one of the columns: then their predictions sum to one."""

    names: Names
    """Label in the data -> name for people, or labels that are their own names, or where the data lists them."""

    def __post_init__(self) -> None:
        if isinstance(self.names, Source):
            return
        if isinstance(self.names, str):
            raise ValueError(f"{type(self).__name__} must list names, not {self.names!r}")  # noqa: TRY004
        wrong = next((name for name in self.names if not isinstance(name, str)), None)
        if wrong is not None:
            raise ValueError(f"{type(self).__name__} must name labels as text, {str(wrong)!r} instead of {wrong!r}")
        names = self.names if isinstance(self.names, Mapping) else {name: name for name in self.names}
        if len(names) != len(self.names):
            twice = next(name for name in self.names if list(self.names).count(name) > 1)
            raise ValueError(f"{type(self).__name__} names {twice!r} twice")
        object.__setattr__(self, "names", MappingProxyType(dict(names)))

    @property
    def source(self) -> Source | None:
        """Where the data lists the names; None if they are known."""
        return self.names if isinstance(self.names, Source) else None

    @property
    def meanings(self) -> Mapping[str, str]:
        """Column -> name for people, in the order of predictions; empty while the names are unknown."""
        return self.names if isinstance(self.names, Mapping) else {}

    @property
    def columns(self) -> tuple[str, ...]:
        """What a model predicts of an image, (C,)."""
        return tuple(self.meanings)

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Smallest and largest possible prediction; None if there is none."""
        return 0.0, 1.0

    @property
    def counted(self) -> str:
        """What is predicted, for people: `17 labels`; where they are in the data while the names are unknown."""
        if self.source is not None:
            return f"{self.kind} {self.source.told}"
        return f"{len(self.columns)} {self.kind if len(self.columns) != 1 else self.kind.removesuffix('s')}"

    @property
    def captions(self) -> tuple[str, ...]:
        """Caption of each column: its label, and its name for people if that differs."""
        return tuple(label if name == label else f"{label}: {name}" for label, name in self.meanings.items())

    def named(self, names: Mapping[str, str]) -> Self:
        """Return the target with the names that the data lists."""
        return dataclasses.replace(self, names=names)

    def to_plain(self) -> dict[str, Any]:
        """Return the target as a JSON object."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        values = {name: value for name, value in values.items() if value or name not in _LATE}
        return {"kind": self.kind} | {name: _plain(value) for name, value in values.items()}


@dataclass(frozen=True)
class Classes(Target):
    """One of several classes: probabilities that sum to one."""

    kind = "classes"
    noun = "class"
    exclusive = True

    unseen: str = field(default="", kw_only=True)
    """The class of images that belong to none of the others, if any, such as `new_whale`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source is None and len(self.columns) < 2:
            raise ValueError(f"classes must map at least two labels to names, not {len(self.columns)}")
        if self.unseen and self.source is None and self.unseen not in self.columns:
            raise ValueError(f"unseen {self.unseen!r} is not one of the classes")

    def named(self, names: Mapping[str, str]) -> Self:
        """Return the target with the names that the data lists, and the class of unseen images, which it may lack."""
        unseen = {self.unseen: self.unseen} if self.unseen and self.unseen not in names else {}
        return super().named(dict(names) | unseen)


@dataclass(frozen=True)
class Labels(Target):
    """Any of several labels, also called tags: a probability for each."""

    kind = "labels"
    noun = "label"

    one_of: Sequence[Sequence[str]] = field(default=(), kw_only=True)
    """Sets of labels of which each image has exactly one, such as the weather in a satellite image."""
    at_least_one: bool = field(default=False, kw_only=True)
    """Whether each image has a label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "one_of", tuple(map(tuple, self.one_of)))
        wrong = [name for name in self.columns if SEPARATOR in name or not name]
        if wrong:
            raise ValueError(f"label {wrong[0]!r} must have no {SEPARATOR!r} and not be empty")
        if self.source is None:
            unknown = [name for some in self.one_of for name in some if name not in self.columns]
            if unknown:
                raise ValueError(f"one_of names {unknown[0]!r}, which is not one of the labels")
            if not self.columns:
                raise ValueError("labels must name at least one label")


@dataclass(frozen=True)
class Grades(Target):
    """Ordered classes, such as the stages of a disease, from the lowest to the highest."""

    kind = "grades"
    noun = "grade"
    exclusive = True

    names: Names | int  # type: ignore[assignment]
    """Number of grades, which the data writes as 0, 1, …; or their labels as for classes."""

    def __post_init__(self) -> None:
        if isinstance(self.names, int):
            object.__setattr__(self, "names", [str(grade) for grade in range(self.names)])
        super().__post_init__()
        if self.source is None and len(self.columns) < 2:
            raise ValueError(f"there must be two grades or more, not {len(self.columns)}")


@dataclass(frozen=True)
class Numbers(Target):
    """One number or several."""

    kind = "numbers"
    noun = "column"
    predicts = "number"

    low: float | None = field(default=None, kw_only=True)
    """Smallest possible number, if it is known; predictions are clipped to it."""
    high: float | None = field(default=None, kw_only=True)
    """Largest possible number."""
    missing: bool = field(default=False, kw_only=True)
    """Whether an image may lack some of several numbers. What is unknown is not learnt from, nor scored."""
    absolute: bool = field(default=False, kw_only=True)
    """Whether errors count by their size and not by its square, so that outliers count little: as the metric does."""
    means: Sequence[float] = field(default=(), kw_only=True)
    """Mean of each column in the training images: read from the data."""
    scales: Sequence[float] = field(default=(), kw_only=True)
    """Standard deviation of each column in the training images: read from the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be smaller than high {self.high:g}")
        if self.missing and self.source is None and len(self.columns) < 2:
            raise ValueError("missing is for several numbers: leave out the rows of images without their only one")
        object.__setattr__(self, "means", tuple(self.means))
        object.__setattr__(self, "scales", tuple(self.scales))

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The range, as far as it is known."""
        return self.low, self.high


def Number(low: float | None = None, high: float | None = None, *, name: str = "number") -> Numbers:  # noqa: N802
    """Return the target of one number: from `low` to `high`, if they are known."""
    return Numbers([name], low=low, high=high)


@dataclass(frozen=True)
class Shares(Target):
    """Several numbers from 0 to 1, such as the shares of votes; they need not sum to one."""

    kind = "shares"
    noun = "answer"
    predicts = "share"


_LATE = ("absolute",)
"""Fields that older versions do not know: they are described only where they are used."""
KINDS: dict[str, type[Target]] = {each.kind: each for each in (Classes, Labels, Grades, Numbers, Shares)}


def from_plain(plain: Mapping[str, Any]) -> Target:
    """Return the target that `Target.to_plain` described."""
    values = dict(plain)
    return KINDS[values.pop("kind")](**values)


def _plain(value: Any) -> Any:
    if isinstance(value, Source):
        return repr(value)
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
