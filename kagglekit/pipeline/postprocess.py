"""Finishing steps on probabilities, and the test that each must pass to be kept.

The value of a step is chosen on other folds than the ones it is scored on. A step is kept if the lower bound of its
gain, from a paired bootstrap over groups, is above zero.

N: scored images, M: test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Labels
from kagglekit.base.errors import UserError
from kagglekit.data import folds
from kagglekit.metrics import Metric, UndefinedScoreError, clustered_error, plain_decision, resampling
from kagglekit.metrics.metric import Resamples
from kagglekit.pipeline.predictions import Predictions
from kagglekit.runs.record import FinishingStep
from kagglekit.tasks.task import Truth

RESAMPLES = 2000
SLOW_RESAMPLES = 400
"""Number of resamples for metrics without per-row values."""
CONFIDENCE = 0.95
CROSS_FITTED_PARTS = 5
MISTAKES_TO_SHARPEN = 10
"""Below this number of wrong rows, temperatures below 1 are not tried: the right confidence is unknown."""

TEMPERATURES = tuple(np.round(np.geomspace(0.25, 8.0, 61), 6).tolist())
CLIPS = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2, 5e-2)


@dataclass(frozen=True)
class Scored:
    """Rows with true labels (N,), probabilities (N, C), and the clusters that the bootstrap resamples, (N,)."""

    truth: Truth
    probabilities: Floats
    clusters: NDArray[np.int64]
    fold: folds.Fold


@dataclass(frozen=True)
class Judgement:
    """The out-of-fold gain of a change, in units of the metric (positive is better), and whether it is kept."""

    before: float
    after: float
    gain: float
    low: float
    """Lower bound of the gain."""
    kept: bool


@dataclass(frozen=True)
class Gate:
    """A finishing step and its judgement."""

    step: str
    value: float | None
    """Value of the step for the test set, chosen on all scored rows; None if it has none."""
    judgement: Judgement

    def record(self) -> FinishingStep:
        """Return the record for the run's files."""
        return FinishingStep(step=self.step, value=self.value, **asdict(self.judgement))

    def line(self) -> str:
        """Return a line for the log."""
        j = self.judgement
        value = "" if self.value is None else f" {self.value:g}"
        return (
            f"finish: {self.step}{value}: {j.before:.5f} -> {j.after:.5f}, gain {_shown(j.gain)}, "
            f"lower bound {_shown(j.low)}: {'kept' if j.kept else 'not kept'}"
        )


def _shown(gain: float) -> str:
    return f"{round(gain, 5) + 0.0:.5f}"  # never -0.00000


def temper(probabilities: Floats, temperature: float) -> Floats:
    """Divide the log probabilities (N, C) by `temperature`, and normalise the rows."""
    scores = np.log(np.clip(probabilities, 1e-15, None)) / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = scores / scores.sum(axis=1, keepdims=True)
    return result


def clip(probabilities: Floats, edge: float) -> Floats:
    """Clip probabilities (N, C) to [edge, 1 - edge], and normalise the rows. An edge of 0 changes nothing."""
    clipped = np.clip(probabilities, edge, 1 - edge)
    result: Floats = clipped / clipped.sum(axis=1, keepdims=True)
    return result


STEPS: dict[str, tuple[Callable[[Floats, float], Floats], Sequence[float]]] = {
    "temperature": (temper, TEMPERATURES),
    "clip": (clip, CLIPS),
}
"""Step -> (function, candidate values)."""


def finish(scored: Scored, steps: Sequence[str], metric: Metric, seed: int) -> tuple[Floats, list[Gate]]:
    """Try the steps in turn. Return out-of-fold probabilities after the kept steps, and all gates."""
    gates: list[Gate] = []
    current = scored.probabilities
    parts = _parts(scored, seed)
    for step in steps:
        chain = [gate.step for gate in gates if gate.judgement.kept] + [step]
        after = np.empty_like(current)
        for part in np.unique(parts):
            here = parts == part
            # refit the whole chain: earlier steps were chosen on this fold too
            after[here] = _fit_chain(scored, chain, ~here, metric)[0][here]
        judgement = judge(scored, current, after, metric, seed)
        gates.append(Gate(step, _fit_chain(scored, chain, np.ones(len(parts), bool), metric)[1], judgement))
        if judgement.kept:
            current = after
    return current, gates


def choose(scored: Scored, predictions: Predictions, metric: Metric, seed: int) -> tuple[Scored, Floats, list[Gate]]:
    """Try the candidates, which are other predictions of the same rows, such as test-time augmentation.

    Returns the rows with the kept predictions, the matching probabilities of the test set (M, C), and all gates.
    """
    gates: list[Gate] = []
    test = predictions.test
    for candidate in predictions.candidates:
        judgement = judge(scored, scored.probabilities, candidate.oof, metric, seed)
        gates.append(Gate(candidate.name, None, judgement))
        if judgement.kept:
            scored, test = replace(scored, probabilities=candidate.oof), candidate.test
    return scored, test, gates


def _fit_chain(
    scored: Scored, chain: Sequence[str], chosen_on: NDArray[np.bool_], metric: Metric
) -> tuple[Floats, float]:
    """Fit a chain of steps on the rows of a mask. Return all rows (N, C) after it, and the last step's value."""
    rows, value = scored.probabilities, float("nan")
    for step in chain:
        apply, _ = STEPS[step]
        truth, seen = scored.truth[chosen_on], rows[chosen_on]
        value = _best(truth, seen, apply, candidate_values(step, truth, seen), metric)
        rows = apply(rows, value)
    return rows, value


