"""The end of a run: finishing steps, the submission and the final numbers.

N: scored images, M: test images, C: classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kagglekit.base import shortlists, storage
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.pipeline import deciding, gates, grouping, postprocess, shares, submission
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.predictions import Predictions
from kagglekit.runs import decided, filenames, record
from kagglekit.runs.record import TRANSDUCTIVE, Alone, Result
from kagglekit.runs.stages import Stage, Stages
from kagglekit.tasks import fitting
from kagglekit.tasks.decisions import Decision
from kagglekit.tasks.seconds import ACCURACY
from kagglekit.tasks.task import Decided

_MANY = 1 << 18
"""Number of predictions from which finishing shows its progress."""


_FILES = (filenames.UNFINISHED, filenames.OOF, filenames.TEST, filenames.DECIDED)
"""Files of images, and, by other names, of groups of images."""


def _files(job: Job) -> tuple[str, ...]:
    """Return the names of the files of what rows of the submission are of."""
    return tuple(map(filenames.ROWS.format, _FILES)) if job.competition.submission.per_group else _FILES


def stages(job: Job, method: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages that come after those of the method. Without test images there is no submission."""
    before = tuple(stage.name for stage in method)
    device = tuple(stage.name for stage in method if filenames.PROVIDER in stage.files)
    more = (filenames.FINISH, filenames.DECISION, filenames.ALONE)
    finish = Stage("finish", tuple(dict.fromkeys((*_FILES, *_files(job), *more))), after=before)
    if job.tables.test.empty:
        return finish, Stage("result", (filenames.RESULT,), after=(*device, "finish"))
    return (
        finish,
        Stage("submission", (job.run.submission.name,), after=("finish",), key=submission.key(job)),
        Stage("result", (filenames.RESULT,), after=(*device, "submission")),
    )


def conclude(job: Job, predictions: Predictions, stages: Stages) -> None:
    """Apply the finishing steps, check and write the submission, and write the final numbers."""
    run, labels = job.run, job.competition.labels
    rows = grouping.of_rows(job, predictions)
    train = grouping.scored(rows.train)
    ids = train["id"].tolist()
    scored = gates.scored_rows(train, rows.oof, job.competition.task)
    metric = job.competition.scored_by

    def finish_() -> None:
        remark = gates.left_out(scored, metric, labels)
        if remark:
            job.console.warn(remark)
        if rows is not predictions:
            way = job.competition.submission.per_group
            job.console.say(f"finish: {len(ids)} groups are scored, each by the {way} of its images' predictions")
        if job.recipe.finish.class_shares and not shares.has_shares(job.competition.task, rows):
            job.console.warn("class_shares has no effect: shares are of classes or grades, and of at most 1,000")
        done = _finish(job, scored, rows)
        _check_read(job, grouping.kept(predictions, done.gates)[1])
        _write(job, _files(job), train, job.tables.predicted, _of_rows(job, rows, done))
        if rows is not predictions:
            images = grouping.scored(predictions.train), job.tables.requested["id"].tolist()
            _write(job, _FILES, *images, _of_images(job, predictions, done))
        decided.write_decision(run, done.made.decision)
        steps = [gate.record().to_plain() for gate in (*done.gates, *done.made.gates)]
        storage.write_json(run.folder / filenames.FINISH, steps)
        record.write(run.folder / filenames.ALONE, _alone(job, scored, rows, done))

    def submission_() -> None:
        submission.write(job, run.row_test().of(job.tables.predicted), rows.prior)

    def result() -> None:
        closing = _closing_numbers(job, scored, rows, run.row_oof().of(ids))
        if rows is not predictions:
            closing = replace(closing, scored_images=len(predictions.oof), scored_groups=len(ids))
        record.write(run.folder / filenames.RESULT, replace(closing, seconds=run.seconds | stages.seconds()))

    stages.make("finish", finish_)
    if not job.tables.test.empty:
        stages.make("submission", submission_)
    stages.make("result", result)


def predicted(job: Job, predictions: Predictions) -> Wide:
    """Return what the finishing steps make of other predictions, for the ids of `Tables.predicted`; write nothing."""
    rows = grouping.of_rows(job, predictions)
    scored = gates.scored_rows(grouping.scored(rows.train), rows.oof, job.competition.task)
    return _of_rows(job, rows, _finish(job, scored, rows)).test


