"""Metrics of probabilities: log loss and probabilistic F1. N rows, C classes, L labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kagglekit.metrics import rows
from kagglekit.metrics.metric import Kind, Metric, Predicted, Resamples, Truth, resampled_metric, rows_metric
from kagglekit.metrics.parameters import number, places, positive_index, shown, weights_by_label

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats

_KINDS: tuple[Kind, ...] = ("classes", "labels", "grades")


def log_loss(*, weights: Mapping[str, float] | None = None, positive_weight: float = 1) -> Metric:
    """Return Kaggle's log loss; of labels, the mean of their binary log losses.

    `weights` maps labels, or patterns such as `C*`, to weights; the others have 1. Labels: the weighted mean of each
    row. Classes: the weighted mean of each class's mean loss; classes that do not occur are left out.
    `positive_weight` multiplies the weight of a label where it is true.
    """
    factor = number("log_loss", "positive_weight", positive_weight)
    if factor <= 0:
        raise ValueError(f"log_loss: positive_weight {positive_weight!r} must be above 0")
    if weights is None and factor == 1:
        return rows_metric(rows.log_loss_rows, name="log loss", kinds=_KINDS, takes_lists=True)
    given = weights_by_label("log_loss", weights or {"*": 1})

    def for_labels(labels: Sequence[str], _: str) -> Metric:
        by_label = [1.0] * len(labels)
        for indices, weight in zip(places("log_loss", list(given), labels), given.values(), strict=True):
            for index in indices:
                by_label[index] = weight
        return _weighted_log_loss(given, factor, by_label)

    return _weighted_log_loss(given, factor, None, for_labels=for_labels)


def _weighted_log_loss(given: Mapping[str, float], factor: float, weights: Sequence[float] | None, **f: Any) -> Metric:
    def resample(truth: Truth, probabilities: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import probable_sums

        if weights is None:
            raise ValueError("log_loss: its weights name labels, which the metric does not know yet")
        if truth.ndim == 2:
            return probable_sums.weighted_label_loss(truth, probabilities, weights, factor, resamples)
        return probable_sums.weighted_class_loss(truth, probabilities, weights, resamples)

    weighted = shown(given) + ("" if factor == 1 else f", positive: {factor:g}")
    name = f"log loss ({weighted})"
    return resampled_metric(resample, undefined="no row", name=name, kinds=_KINDS, takes_lists=True, **f)


def pf1(*, positive: str = "") -> Metric:
    """Return the probabilistic F1 of the positive class, by default the second of two.

    Source: the metric of RSNA's breast cancer detection, where a prediction counts as that share of a decision.
    """

    def for_labels(labels: Sequence[str], of: str) -> Metric:
        return _pf1(positive_index("pf1", positive or of, labels))

    return _pf1(1, for_labels=for_labels)


def _pf1(positive: int, **fields: Any) -> Metric:
    def resample(truth: Truth, probabilities: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import probable_sums

        return probable_sums.probabilistic_f1(truth == positive, probabilities[:, positive], resamples)

    why = "no row is positive"
    kinds: tuple[Kind, ...] = ("classes",)
    return resampled_metric(
        resample, undefined=why, name="probabilistic F1", lower_is_better=False, kinds=kinds, **fields
    )
