"""The frozen description of a competition, which a plugin's `competition` hook returns.

The constructors check all values and raise ValueError. Importing this module loads nothing heavy.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from kagglekit import metrics
from kagglekit.base import patterns
from kagglekit.competitions import locations
from kagglekit.competitions.label_columns import LabelColumns
from kagglekit.competitions.locations import (
    CsvGroups,
    CsvLabels,
    FilenameLabels,
    FolderLabels,
    ListedIds,
    TestImages,
    TrainLayout,
)
from kagglekit.formats import Submission
from kagglekit.tasks.targets import Classes, FromTrain, Numbers, Target

if TYPE_CHECKING:
    from kagglekit.tasks.task import Task

_NAME = re.compile(r"[^\W_]+(-[^\W_]+)*")


_FROM_TRAIN = Classes(FromTrain())
FlipRule = Literal["allowed", "forbidden"] | Mapping[str, str]


def mirror_classes(labels: tuple[str, ...], flip: FlipRule) -> tuple[int, ...] | None:
    """Return, for each column, the index of the mirrored image's column, (C,); None if flips are forbidden."""
    if flip == "forbidden":
        return None
    swaps: Mapping[str, str] = {} if isinstance(flip, str) else flip
    place = {label: index for index, label in enumerate(labels)}
    return tuple(place[swaps.get(label, label)] for label in labels)


