"""Grade a submission as Kaggle would: read it back, and compute the competition's metric against the truth.

N rows of a test set, C columns of the target, k: length of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kagglekit.base.shortlists import Wide
from kagglekit.competitions import submissions
from kagglekit.competitions.competition import Competition
from kagglekit.formats import reading
from kagglekit.formats.reading import Said
from kagglekit.pipeline import deciding, gates
from kagglekit.runs import decided
from kagglekit.runs.store import Run


@dataclass(frozen=True, kw_only=True)
class Grade:
    """The score of a submission."""

    score: float
    error: float | None
    """Standard error of the score; None for a single group."""


def grade(run: Run, competition: Competition, truth: pd.DataFrame, seed: int) -> Grade:
    """Return the score of a run's submission, as it lies on disk. `truth` has `id`, `label` and `group` of its rows.

    Of a format of the plugin's own, the predictions and decisions from which it was made are scored.
    """
    ids, metric = truth["id"].tolist(), competition.scored_by
    needed = _from_run(run, competition, ids) if competition.submission.by_hook else _from_file(run, competition, ids)
    true = competition.task.truth(truth["label"])
    clusters = pd.factorize(truth["group"])[0].astype(np.int64)
    scored = gates.Scored(true, needed, clusters, np.zeros(len(true), np.int64))
    error = gates.standard_error(scored, needed, metric, seed)
    return Grade(score=gates.score(true, needed, metric), error=None if np.isnan(error) else error)


def score(run: Run, competition: Competition, truth: pd.DataFrame, rows: Wide) -> float:
    """Return the score of other predictions (N, C) of the rows of `truth`, with what the run decides of them."""
    return gates.score(competition.task.truth(truth["label"]), _decided(run, competition, rows), competition.scored_by)


def _from_file(run: Run, competition: Competition, ids: list[str]) -> Wide:
    frame = submissions.parse(run.submission.read_bytes())
    written = [submissions.written_id(competition, name) for name in ids]
    said = reading.read(competition.submission, competition.target, frame, written)
    needed: Wide = _needed(said, competition)
    return needed


def _from_run(run: Run, competition: Competition, ids: list[str]) -> Wide:
    return _decided(run, competition, run.row_test().of(ids))


def _decided(run: Run, competition: Competition, rows: Wide) -> Wide:
    """Return what the metric needs of predictions, (N, …)."""
    decision = decided.read_decision(run)
    assert decision is not None, "a file of the run's stages"
    return deciding.needed(competition.scored_by, rows, decision)


def _needed(said: Said, competition: Competition) -> Any:
    """Return what the metric needs of what a submission says.

    Where the file has predictions, and the metric needs decisions, they are the usual ones; where it has only
    decisions, they are sure.
    """
    metric, task = competition.scored_by, competition.task
    if deciding.sees_predictions(metric):
        return _sure(said.decided, len(task.columns)) if said.predictions is None else said.predictions
    if said.decided is None:
        return deciding.usual(task, metric).apply(said.predictions)
    if metric.needs == "top":
        return said.decided[:, : metric.k] if said.decided.ndim == 2 else said.decided[:, None]
    return said.decided[:, 0] if said.decided.ndim == 2 and task.target.exclusive else said.decided


def _sure(own: Any, columns: int) -> Any:
    """Return decisions as predictions, (N, C): 1 for what is decided, of a list 1, 1/2, … for its guesses, else 0."""
    if own.dtype == bool:
        return own.astype(np.float64)
    lists = own[:, None] if own.ndim == 1 else own
    found = np.zeros((len(lists), columns))
    for place in reversed(range(lists.shape[1])):
        rows = np.flatnonzero(lists[:, place] >= 0)
        found[rows, lists[rows, place]] = 1 / (place + 1)
    return found
