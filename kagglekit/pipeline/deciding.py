"""The decision of a run: from predictions to what is submitted, chosen for the competition's metric.

N: scored images, C: columns of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kagglekit.base.arrays import Mask
from kagglekit.base.shortlists import Wide
from kagglekit.metrics import Metric
from kagglekit.pipeline.gates import Advance, Gate, Scored, judge, parts, still
from kagglekit.tasks import fitting
from kagglekit.tasks.decisions import Decision
from kagglekit.tasks.task import Decided, Task, Truth


@dataclass(frozen=True, kw_only=True)
class Made:
    """The decision, and what it gains."""

    decision: Decision
    """For other rows, such as those of the test set: chosen on all scored rows."""
    decided: Decided
    """What is decided of the scored rows, (N, …): in each fold with values chosen on the others."""
    gates: list[Gate]


def usual(task: Task, metric: Metric) -> Decision:
    """Return the decision with nothing fitted, as the metric needs it."""
    return task.lists(metric.k) if metric.needs == "top" else task.usual()


def sees_predictions(metric: Metric) -> bool:
    """Return whether a metric needs predictions, and not what is decided of them."""
    return metric.needs in ("probabilities", "ranks")


def proper(task: Task) -> Metric:
    """Return the task's proper loss as a metric."""
    losses = task.losses

    def score(truth: Truth, rows: Any) -> float:
        return float(losses(truth, rows).mean())

    found = Metric(name=task.loss, score=score, per_row=losses, takes_lists=True)
    return found.of_kind(task.target.kind)


def needed(metric: Metric, predictions: Wide, decision: Decision) -> Wide:
    """Return what the metric needs of predictions (N, C)."""
    return predictions if sees_predictions(metric) else decision.apply(predictions)


def make(scored: Scored, task: Task, metric: Metric, seed: int, advance: Advance = still) -> Made:
    """Try the steps that may improve on the usual decision, in turn. Each is kept only if its gain is proven."""
    start = usual(task, metric)
    made = Made(decision=start, decided=start.apply(scored.probabilities), gates=[])
    kept: list[str] = []
    for step in fitting.offered(start, metric):
        chain = [*kept, step]
        decided = np.empty_like(made.decided)
        fold = parts(scored, seed)
        for part in np.unique(fold):
            here = fold == part
            found = _fit(start, chain, scored, ~here, metric=metric, seed=seed)
            decided[here] = found.apply(scored.probabilities[here])
            advance(1)
        whole = _fit(start, chain, scored, np.ones(len(fold), bool), metric=metric, seed=seed)
        advance(1)
        judgement = judge(scored, made.decided, decided, metric, seed)
        gates = [*made.gates, Gate(step, None, judgement, whole.text())]
        made = Made(decision=made.decision, decided=made.decided, gates=gates)
        if judgement.kept:
            kept, made = chain, Made(decision=whole, decided=decided, gates=gates)
    return made


def _fit(
    start: Decision, chain: Sequence[str], scored: Scored, chosen_on: Mask, *, metric: Metric, seed: int
) -> Decision:
    """Return the decision after a chain of steps, each chosen on the rows of a mask, (N,)."""
    rows = fitting.sampled(np.flatnonzero(chosen_on), scored.probabilities, seed)
    steps = fitting.offered(start, metric)
    for step in chain:
        start = steps[step](scored.truth[rows], scored.probabilities[rows], metric, start)
    return start
