"""What a metric is. N rows, C classes, L labels, K numbers, G clusters, B resamples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kagglekit.base.arrays import Floats, Labels

    Truth: TypeAlias = NDArray[Any]
    Predicted: TypeAlias = NDArray[Any]
    Counts: TypeAlias = NDArray[Any]
else:
    Truth = Predicted = Counts = Any  # plugins import this module, which must load no numpy

Kind = Literal["classes", "labels", "grades", "numbers", "shares"]
"""A kind of target. Its truth: classes and grades (N,) int64; labels (N, L) bool; numbers and shares (N, K) float64."""
KINDS: tuple[Kind, ...] = get_args(Kind)
Needs = Literal["probabilities", "ranks", "decisions", "top", "numbers"]
"""What a metric is computed from:

- probabilities, or ranks, for which only the order counts: (N, C) float64
- decisions: classes and grades (N,) int64; labels (N, L) bool
- top: the k best classes, best first: (N, k) int64, where -1 is no guess
- numbers: (N, K) float64
"""


@dataclass(frozen=True)
class Resamples:
    """Resamples of whole clusters of rows."""

    clusters: Labels
    """Each row's cluster, a number from 0 to G - 1, (N,)."""
    counts: Counts
    """How often each resample has each cluster, (B, G)."""

    @classmethod
    def once(cls, num_rows: int) -> Resamples:
        """Return one resample that has each row once."""
        import numpy as np

        return cls(np.zeros(num_rows, np.int64), np.ones((1, 1)))


Resample = Callable[[Truth, Predicted, Resamples], "Floats"]
"""(truth, what the metric needs, resamples) -> scores (B,); NaN where undefined."""


class UndefinedScoreError(ValueError):
    """The rows have no score: AUC of one class."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a competition scores predictions."""

    name: str
    """Name in tables."""
    score: Callable[[Truth, Predicted], float]
    """(truth, what the metric needs) -> the score of all rows."""
    lower_is_better: bool = True
    """Whether a smaller score wins."""
    per_row: Callable[[Truth, Predicted], Floats] | None = None
    """(truth, what the metric needs) -> (N,), if the score is their mean; gives exact standard errors."""
    needs: Needs = "probabilities"
    """What `score` and `per_row` get."""
    takes_lists: bool = False
    """Whether they take the probabilities of very many classes as `Shortlists`; else they get arrays of few rows, or,
    without `per_row`, of all."""
    kinds: tuple[Kind, ...] = KINDS
    """The kinds of target that it can score."""
    k: int = 0
    """The length of the lists, for a metric that needs `top`."""
    resample: Resample | None = None
    """A fast way to score resamples; without it, the rows of each are scored anew."""
    of_counts: Callable[[Counts, Counts, Counts], Floats] | None = None
    """(how often each label is right, true and decided, (B, L) each) -> scores (B,), if a score of labels needs no
    more; decisions are then fitted without the rows."""
    for_labels: Callable[[Sequence[str], str], Metric] | None = None
    """(labels, positive label or "") -> the metric of these labels, if it names some. Raises ValueError."""
    absolute: bool = False
    """Whether errors of numbers count by their size, and not by its square."""
    left_out: Callable[[Truth, int], Sequence[int]] | None = None
    """(truth, C or L) -> indices of classes or labels without a score of their own, which the mean leaves out."""

    def __post_init__(self) -> None:
        if self.needs not in get_args(Needs):
            raise ValueError(f"metric {self.name!r}: needs {self.needs!r} is not one of {', '.join(get_args(Needs))}")
        if (self.needs == "top") != (self.k > 0):
            raise ValueError(f"metric {self.name!r}: a metric that needs 'top', and no other, has a k above 0")
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ValueError(f"metric {self.name!r}: kinds {list(self.kinds)} are not among {', '.join(KINDS)}")

    def of_kind(self, kind: str) -> Metric:
        """Return the metric of a kind of target: of numbers it always gets those within the declared range."""
        return replace(self, needs="numbers") if kind == "numbers" and self.needs != "top" else self

    def resampled(self, truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
        """Return the score of each resample, (B,); NaN for one that has no score."""
        return (self.resample or by_rows(self.score))(truth, predicted, resamples)


def by_rows(score: Callable[[Truth, Predicted], float]) -> Resample:
    """Return the resampling of any score: the rows of each resample are scored anew."""

    def resample(truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
        import numpy as np

        scores = np.full(len(resamples.counts), np.nan)
        for place, counts in enumerate(resamples.counts):
            rows = np.repeat(np.arange(len(truth)), counts[resamples.clusters])
            with contextlib.suppress(ValueError):  # undefined for these rows
                scores[place] = score(truth[rows], predicted[rows])
        return scores

    return resample


def resampled_metric(resample: Resample, *, undefined: str, **fields: Any) -> Metric:
    """Return a metric whose score is that of a resample with each row once. `undefined` says when there is none."""

    def score(truth: Truth, predicted: Predicted) -> float:
        import numpy as np

        from kagglekit.base import shortlists

        if not shortlists.finite(predicted):
            raise ValueError(f"{fields['name']}: a prediction is not a finite number")
        (value,) = resample(truth, predicted, Resamples.once(len(truth)))
        if np.isnan(value):
            raise UndefinedScoreError(f"{fields['name']} is undefined: {undefined}")
        return float(value)

    return Metric(score=score, resample=resample, **fields)


def rows_metric(per_row: Callable[[Truth, Predicted], Floats], **fields: Any) -> Metric:
    """Return a metric whose score is the mean of its rows."""

    def score(truth: Truth, predicted: Predicted) -> float:
        import numpy as np

        value = float(per_row(truth, predicted).mean()) if len(truth) else float("nan")
        if np.isnan(value):
            raise UndefinedScoreError(f"{fields['name']} is undefined: no row, or a prediction is no number")
        return value

    return Metric(score=score, per_row=per_row, **fields)
