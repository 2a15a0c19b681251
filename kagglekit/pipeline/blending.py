"""Blends: weighted sums of several predictions of the same rows, with weights that leave the score honest.

Each row is predicted with weights that other folds chose; so is the member that a blend has to beat. A member keeps its
weight only if it gains more than one standard error where weights are chosen: else half of all useless members would
get some, by chance.

K: members, N: scored rows, M: rows of the test set, C: columns of the target, J: what a loss sees of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kagglekit.base import shortlists
from kagglekit.base.arrays import Floats, Indices
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.metrics import Metric
from kagglekit.metrics.metric import rows_metric
from kagglekit.pipeline import deciding, gates
from kagglekit.pipeline.gates import Scored
from kagglekit.tasks.activations import Activation
from kagglekit.tasks.task import Task, Truth

BEST, BEST_OF_ALL, MEAN = "best member", "best member of all", "equal weights"
CONVEX, GREEDY, RANKS = "convex weights", "greedy weights", "mean of ranks"
_LEAST = 1e-3
"""Smaller weights are rounded to zero."""
_STEPS = (0.5, 0.25, 0.125, 0.0625)
"""Shares that a member gets of the greedy blend when it is chosen, once more."""
_MOST_STEPS = 30
_WIDEST = 128
"""With more columns greedy weights are chosen by the task's proper loss, which sees fewer numbers than the metric."""
_MOST_CELLS = 1 << 19
"""With more numbers of a member a sample of the rows chooses weights, but not with fewer than `_LEAST_ROWS`."""
_LEAST_ROWS = 5_000

Weights = Mapping[str, float]
"""Name of a member -> weight; they sum to one, and those that are zero are left out."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """Predictions that may be blended."""

    name: str
    oof: Wide
    """Out-of-fold predictions of the scored rows, (N, C)."""
    test: Wide
    """Predictions of the rows of the test set, (M, C)."""
    alone: bool = True
    """Whether the prediction of an image is deterministic and needs no other images."""
    whole: bool = True
    """Whether it is what a run predicts, and not a member inside it."""
    note: str = ""
    """What else is to be known of it, in a word."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to blend, with its weights."""

    name: str
    weights: Weights
    """For other images: chosen on all scored rows."""
    parts: Mapping[int, Weights]
    """Part of the scored rows -> weights that the others chose."""

    def is_alone(self, members: Sequence[Member]) -> bool:
        """Return whether all of it can be predicted of single images."""
        return self.name != RANKS and all(member.alone for member in self._used(members))

    def note(self, members: Sequence[Member]) -> str:
        """Return what else is to be known of those that have a weight."""
        return next((member.note for member in self._used(members) if member.note), "")

    def _used(self, members: Sequence[Member]) -> list[Member]:
        used = {name for weights in (self.weights, *self.parts.values()) for name in weights}
        return [member for member in members if member.name in used]


def ways(members: Sequence[Member], scored: Scored, task: Task, metric: Metric, seed: int) -> list[Way]:
    """Return the ways to blend. The first is the best member that needs no other images."""
    chooser, part = _Chooser(members, scored, task, metric, seed), gates.parts(scored, seed)
    found = []
    for name, choose in chooser.offered().items():
        parts = {number: choose(np.flatnonzero(part != number)) for number in np.unique(part).tolist()}
        found.append(Way(name=name, weights=choose(np.arange(len(part))), parts=parts))
    return found


def predicted(way: Way, members: Sequence[Member], part: folds.Fold, activation: Activation) -> tuple[Wide, Wide]:
    """Return the predictions (N, C) and (M, C) of a way. `part` has the part of each scored row, (N,)."""
    blend = _ranked(members, activation) if way.name == RANKS else _mixed(members)

    def of_part(number: int) -> tuple[Indices, Wide]:
        rows = np.flatnonzero(part == number)
        others = np.flatnonzero(part != number)
        return rows, blend(way.parts[number], [member.oof[rows] for member in members], others)

    oof = shortlists.arranged(map(of_part, np.unique(part).tolist()), len(part))
    return oof, blend(way.weights, [member.test for member in members], np.arange(len(part)))


_Blend = Callable[[Weights, Sequence[Wide], Indices], Wide]
"""(weights, rows of each member (B, C), the scored rows that the blend may know) -> the blend, (B, C)."""


def _mixed(members: Sequence[Member]) -> _Blend:
    def blend(weights: Weights, rows: Sequence[Wide], known: Indices) -> Wide:  # noqa: ARG001
        own = {member.name: one for member, one in zip(members, rows, strict=True)}
        return shortlists.mixed([(weight, own[name]) for name, weight in weights.items()])

    return blend


