"""The ledger of submissions and their scores: `ledger.json` in the competition's workspace."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from kagglekit.base import storage
from kagglekit.base.workspace import Workspace
from kagglekit.runs import filenames, store

if TYPE_CHECKING:
    from kagglekit.kaggle.types import Submission

FILE = "ledger.json"
SENDING = "SENDING"
"""Status of a submission without a reference, which may or may not have reached Kaggle."""


@dataclass(kw_only=True)
class Row:
    """A submission: the file that was sent, and Kaggle's report about it."""

    reference: int | None = None
    """Kaggle's number of the submission; None until its arrival is confirmed."""
    date: str = ""
    """Time of arrival, in UTC."""
    status: str = SENDING
    """SENDING, PENDING, COMPLETE or ERROR."""
    public_score: float | None = None
    private_score: float | None = None
    reason: str = ""
    """Reason why Kaggle could not score the file."""
    message: str = ""
    file: str = ""
    """Name of the file."""
    sha256: str = ""
    """SHA-256 of the CSV file; this and all fields below are empty for submissions sent from elsewhere."""
    run: str = ""
    """Id of the run that wrote the file, if any."""
    recipe: str = ""
    """Hash of the run's settings."""
    commit: str = ""
    """Git commit of the folder that the run was started in."""
    metric: str = ""
    out_of_fold: float | None = None
    """Out-of-fold score of the run."""
    transductive: str = ""
    """The step by which the file's predictions learn from the images that are predicted; empty if they do not."""
    unknown: dict[str, Any] = field(default_factory=dict, repr=False)
    """Keys that a newer version wrote."""

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Row:
        """Convert a row from the ledger's file."""
        names = {each.name for each in dataclasses.fields(cls)}
        known = {name: value for name, value in plain.items() if name in names}
        return cls(**known, unknown={name: value for name, value in plain.items() if name not in names})

    def to_plain(self) -> dict[str, Any]:
        """Convert the row for the ledger's file."""
        plain = dataclasses.asdict(self)
        del plain["unknown"]
        return plain | self.unknown

    @classmethod
    def of(cls, file: Path, message: str, run: store.Run | None) -> Row:
        """Return a new row for a file about to be sent, and the run that wrote it, if any."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        row = cls(date=now, message=message, file=file.name, sha256=storage.file_sha256(file))
        if run is not None:
            result = run.finished()
            row.run = run.id
            row.recipe = storage.digest(run.settings)
            row.commit = run.record.git_commit
            row.metric, row.out_of_fold = result.metric, result.out_of_fold
            row.transductive = result.transductive or ""
        return row

    def learn(self, sent: Submission) -> None:
        """Update the row from Kaggle's report."""
        self.reference, self.date, self.status = sent.reference, sent.date, sent.status
        self.public_score, self.private_score, self.reason = sent.public_score, sent.private_score, sent.reason
        self.message, self.file = sent.message, sent.file


class Ledger:
    """The rows of one competition, oldest first."""

    def __init__(self, workspace: Workspace) -> None:
        """Read the file. Use `opened` to lock it against other commands."""
        self._workspace = workspace
        self.rows = [Row.from_plain(row) for row in storage.read_json(workspace.folder / FILE) or []]

    def save(self) -> None:
        """Write the ledger, and the latest row of each run into the run's folder."""
        self.rows.sort(key=lambda row: (row.reference is None, row.reference or 0))
        storage.write_json(self._workspace.folder / FILE, [row.to_plain() for row in self.rows])
        for run, row in {row.run: row for row in self.rows if row.run}.items():
            folder = self._workspace.runs / run
            if folder.is_dir():
                storage.write_json(folder / filenames.SENT, row.to_plain())

    def update(self, sent: Iterable[Submission]) -> None:
        """Update the rows from Kaggle's reports.

        An unknown submission was sent from elsewhere, or just before the connection broke.
        """
        for submission in sorted(sent, key=lambda each: each.reference):
            row = self.of_reference(submission.reference) or self._sending(submission)
            if row is None:
                row = Row()
                self.rows.append(row)
            row.learn(submission)

    def of_reference(self, reference: int) -> Row | None:
        """Return the row with this reference, or None."""
        return next((row for row in self.rows if row.reference == reference), None)

    def _sending(self, sent: Submission) -> Row | None:
        waiting = (row for row in self.rows if row.reference is None)
        return next((row for row in waiting if (row.message, row.file) == (sent.message, sent.file)), None)

    def of_bytes(self, sha256: str) -> Row | None:
        """Return the latest row with this hash that has reached Kaggle, or None."""
        found = [row for row in self.rows if row.sha256 == sha256 and row.reference is not None]
        return found[-1] if found else None

    def forget_unsent(self) -> None:
        """Remove rows that never reached Kaggle, also from the folders of their runs."""
        for run in {row.run for row in self.rows if row.run and row.reference is None}:
            (self._workspace.runs / run / filenames.SENT).unlink(missing_ok=True)
        self.rows = [row for row in self.rows if row.reference is not None]


@contextmanager
def opened(workspace: Workspace) -> Iterator[Ledger]:
    """Yield the ledger under a lock. The `with` block must save it."""
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.cache / "ledger.lock"):
        yield Ledger(workspace)