@dataclass(frozen=True, kw_only=True)
class _Values:
    """What is written of scored rows, and of those of the test set."""

    unfinished: Wide
    """Out-of-fold predictions before temperature and clip, (N, C)."""
    oof: Wide
    """The same after them."""
    test: Wide
    """Predictions of the test set after them, (M, C)."""
    decided: Decided
    """What is decided of the scored rows, (N, …)."""


def _of_rows(job: Job, rows: Predictions, done: _Finished) -> _Values:
    """Return the values of what rows of the submission are of."""
    test = postprocess.apply_kept(done.test, done.gates, job.competition.task.activation)
    test = shortlists.filled(test, rows.prior)
    return _Values(unfinished=done.unfinished, oof=done.oof, test=test, decided=done.made.decided)


def _of_images(job: Job, images: Predictions, done: _Finished) -> _Values:
    """Return the values of images, where rows are of groups, for which temperature, clip and decision were chosen."""
    oof, test = grouping.kept(images, done.gates)
    usual = deciding.usual(job.competition.task, job.competition.scored_by)
    test = shortlists.filled(test, images.prior)
    return _Values(unfinished=oof, oof=oof, test=test, decided=usual.apply(oof))


def _write(job: Job, names: Sequence[str], train: pd.DataFrame, asked: Sequence[str], values: _Values) -> None:
    """Write the values of scored rows `train` and of those `asked` for, to files with these names."""
    run, labels = job.run, job.competition.labels
    unfinished, oof, test, own = names
    ids = train["id"].tolist()
    # the input of temperature and clip: the report plots the loss for each of their values
    run.write_probabilities(unfinished, ids, values.unfinished, labels)
    truth = {"label": train["label"].tolist(), "fold": train["fold"].tolist()}
    run.write_probabilities(oof, ids, values.oof, labels, **truth)
    run.write_probabilities(test, asked, values.test, labels)
    decided.write(run, ids, values.decided, own)


@dataclass(frozen=True, kw_only=True)
class _Finished:
    """Predictions after the finishing steps, and what is decided of them."""

    unfinished: Wide
    """Out-of-fold predictions before temperature and clip, (N, C)."""
    oof: Wide
    """The same after them."""
    test: Wide
    """Predictions of the test set before temperature and clip, (M, C)."""
    gates: list[gates.Gate]
    made: deciding.Made


def _finish(job: Job, scored: gates.Scored, predictions: Predictions, *, together: bool = True) -> _Finished:
    """Choose among the candidates, then class shares, then temperature and clip, then the decision.

    Unless images are predicted `together`, no step looks at others.
    """
    task, metric, seed = job.competition.task, job.competition.scored_by, job.recipe.data.seed
    usual = deciding.usual(task, metric)

    def needed(rows: Wide) -> Wide:
        return deciding.needed(metric, rows, usual)

    def calibrated(rows: Wide) -> Wide:
        if metric.needs != "probabilities" or "temperature" not in job.recipe.finish.finish:
            return rows
        return postprocess.tempered(replace(scored, probabilities=rows), metric, seed, task.activation)

    start, test, tried = postprocess.choose(scored, predictions, metric, seed, needed, calibrated=calibrated)
    if together and job.recipe.finish.class_shares and shares.has_shares(task, predictions):

        def judge(before: Wide, after: Wide) -> gates.Judgement:
            # right shares are hardly seen in predictions that are not sure enough, and temperature comes later
            return gates.judge(scored, needed(calibrated(before)), needed(calibrated(after)), metric, seed)

        start, test, gate = shares.match(start, test, predictions, task, judge)
        tried.append(gate)
    with _progress(job, scored, usual) as advance:
        wanted = job.recipe.finish.finish
        oof, steps = postprocess.finish(start, wanted, metric, seed, task.activation, advance=advance)
        made = deciding.make(replace(start, probabilities=oof), task, metric, seed, advance)
    return _Finished(unfinished=start.probabilities, oof=oof, test=test, gates=[*tried, *steps], made=made)


def _progress(job: Job, scored: gates.Scored, usual: Decision) -> AbstractContextManager[gates.Advance]:
    """Show the progress of many predictions, which takes more than a second."""
    metric, steps = job.competition.scored_by, job.recipe.finish.finish
    wanted = len(steps) if metric.needs == "probabilities" else len(fitting.offered(usual, metric))
    if scored.probabilities.size < _MANY or not wanted:
        return nullcontext(gates.still)
    fits = wanted * (len(np.unique(gates.parts(scored, job.recipe.data.seed))) + 1)
    return job.console.progress("finish", fits, "fits")