def _ranked(members: Sequence[Member], activation: Activation) -> _Blend:
    """Return the blend of ranks: each prediction becomes the share of known rows below it, and their mean a prediction.

    What a share stands for is the mean of the members' predictions that have it, so the result is in their units.
    """

    def blend(weights: Weights, rows: Sequence[Wide], known: Indices) -> Wide:
        used = [(place, weights[member.name]) for place, member in enumerate(members) if member.name in weights]
        reference = [np.sort(np.asarray(members[place].oof)[known], axis=0) for place, _ in used]
        own = [np.asarray(rows[place]) for place, _ in used]
        found = np.empty_like(own[0], dtype=np.float64)
        for column in range(found.shape[1]):
            pairs = [(weight, each[:, column]) for each, (_, weight) in zip(reference, used, strict=True)]
            share = sum(
                weight * _share_below(below, values[:, column])
                for (weight, below), values in zip(pairs, own, strict=True)
            )
            found[:, column] = sum(weight * np.quantile(below, share) for weight, below in pairs)
        return activation.clipped(found, 0.0)

    return blend


def _share_below(known: Floats, values: Floats) -> Floats:
    """Return the share of sorted known values (R,) below each value, (B,); equal ones count half."""
    both = np.searchsorted(known, values, side="left") + np.searchsorted(known, values, side="right")
    share: Floats = both / (2 * len(known))
    return share


@dataclass(frozen=True)
class _Goal:
    """By what weights are chosen, on some rows."""

    metric: Metric
    scored: Scored
    seen: Floats
    """What the metric needs of members, linear in their predictions, and last of the prior, (K + 1, N, J)."""
    decide: Callable[[Floats], Any] = lambda mix: mix
    """From a blend of that to what the metric takes."""

    def blend(self, weights: Floats) -> Any:
        """Return what the metric takes of a blend with these weights, (K + 1,)."""
        return self.decide(np.tensordot(weights, self.seen, 1))

    def loss(self, weights: Floats) -> float:
        """Return the score, so that lower is better."""
        return _loss(self.metric, self.scored.truth, self.blend(weights))


class _Chooser:
    """Chooses weights on some of the scored rows.

    The prior is among what is blended, and leaves the blend afterwards: what shrinks confidence gains on overconfident
    members, whatever it knows, and the step `temperature` does it better.
    """

    def __init__(self, members: Sequence[Member], scored: Scored, task: Task, metric: Metric, seed: int) -> None:
        self._members, self._scored, self._task, self._metric, self._seed = members, scored, task, metric, seed
        self._usual = deciding.usual(task, metric)
        chosen_by_it = metric.needs in ("probabilities", "ranks", "numbers")  # decisions say little of few rows
        self._selection = metric if chosen_by_it else deciding.proper(task)
        self._needed = [deciding.needed(self._selection, member.oof, self._usual) for member in members]
        self._by_metric = chosen_by_it and members[0].oof.shape[1] <= _WIDEST
        self._names = [member.name for member in members]

    def offered(self) -> dict[str, Callable[[Indices], Weights]]:
        """Return name of a way -> what chooses its weights on rows."""
        whole = [member.name for member in self._members if member.whole]
        equal = dict.fromkeys(whole, 1 / len(whole))
        found: dict[str, Callable[[Indices], Weights]] = {BEST: lambda rows: self._best(rows, alone=True)}
        if not all(member.alone for member in self._members):
            found[BEST_OF_ALL] = lambda rows: self._best(rows, alone=False)
        found |= {MEAN: lambda rows: equal, CONVEX: self._convex, GREEDY: self._greedy}  # noqa: ARG005
        if self._metric.needs == "ranks" and isinstance(self._members[0].oof, np.ndarray):
            found[RANKS] = lambda rows: equal  # noqa: ARG005
        return found

    def _best(self, rows: Indices, *, alone: bool) -> Weights:
        """Return the best member; by the task's proper loss if the metric is of decisions."""
        able = [place for place, member in enumerate(self._members) if member.alone or not alone]
        truth = self._scored.truth[rows]
        losses = [_loss(self._selection, truth, self._needed[place][rows]) for place in able]
        return {self._names[able[int(np.argmin(losses))]]: 1.0}

    def _greedy(self, rows: Indices) -> Weights:
        goal = self._goal(rows, by_metric=self._by_metric)
        units = np.eye(len(goal.seen))
        losses = [goal.loss(unit) for unit in units[:-1]]
        weights, loss = units[int(np.argmin(losses))], min(losses)
        for _ in range(_MOST_STEPS):
            tried = [(1 - step) * weights + step * unit for unit in units for step in _STEPS]
            losses = [goal.loss(each) for each in tried]
            if not min(losses) < loss - 1e-9:
                break
            weights, loss = tried[int(np.argmin(losses))], min(losses)
        return self._named(_pruned(goal, weights, self._seed))

    def _convex(self, rows: Indices) -> Weights:
        goal = self._goal(rows, by_metric=False)
        weights = _pruned(goal, _minimised(goal, self._task, np.ones(len(goal.seen), bool)), self._seed)
        kept = weights > 0
        kept[-1] = True
        return self._named(_minimised(goal, self._task, kept))

    def _goal(self, rows: Indices, *, by_metric: bool) -> _Goal:
        """Return the competition's metric, or the task's proper loss, of these rows, or of a sample of very many."""
        scored, task, members = self._scored, self._task, self._members
        width = members[0].oof.shape[1] if by_metric else task.seen(scored.truth[:1], members[0].oof[:1]).shape[1]
        most = max(_LEAST_ROWS, _MOST_CELLS // width)
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(self._seed).choice(rows, most, replace=False))
        truth = scored.truth[rows]
        prior = np.tile(task.prior(truth), (len(rows), 1))
        every = [*(member.oof[rows] for member in members), prior]
        some = Scored(truth, prior, scored.clusters[rows], scored.fold[rows])
        if not by_metric:
            seen = np.stack([task.seen(truth, each) for each in every])
            return _Goal(rows_metric(task.losses_of, name=task.loss), some, seen)
        seen = np.stack([np.asarray(each, dtype=np.float64) for each in every])
        if self._metric.needs == "numbers":
            return _Goal(self._metric, some, seen, self._usual.apply)
        return _Goal(self._metric, some, seen)

    def _named(self, weights: Floats) -> Weights:
        """Return the weights of members, (K + 1,) with the prior, as they are kept."""
        own = np.round(_normalised(np.where(weights[:-1] < _LEAST, 0, weights[:-1])), 4)
        return {name: float(one) for name, one in zip(self._names, own / own.sum(), strict=True) if one > 0}


