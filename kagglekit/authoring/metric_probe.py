"""Try a metric on predictions whose score is known to be good, bad or undefined.

N rows, C classes, labels or numbers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from kagglekit import metrics
from kagglekit.base.arrays import Floats
from kagglekit.base.errors import PluginError
from kagglekit.metrics import Metric, Truth

_ROWS = 300
_CERTAIN = 0.999
"""Probability of what is true in perfect predictions."""


@dataclass(frozen=True)
class _Probe:
    """Predictions to score."""

    name: str
    truth: Truth
    predictions: Floats
    may_be_undefined: bool = False


def check(metric: Metric, kind: str, num_columns: int, low: float = 0, high: float = 1) -> None:
    """Check a metric for a kind of target with C columns; numbers are from `low` to `high`.

    Raises PluginError if it fails, gives no number, changes its arguments, or prefers shuffled predictions.
    """
    truth, perfect = _drawn(kind, num_columns, low, high)
    shuffled = np.roll(perfect, len(perfect) // 2 + 1, axis=0)
    one = np.broadcast_to(truth[:1], truth.shape).copy()
    good = _score(metric, kind, _Probe("perfect predictions", truth, perfect))
    bad = _score(metric, kind, _Probe("shuffled predictions", truth, shuffled))
    _check_direction(metric, good, bad)
    _check_rows(metric, kind, truth, shuffled, bad)
    _score(metric, kind, _Probe("images of one class", one, shuffled, may_be_undefined=True))
    _score(metric, kind, _Probe("two images", truth[:2], perfect[:2], may_be_undefined=True))


def _drawn(kind: str, width: int, low: float, high: float) -> tuple[Truth, Floats]:
    """Return truth and perfect predictions, (N, C). The first two rows differ in every column."""
    random = np.random.default_rng(0)
    if kind in ("numbers", "shares"):
        numbers = random.uniform(low, high, (_ROWS, width))
        return numbers, numbers.copy()
    if kind == "labels":
        truth = random.random((_ROWS, width)) < 0.4
        truth[0], truth[1] = True, False
        return truth.astype(np.float64), np.where(truth, _CERTAIN, 1 - _CERTAIN)
    classes = np.append(np.arange(min(2, width)), random.permutation(_ROWS - 2) % width)
    rows = np.full((_ROWS, width), (1 - _CERTAIN) / max(1, width - 1))
    rows[np.arange(_ROWS), classes] = _CERTAIN
    return classes, rows


def _score(metric: Metric, kind: str, probe: _Probe) -> float:
    """Return the score of a probe; NaN where it may be undefined, and the metric says so by a ValueError."""
    decided = metrics.plain_decision(metric, probe.predictions, kind)
    truth, given = probe.truth.copy(), decided.copy()
    where = f"metric {metric.name!r}, with {probe.name}"
    try:
        with warnings.catch_warnings(action="ignore"):
            found: Any = metric.score(truth, given)
    except Exception as error:  # a plugin's function may raise anything
        if probe.may_be_undefined and isinstance(error, ValueError):
            return float("nan")
        raise PluginError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not (np.array_equal(truth, probe.truth) and np.array_equal(given, decided)):
        raise PluginError(f"{where}: it changes its arguments: it must work on copies")
    if np.ndim(found) != 0 or not np.issubdtype(np.asarray(found).dtype, np.number):
        raise PluginError(f"{where}: it returns {_shown(found)}, not a number")
    if not np.isfinite(found):
        raise PluginError(f"{where}: it is {float(found)}: raise a ValueError where the metric is undefined")
    return float(found)


def _shown(found: Any) -> str:
    return f"an array of shape {np.shape(found)}" if np.ndim(found) else repr(found)


def _check_direction(metric: Metric, good: float, bad: float) -> None:
    if good == bad:
        raise PluginError(f"metric {metric.name!r}: perfect and shuffled predictions have the same score, {good:g}")
    if (good < bad) != metric.lower_is_better:
        better, called = ("lower", "higher") if metric.lower_is_better else ("higher", "lower")
        raise PluginError(
            f"metric {metric.name!r}: perfect predictions score {good:g} and shuffled ones {bad:g}, but {better} "
            f"counts as better: {called} is better, so write metric=Metric(name=..., score=..., "
            f"lower_is_better={not metric.lower_is_better})"
        )


def _check_rows(metric: Metric, kind: str, truth: Truth, predictions: Floats, score: float) -> None:
    if metric.per_row is None:
        return
    rows = metric.per_row(truth, metrics.plain_decision(metric, predictions, kind))
    if np.shape(rows) != (len(truth),) or not np.isclose(np.mean(rows), score):
        raise PluginError(
            f"metric {metric.name!r}: the mean of per_row must be the score, but {_shown(rows)} has the mean "
            f"{np.mean(rows):g}, not {score:g}"
        )
