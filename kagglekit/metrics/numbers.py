"""Metrics of numbers and shares, (N, K). A true number that is NaN is unknown, and not scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagglekit.metrics.metric import Kind, Metric, Predicted, Resample, Resamples, Truth, resampled_metric

if TYPE_CHECKING:
    from kagglekit.base.arrays import Floats

_KINDS: tuple[Kind, ...] = ("numbers", "shares")


def rmse() -> Metric:
    """Return the root mean squared error over all numbers."""

    def resample(truth: Truth, numbers: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import number_sums

        return number_sums.root_mean_square(truth, numbers, resamples)

    return _of_numbers(resample, name="RMSE")


def mcrmse() -> Metric:
    """Return the mean over columns of their root mean squared errors."""

    def resample(truth: Truth, numbers: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import number_sums

        return number_sums.columnwise_root_mean_square(truth, numbers, resamples)

    return _of_numbers(resample, "a column has no known number", name="mean column-wise RMSE")


def mae() -> Metric:
    """Return the mean absolute error over all numbers; models are then trained with Huber's loss."""

    def resample(truth: Truth, numbers: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import number_sums

        return number_sums.mean_absolute(truth, numbers, resamples)

    return _of_numbers(resample, name="MAE", absolute=True)


def r2() -> Metric:
    """Return the mean over columns of their coefficients of determination."""

    def resample(truth: Truth, numbers: Predicted, resamples: Resamples) -> Floats:
        from kagglekit.metrics import number_sums

        return number_sums.determination(truth, numbers, resamples)

    return _of_numbers(resample, "the true numbers of a column are all equal", name="R2", lower_is_better=False)


def _of_numbers(resample: Resample, undefined: str = "no true number is known", **fields: Any) -> Metric:
    return resampled_metric(resample, undefined=undefined, needs="numbers", kinds=_KINDS, **fields)
