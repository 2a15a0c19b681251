"""Implementation of `download`, `submit` and `submissions`."""

from __future__ import annotations

from pathlib import Path

from kagglekit.base import distributed
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data.project import Project
from kagglekit.kaggle import client, credentials, ledger, select
from kagglekit.kaggle import download as downloading
from kagglekit.kaggle import submit as sending
from kagglekit.kaggle.errors import UnreachableError
from kagglekit.runs.record import TRANSDUCTIVE


def download(name: str) -> None:
    """Download a competition's data into its workspace."""
    console = Console()
    project = Project.load(name)
    files = downloading.download(project, console)
    console.say(f"the data of {project.competition.name} is in {files.origin}")
    console.say(f"next: kagglekit run {name}")


def check_before_run(name: str, data_path: Path | None, *, fold: int | None, sample: bool) -> None:
    """Raise UserError for a run that can't be submitted, before hours of work. Download missing data.

    If Kaggle answers, also check that the rules are accepted and that submissions are left.
    """
    project = Project.load(name)
    client.slug_of(project.competition)
    if fold is not None:
        raise UserError(f"--fold {fold} makes no submission: use --submit when you combine the folds, without --fold.")
    if sample:
        raise UserError("--submit and --sample exclude each other: a sample run is not worth a submission.")
    credentials.require()
    if not distributed.is_first():
        return
    console = Console()
    if project.lacks_data(data_path):
        downloading.download(project, console)
    try:
        with client.connect(project.competition, console, attempts=1) as kaggle:
            limits = kaggle.limits()
    except UnreachableError as error:
        console.warn(f"can't check yet whether the run can be submitted: {error}")
        return
    if limits.why_none:
        console.warn(f"{limits.why_none}: this run can't be submitted now")


def submit(name: str, file: Path | None, run: str | None, message: str | None, *, wait: bool, force: bool) -> None:
    """Submit a file, or the submission of a run or of the best run."""
    console = Console()
    project = Project.load(name)
    slug = client.slug_of(project.competition)
    chosen = select.choose(project, file, run, force=force)
    made_by = "" if chosen.run is None else f" of run {chosen.run.id}"
    console.say(f"submitting {chosen.file.name}{made_by} to {slug}")
    row = sending.send(chosen, project, message or chosen.message(), console, force=force)
    console.say(f"submission {row.reference} received: {row.message}")
    if not wait:
        console.say(f"next: kagglekit submissions {name}")
        return
    row = sending.wait(row, project, console)
    console.table(f"submission {row.reference}", ("", ">"), _facts(row))


def _facts(row: ledger.Row) -> list[tuple[str, str]]:
    own = [] if row.out_of_fold is None else [(f"out-of-fold {row.metric}", _score(row.out_of_fold))]
    return [("public score", _score(row.public_score)), ("private score", _score(row.private_score)), *own]


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"


_ALL_PAGES = 1000
_COLUMNS = (">submission", "date (UTC)", "status", ">public", ">private", ">out-of-fold", "run", "message")


def submissions(name: str) -> None:
    """Update the ledger from Kaggle and print it."""
    console = Console()
    project = Project.load(name)
    competition, workspace = project.competition, project.workspace
    try:
        with client.connect(competition, console) as kaggle:
            sent = kaggle.submissions(_ALL_PAGES)
        with ledger.opened(workspace) as book:
            book.update(sent)
            book.save()
    except UnreachableError as error:
        console.warn(f"showing the last known state: {error}")
    rows = ledger.Ledger(workspace).rows
    if not rows:
        console.say(f"no submissions to {competition.kaggle}: `kagglekit submit {name}` makes one.")
        return
    console.table(f"submissions to {competition.kaggle}", _COLUMNS, [_cells(row) for row in rows])
    console.say(f"details: {workspace.folder / ledger.FILE}")


def _cells(row: ledger.Row) -> tuple[str, ...]:
    scores = (_score(row.public_score), _score(row.private_score), _score(row.out_of_fold))
    status = f"{row.status}: {row.reason}" if row.reason else row.status
    run = f"{row.run} ({TRANSDUCTIVE})" if row.transductive else row.run
    return (str(row.reference or ""), row.date[:16].replace("T", " "), status, *scores, run, row.message)
