"""Choose the file to submit, and check it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions import samples, submissions
from kagglekit.competitions.competition import Competition
from kagglekit.data.project import Project
from kagglekit.pipeline import summary
from kagglekit.runs import store
from kagglekit.runs.record import Result


@dataclass(frozen=True)
class Choice:
    """The file to submit, and the run that wrote it, if any."""

    file: Path
    run: store.Run | None

    def message(self) -> str:
        """Return the default message, which Kaggle shows next to the score."""
        if self.run is None:
            return self.file.name
        result = self.run.finished()
        scorer = summary.SCORERS[result.validation]
        return f"{', '.join(result.backbones)}, {scorer} {result.out_of_fold:.5f}, run {self.run.id}"


def choose(project: Project, file: Path | None, reference: str | None, *, force: bool) -> Choice:
    """Return the file if given, else the submission of the run if given, else that of the best run.

    Raises UserError for a synthetic run, a rehearsal's, an unfinished run, another competition's run, a run without
    test images and, unless `force`, a run on a sample.
    """
    if file is not None and reference is not None:
        raise UserError("name a FILE or a run with --run, not both.")
    if file is not None:
        if not file.is_file():
            raise UserError(f"no file {file}: name an existing submission, or a run with --run ID.")
        digest = storage.file_sha256(file)
        runs = (*store.all_runs(project.workspace), *store.rehearsals(project.workspace))
        made = [(run, run.result) for run in runs if run.result and run.result.submission_sha256 == digest]
        if not made:
            return Choice(file, None)
        # equal files of several runs: one that is refused anyway, else a run on all images
        first, _ = min(made, key=lambda each: (not (each[0].synthetic or each[0].rehearsal), each[1].sample))
        return Choice(file, _checked(first, project, force))
    run = _best(project) if reference is None else store.find(reference)
    return Choice(run.submission, _unchanged(_checked(run, project, force)))


def _best(project: Project) -> store.Run:
    """Return the best run with a submission; without one, the best of those that had no test images."""
    run = store.best_run(project.workspace, _has_submission) or store.best_run(project.workspace)
    if run is not None:
        return run
    finished = sum(run.result is not None for run in store.all_runs(project.workspace))
    others = f" (the {finished} finished are synthetic, or used a sample)" if finished else ""
    raise UserError(f"no finished run of {project.name} to submit{others}: `kagglekit run {project.name}` creates one.")


def _has_submission(_run: store.Run, result: Result) -> bool:
    return bool(result.submission_sha256)


def _checked(run: store.Run, project: Project, force: bool) -> store.Run:
    name = run.record.competition.name
    if name != project.competition.name:
        raise UserError(f"run {run.id} belongs to {name}: `kagglekit runs {project.name}` lists the runs to submit.")
    if run.synthetic:
        raise UserError(
            f"run {run.id} is SYNTHETIC: it can't be submitted; "
            f"`kagglekit download {project.name}` downloads the real data."
        )
    if run.rehearsal:
        raise UserError(
            f"run {run.id} is a rehearsal on hidden training images: it can't be submitted; "
            f"`kagglekit run {project.name}` creates a run to submit."
        )
    if not _has_submission(run, run.finished()):
        raise UserError(
            f"run {run.id} has no submission: there were no test images; `kagglekit run {project.name}` creates one if "
            "the data has them."
        )
    if run.finished().sample and not force:
        raise UserError(f"run {run.id} used a sample: run without --sample, or use --force.")
    return run


def _unchanged(run: store.Run) -> store.Run:
    if not run.submission.is_file():
        raise UserError(f"run {run.id} has no {run.submission.name} any more: repeat the run's command.")
    if storage.file_sha256(run.submission) != run.finished().submission_sha256:
        raise UserError(
            f"{run.submission} has changed since run {run.id} wrote it: repeat the run's command, or name it as FILE."
        )
    return run


def check(choice: Choice, project: Project, console: Console) -> None:
    """Raise UserError for a file that Kaggle would refuse. Nothing is sent."""
    competition, sample = _on_data(project, choice.run, console)
    ids, source = _ids(competition, choice.run, sample)
    tolerance = submissions.ROUNDED_SUM_TOLERANCE if choice.run is None else submissions.ROW_SUM_TOLERANCE
    try:
        frame = read(choice.file, competition)
        submissions.check(frame, competition, ids, sample=sample, tolerance=tolerance)
    except submissions.RefusedError as error:
        raise UserError(f"{choice.file.name} was not sent, Kaggle would refuse it: {error.reason}.") from error
    console.say(f"{choice.file.name} is valid: {len(frame)} rows, checked against {source}")


def read(file: Path, competition: Competition) -> pd.DataFrame:
    """Read a submission as Kaggle does: ids as strings, probabilities as numbers."""
    try:
        frame = submissions.parse(file.read_bytes())
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file.name} can't be read as CSV ({reason}): name a submission file.") from error
    return competition.submission.typed(frame)


def _on_data(project: Project, run: store.Run | None, console: Console) -> tuple[Competition, pd.DataFrame | None]:
    """Return the competition, with what the data or else the run says of its target, and the sample submission.

    There is no sample if it is not here, or if it can't be read and there is a `run` to ask.
    """
    recorded = project.competition
    if run is not None and recorded.target.source is not None:
        recorded = recorded.with_target(run.record.competition.task.target)
    try:
        if project.lacks_data(None):
            return recorded, None
        files = project.find_data(None, console)
        found = project.on(files).competition
        return found, samples.read(found, files)
    except UserError as error:
        if run is None:
            raise
        console.warn(str(error))
        return recorded, None


def _ids(competition: Competition, run: store.Run | None, sample: pd.DataFrame | None) -> tuple[list[str], str]:
    """Return the ids of images that need rows, and their source: the sample submission, else the run's test images."""
    if sample is not None:
        return submissions.expected_ids(competition, [], sample), "the sample submission"
    if run is None:
        raise UserError(
            f"no sample submission of {competition.name} to check the file against: "
            f"`kagglekit download {competition.name}` downloads it."
        )
    ids = [str(each) for each in run.row_test().known("id")["id"]]
    return submissions.expected_ids(competition, ids, None), "the run's test images"
