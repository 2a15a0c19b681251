"""Sending a submission: checked again before a byte goes out, sent once, and followed to its score."""

from __future__ import annotations

import itertools

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data.project import Project
from kagglekit.kaggle import client, ledger, retries
from kagglekit.kaggle.ledger import Row
from kagglekit.kaggle.select import Choice, check

_FIRST_LOOK, _LONGEST_PAUSE = 2.0, 30.0
"""Seconds before Kaggle is asked for the score, and most of them between two questions."""
_LOOKS = 60
"""Times that it is asked: about half an hour."""


def send(choice: Choice, project: Project, message: str, console: Console, *, force: bool = False) -> Row:
    """Check a file and submit it; return its row of the ledger, not scored yet.

    Raises UserError for what Kaggle would refuse, for a day without submissions left, and, unless `force`, for bytes
    that were scored before.
    """
    competition = project.competition
    check(choice, project, console)
    with client.connect(competition, console) as kaggle, ledger.opened(project.workspace) as book:
        book.update(kaggle.submissions())  # among them what an earlier command sent without hearing of it
        book.forget_unsent()
        book.save()
        # as the list will show them: a submission whose answer is lost is recognised by the two
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
    """Submit what was uploaded. After a failure look first whether it has arrived; its row stays where that is open."""
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
            console.say(f"{retries.reason(error)}: looking again in {pause:.0f} s whether it has arrived")
            retries.sleep(pause)
            book.update(kaggle.submissions())
        if row.reference is not None:
            return


def _sent_before(before: Row, project: Project, console: Console) -> Row:
    """Return the row of the same bytes that still waits for its score; raise UserError for one that has its outcome."""
    if before.status == "PENDING":
        console.say("the same bytes are waiting for their score: they are not sent again")
        return before
    outcome = f"an error: {before.reason}" if before.status == "ERROR" else f"public score {before.public_score}"
    raise UserError(
        f"the same bytes were sent before, as submission {before.reference} of {before.date[:10]} ({outcome}): "
        f"--force sends them again; `kagglekit submissions {project.name}` lists all."
    )


def wait(row: Row, project: Project, console: Console) -> Row:
    """Ask for the score until it is there; return the row with it. Raises UserError where Kaggle can't score it."""
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
                why = found.reason or "it gives no reason; its page may say more"
                raise UserError(f"Kaggle can't score submission {found.reference}: {why}.")
            if found is not None and found.status == "COMPLETE":
                return found
    raise UserError(
        f"submission {row.reference} is not scored yet: `kagglekit submissions {project.name}` brings its score later."
    )
