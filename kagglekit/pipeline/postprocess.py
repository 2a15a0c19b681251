"""Finishing steps on predictions: each is kept only if its out-of-fold gain is proven.

The value of a step is chosen on other folds than the ones it is scored on.

N: scored images, M: test images, C: columns of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import shortlists
from kagglekit.base.arrays import Floats, Labels
from kagglekit.base.shortlists import Wide
from kagglekit.metrics import Metric
from kagglekit.pipeline.gates import Advance, Gate, Scored, as_taken, judge, parts, still, width
from kagglekit.pipeline.predictions import Predictions
from kagglekit.tasks.activations import IDENTITY, SOFTMAX, Activation
from kagglekit.tasks.task import Truth

MISTAKES_TO_SHARPEN = 10
"""Below this number of wrong rows, temperatures below 1 are not tried: the right confidence is unknown."""

TEMPERATURES = tuple(np.round(np.geomspace(0.25, 8.0, 61), 6).tolist())
CLIPS = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2, 5e-2)
_ALL = -1
"""Stands for all rows among the parts."""
_MOST = 1 << 20
"""With more predictions, a sample of the rows chooses the values, and not every value is tried. Of short lists the
numbers in them count."""
_LEAST_ROWS = 1000
"""Least number of rows in that sample."""
_COARSE = 6
"""Every which value is tried first."""


def temper(predictions: Wide, temperature: float, activation: Activation = SOFTMAX) -> Wide:
    """Divide the scores of predictions (N, C), such as their logarithms or log odds, by `temperature`."""

    def change(rows: Floats) -> Floats:
        return activation.predictions(activation.scores(rows) / temperature)

    return _in_blocks(predictions, change, activation)


def clip(predictions: Wide, edge: float, activation: Activation = SOFTMAX) -> Wide:
    """Clip probabilities (N, C) to [edge, 1 - edge]; those of classes are normalised. An edge of 0 changes nothing."""
    return _in_blocks(predictions, lambda rows: activation.clipped(rows, edge), activation)


def _in_blocks(predictions: Wide, change: Callable[[Floats], Floats], activation: Activation) -> Wide:
    """Change rows (N, C), few at a time: the steps on the way need several times the memory."""
    if predictions.size <= _MOST:
        return activation.changed(predictions, change)
    step = max(1, _MOST * len(predictions) // predictions.size)
    every = np.arange(len(predictions))
    blocks = (every[start : start + step] for start in range(0, len(every), step))
    changed = ((rows, activation.changed(predictions[rows], change)) for rows in blocks)
    return shortlists.arranged(changed, len(every), predictions)


class Step(Protocol):
    """A step with a value."""

    def __call__(self, predictions: Wide, value: float, /, activation: Activation = ...) -> Wide:
        """Return the predictions (N, C) after the step."""


STEPS: dict[str, tuple[Step, Sequence[float]]] = {"temperature": (temper, TEMPERATURES), "clip": (clip, CLIPS)}
"""Step -> (function, candidate values)."""


def finish(
    scored: Scored,
    steps: Sequence[str],
    metric: Metric,
    seed: int,
    activation: Activation = SOFTMAX,
    *,
    advance: Advance = still,
) -> tuple[Wide, list[Gate]]:
    """Try the steps in turn. Return out-of-fold predictions after the kept steps, and all gates.

    A metric of ranks, decisions or numbers gets none: what it does not see must not be changed for it. Nor do numbers,
    which have no confidence.
    """
    gates: list[Gate] = []
    current = scored.probabilities
    fold = parts(scored, seed)
    seen = _rows_to_choose_on(scored, metric, seed)
    # the rows that choose values: for each part, those of the others; for other images, all
    choosing = {int(part): seen & (fold != part) for part in np.unique(fold)} | {_ALL: seen}
    kept: list[str] = []
    values: dict[int, list[float]] = {part: [] for part in choosing}
    for step in steps if metric.needs == "probabilities" and activation is not IDENTITY else ():
        chain, tried = [*kept, step], {}
        for part, rows in choosing.items():
            # the kept steps have values of their own for each part: they were chosen on this one too
            tried[part] = _fit(scored, chain, rows, metric, activation, known=values[part])
            advance(1)
        after = _applied(scored, fold, chain, tried, activation)
        judgement = judge(scored, current, after, metric, seed)
        gates.append(Gate(step, tried[_ALL][-1], judgement))
        if judgement.kept:
            kept, values, current = chain, tried, after
    return current, gates


def tempered(scored: Scored, metric: Metric, seed: int, activation: Activation = SOFTMAX) -> Wide:
    """Return out-of-fold predictions (N, C), each part with the temperature that is best for the others."""
    fold, seen = parts(scored, seed), _rows_to_choose_on(scored, metric, seed)
    chain = ("temperature",)
    values = {int(part): _fit(scored, chain, seen & (fold != part), metric, activation) for part in np.unique(fold)}
    return _applied(scored, fold, chain, values, activation)


def _applied(
    scored: Scored, fold: Labels, chain: Sequence[str], values: Mapping[int, Sequence[float]], activation: Activation
) -> Wide:
    """Return the predictions after a chain of steps, in each part with its own values."""
    places = {int(part): np.flatnonzero(fold == part) for part in np.unique(fold)}
    after = (
        (rows, _apply(scored.probabilities[rows], chain, values[part], activation)) for part, rows in places.items()
    )
    return shortlists.arranged(after, len(fold), scored.probabilities)


def choose(
    scored: Scored,
    predictions: Predictions,
    metric: Metric,
    seed: int,
    needed: Callable[[Wide], Wide] = lambda rows: rows,
    *,
    calibrated: Callable[[Wide], Wide] = lambda rows: rows,
) -> tuple[Scored, Wide, list[Gate]]:
    """Try the candidates, which are other predictions of the same rows, such as test-time augmentation.

    `needed` returns what the metric needs of predictions, `calibrated` predictions with their best temperature. Returns
    the rows with the kept predictions, the matching predictions of the test set (M, C), and all gates.
    """
    gates: list[Gate] = []
    test, best = predictions.test, ""
    for candidate in predictions.candidates:
        if candidate.changes not in (None, best):
            continue
        before, after = scored.probabilities, candidate.oof
        if candidate.recalibrates:
            before, after = calibrated(before), calibrated(after)
        judgement = judge(scored, needed(before), needed(after), metric, seed)
        gates.append(Gate(candidate.name, None, judgement, note=candidate.note))
        if judgement.kept:
            scored, test, best = replace(scored, probabilities=candidate.oof), candidate.test, candidate.name
    return scored, test, gates


def apply_kept(predictions: Wide, gates: Sequence[Gate], activation: Activation = SOFTMAX) -> Wide:
    """Apply the kept steps to other rows (N, C), such as those of the test set."""
    kept = [(gate.step, gate.value) for gate in gates if gate.judgement.kept and gate.value is not None]
    return _apply(predictions, [step for step, _ in kept], [value for _, value in kept], activation)


def candidate_values(step: str, truth: Truth, predictions: Wide) -> Sequence[float]:
    """Return the candidate values of a step for these rows."""
    values = STEPS[step][1]
    if step == "temperature" and _mistakes(truth, predictions) < MISTAKES_TO_SHARPEN:
        return [value for value in values if value >= 1]
    return values


def _mistakes(truth: Truth, predictions: Wide) -> int:
    if truth.ndim == 1:
        return int((predictions.argmax(axis=1) != truth).sum())
    return int(((np.asarray(predictions) >= 0.5) != (truth > 0.5)).any(axis=1).sum())


def _rows_to_choose_on(scored: Scored, metric: Metric, seed: int) -> NDArray[np.bool_]:
    """Return a mask of the rows that choose values, (N,): all, or a sample of very many predictions."""
    rows, numbers = len(scored.probabilities), width(scored.probabilities, metric)
    wanted = max(_LEAST_ROWS, _MOST // numbers)
    if rows * numbers <= _MOST or rows <= wanted:
        return np.ones(rows, bool)
    chosen = np.zeros(rows, bool)
    chosen[np.random.default_rng(seed).choice(rows, wanted, replace=False)] = True
    return chosen


def _fit(
    scored: Scored,
    chain: Sequence[str],
    chosen_on: NDArray[np.bool_],
    metric: Metric,
    activation: Activation,
    *,
    known: Sequence[float] = (),
) -> list[float]:
    """Return the values of a chain of steps, each chosen on the rows of a mask after the steps before it.

    The first values are `known`.
    """
    truth, rows = scored.truth[chosen_on], scored.probabilities[chosen_on]
    values = list(known)
    rows = _apply(rows, chain[: len(known)], known, activation)
    for step in chain[len(known) :]:
        apply, _ = STEPS[step]
        value = _best(truth, rows, apply, candidate_values(step, truth, rows), metric, activation=activation)
        rows = apply(rows, value, activation)
        values.append(value)
    return values


def _apply(rows: Wide, chain: Sequence[str], values: Sequence[float], activation: Activation) -> Wide:
    for step, value in zip(chain, values, strict=True):
        rows = STEPS[step][0](rows, value, activation)
    return rows


def _best(
    truth: Truth,
    rows: Wide,
    apply: Step,
    values: Sequence[float],
    metric: Metric,
    *,
    activation: Activation = SOFTMAX,
) -> float:
    """Return the value with the best score; of very many predictions, of every sixth value and those next to it."""
    sign = 1.0 if metric.lower_is_better else -1.0
    losses = np.full(len(values), np.nan)

    def try_(places: Sequence[int]) -> None:
        for place in places:
            losses[place] = sign * _score_or_nan(truth, apply(rows, values[place], activation), metric)

    many = rows.size > _MOST // 4 and len(values) > 2 * _COARSE
    try_(range(0, len(values), _COARSE if many else 1))
    if many and not np.isnan(losses).all():
        best = int(np.nanargmin(losses))
        try_([place for place in range(best - _COARSE + 1, best + _COARSE) if 0 <= place < len(values)])
    if np.isnan(losses).all():  # these rows have no score: the value that changes least
        return min(values, key=lambda value: float(np.abs(np.asarray(apply(rows, value, activation)) - rows).sum()))
    return values[int(np.nanargmin(losses))]


def _score_or_nan(truth: Truth, needed: Wide, metric: Metric) -> float:
    try:
        return float(metric.score(truth, as_taken(needed, metric)))
    except ValueError:
        return float("nan")
