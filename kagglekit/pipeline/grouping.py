"""Predictions of what rows of a submission are of: images, or groups of them.

N: scored images, M: test images, C: columns of the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kagglekit.base import shortlists
from kagglekit.base.arrays import Indices
from kagglekit.base.shortlists import Shortlists, Wide
from kagglekit.competitions import row_groups
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.formats.groups import Members
from kagglekit.pipeline.gates import Gate
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.predictions import Predictions

_GROUPS = 64
"""Number of groups whose images have arrays of all classes at a time."""


def scored(train: pd.DataFrame) -> pd.DataFrame:
    """Return the training images that are scored."""
    return train[train["fold"] != folds.TRAIN_ONLY].reset_index(drop=True)


def of_rows(job: Job, images: Predictions) -> Predictions:
    """Return the predictions of what rows of the submission are of.

    If that are groups, `train`, `oof` and `test` have a row each, and the truth is that of their images.
    """
    competition = job.competition
    if not competition.submission.per_group:
        return images
    train = scored(images.train)
    every, table = (
        row_groups.of_training(rows, competition.target, "the training images") for rows in (images.train, train)
    )
    fold = train.drop_duplicates("row")["fold"].to_numpy()
    known = Members.of([[name] for name in train["row"]])
    asked = Members.of([row_groups.separate(joined) for joined in job.tables.requested["row"]])
    candidates = tuple(
        replace(each, oof=_combined(known, each.oof, competition), test=_combined(asked, each.test, competition))
        for each in images.candidates
    )
    return Predictions(
        train=table.assign(fold=fold),
        oof=_combined(known, images.oof, competition),
        test=_combined(asked, images.test, competition),
        prior=competition.task.prior(competition.task.truth(every["label"])),
        candidates=candidates,
        name=images.name,
        note=images.note,
    )


def kept(predictions: Predictions, gates: Sequence[Gate]) -> tuple[Wide, Wide]:
    """Return the predictions (N, C) and (M, C) of the last candidate that was kept, else those that were there."""
    names = {gate.step for gate in gates if gate.judgement.kept}
    chosen = [each for each in predictions.candidates if each.name in names]
    return (chosen[-1].oof, chosen[-1].test) if chosen else (predictions.oof, predictions.test)


def _combined(members: Members, predictions: Wide, competition: Competition) -> Wide:
    form = competition.submission
    if isinstance(predictions, Shortlists):
        parts = (part.combined(np.asarray(predictions[rows]), form.per_group) for rows, part in _few(members))
        return shortlists.joined([competition.task.activation.kept(part) for part in parts])
    one = competition.labels.index(form.positive) if form.positive and competition.target.exclusive else -1
    return members.combined(predictions, form.per_group, one)


def _few(members: Members) -> Iterator[tuple[Indices, Members]]:
    """Yield the images of a few groups at a time, (B,), and which of these belong to which of the groups."""
    for start in range(0, len(members.names), _GROUPS):
        here = slice(*np.searchsorted(members.groups, (start, start + _GROUPS)))  # pairs are sorted by group
        images = members.images[here]
        names = members.names[start : start + _GROUPS]
        yield images, Members(names, np.arange(len(images)), members.groups[here] - start)
