"""Values of decisions, chosen for a metric on rows whose truth is known.

N rows, C columns, B candidate values. A candidate switches rows: those whose key reaches it are decided one way, the
others the other way. A metric with row values, or of counts of labels, needs one pass over the rows for all candidates;
one with fast resamples counts the rows of each side, as if a candidate were a resample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kagglekit.base.arrays import Floats, Indices, Labels
from kagglekit.base.shortlists import Shortlists, Wide
from kagglekit.metrics import Metric, Predicted, Truth
from kagglekit.metrics.metric import Resamples
from kagglekit.tasks.decisions import (
    CutPoints,
    Decision,
    MostProbable,
    Thresholds,
    TopLists,
    best_of,
    mean_grades,
)

Fit = Callable[[Truth, Any, Metric, Any], Decision]
"""(truth, predictions (N, C), metric, the decision to start from) -> the fitted decision."""

_CANDIDATES = 60
_CANDIDATES_OF_SLOW_METRICS = 15
"""Without row values and fast resamples each candidate costs a score of all rows."""
_ROUNDS = 2
"""Number of passes over the labels, or cut points; later ones change little."""
_MOST_CELLS = 1 << 19
"""With more predictions a sample of the rows decides, but not with fewer than `_LEAST_ROWS`."""
_LEAST_ROWS = 5_000
_MOST_LABELS = 100
"""With more labels all share one threshold."""
_WIDTH = 64
"""Number of the most probable classes of a row that weights choose from."""
_POWERS = tuple(np.round(np.arange(-0.5, 1.51, 0.1), 1).tolist())
_COMMON = tuple(np.round(np.concatenate([np.arange(0.02, 0.1, 0.02), np.arange(0.1, 0.91, 0.05)]), 3).tolist())
_EPSILON = 1e-12


def offered(usual: Decision, metric: Metric) -> Mapping[str, Fit]:
    """Return the steps that may improve on the usual decision for a metric: name -> fit. Each starts from the last."""
    match usual:
        case MostProbable() if metric.needs == "decisions":
            return {"class weights": class_weights}
        case Thresholds() if metric.needs == "decisions":
            several = 1 < len(usual.thresholds) <= _MOST_LABELS
            return {"threshold": one_threshold} | ({"thresholds": thresholds} if several else {})
        case CutPoints() if metric.needs == "decisions":
            return {"cut points": cut_points}
        case TopLists() if usual.unseen >= 0:
            return {"threshold of the unseen": unseen_threshold}
    return {}


def sampled(rows: Indices, predictions: Wide, seed: int) -> Indices:
    """Return the rows of predictions (N, C) that choose values, of those that may: all, or few enough for seconds."""
    most = max(_LEAST_ROWS, _MOST_CELLS * len(predictions) // max(1, predictions.size))
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def class_weights(truth: Labels, predictions: Wide, metric: Metric, start: MostProbable) -> MostProbable:
    """Return weights of classes: of two any, of more a power of how rare they are."""
    columns = predictions.shape[1]
    if columns == 2:
        second = predictions[:, 1] / np.maximum(predictions.sum(axis=1), _EPSILON)
        rows = _Switch(metric, truth, np.zeros(len(truth), np.int64), np.ones(len(truth), np.int64))
        edge = rows.best(second, second[truth == 1], 0.5, 0.0, 1.0)
        return start if edge == 0.5 else replace(start, weights=(edge, 1 - edge))
    share = (np.bincount(truth, minlength=columns) + 1) / (len(truth) + columns)
    places, values = _best(predictions, min(_WIDTH, columns))

    def decided(power: float) -> Labels:
        weighted = (values * (share**-power)[places]).argmax(axis=1)
        return np.take_along_axis(places, weighted[:, None], axis=1)[:, 0]

    power = _best_value(metric, truth, decided, _POWERS, 0.0)
    if power == 0:
        return start
    weights = share**-power
    return replace(start, weights=tuple((weights / weights.max()).tolist()))


def one_threshold(truth: Truth, predictions: Floats, metric: Metric, start: Thresholds) -> Thresholds:
    """Return one threshold for all labels."""
    labels = len(start.thresholds)

    def decided(threshold: float) -> Predicted:
        return replace(start, thresholds=(threshold,) * labels).apply(predictions)

    coarse = _best_value(metric, truth, decided, _COMMON, 0.5)
    fine = [round(coarse + step, 3) for step in (-0.04, -0.03, -0.02, -0.01, 0.01, 0.02, 0.03, 0.04)]
    best = _best_value(metric, truth, decided, [value for value in fine if 0 < value < 1], coarse)
    return replace(start, thresholds=(best,) * labels)


def thresholds(truth: Truth, predictions: Floats, metric: Metric, start: Thresholds) -> Thresholds:
    """Return a threshold for each label: one after the other, until none changes."""
    found = list(start.thresholds)
    fixed = {label for some in start.one_of for label in some}
    for _ in range(_ROUNDS):
        before = list(found)
        for label in range(len(found)):
            if label not in fixed:
                found[label] = _label_threshold(
                    truth, predictions, metric, replace(start, thresholds=tuple(found)), label
                )
        if found == before:
            break
    return replace(start, thresholds=tuple(found))


def _label_threshold(truth: Truth, predictions: Floats, metric: Metric, now: Thresholds, label: int) -> float:
    """Return the best threshold of a label, those of the others as they are now."""
    own = predictions[:, label]
    never, always = (list(now.thresholds) for _ in range(2))
    never[label], always[label] = np.inf, -np.inf
    off = replace(now, thresholds=tuple(never)).apply(predictions)
    on = replace(now, thresholds=tuple(always)).apply(predictions)
    positive = own[np.asarray(truth[:, label] > 0.5)]
    return _Switch(metric, truth, off, on).best(own, positive, now.thresholds[label], 0.0, 1.0)


def cut_points(truth: Labels, predictions: Floats, metric: Metric, start: CutPoints) -> CutPoints:
    """Return cut points of the mean grade: one after the other, from two starts."""
    mean = mean_grades(predictions)
    share = np.cumsum(np.bincount(truth, minlength=len(start.cuts) + 1))[:-1] / len(truth)
    starts = [np.asarray(start.cuts), np.maximum.accumulate(np.quantile(mean, share))]
    found = [_descended(truth, mean, metric, cuts) for cuts in starts]
    scores = [_score(metric, truth, np.searchsorted(cuts, mean, side="right")) for cuts in found]
    return replace(start, cuts=tuple(found[_best_index(metric, scores, 0)].tolist()))


def _descended(truth: Labels, mean: Floats, metric: Metric, cuts: Floats) -> Floats:
    cuts = cuts.astype(np.float64)
    for _ in range(_ROUNDS):
        before = cuts.copy()
        for place in range(len(cuts)):
            low = cuts[place - 1] if place else 0.0
            high = cuts[place + 1] if place + 1 < len(cuts) else float(len(cuts))
            if high <= low:
                continue
            grades = np.searchsorted(cuts, mean, side="right")
            within = (mean >= low) & (mean < high) if place + 1 < len(cuts) else mean >= low
            off, on = np.where(within, place, grades), np.where(within, place + 1, grades)
            switch = _Switch(metric, truth, off, on)
            cuts[place] = switch.best(mean, mean[within], cuts[place], low, high)
        if (cuts == before).all():
            break
    return cuts


def unseen_threshold(truth: Labels, predictions: Wide, metric: Metric, start: TopLists) -> TopLists:
    """Return the least probability of the class of images that belong to no other."""
    kept, values = _best(predictions, min(start.k + 1, predictions.shape[1]))
    others = np.where(kept == start.unseen, -1.0, values)
    own = predictions[:, start.unseen]
    places = np.concatenate([np.full((len(kept), 1), start.unseen), kept], axis=1)

    def decided(threshold: float) -> Labels:
        values = np.concatenate([np.maximum(own, threshold)[:, None], others], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, : start.k]
        return np.take_along_axis(places, order, axis=1)

    highest = others.max(axis=1)
    candidates = np.unique(np.quantile(highest[highest >= 0], np.linspace(0.01, 0.99, 50))).tolist()
    return replace(start, threshold=_best_value(metric, truth, decided, candidates, 0.0))


def _best(predictions: Wide, count: int) -> tuple[Labels, Floats]:
    """Return the columns of the highest predictions of each row, best first, and those predictions, (N, count) each."""
    if isinstance(predictions, Shortlists):
        return predictions.places[:, :count].astype(np.int64), predictions.values[:, :count].astype(np.float64)
    places = best_of(predictions, count)
    return places, np.take_along_axis(predictions, places, axis=1)


@dataclass(frozen=True)
class _Switch:
    """Rows that are decided `off` or `on`."""

    metric: Metric
    truth: Truth
    off: Predicted
    on: Predicted

    def best(self, keys: Floats, telling: Floats, now: float, low: float, high: float) -> float:
        """Return the best value between `low` and `high` that keys (N,) must reach for a row to be on.

        Candidates lie between keys; `telling` are the keys that they lie among. The present value wins if it is equal.
        """
        within = keys[(keys >= low) & (keys <= high)]
        if not len(within):
            return now
        slow = self.metric.per_row is None and self.metric.resample is None
        edges = _edges(within, telling, _CANDIDATES_OF_SLOW_METRICS if slow else _CANDIDATES, low, high)
        edges = np.unique(np.append(edges, now))
        scores = self._scores(np.searchsorted(edges, keys, side="right"), len(edges))
        return float(edges[_best_index(self.metric, scores, int(np.searchsorted(edges, now)))])

    def _scores(self, reached: Labels, number: int) -> Floats:
        """Return the score of each candidate, (B,). `reached` has the number of candidates that each row reaches."""
        metric, truth = self.metric, self.truth
        if metric.per_row is not None:
            off = metric.per_row(truth, self.off)
            gains = np.bincount(reached, weights=metric.per_row(truth, self.on) - off, minlength=number + 1)
            above = gains[::-1].cumsum()[::-1]
            return np.asarray((off.sum() + above[1:]) / len(truth))
        if metric.of_counts is not None and truth.ndim == 2:
            return self._of_counts(metric.of_counts, reached, number)
        if metric.resample is not None:
            below = np.tri(number, number + 1, dtype=np.float64)  # row b: those that do not reach candidate b
            both = Resamples(np.concatenate([reached, reached + number + 1]), np.hstack([1 - below, below]))
            rows = np.concatenate([self.on, self.off])
            return metric.resampled(np.concatenate([truth, truth]), rows, both)
        wide = reached if self.on.ndim == 1 else reached[:, None]
        return np.array([_score(metric, truth, np.where(wide > place, self.on, self.off)) for place in range(number)])

    def _of_counts(self, score: Callable[[Any, Any, Any], Floats], reached: Labels, number: int) -> Floats:
        """Return the scores from how often each label is right and decided with each candidate."""
        truth, off, on = (np.asarray(flags, bool) for flags in (self.truth, self.off, self.on))
        right, decided = (np.tile(flags.sum(axis=0, dtype=np.float64), (number, 1)) for flags in (truth & off, off))
        for label in np.flatnonzero((on != off).any(axis=0)):
            change = on[:, label].astype(np.float64) - off[:, label]
            for counts, weights in ((right, change * truth[:, label]), (decided, change)):
                gains = np.bincount(reached, weights=weights, minlength=number + 1)
                counts[:, label] += gains[::-1].cumsum()[::-1][1:]
        return score(right, np.tile(truth.sum(axis=0, dtype=np.float64), (number, 1)), decided)


def _edges(keys: Floats, telling: Floats, most: int, low: float, high: float) -> Floats:
    """Return values between distinct keys: all, or those at quantiles of all keys and of the telling ones."""
    known = np.unique(keys)
    between = np.concatenate([[(low + known[0]) / 2], (known[1:] + known[:-1]) / 2, [(known[-1] + high) / 2]])
    if len(between) <= most:
        return np.asarray(between)
    shares = np.linspace(0, 1, most // 2)
    wanted = [np.quantile(some, shares) for some in (keys, telling) if len(some)]
    return np.asarray(between[np.searchsorted(known, np.concatenate(wanted), side="left")])


def _best_value(
    metric: Metric, truth: Truth, decided: Callable[[float], Predicted], values: Sequence[float], now: float
) -> float:
    """Return the value with the best score; the present one if it is equal."""
    candidates = [now, *values]
    return candidates[_best_index(metric, [_score(metric, truth, decided(value)) for value in candidates], 0)]


def _best_index(metric: Metric, scores: Sequence[float] | Floats, now: int) -> int:
    """Return the index of the best score; `now` if that is as good, or if there is none."""
    signed = np.asarray(scores, dtype=np.float64) * (-1 if metric.lower_is_better else 1)
    if np.isnan(signed).all():
        return now
    best = int(np.nanargmax(signed))
    return now if signed[now] >= signed[best] - _EPSILON else best


def _score(metric: Metric, truth: Truth, decided: Predicted) -> float:
    if metric.of_counts is not None and truth.ndim == 2:
        true = np.asarray(truth, bool)
        counts = [flags.sum(axis=0, dtype=np.float64)[None] for flags in (true & decided, true, decided)]
        return float(metric.of_counts(*counts)[0])
    try:
        return float(metric.score(truth, decided))
    except ValueError:  # undefined for these rows
        return float("nan")
