"""Submit a file: check it again, send it once and wait for its score."""

from __future__ import annotations

import itertools

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data.project import Project
from kagglekit.kaggle import client, ledger, retries
from kagglekit.kaggle.ledger import Row
from kagglekit.kaggle.select import Choice, check

_FIRST_LOOK, _LONGEST_PAUSE = 2.0, 30.0
"""Seconds before the first request for the score, and the longest pause between two requests."""
_LOOKS = 60
"""Number of requests for the score; they take about half an hour in total."""


def send(choice: Choice, project: Project, message: str, console: Console, *, force: bool = False) -> Row:
    """Check and submit a file. Return its row of the ledger, not scored yet.

    Raises UserError for a file that Kaggle would refuse, if no submissions are left today and, unless `force`, for a
    file that was scored before.
    """
    competition = project.competition
    check(choice, project, console)
    with client.connect(competition, console) as kaggle, ledger.opened(project.workspace) as book:
        book.update(kaggle.submissions())  # may include one that an earlier command sent without getting an answer
        book.forget_unsent()
        book.save()
        # as in Kaggle's list: message and file identify a submission whose answer was lost
        row = Row.of(choice.file, kaggle.context.shown(message), choice.run)
        row.file = kaggle.context.shown(row.file)
        before = None if force else book.of_bytes(row.sha256)
        if before is not None:
            return _sent_before(before, project, console)
        limits = kaggle.limits()
        if limits.why_none:
            raise UserError(f"{limits.why_none} for {competition.kaggle}: nothing was sent.")
        if limits.left > 0:
            console.say(f"submissions left today: {limits.left}")
        token = kaggle.upload(choice.file)
        book.rows.append(row)
        book.save()
        _create(kaggle, book, row, token, console)
        book.save()
    return row


def _create(kaggle: client.Kaggle, book: ledger.Ledger, row: Row, token: str, console: Console) -> None:
    """Submit an upload. After a failure, check whether it arrived; the row stays while that is unknown."""
    import requests

    for attempt in itertools.count(1):
        try:
            row.reference = kaggle.create(token, row.message)
            row.status = "PENDING"
        except (requests.exceptions.InvalidJSONError, ValueError, KeyError, TypeError) as error:
            book.update(kaggle.submissions())
            if row.reference is None:
                raise kaggle.context.unreadable() from error
        except requests.RequestException as error:
            pause = retries.wait_after(error.response, attempt)
            if retries.is_refusal(error):
                book.forget_unsent()
                book.save()
            if not retries.may_pass(error) or attempt == retries.ATTEMPTS or pause > retries.PATIENCE:
                raise kaggle.context.explain(error) from error
            console.say(f"{retries.reason(error)}: checking in {pause:.0f} s if it arrived")
            retries.sleep(pause)
            book.update(kaggle.submissions())
        if row.reference is not None:
            return


def _sent_before(before: Row, project: Project, console: Console) -> Row:
    """Return the earlier row of the same file if its score is pending; otherwise raise UserError."""
    if before.status == "PENDING":
        console.say("the same file is already waiting for its score: it is not sent again")
        return before
    outcome = f"an error: {before.reason}" if before.status == "ERROR" else f"public score {before.public_score}"
    raise UserError(
        f"the same file was sent before, as submission {before.reference} on {before.date[:10]} ({outcome}): "
        f"--force sends it again; `kagglekit submissions {project.name}` lists all."
    )


def wait(row: Row, project: Project, console: Console) -> Row:
    """Wait for the score. Return the row with it. Raises UserError if Kaggle can't score the file."""
    console.say("waiting for the score")
    pause = _FIRST_LOOK
    with client.connect(project.competition, console) as kaggle:
        for _ in range(_LOOKS):
            retries.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            sent = kaggle.submissions()
            with ledger.opened(project.workspace) as book:
                book.update(sent)
                book.save()
                found = book.of_reference(row.reference or 0)
            if found is not None and found.status == "ERROR":
                why = found.reason or "Kaggle gives no reason; the submission's page may"
                raise UserError(f"Kaggle can't score submission {found.reference}: {why}.")
            if found is not None and found.status == "COMPLETE":
                return found
    raise UserError(
        f"submission {row.reference} is not scored yet: `kagglekit submissions {project.name}` shows its score later."
    )
