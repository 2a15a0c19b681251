"""What all formats of submissions have in common. N images, C columns of the target."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kagglekit.base import patterns
from kagglekit.formats import faults, groups, texts
from kagglekit.formats.faults import Fault
from kagglekit.tasks.targets import Target

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.tasks.decisions import Decision
    from kagglekit.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Submission(ABC):
    """Base class of the formats of submissions."""

    kinds: ClassVar[tuple[str, ...]]
    """Kinds of target that it can write."""
    holds_numbers: ClassVar[bool] = False
    """Whether the columns after the id are numbers."""
    by_hook: ClassVar[bool] = False
    """Whether the plugin's hook writes the rows, in a format that only the plugin knows."""

    id: str = "id"
    """Name of the id column."""
    id_format: str = "{id}"
    """How the submission writes a test id: `{id}.jpg` adds an extension."""
    sample: tuple[str, ...] = ("sample_submission.csv", "sampleSubmission.csv")
    """Paths of the sample submission in the data folder; the first that exists determines the ids."""
    per_group: Literal["", "mean", "max", "noisy-or"] = ""
    """How predictions are made of those of its images, if a row is of a group of images. By default it is of one."""

    @property
    def positive(self) -> str:
        """The class or label whose probability alone is submitted; empty if there is none."""
        return ""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("the submission's id column must have a name")
        if patterns.placeholders(self.id_format) != ("id",):
            raise ValueError(f"id_format {self.id_format!r} must have the placeholder {{id}} once, and no other")
        if self.per_group and self.per_group not in groups.WAYS:
            raise ValueError(f"submission.per_group {self.per_group!r} is not one of {', '.join(groups.WAYS)}")

    # --- the description

    def check_target(self, target: Target) -> None:
        """Raise ValueError if the format can't be the submission of a target."""
        if target.kind not in self.kinds:
            raise ValueError(
                f"{type(self).__name__} can't be the submission of {target.kind}, but of {' or '.join(self.kinds)}"
            )
        self._check_per_group(target)
        if target.source is not None:
            return
        self.check_names(target)
        if self.id in self.value_columns(target):
            raise ValueError(
                f"submission.id {self.id!r} is the name of another column too: name the id column as Kaggle does"
            )

    def _check_per_group(self, target: Target) -> None:
        """Raise ValueError if the predictions of a group can't be made in this way."""
        if self.per_group == groups.MEAN or not self.per_group:
            return
        if target.exclusive and not self.positive:
            raise ValueError(
                f"submission.per_group {self.per_group!r} is of one class that counts, as in Probability(of=…): use "
                f"'mean' for {target.kind}"
            )
        if self.per_group == groups.NOISY_OR and target.predicts != "probability":
            raise ValueError(
                f"submission.per_group 'noisy-or' is of probabilities: use 'mean' or 'max' for {target.kind}"
            )

    def check_names(self, target: Target) -> None:  # noqa: B027
        """Raise ValueError if the format does not fit the target's names."""

    @abstractmethod
    def value_columns(self, target: Target) -> list[str]:
        """Return the names of the columns after the id."""

    @abstractmethod
    def words(self, target: Target) -> str:
        """Return in words what a row has. The names of the target may not be known yet."""

    def columns(self, target: Target) -> list[str]:
        """Return the names of the columns, id first."""
        return [self.id, *self.value_columns(target)]

    def fits(self, target: Target, columns: Sequence[str]) -> bool:
        """Return whether a table with these columns can be the sample submission."""
        return sorted(columns) == sorted(self.columns(target))

    def plain(self, target: Target) -> dict[str, Any]:
        """Return what `rows` and a bundle need to know, as plain values."""
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in own.items()} | {
            "kind": type(self).__name__,
            "labels": list(target.columns),
            "exclusive": target.exclusive,
            "bounds": list(target.bounds),
        }

    # --- rows

    def usual(self, task: Task) -> Decision:
        """Return the decision if nothing was fitted; `rows.lay_out` takes what it makes of predictions."""
        return task.usual()

    def image_ids(self, listed: Sequence[str], target: Target) -> list[str]:  # noqa: ARG002
        """Return the ids of the images that the `listed` ids of rows are of."""
        return list(listed)

    def expected_ids(self, listed: Sequence[str], target: Target, written: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Return the ids of the images that need rows, from the sample's ids; `written` are those of test images."""
        return self.image_ids(listed, target)

    def row_ids(self, ids: Sequence[str], target: Target) -> list[str]:  # noqa: ARG002
        """Return the ids of the rows of images."""
        return list(ids)

    # --- checks

    def refusal(
        self, frame: pd.DataFrame, target: Target, ids: Sequence[str], sample: pd.DataFrame | None, tolerance: float
    ) -> str:
        """Return why Kaggle would refuse a table, which must have the rows of the images `ids`; empty if it would not.

        A row is there as often as in the `sample`, with which a plugin's own format is compared. Probabilities sum to
        one within `tolerance`.
        """
        reason = faults.of_columns(list(frame.columns), self.columns(target))
        if reason:
            return reason
        values, written = frame.drop(columns=self.id), [str(value) for value in frame[self.id]]
        reason = faults.of_ids(written, self._as_listed(self.row_ids(ids, target), sample))
        reason = reason or (faults.of_types(values) if self.holds_numbers else "")
        if reason:
            return reason
        every = chain(self.faults(values, target), self.late_faults(values, target, tolerance))
        return next(faults.named(every, written), "")

    def _as_listed(self, row_ids: Sequence[str], sample: pd.DataFrame | None) -> list[str]:
        """Return the ids of rows as often as the sample submission, if any, lists them, but at least once."""
        counts = Counter() if sample is None else Counter(map(str, sample[self.id]))
        return [name for name in row_ids for _ in range(max(counts[name], 1))]

    @abstractmethod
    def faults(self, values: pd.DataFrame, target: Target) -> Iterator[Fault]:
        """Yield what no row may be, not even one of a sample submission. `values` lacks the id column."""

    def late_faults(self, values: pd.DataFrame, target: Target, tolerance: float) -> Iterator[Fault]:  # noqa: ARG002
        """Yield what a row of a sample submission may be, and no row that is sent."""
        yield from ()

    def typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table of text as it is checked: what should be a number and is none is missing."""
        import pandas as pd

        if not self.holds_numbers:
            return frame
        places = [place for place, name in enumerate(frame.columns) if name != self.id]
        ids = [place for place, name in enumerate(frame.columns) if name == self.id]
        numbers = pd.DataFrame(texts.numbers(frame.iloc[:, places]), frame.index, frame.columns[places])
        order = sorted(range(len(frame.columns)), key=[*ids, *places].__getitem__)
        return pd.concat([frame.iloc[:, ids], numbers], axis=1).iloc[:, order]

    def sample_fault(self, sample: pd.DataFrame, target: Target) -> str:
        """Return why values of a sample submission can't be of the format; empty if they can. Cells may be empty."""
        filled = texts.filled(sample.drop(columns=self.id))
        sample = sample if filled.all() else sample[filled]
        values = self.typed(sample).drop(columns=self.id)
        if not self.holds_numbers:
            values = values.apply(lambda cells: self.stripped(cells, target))

        def shown(row: int) -> str:
            return " ".join(sample.drop(columns=self.id).iloc[row].tolist())[:60]

        return next(faults.named(self.faults(values, target), sample[self.id].tolist(), shown), "")

    def stripped(self, cells: pd.Series[str], target: Target) -> pd.Series[str]:  # noqa: ARG002
        """Return cells (N,) of a sample submission without the white space around them, which has no meaning."""
        return cells.str.strip()

    def sample_remark(self, sample: pd.DataFrame, target: Target) -> str:  # noqa: ARG002
        """Return what values of a sample submission make doubtful; empty if nothing is."""
        return ""


def renamed(write: Mapping[str, str], target: Target) -> list[str]:
    """Return the columns of the target as the submission writes them."""
    return [write.get(name, name) for name in target.columns]


def check_renaming(write: Mapping[str, str], target: Target) -> None:
    """Raise ValueError for names that are not the target's, or that two columns would have."""
    unknown = [name for name in write if name not in target.columns]
    if unknown:
        raise ValueError(f"submission.write names {unknown[0]!r}, which is not one of the {target.kind}")
    written = renamed(write, target)
    if len(set(written)) < len(written):
        twice = next(name for name in written if written.count(name) > 1)
        raise ValueError(f"submission.write gives two {target.kind} the name {twice!r}")
