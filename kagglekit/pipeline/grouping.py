"""Predictions of what rows of a submission are of: images, or groups of them.

N: scored images, M: test images, C: columns of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from kagglekit.base.arrays import Floats
from kagglekit.competitions import row_groups
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.formats.groups import Members
from kagglekit.pipeline.gates import Gate
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.predictions import Predictions


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
    table = row_groups.of_training(train, competition, "the training images")
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
        prior=competition.task.prior(competition.task.truth(table["label"])),
        candidates=candidates,
    )


def kept(predictions: Predictions, gates: Sequence[Gate]) -> tuple[Floats, Floats]:
    """Return the predictions (N, C) and (M, C) of the last candidate that was kept, else those that were there."""
    names = {gate.step for gate in gates if gate.judgement.kept}
    chosen = [each for each in predictions.candidates if each.name in names]
    return (chosen[-1].oof, chosen[-1].test) if chosen else (predictions.oof, predictions.test)


def _combined(members: Members, predictions: Floats, competition: Competition) -> Floats:
    form = competition.submission
    one = competition.labels.index(form.positive) if form.positive and competition.target.exclusive else -1
    return members.combined(predictions, form.per_group, one)
