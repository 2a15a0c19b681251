"""Metrics of decisions: accuracy, recall, F-beta, kappa.

Decisions on classes and grades are (N,) int64, on labels (N, L) bool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from kagglekit.metrics import rows
from kagglekit.metrics.metric import Kind, Metric, Predicted, Resample, Resamples, Truth, resampled_metric, rows_metric
from kagglekit.metrics.parameters import among, number, places, positive_index, shown, weights_by_label

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats

Average = Literal["binary", "micro", "macro", "samples"]
_KINDS: tuple[Kind, ...] = ("classes", "labels", "grades")
_FBETA_KINDS: dict[str, tuple[Kind, ...]] = {"binary": ("classes",), "samples": ("labels",)}


def accuracy() -> Metric:
    """Return the share of right rows; a row of labels is right if all of them are."""
    return rows_metric(rows.right_rows, name="accuracy", lower_is_better=False, needs="decisions", kinds=_KINDS)


def balanced_accuracy() -> Metric:
    """Return the mean recall of the classes that occur."""

    def resample(truth: Truth, decided: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import decided_sums

        return decided_sums.balanced_accuracy(truth, decided, resamples)

    return _of_decisions(resample, name="balanced accuracy", kinds=("classes", "grades"))


def weighted_recall(*, weights: Mapping[str, float]) -> Metric:
    """Return the weighted mean of recalls. `weights` maps labels, or patterns such as `vowel_*`, to weights.

    The recall of a pattern is the mean over those of its labels that are true or decided in any row.
    """
    given = weights_by_label("weighted_recall", weights)

    def for_labels(labels: Sequence[str], _: str) -> Metric:
        return _weighted_recall(given, places("weighted_recall", list(given), labels))

    return _weighted_recall(given, None, for_labels=for_labels)


def _weighted_recall(weights: Mapping[str, float], groups: Sequence[Sequence[int]] | None, **fields: Any) -> Metric:
    def resample(truth: Truth, decided: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import decided_sums

        if groups is None:
            raise ValueError("weighted_recall: its weights name labels, which the metric does not know yet")
        return decided_sums.weighted_recall(truth, decided, groups, list(weights.values()), resamples)

    return _of_decisions(resample, name=f"recall ({shown(weights)})", kinds=_KINDS, **fields)


def f1(average: Average, *, positive: str = "") -> Metric:
    """Return F1, as `fbeta` with a beta of 1."""
    return fbeta(1, average, positive=positive)


def fbeta(beta: float, average: Average, *, positive: str = "") -> Metric:
    """Return F-beta as scikit-learn computes it; 0 where nothing is true and nothing decided.

    `average`: binary (of the positive class, by default the second of two), micro (over all decisions), macro (mean of
    the classes that are true or decided in any row, or of all labels), samples (mean of the rows).
    """
    beta = number("fbeta", "beta", beta)
    called = f"f{beta:g}" if beta == 1 else "fbeta"
    if beta <= 0:
        raise ValueError(f"fbeta: beta {beta:g} must be above 0")
    among(called, "average", average, get_args(Average))
    if positive and average != "binary":
        raise ValueError(f"{called}: positive is for the average 'binary', not {average!r}")
    fields: dict[str, Any] = {"name": f"F{beta:g} ({average})", "kinds": _FBETA_KINDS.get(average, _KINDS)}
    if average == "samples":
        per_row = partial(rows.fbeta_rows, beta=beta)
        return rows_metric(per_row, lower_is_better=False, needs="decisions", **fields)
    if average != "binary":
        return _of_decisions(_fbeta(beta, average, 0), of_counts=_of_counts(beta, average), **fields)

    def for_labels(labels: Sequence[str], of: str) -> Metric:
        return _of_decisions(_fbeta(beta, average, positive_index(called, positive or of, labels)), **fields)

    return _of_decisions(_fbeta(beta, average, 1), for_labels=for_labels, **fields)


def _fbeta(beta: float, average: Average, positive: int) -> Resample:
    def resample(truth: Truth, decided: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import decided_sums

        if average == "binary":
            truth, decided = (truth == positive)[:, None], (decided == positive)[:, None]
        return decided_sums.fbeta(truth, decided, beta, resamples, macro=average == "macro")

    return resample


def _of_counts(beta: float, average: Average) -> Callable[[Any, Any, Any], Floats]:
    def of_counts(right: Any, true: Any, decided: Any) -> Floats:
        from kagglekit.metrics import decided_sums

        return decided_sums.fbeta_of_counts(right, true, decided, beta=beta, macro=average == "macro")

    return of_counts


def qwk() -> Metric:
    """Return the quadratic weighted kappa of grades."""

    def resample(truth: Truth, decided: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import decided_sums

        return decided_sums.quadratic_kappa(truth, decided, resamples)

    why = "all rows have one grade, true and decided"
    return _of_decisions(resample, why, name="quadratic weighted kappa", kinds=("grades", "classes"))


def _of_decisions(resample: Resample, undefined: str = "nothing that it weighs occurs", **fields: Any) -> Metric:
    return resampled_metric(resample, undefined=undefined, lower_is_better=False, needs="decisions", **fields)
