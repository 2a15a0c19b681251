"""Metrics of ranks: areas under curves, average precision. Truth: classes (N,) int64, labels (N, L) bool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from kagglekit.metrics.metric import Kind, Metric, Needs, Predicted, Resamples, Truth, resampled_metric
from kagglekit.metrics.parameters import among, number, positive_index, shown

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats
    from kagglekit.metrics.curves import Measure

_ONE_SIDED = "the rows are all positive, or all negative"


def auc(
    average: Literal["", "mean"] = "",
    *,
    min_tpr: float = 0,
    weights: Mapping[float, float] | None = None,
    positive: str = "",
) -> Metric:
    """Return the area under the ROC curve of the positive class, by default the second of two.

    `average="mean"`: the mean of the areas of all classes or labels; it leaves out those that all rows have, or none.
    `min_tpr`: only the area above this true positive rate, not divided by its height (ISIC 2024).
    `weights` maps the upper true positive rate of each piece of the curve to the piece's weight, up to a rate of 1
    (alaska2: {0.4: 2, 1: 1}).
    """
    among("auc", "average", average, ("", "mean"))
    lowest = number("auc", "min_tpr", min_tpr)
    if not 0 <= lowest < 1:
        raise ValueError(f"auc: min_tpr {min_tpr!r} must be from 0 to below 1")
    if lowest and weights is not None:
        raise ValueError("auc: min_tpr and weights exclude each other")
    pieces = ((lowest, 1.0, 1.0),) if weights is None else _pieces(weights)

    def measure() -> Measure:
        from kagglekit.metrics import curves

        return curves.area(pieces)

    extra = [f"TPR above {lowest:g}"] if lowest else []
    extra += [f"weights {shown(weights)}"] if weights else []
    return _measured("AUC", measure, average, positive, extra)


def average_precision(average: Literal["", "macro", "micro"] = "", *, positive: str = "") -> Metric:
    """Return the average precision of the positive class, as scikit-learn computes it.

    `average`: macro (mean of all classes or labels; it leaves out those that no row has), micro (of all decisions).
    """
    among("average_precision", "average", average, ("", "macro", "micro"))

    def measure() -> Measure:
        from kagglekit.metrics import curves

        return curves.average_precision

    return _measured("average precision", measure, average, positive, [])


def gap() -> Metric:
    """Return the global average precision: that of all rows' best guesses, sorted by their probability.

    A true class of -1 is none. Source: the metric of Google's landmark recognition, equal probabilities taken together.
    """

    def resample(truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import curves

        return curves.global_average_precision(truth, predicted, resamples)

    return _ranked(
        resample, "no row has a class", name="GAP", kinds=("classes",), needs="probabilities", takes_lists=True
    )


def _pieces(weights: Mapping[float, float]) -> tuple[tuple[float, float, float], ...]:
    """Return (lowest rate, highest rate, weight over the weighted height of all) of each piece of a curve."""
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f"auc: weights {weights!r} must map true positive rates to weights, as in {{0.4: 2, 1: 1}}")
    tops = [number("auc", "the rate", rate) for rate in weights]
    heavy = [number("auc", "the weight", weight) for weight in weights.values()]
    bottoms = [0.0, *tops[:-1]]
    if any(low >= high for low, high in zip(bottoms, tops, strict=True)) or tops[-1] != 1 or min(heavy) <= 0:
        raise ValueError(f"auc: weights {dict(weights)!r} must have rising rates up to 1 and weights above 0")
    whole = sum((high - low) * weight for low, high, weight in zip(bottoms, tops, heavy, strict=True))
    return tuple((low, high, weight / whole) for low, high, weight in zip(bottoms, tops, heavy, strict=True))


def _measured(name: str, measure: Callable[[], Measure], average: str, positive: str, extra: Sequence[str]) -> Metric:
    """Return a metric of a measure of one class's curve, or of the curves of all."""
    words = [*([average] if average else []), *extra]
    fields: dict[str, Any] = {"name": f"{name} ({', '.join(words)})" if words else name}
    if positive and average:
        raise ValueError(f"{name}: positive and {average} exclude each other")
    if average:
        return _averaged(measure, average, **fields)

    def one(index: int, *, named: bool = False, **more: Any) -> Metric:
        def resample(truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
            from kagglekit.metrics import curves

            flags, scores = curves.of_one(name, truth, predicted, index, named=named)
            return curves.measured(measure(), flags, scores, resamples)

        return _ranked(resample, **fields, **more)

    def for_labels(labels: Sequence[str], of: str) -> Metric:
        if len(labels) == 1:
            return one(0)
        if len(labels) > 2 and not (positive or of):
            raise ValueError(f"{name} is for two classes, not {len(labels)}: {_averages(name)}")
        if of and not positive:  # of any number of labels, or of two classes: the format has checked it
            return one(list(labels).index(of), named=True)
        return one(positive_index(name, positive, labels), named=bool(positive))

    return one(1, for_labels=for_labels)


def _averages(name: str) -> str:
    return "auc(mean) averages over them" if name == "AUC" else "average_precision(macro) averages over them"


def _averaged(measure: Callable[[], Measure], average: str, **fields: Any) -> Metric:
    def resample(truth: Truth, predicted: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import curves

        of_all = curves.measured_together if average == "micro" else curves.mean_measured
        return of_all(measure(), truth, predicted, resamples)

    def left_out(truth: Truth, width: int) -> list[int]:
        from kagglekit.metrics import curves

        return curves.one_sided(truth, width)

    return _ranked(resample, **fields, left_out=None if average == "micro" else left_out)


def _ranked(resample: Any, undefined: str = _ONE_SIDED, needs: Needs = "ranks", **fields: Any) -> Metric:
    kinds: tuple[Kind, ...] = fields.pop("kinds", ("classes", "labels"))
    return resampled_metric(resample, undefined=undefined, lower_is_better=False, needs=needs, kinds=kinds, **fields)
