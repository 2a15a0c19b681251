"""The end of a run: finishing steps, the submission and the final numbers.

N: scored images, M: test images, C: classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit import metrics
from kagglekit.base import storage
from kagglekit.base.arrays import Floats
from kagglekit.base.errors import UserError
from kagglekit.data import folds
from kagglekit.pipeline import postprocess, submission
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.predictions import Predictions
from kagglekit.runs import filenames, record
from kagglekit.runs.record import Alone, Result
from kagglekit.runs.stages import Stage, Stages
from kagglekit.tasks.task import Task


def stages(job: Job, method: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages that come after those of the method. Without test images there is no submission."""
    before = tuple(stage.name for stage in method)
    device = tuple(stage.name for stage in method if filenames.PROVIDER in stage.files)
    finish = Stage(
        "finish",
        (filenames.UNFINISHED, filenames.OOF, filenames.TEST, filenames.FINISH, filenames.ALONE),
        after=before,
    )
    if job.tables.test.empty:
        return finish, Stage("result", (filenames.RESULT,), after=(*device, "finish"))
    return (
        finish,
        Stage("submission", (job.run.submission.name,), after=("finish",)),
        Stage("result", (filenames.RESULT,), after=(*device, "submission")),
    )


def conclude(job: Job, predictions: Predictions, stages: Stages) -> None:
    """Apply the finishing steps, check and write the submission, and write the final numbers."""
    run, labels = job.run, job.competition.labels
    train = predictions.train[predictions.train["fold"] != folds.TRAIN_ONLY]
    scored = _scored(train, predictions.oof, job.competition.task)
    metric = job.competition.scored_by

    def finish_() -> None:
        remark = postprocess.left_out(scored, metric, labels)
        if remark:
            job.console.warn(remark)
        start, test, tried = postprocess.choose(scored, predictions, metric, job.recipe.data.seed)
        # the input of temperature and clip: the report plots the loss for each of their values
        run.write_probabilities(filenames.UNFINISHED, train["id"].tolist(), start.probabilities, labels)
        oof, gates = postprocess.finish(start, job.recipe.finish.finish, metric, job.recipe.data.seed)
        test = postprocess.apply_kept(test, gates)
        test[_unread(job, test)] = predictions.prior
        gates = [*tried, *gates]
        for gate in gates:
            job.console.say(gate.line())
        truth = {"label": train["label"].tolist(), "fold": train["fold"].tolist()}
        run.write_probabilities(filenames.OOF, train["id"].tolist(), oof, labels, **truth)
        run.write_probabilities(filenames.TEST, job.tables.requested["id"].tolist(), test, labels)
        storage.write_json(run.folder / filenames.FINISH, [gate.record().to_plain() for gate in gates])
        record.write(run.folder / filenames.ALONE, _alone(gates, oof))

    def _alone(gates: list[postprocess.Gate], oof: Floats) -> Alone:
        """Return the finishing steps of an exported file, which sees one image at a time, and its out-of-fold score."""
        together = {candidate.name for candidate in predictions.candidates if not candidate.alone}
        left_out = [gate.step for gate in gates if gate.judgement.kept and gate.step in together]
        if left_out:
            alone = tuple(candidate for candidate in predictions.candidates if candidate.alone)
            rest = replace(predictions, candidates=alone)
            start, _, tried = postprocess.choose(scored, rest, metric, job.recipe.data.seed)
            oof, gates = postprocess.finish(start, job.recipe.finish.finish, metric, job.recipe.data.seed)
            gates = [*tried, *gates]
        return Alone(
            steps={gate.step: gate.value for gate in gates if gate.judgement.kept},
            left_out=tuple(left_out),
            out_of_fold=postprocess.score(scored.truth, oof, metric),
        )

    def submission_() -> None:
        submission.write(job, run.test().of(job.tables.requested["id"].tolist()), predictions.prior)

    def result() -> None:
        closing = _closing_numbers(job, scored, run.oof().of(train["id"].tolist()), metric)
        record.write(run.folder / filenames.RESULT, replace(closing, seconds=run.seconds | stages.seconds()))

    stages.make("finish", finish_)
    if not job.tables.test.empty:
        stages.make("submission", submission_)
    stages.make("result", result)


def _unread(job: Job, test: Floats) -> NDArray[np.bool_]:
    """Return a mask of the unreadable test images, (M,). Raises UserError if a readable one has no prediction."""
    without: NDArray[np.bool_] = np.asarray(np.isnan(test).any(axis=1))
    requested = job.tables.requested
    strange = requested["id"][without & (requested["content"] != "").to_numpy()]
    if len(strange):
        raise UserError(
            f"{len(strange)} readable test images have no prediction, for example {strange.iloc[0]}: the network's "
            "outputs overflowed; use another --backbone, or train with --set precision=float32 and a lower "
            "learning_rate."
        )
    return without


def _closing_numbers(job: Job, scored: postprocess.Scored, oof: Floats, metric: metrics.Metric) -> Result:
    error = postprocess.standard_error(scored, oof, metric, job.recipe.data.seed)
    provider = job.run.provider
    assert provider is not None, "a file of the stage before"
    return Result(
        metric=metric.name,
        lower_is_better=metric.lower_is_better,
        out_of_fold=postprocess.score(scored.truth, oof, metric),
        standard_error=None if math.isnan(error) else error,
        accuracy=float(metrics.correct_rows(scored.truth, oof).mean()),
        before_finish=postprocess.score(scored.truth, scored.probabilities, metric),
        finish=job.run.finishing,
        clusters=len(np.unique(scored.clusters)),
        folds_left_out=job.run.left_out or None,
        scored_images=len(scored.truth),
        quarantined=len(job.tables.quarantine),
        validation=job.recipe.data.validation,
        sample=job.recipe.data.sample,
        synthetic=job.synthetic,
        backbones=tuple(backbone.name for backbone in job.backbones),
        method=job.recipe.training.method,
        device=provider.used,
        # several if folds ran on different machines
        predicted_on=tuple(sorted({each.used for each in job.run.providers})),
        submission_sha256="" if job.tables.test.empty else storage.file_sha256(job.run.submission),
    )


def _scored(train: pd.DataFrame, oof: Floats, task: Task) -> postprocess.Scored:
    clusters = train["group"] if "group" in train else train["id"]
    return postprocess.Scored(
        task.truth(train["label"]),
        oof,
        pd.factorize(clusters)[0].astype(np.int64),
        train["fold"].to_numpy(),
    )
