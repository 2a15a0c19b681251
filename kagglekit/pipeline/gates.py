"""The test that every change of predictions or decisions must pass to be kept.

A change is kept if the lower bound of its gain, from a paired bootstrap over groups, is above zero. What is compared is
what the metric needs: predictions (N, C), or what is decided of them.

N: scored images, C: columns of the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Shortlists, Wide
from kagglekit.data import folds
from kagglekit.metrics import Metric, UndefinedScoreError, clustered_error, resampling
from kagglekit.metrics.metric import Resamples
from kagglekit.runs.record import FinishingStep
from kagglekit.tasks.task import Task, Truth

RESAMPLES = 2000
SLOW_RESAMPLES = 400
"""Number of resamples for metrics without per-row values."""
CONFIDENCE = 0.95
"""Of each bound of a gain."""
CROSS_FITTED_PARTS = 5
_ROUNDING = 1e-9
"""Share of a score that arithmetic alone may change."""
_BLOCK = 1 << 22
"""Most predictions whose rows are scored together."""


Advance = Callable[[int], object]
"""Counts fits that are done."""


def still(count: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Scored:
    """Rows with true labels (N,), probabilities (N, C), and the clusters that the bootstrap resamples, (N,)."""

    truth: Truth
    probabilities: Wide
    clusters: NDArray[np.int64]
    fold: folds.Fold


def scored_rows(train: pd.DataFrame, oof: Wide, task: Task) -> Scored:
    """Return the rows of a table with `id`, `label`, `fold` and, if there are groups, `group`."""
    clusters = train["group"] if "group" in train else train["id"]
    return Scored(task.truth(train["label"]), oof, pd.factorize(clusters)[0].astype(np.int64), train["fold"].to_numpy())


@dataclass(frozen=True)
class Judgement:
    """The out-of-fold gain of a change, in units of the metric (positive is better), and whether it is kept."""

    before: float
    after: float
    gain: float
    low: float
    """Lower bound of the gain, with 95% confidence; `high` is the upper bound."""
    high: float
    kept: bool


@dataclass(frozen=True)
class Gate:
    """A finishing step and its judgement."""

    step: str
    value: float | None
    """Value of the step for the test set, chosen on all scored rows; None if it has none, or several."""
    judgement: Judgement
    text: str = ""
    """Several values, for people."""
    note: str = ""
    """What else is to be known of the step, in a word."""

    def record(self) -> FinishingStep:
        """Return the record for the run's files."""
        text, note = self.text or None, self.note or None
        return FinishingStep(step=self.step, value=self.value, text=text, note=note, **asdict(self.judgement))


def judge(scored: Scored, before: Wide, after: Wide, metric: Metric, seed: int) -> Judgement:
    """Compare what the metric needs of the same rows before and after a change."""
    gains = _bootstrap_gains(scored, before, after, metric, seed)
    score_before, score_after = score(scored.truth, before, metric), score(scored.truth, after, metric)
    sign = 1.0 if metric.lower_is_better else -1.0
    low, high = map(float, np.quantile(gains, [1 - CONFIDENCE, CONFIDENCE]))
    gain = sign * (score_before - score_after)
    several = len(np.unique(scored.clusters)) > 1  # a single group proves nothing about others
    proven = several and low > _ROUNDING * abs(score_before)
    return Judgement(score_before, score_after, gain, low, high, kept=proven)


