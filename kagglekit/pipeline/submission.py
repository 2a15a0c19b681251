"""Format, check and write the submission.

M: test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kagglekit.base import shortlists, storage
from kagglekit.base.arrays import Floats
from kagglekit.base.errors import PluginError, UserError
from kagglekit.base.shortlists import Wide
from kagglekit.competitions import submissions
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.plugins import Plugin
from kagglekit.data.tables import Tables
from kagglekit.pipeline.job import Job
from kagglekit.runs import decided
from kagglekit.tasks import decisions
from kagglekit.tasks.decisions import Decision

_TRIED = 10
"""Number of rows that the plugin's hook formats before anything is computed."""


def try_hook(plugin: Plugin, competition: Competition, found: Tables) -> None:
    """Let the plugin's own hook, if any, format some rows of class priors. Raises PluginError if they are refused."""
    if not plugin.has("submission") or found.test.empty:
        return
    ids = submissions.expected_ids(competition, found.asked, found.sample)
    sample = found.sample
    if sample is None or len(submissions.of_images(competition, sample, ids)):
        ids = ids[:_TRIED]
        sample = None if sample is None else submissions.of_images(competition, sample, ids)
    task = competition.task
    prior = task.prior(task.truth(found.train["label"]))
    usual = competition.submission.usual(task)
    _formatted(plugin, competition, ids, np.tile(prior, (len(ids), 1)), sample, decision=usual)


def key(job: Job) -> str:
    """Return a hash of what only the submission depends on: its format, the sample, and the plugin's own hook."""
    sample = job.tables.sample
    hook = job.plugin.digest() if job.plugin.has("submission") else ""
    rows = "" if sample is None else sample.to_csv(index=False)
    return storage.digest([repr(job.competition.submission), hook, rows], 32)


def write(job: Job, test: Wide, prior: Floats) -> None:
    """Write a row per requested id, from the probabilities of `Tables.predicted` (M, C) and the class `prior` (C,)."""
    competition, tables = job.competition, job.tables
    ids = submissions.expected_ids(competition, tables.asked, tables.sample)
    written = [submissions.written_id(competition, test_id) for test_id in tables.predicted]
    own = np.zeros(len(ids), np.int64)  # the prior, unless an image has the id
    for number, place in enumerate(submissions.rows_of(written, ids), 1):
        if place is not None:
            own[place] = number
    rows = shortlists.joined([competition.task.activation.kept(prior[None]), test])[own]
    unpredicted = int((own == 0).sum())
    if unpredicted:
        job.console.warn(f"{unpredicted} of {len(ids)} rows were not predicted and get the class prior")
    fitted, usual = decided.read_decision(job.run), competition.submission.usual(competition.task)
    decision = usual if fitted is None else decisions.as_written(fitted, usual)
    frame = _formatted(job.plugin, competition, ids, rows, tables.sample, decision=decision)
    submissions.write(frame, job.run.submission)


def _formatted(
    plugin: Plugin,
    competition: Competition,
    ids: Sequence[str],
    rows: Wide,
    sample: pd.DataFrame | None,
    *,
    decision: Decision,
) -> pd.DataFrame:
    """Return the submission, checked. A hook may change its arguments."""
    own = decision.apply(rows)
    rows = np.asarray(rows) if plugin.has("submission") else rows
    frame = plugin.submission(competition, list(ids), rows, None if sample is None else sample.copy(), own)
    try:
        submissions.check(frame, competition, ids, sample=sample)
    except UserError as error:
        if not plugin.has("submission"):
            raise
        cure = "" if competition.submission.by_hook else " Any other format is declared as OwnFormat."
        raise PluginError(f"plugin {plugin.name!r}, hook 'submission': {error}{cure}") from error
    return frame
