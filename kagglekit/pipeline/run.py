"""A whole run, from prepared data to a validated submission."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pandas as pd

from kagglekit import recipe
from kagglekit.base import distributed, environment, storage
from kagglekit.base.errors import UserError
from kagglekit.competitions import submissions
from kagglekit.data import exclusions
from kagglekit.pipeline import finalize, steps, summary
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.base import FoldByFold, Method
from kagglekit.runs import filenames, record, store
from kagglekit.runs.record import CompetitionRecord, Record
from kagglekit.runs.stages import Stages


def go(job: Job, fold: int | None = None) -> store.Run:
    """Start or resume a prepared run. A finished run is only shown. With `fold`, only its models are trained."""
    if fold is not None:
        _train_fold(job, table.get(job.recipe.training.method), fold)
        return job.run
    warn_of_quarantine(job)
    if not make(job):
        job.console.say(f"run {job.run.id} is already finished, and nothing has changed since")
        _show(job)
    return job.run


def make(job: Job) -> bool:
    """Start or resume a prepared run, and show it; return False, and say nothing, if it is finished."""
    method = table.get(job.recipe.training.method)
    with _locked(job):
        stages = _stages(job, method)
        if distributed.agree(stages.all_made()):
            return False
        with _logging(job, filenames.LOG):
            _record(job)
            predictions = method.predict(job, stages)
            if predictions is not None:  # only the first process has them
                finalize.conclude(job, predictions, stages)
                _show(job)
    return True


@contextmanager
def _locked(job: Job) -> Iterator[None]:
    """Lock the run. Other processes wait for the first: another command may be leaving folds out."""
    with job.run.locked(job.console):
        distributed.agree(None)
        yield


def _stages(job: Job, method: Method) -> Stages:
    own = method.stages(job)
    return Stages(job.run.folder, job.run.key, (*own, *finalize.stages(job, own)), job.console.warn)


def _logging(job: Job, name: str) -> AbstractContextManager[None]:
    """Log what is printed, in the first process only."""
    return job.console.logging_to(job.run.folder / name) if distributed.is_first() else nullcontext()


def _show(job: Job) -> None:
    result = job.run.result
    if not distributed.is_first() or result is None:
        return
    if job.run.rehearsal:
        steps.show(result, job.console)
    else:
        table.get(job.recipe.training.method).show(job.run, job.console)
        summary.show(job.run, job.plugin, result, job.console)


def _train_fold(job: Job, method: Method, fold: int) -> None:
    """Train the models of one fold. Raises UserError if the method can't, or the run has no such fold."""
    if not isinstance(method, FoldByFold):
        able = [name for name, one in table.METHODS.items() if isinstance(one, FoldByFold)]
        raise UserError(f"--fold {fold}: only method {', '.join(able)} trains fold by fold; use --method {able[0]}.")
    log = filenames.LOG_OF_FOLD.format(fold)
    with _locked(job):
        if fold not in method.folds(job):
            left_out = "; that one was left out to end in time, use a larger --budget"
            has = f"this run has folds {', '.join(map(str, method.folds(job)))}"
            raise UserError(f"--fold {fold}: {has}{left_out if fold in job.run.left_out else ''}.")
        stages = _stages(job, method)
        with _logging(job, log):
            _record(job)
            method.prepare(job, stages)
    with _logging(job, log):
        method.train_fold(job, stages, fold)


def _record(job: Job) -> None:
    """Write the inputs of the run and the list of quarantined images, before it starts."""
    if not distributed.is_first():
        return
    folder = job.run.folder
    before = record.read(folder / filenames.RECORD, Record)
    storage.write_text(folder / filenames.RECIPE, recipe.to_toml(job.recipe))
    record.write(folder / filenames.RECORD, _made_from(job, before))
    _record_images(job)
    if len(job.tables.dropped):
        exclusions.write(folder / filenames.DROPS, job.tables.dropped)
    bad, listed = job.tables.quarantine, _quarantine_list(job)
    if len(bad) or listed.exists():
        with storage.replacing(listed) as temporary:
            bad.to_csv(temporary, index=False, lineterminator="\n")


def _made_from(job: Job, before: Record | None) -> Record:
    """Return the record of the run's inputs. `before` is the record of an earlier command, if any."""
    return Record(
        competition=CompetitionRecord.from_plain(job.competition.describe()),
        metric=job.competition.metric_name or None,
        positive=job.competition.submission.positive or None,
        leaderboard=job.competition.leaderboard,
        bundle=submissions.describe(job.competition, [hook for hook in submissions.HOOKS if job.plugin.has(hook)]),
        backbones=table.get(job.recipe.training.method).backbones(job),
        batch_size=job.batch_size,
        train_images=len(job.tables.train),
        test_images=len(job.tables.requested),
        dropped=len(job.tables.dropped),
        seed=job.recipe.data.seed,
        synthetic=job.synthetic,
        started=before.started if before else time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        gone_on=before.gone_on + 1 if before else 0,
        python=platform.python_version(),
        versions=environment.versions(),
        machine=environment.machine(),
        git_commit=environment.git_commit(),
    )


def _record_images(job: Job) -> None:
    """Write the list of image files, which export, report and audit read again."""
    both = [job.tables.train.assign(part="train"), job.tables.requested.assign(part="test")]
    job.run.write_frame(filenames.IMAGES, pd.concat(both, ignore_index=True))


def _quarantine_list(job: Job) -> Path:
    return job.run.folder / filenames.QUARANTINE


def warn_of_quarantine(job: Job) -> None:
    """Warn of unreadable images, and print what happens to them."""
    bad, listed = job.tables.quarantine, _quarantine_list(job)
    grouped = bool(job.competition.submission.per_group)
    of_test = "their groups are predicted from their other images" if grouped else "their rows get the class prior"
    for part, fate in (("train", "left out of training"), ("test", of_test)):
        rows = bad[bad["part"] == part]
        if len(rows):
            example = f"{rows['id'].iloc[0]} ({rows['reason'].iloc[0]})"
            job.console.warn(
                f"{len(rows)} {part} images can't be read, for example {example}: {fate}; all are listed in {listed}"
            )