@dataclass(frozen=True, kw_only=True)
class Competition:
    """Everything kagglekit needs to know about a competition."""

    name: str
    """Name that users type, also the name of the workspace folder: lower-case letters, digits and hyphens."""
    kaggle: str
    """The competition's slug on Kaggle; empty if it is not on Kaggle."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Short form of `target=Classes(…)`: label in the data -> name for people; probabilities are in this order."""
    train: TrainLayout
    """Location of training images and their labels."""
    test: TestImages
    """Path pattern(s) of test images, with `{id}` or, of the groups that rows are of, `{group}`; the first that matches
    any image is used. Or a file that lists them. Empty: no test set."""
    submission: Submission
    """Format of the submission."""
    target: Target = _FROM_TRAIN
    """What is predicted; by default one of `classes`, else one of the classes of the training images."""
    metric: str | metrics.Metric | Callable[..., float] = ""
    """A name such as `log_loss`, `auc(mean)` or `map@5`, a Metric, or a callable (truth (N,), probabilities (N, C)) ->
    float, lower is better. Empty: the usual one of the target, which is `log_loss` for classes."""
    valid: FilenameLabels | FolderLabels | None = None
    """Location of the data's own validation set, if any (setting `validation = "valid"`)."""
    groups: CsvGroups | None = None
    """Table of groups, which folds never split."""
    flip: FlipRule = "forbidden"
    """Whether a mirrored image keeps its class: allowed, forbidden, or class -> class of the mirrored image."""
    leaderboard: Mapping[str, float] = field(default_factory=dict)
    """Known leaderboard scores: name -> score."""
    mle_bench: float = 0.0
    """The share of training images that MLE-bench hides by its plain rule, for `rehearse --split mle-bench`; 0: none is
    known. The rule is scikit-learn's train_test_split with random_state=0, on the rows of the CSV file of labels, else
    on the sorted paths."""
    url: str = ""
    """The competition's page; derived from the slug if omitted."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name != self.name.lower():
            raise ValueError(f"name {self.name!r} must be lower-case letters, digits and single hyphens")
        self._take_classes()
        self.submission.check_target(self.target)
        if self.target.source is None:
            self._check_flip()
        self._check_locations()
        self._check_metric()
        self._check_rows()
        self._check_test()
        if not 0 <= self.mle_bench < 1:
            raise ValueError(f"mle_bench {self.mle_bench} must be a share of the training images, 0 to below 1")
        object.__setattr__(self, "leaderboard", MappingProxyType(dict(self.leaderboard)))
        if self.kaggle and not self.url:
            object.__setattr__(self, "url", f"https://www.kaggle.com/competitions/{self.kaggle}")

    def _take_classes(self) -> None:
        """Make the target of the short form, and the other way round."""
        if not isinstance(self.target, Target):
            raise ValueError(f"target must be Classes(…), Labels(…), Grades(…) or Number(…), not {self.target!r}")  # noqa: TRY004
        if not isinstance(self.classes, Mapping):  # dict() would accept a list of two-letter strings
            raise ValueError(f"classes must map labels to names, not be a {type(self.classes).__name__}")  # noqa: TRY004
        if self.classes and list(self.classes.items()) != list(self.target.meanings.items()):
            if not isinstance(self.target, Classes) or self.target.source is None:
                raise ValueError("classes is the short form of target=Classes(…), and the two differ: give one of them")
            object.__setattr__(self, "target", self.target.named(self.classes))
        object.__setattr__(self, "classes", MappingProxyType(dict(self.target.meanings)))

    def _check_locations(self) -> None:
        """Raise ValueError if the labels are written as no such target is, or groups are declared twice or by half."""
        label = getattr(self.train, "label", "")
        if not isinstance(label, LabelColumns):
            wanted = "a column, OneHot(), Tags(…), Columns() or RowPerLabel(…)"
            raise ValueError(f"label {label!r} must be {wanted}")  # noqa: TRY004
        if not isinstance(label, str) and self.target.kind not in label.kinds:
            raise ValueError(
                f"{type(label).__name__} is for targets of {' or '.join(label.kinds)}, not of {self.target.kind}: "
                f"declare target={label.kinds[-1].title()}(…)"
            )
        if self.train.has_groups and self.groups is not None:
            raise ValueError("groups are declared twice: in train and in groups")
        if self.train.has_groups and self.valid is not None and not self.valid.has_groups:
            raise ValueError("train declares each image's group, and valid does not: its pattern needs {group}")

    def _check_test(self) -> None:
        """Raise ValueError for a pattern without an id, or, where a row is of a group, without either."""
        if isinstance(self.test, ListedIds):
            return
        check = locations.check_named if self.submission.per_group else patterns.check_images
        for pattern in self.test_patterns:
            check(pattern, "id")

    def _check_rows(self) -> None:
        """Raise ValueError if rows of the submission, or of the labels, are of groups of images that nobody names."""
        row, per_group = getattr(self.train, "row", ""), self.submission.per_group
        if row and not per_group:
            raise ValueError(f"row={row!r} of train is for a submission with a row a group: declare its per_group")
        if row and self.valid is not None:
            raise ValueError(f"row={row!r} of train: images of valid have no such column")
        named = self.groups is not None or self.train.has_groups
        if per_group and not self.has_groups:
            raise ValueError(
                "submission.per_group: train must name each image's group, by group=…, {group} in its pattern, or "
                "groups=CsvGroups(…)"
            )
        if isinstance(self.train, CsvLabels) and self.train.per_group and not named:
            raise ValueError("per_group of CsvLabels needs {group} in its pattern, or groups=CsvGroups(…)")

    def _check_flip(self) -> None:
        if isinstance(self.flip, str):
            if self.flip not in ("allowed", "forbidden"):
                raise ValueError(f"flip {self.flip!r} is not 'allowed', 'forbidden' or a mapping of classes")
            return
        for label, mirrored in self.flip.items():
            for named in (label, mirrored):
                if named not in self.classes:
                    raise ValueError(f"flip names {named!r}, which is not one of the classes")
            if self.flip.get(mirrored) != label:
                raise ValueError(
                    f"flip must swap: {label!r} becomes {mirrored!r}, and {mirrored!r} must become {label!r}"
                )

    def _check_metric(self) -> None:
        if self.metric:
            metric = self._scored_by(self.metric)
            if self.target.kind not in metric.kinds:
                raise ValueError(f"metric {metric.name!r} scores {', '.join(metric.kinds)}, not {self.target.kind}")
            if metric.absolute and isinstance(self.target, Numbers):
                object.__setattr__(self, "target", dataclasses.replace(self.target, absolute=True))
            if metric.needs == "top" and self.target.kind == "numbers":
                raise ValueError(f"metric {metric.name!r} needs lists, and numbers have no order")

    def _scored_by(self, metric: str | metrics.Metric | Callable[..., float]) -> metrics.Metric:
        return metrics.resolve(metric, self.labels, self.submission.positive).of_kind(self.target.kind)

    @cached_property
    def scored_by(self) -> metrics.Metric:
        """The metric, with the labels that it names found among those of the target."""
        return self._scored_by(self.metric or self.task.metric)

    @property
    def metric_name(self) -> str:
        """The metric as it is written in a plugin; empty for an object or a function."""
        return (self.metric or self.task.metric) if isinstance(self.metric, str) else ""

    @property
    def labels(self) -> tuple[str, ...]:
        """What is predicted, such as the labels of the classes, in the order of predictions."""
        return tuple(self.classes)

    @cached_property
    def task(self) -> Task:
        """All that depends on what is predicted."""
        from kagglekit.tasks import kinds

        return kinds.of(self.target)

    def with_target(self, target: Target) -> Competition:
        """Return the competition with what its data says of the target, such as the names of the classes."""
        return dataclasses.replace(self, classes={}, target=target)

    def caption(self, index: int) -> str:
        """Return the caption of the class at `index`: its label, and its name for people if that differs."""
        return self.target.captions[index]

    @property
    def test_patterns(self) -> tuple[str, ...]:
        """All test patterns, in the order in which they are tried."""
        return sum(self.test_alternatives, ())

    @property
    def test_alternatives(self) -> locations.Alternatives:
        """The test patterns of each layout, in the order in which they are tried."""
        if isinstance(self.test, ListedIds):
            return self.test.alternatives
        return locations.alternatives_of(self.test if isinstance(self.test, tuple) else (self.test,))

    @property
    def has_groups(self) -> bool:
        """Whether each training image has a group, which folds never split."""
        return self.groups is not None or self.train.has_groups or bool(getattr(self.train, "row", ""))

    @property
    def test_has_groups(self) -> bool:
        """Whether each test image has a group, of which a row of the submission may be."""
        if isinstance(self.test, ListedIds):
            return self.test.has_groups
        return locations.named_in_all("group", self.test_alternatives)

    @property
    def mirror_classes(self) -> tuple[int, ...] | None:
        """For each class, the index of the mirrored image's class, (C,); None if flips are forbidden."""
        return mirror_classes(self.labels, self.flip)

    def _described_target(self) -> dict[str, Any]:
        """Return the target as plain values, unless the classes say it all."""
        plain = isinstance(self.target, Classes) and self.target == Classes(self.target.names)
        return {} if plain else {"target": self.target.to_plain()}

    def _described_test(self) -> dict[str, Any]:
        """Return where the test images are, unless the patterns say it all."""
        told = isinstance(self.test, ListedIds) or any(len(layout) > 1 for layout in self.test_alternatives)
        return {"test_images": repr(self.test)} if told else {}

    def describe(self) -> dict[str, Any]:
        """Return the description as plain values, for a run's record."""
        return {
            "name": self.name,
            "kaggle": self.kaggle,
            "classes": dict(self.classes),
            **self._described_target(),
            "train": repr(self.train),
            "valid": repr(self.valid),
            "test": list(self.test_patterns),
            **self._described_test(),
            "groups": repr(self.groups),
            "flip": self.flip if isinstance(self.flip, str) else dict(self.flip),
            "submission": repr(self.submission),
            "metric": self.scored_by.name,
        }