def candidate_values(step: str, truth: Labels, probabilities: Floats) -> Sequence[float]:
    """Return the candidate values of a step for these rows."""
    values = STEPS[step][1]
    if step == "temperature" and (probabilities.argmax(axis=1) != truth).sum() < MISTAKES_TO_SHARPEN:
        return [value for value in values if value >= 1]
    return values


def apply_kept(probabilities: Floats, gates: Sequence[Gate]) -> Floats:
    """Apply the kept steps to other rows (N, C), such as those of the test set."""
    for gate in gates:
        if gate.judgement.kept and gate.value is not None:
            probabilities = STEPS[gate.step][0](probabilities, gate.value)
    return probabilities


def judge(scored: Scored, before: Floats, after: Floats, metric: Metric, seed: int) -> Judgement:
    """Compare two sets of probabilities of the same rows. This is the test that every step must pass."""
    gains = _bootstrap_gains(scored, before, after, metric, seed)
    score_before, score_after = score(scored.truth, before, metric), score(scored.truth, after, metric)
    sign = 1.0 if metric.lower_is_better else -1.0
    low = float(np.quantile(gains, 1 - CONFIDENCE))
    gain = sign * (score_before - score_after)
    proven = low > 0 and len(np.unique(scored.clusters)) > 1  # a single group proves nothing about others
    return Judgement(score_before, score_after, gain, low, kept=proven)


def gain_interval(scored: Scored, before: Floats, after: Floats, metric: Metric, seed: int) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the gain of `after` (N, C) over `before`, resampling whole clusters.

    The interval is infinite for a single cluster, which proves nothing about others.
    """
    if len(np.unique(scored.clusters)) < 2:
        return -float("inf"), float("inf")
    low, high = np.quantile(_bootstrap_gains(scored, before, after, metric, seed), [0.025, 0.975])
    return float(low), float(high)


def standard_error(scored: Scored, probabilities: Floats, metric: Metric, seed: int) -> float:
    """Return the standard error of the score. The rows of a cluster count as one observation; of one, it is NaN."""
    decided = plain_decision(metric, probabilities)
    if metric.per_row is not None:
        return clustered_error(metric.per_row(scored.truth, decided), scored.clusters)
    if len(np.unique(scored.clusters)) < 2:
        return float("nan")
    scores = [metric.resampled(scored.truth, decided, resamples) for resamples in _resamples(scored, seed)]
    return float(np.std(_defined(np.concatenate(scores)), ddof=1))


def score(truth: Labels, probabilities: Floats, metric: Metric) -> float:
    """Return the score of the plain decisions on probabilities (N, C). Raises UserError if there is none."""
    try:
        found = float(metric.score(truth, plain_decision(metric, probabilities)))
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


def _parts(scored: Scored, seed: int) -> folds.Fold:
    """Return the folds. A hold-out set is split into parts that keep clusters whole."""
    if len(np.unique(scored.fold)) > 1:
        return scored.fold
    clusters = np.unique(scored.clusters)
    if len(clusters) < 2:
        return np.arange(len(scored.truth)) % CROSS_FITTED_PARTS
    shuffled = np.random.default_rng(seed).permutation(len(clusters)) % min(CROSS_FITTED_PARTS, len(clusters))
    parts: folds.Fold = shuffled[np.searchsorted(clusters, scored.clusters)]
    return parts


def _best(
    truth: Labels,
    probabilities: Floats,
    apply: Callable[[Floats, float], Floats],
    values: Sequence[float],
    metric: Metric,
) -> float:
    changed = [apply(probabilities, value) for value in values]
    scores = np.array([_score_or_nan(truth, rows, metric) for rows in changed])
    if np.isnan(scores).all():  # these rows have no score: the value that changes least
        return values[int(np.argmin([np.abs(rows - probabilities).sum() for rows in changed]))]
    return values[int(np.nanargmin(scores) if metric.lower_is_better else np.nanargmax(scores))]


def _score_or_nan(truth: Labels, probabilities: Floats, metric: Metric) -> float:
    try:
        return float(metric.score(truth, plain_decision(metric, probabilities)))
    except ValueError:
        return float("nan")


def _bootstrap_gains(scored: Scored, before: Floats, after: Floats, metric: Metric, seed: int) -> Floats:
    sign = 1.0 if metric.lower_is_better else -1.0
    if metric.per_row is None:
        pair = [plain_decision(metric, rows) for rows in (before, after)]
        scores = [
            [metric.resampled(scored.truth, decided, resamples) for decided in pair]
            for resamples in _resamples(scored, seed)
        ]
        first, second = np.concatenate(scores, axis=1)
        return _defined(sign * (first - second))
    losses = [metric.per_row(scored.truth, plain_decision(metric, rows)) for rows in (before, after)]
    gains = sign * (losses[0] - losses[1])
    sums = np.bincount(scored.clusters, weights=gains)
    sizes = np.bincount(scored.clusters)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        chosen = random.integers(0, len(sums), len(sums))
        means[draw] = sums[chosen].sum() / sizes[chosen].sum()
    return means


def _resamples(scored: Scored, seed: int) -> Iterator[Resamples]:
    return resampling.draw(scored.truth, scored.clusters, SLOW_RESAMPLES, seed)


def _defined(values: Floats) -> Floats:
    """Return the values of the resamples that have one. A plugin's own metric may have none for some; 0 if all."""
    found = values[np.isfinite(values)]
    return found if len(found) > 1 else np.zeros(2)
