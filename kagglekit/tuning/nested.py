"""The nested estimate: each fold is scored with the settings that the other folds chose.

N: scored rows, P: parts (folds), T: candidates, of which the first are the default settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kagglekit.base import shortlists
from kagglekit.base.arrays import Indices
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Shortlists, Wide
from kagglekit.metrics import Metric
from kagglekit.pipeline import deciding, gates
from kagglekit.pipeline.gates import Judgement, Scored
from kagglekit.runs import findings
from kagglekit.runs.findings import Findings
from kagglekit.runs.store import Run

Load = Callable[[], Wide]
"""Returns what the metric needs of the scored rows, (N, …), with the settings of one candidate."""


@dataclass(frozen=True, kw_only=True)
class Nested:
    """The outcome of choosing, scored on rows that did not choose."""

    chosen: dict[int, int]
    """Part -> the candidate that the other parts chose."""
    score: float
    standard_error: float | None
    judgement: Judgement
    """The gain over the default settings."""


def estimate(scored: Scored, candidates: Sequence[Load], metric: Metric, seed: int) -> Nested:
    """Choose for each part by the other parts, and compare the result with the default settings."""
    parts = gates.parts(scored, seed)
    places = {int(part): np.flatnonzero(parts == part) for part in np.unique(parts)}
    losses = np.array([_losses_of_others(scored, load(), places, metric) for load in candidates])  # (T, P)
    best = losses.argmin(axis=0).tolist()  # of equal ones the first: the default, then the oldest trial
    chosen = dict(zip(places, best, strict=True))
    before = candidates[0]()
    wanted = {best: [places[part] for part in places if chosen[part] == best] for best in chosen.values()}
    after = _joined(before, wanted, candidates)
    error = gates.standard_error(scored, after, metric, seed)
    return Nested(
        chosen=chosen,
        score=gates.score(scored.truth, after, metric),
        standard_error=None if np.isnan(error) else error,
        judgement=gates.judge(scored, before, after, metric, seed),
    )


def _losses_of_others(scored: Scored, needed: Wide, places: dict[int, Indices], metric: Metric) -> list[float]:
    """Return the loss on all parts but one, for each; infinite where the metric is undefined."""
    sign = 1.0 if metric.lower_is_better else -1.0

    def loss(own: Indices) -> float:
        others = np.setdiff1d(np.arange(len(scored.truth)), own)
        try:
            return sign * gates.score(scored.truth[others], needed[others], metric)
        except UserError:
            return float("inf")

    return [loss(own) for own in places.values()]


def _joined(before: Wide, wanted: dict[int, list[Indices]], candidates: Sequence[Load]) -> Any:
    """Return rows of several candidates, each at its places."""
    pieces = [(np.concatenate(own), candidates[place]) for place, own in wanted.items()]
    if isinstance(before, Shortlists):
        return shortlists.arranged(((rows, load()[rows]) for rows, load in pieces), len(before))
    after = np.array(before)
    for rows, load in pieces:
        after[rows] = load()[rows]
    return after


def scored_rows(found: Findings) -> Scored:
    """Return the scored rows of a run."""
    return gates.scored_rows(found.table, found.probabilities, found.task)


def loader(run: Run, ids: Sequence[str], metric: Metric) -> Load:
    """Return what reads a run's rows in the order of `ids`."""

    def load() -> Wide:
        found = findings.of_rows(run)
        places = found.table.reset_index().set_index("id")["index"].loc[list(ids)].to_numpy()
        needed: Wide = found.probabilities if deciding.sees_predictions(metric) else found.submitted
        own: Wide = needed[places]
        return own

    return load