def _alone(job: Job, scored: gates.Scored, predictions: Predictions, done: _Finished) -> Alone:
    """Return the finishing steps of an exported file, which sees one image at a time, and its out-of-fold score.

    Where rows are of groups it has none that was chosen for groups.
    """
    together = {candidate.name for candidate in predictions.candidates if not candidate.alone} | {shares.STEP}
    left_out = [gate.step for gate in done.gates if gate.judgement.kept and gate.step in together]
    if left_out:
        alone = tuple(candidate for candidate in predictions.candidates if candidate.alone)
        done = _finish(job, scored, replace(predictions, candidates=alone), together=False)
    task, metric = job.competition.task, job.competition.scored_by
    steps = {gate.step: gate.value for gate in done.gates if gate.judgement.kept}
    if job.competition.submission.per_group:
        of_groups = [step for step, value in steps.items() if value is not None]
        of_groups += [gate.step for gate in done.made.gates if gate.judgement.kept]
        usual = deciding.usual(task, metric)
        plain = deciding.needed(metric, done.unfinished, usual)
        return Alone(
            steps={step: None for step, value in steps.items() if value is None},
            decision=usual.to_plain(),
            left_out=(*left_out, *of_groups),
            out_of_fold=gates.score(scored.truth, plain, metric),
        )
    needed = done.oof if deciding.sees_predictions(metric) else done.made.decided
    return Alone(
        steps=steps,
        decision=done.made.decision.to_plain(),
        left_out=tuple(left_out),
        out_of_fold=gates.score(scored.truth, needed, metric),
    )


def _check_read(job: Job, test: Wide) -> None:
    """Raise UserError if a readable test image has no prediction in `test` (M, C)."""
    without = shortlists.unknown(test)
    requested = job.tables.requested
    strange = requested["id"][without & (requested["content"] != "").to_numpy()]
    if len(strange):
        raise UserError(
            f"{len(strange)} readable test images have no prediction, for example {strange.iloc[0]}: the network's "
            "outputs overflowed; use another --backbone, or train with --set precision=float32 and a lower "
            "learning_rate."
        )


def _transductive(job: Job, predictions: Predictions) -> str | None:
    """Return by which steps the predictions learn from the images that are predicted; None if by none.

    Of the candidates that were kept, only the last is used.
    """
    kept = {step.step: step.note for step in job.run.finishing if step.kept}
    candidates = [candidate.name for candidate in predictions.candidates]
    used = [name for name in candidates if name in kept][-1:]
    first: dict[str, str | None] = {} if used else {predictions.name: predictions.note}
    notes = first | {name: note for name, note in kept.items() if name in used or name not in candidates}
    return ", ".join(name for name, note in notes.items() if note == TRANSDUCTIVE) or None


def _closing_numbers(job: Job, scored: gates.Scored, predictions: Predictions, oof: Wide) -> Result:
    task, metric, seed = job.competition.task, job.competition.scored_by, job.recipe.data.seed
    ids = grouping.scored(predictions.train)["id"].tolist()
    own = decided.read(job.run, ids, job.run.of_rows(filenames.DECIDED))
    provider = job.run.provider
    assert own is not None, "files of the stages before"
    assert provider is not None, "files of the stages before"
    needed = oof if deciding.sees_predictions(metric) else own
    error = gates.standard_error(scored, needed, metric, seed)
    name, second = task.second(scored.truth, task.decide(oof) if metric.needs == "top" else own)
    before = deciding.needed(metric, scored.probabilities, deciding.usual(task, metric))
    return Result(
        metric=metric.name,
        lower_is_better=metric.lower_is_better,
        out_of_fold=gates.score(scored.truth, needed, metric),
        standard_error=None if math.isnan(error) else error,
        accuracy=second if name == ACCURACY else None,
        also=None if name == ACCURACY else {name: second},
        before_finish=gates.score(scored.truth, before, metric),
        finish=job.run.finishing,
        transductive=_transductive(job, predictions),
        clusters=len(np.unique(scored.clusters)),
        folds_left_out=job.run.left_out or None,
        scored_images=len(scored.truth),
        quarantined=len(job.tables.quarantine),
        validation=job.recipe.data.validation,
        sample=job.recipe.data.sample,
        synthetic=job.synthetic,
        backbones=tuple(record.names_of(job.run.record.backbones)),
        method=job.recipe.training.method,
        device=provider.used,
        # several if folds ran on different machines
        predicted_on=tuple(sorted({each.used for each in job.run.providers})),
        submission_sha256="" if job.tables.test.empty else storage.file_sha256(job.run.submission),
    )