def _pruned(goal: _Goal, weights: Floats, seed: int) -> Floats:
    """Return the weights (K + 1,) without those members that gain less than one standard error, the lightest first."""
    weights = _normalised(np.where(weights < _LEAST, 0, weights))
    if not weights[:-1].any():
        weights = np.eye(len(weights))[int(np.argmin([goal.loss(unit) for unit in np.eye(len(weights))[:-1]]))]
    while (weights[:-1] > 0).sum() > 1:
        used = np.flatnonzero(weights[:-1])
        for member in used[np.argsort(weights[used], kind="stable")]:
            fewer = _normalised(np.where(np.arange(len(weights)) == member, 0, weights))
            gain, error = gates.gain_error(goal.scored, goal.blend(fewer), goal.blend(weights), goal.metric, seed)
            if not gain > error:
                weights = fewer
                break
        else:
            break
    return weights


def _minimised(goal: _Goal, task: Task, among: Any) -> Floats:
    """Return the weights (K + 1,) of some members, a mask, with the least proper loss. The problem is convex."""
    from scipy.optimize import minimize

    seen, truth = goal.seen[among], goal.scored.truth

    def loss(weights: Floats) -> tuple[float, Floats]:
        mix = np.tensordot(weights, seen, 1)  # (N, J)
        slopes = np.tensordot(seen, task.slopes(truth, mix), ((1, 2), (0, 1))) / len(truth)
        return float(task.losses_of(truth, mix).mean()), slopes

    start = np.full(len(seen), 1 / len(seen))
    total = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    limits = [(0.0, 1.0)] * len(seen)
    solved = minimize(
        loss, start, jac=True, method="SLSQP", bounds=limits, constraints=[total], options={"ftol": 1e-10}
    )
    weights = np.zeros(len(goal.seen))
    weights[among] = _normalised(np.clip(solved.x, 0, None))
    return weights


def _normalised(weights: Floats) -> Floats:
    total = weights.sum()
    return weights / total if total else weights


def _loss(metric: Metric, truth: Truth, needed: Any) -> float:
    """Return the score, so that lower is better; infinity where there is none."""
    try:
        score = gates.score(truth, needed, metric)
    except UserError:
        return float("inf")
    return score if metric.lower_is_better else -score