def gain_interval(scored: Scored, before: Wide, after: Wide, metric: Metric, seed: int) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the gain of `after` over `before`, resampling whole clusters.

    The interval is infinite for a single cluster, which proves nothing about others.
    """
    if len(np.unique(scored.clusters)) < 2:
        return -float("inf"), float("inf")
    low, high = np.quantile(_bootstrap_gains(scored, before, after, metric, seed), [0.025, 0.975])
    return float(low), float(high)


def gain_error(scored: Scored, before: Wide, after: Wide, metric: Metric, seed: int) -> tuple[float, float]:
    """Return the gain of `after` over `before` and its standard error, where a cluster counts as one observation."""
    sign = 1.0 if metric.lower_is_better else -1.0
    if metric.per_row is not None:
        gains = sign * (_row_scores(scored.truth, before, metric) - _row_scores(scored.truth, after, metric))
        return float(gains.mean()), clustered_error(gains, scored.clusters)
    gain = sign * (score(scored.truth, before, metric) - score(scored.truth, after, metric))
    return gain, float(np.std(_bootstrap_gains(scored, before, after, metric, seed), ddof=1))


def standard_error(scored: Scored, needed: Wide, metric: Metric, seed: int) -> float:
    """Return the standard error of the score. The rows of a cluster count as one observation; of one, it is NaN."""
    if metric.per_row is not None:
        return clustered_error(_row_scores(scored.truth, needed, metric), scored.clusters)
    count = len(np.unique(scored.clusters))
    if count < 2:
        return float("nan")
    taken = as_taken(needed, metric)
    scores = [metric.resampled(scored.truth, taken, resamples) for resamples in _resamples(scored, seed)]
    spread = float(np.std(_defined(np.concatenate(scores)), ddof=1))
    return spread * math.sqrt(count / (count - 1))  # resamples of few clusters vary too little


def as_taken(needed: Wide, metric: Metric) -> Any:
    """Return what a metric needs as it takes it: an array, if it takes no short lists."""
    return needed if metric.takes_lists else np.asarray(needed)


def score(truth: Truth, needed: Wide, metric: Metric) -> float:
    """Return the score. Raises UserError if there is none."""
    try:
        if metric.per_row is not None and len(needed) * width(needed, metric) > _BLOCK:
            found = float(_row_scores(truth, needed, metric).mean())
        else:
            found = float(metric.score(truth, as_taken(needed, metric)))
    except UndefinedScoreError as error:
        raise UserError(f"{error}: use more images, or another metric in the plugin.") from error
    except ValueError as error:
        raise UserError(f"the metric {metric.name!r} fails ({error}): `kagglekit check` probes it.") from error
    if not np.isfinite(found):
        raise UserError(f"the metric {metric.name!r} is {found} on {len(truth)} images: `kagglekit check` probes it.")
    return found


def left_out(scored: Scored, metric: Metric, labels: Sequence[str]) -> str:
    """Return a remark on the labels that a mean over labels leaves out; empty if there are none."""
    found = metric.left_out(scored.truth, len(labels)) if metric.left_out else []
    if not found:
        return ""
    return (
        f"{metric.name}: the mean leaves out {len(found)} of {len(labels)} labels, which all scored images have, or "
        f"none, for example {labels[found[0]]!r}"
    )


def parts(scored: Scored, seed: int) -> folds.Fold:
    """Return the folds. A hold-out set is split into parts that keep clusters whole."""
    if len(np.unique(scored.fold)) > 1:
        return scored.fold
    clusters = np.unique(scored.clusters)
    if len(clusters) < 2:
        return np.arange(len(scored.truth)) % CROSS_FITTED_PARTS
    shuffled = np.random.default_rng(seed).permutation(len(clusters)) % min(CROSS_FITTED_PARTS, len(clusters))
    found: folds.Fold = shuffled[np.searchsorted(clusters, scored.clusters)]
    return found


def _bootstrap_gains(scored: Scored, before: Wide, after: Wide, metric: Metric, seed: int) -> Floats:
    sign = 1.0 if metric.lower_is_better else -1.0
    if metric.per_row is None:
        both = [as_taken(needed, metric) for needed in (before, after)]
        scores = [
            [metric.resampled(scored.truth, needed, resamples) for needed in both]
            for resamples in _resamples(scored, seed)
        ]
        first, second = np.concatenate(scores, axis=1)
        return _defined(sign * (first - second))
    losses = [_row_scores(scored.truth, needed, metric) for needed in (before, after)]
    gains = sign * (losses[0] - losses[1])
    sums = np.bincount(scored.clusters, weights=gains)
    sizes = np.bincount(scored.clusters)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        chosen = random.integers(0, len(sums), len(sums))
        means[draw] = sums[chosen].sum() / sizes[chosen].sum()
    return means


def _row_scores(truth: Truth, needed: Wide, metric: Metric) -> Floats:
    """Return the score of each row, (N,), of a metric that has them. Few rows are copied at a time."""
    assert metric.per_row is not None
    step = max(1, _BLOCK // width(needed, metric))
    blocks = [slice(start, start + step) for start in range(0, max(1, len(needed)), step)]
    return np.concatenate([metric.per_row(truth[block], as_taken(needed[block], metric)) for block in blocks])


def width(needed: Wide, metric: Metric) -> int:
    """Return how many numbers of a row the metric looks at."""
    if isinstance(needed, Shortlists) and not metric.takes_lists:
        return needed.columns
    return max(1, needed.size // max(1, len(needed)))


def _resamples(scored: Scored, seed: int) -> Iterator[Resamples]:
    return resampling.draw(scored.truth, scored.clusters, SLOW_RESAMPLES, seed)


def _defined(values: Floats) -> Floats:
    """Return the values of the resamples that have one. A plugin's own metric may have none for some; 0 if all."""
    found = values[np.isfinite(values)]
    return found if len(found) > 1 else np.zeros(2)
