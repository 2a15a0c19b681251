"""The scored images of a finished run, read from its folder without the plugin.

N: scored images, C: classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.recipe import Recipe
from kagglekit.runs import decided, filenames
from kagglekit.runs.record import Record, Result
from kagglekit.runs.store import Run
from kagglekit.tasks.cases import Cases
from kagglekit.tasks.decisions import TopLists
from kagglekit.tasks.task import Decided, Task, Truth


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Images with known labels and their out-of-fold predictions."""

    run: Run
    record: Record
    result: Result
    recipe: Recipe
    table: pd.DataFrame
    """N rows: `id`, `path`, `label`, `content`, `fold`, and `group` if there are groups."""
    truth: Truth
    """What is known of each image, (N,) or (N, C)."""
    probabilities: Wide
    """Out-of-fold probabilities after all finishing steps, as scored, (N, C)."""
    unfinished: Wide
    """Out-of-fold probabilities before the steps temperature and clip, (N, C)."""
    decided_in: str = filenames.DECIDED
    """File of what is decided of the rows."""

    @property
    def task(self) -> Task:
        """All that depends on what is predicted."""
        return self.record.competition.task

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels as in the data, in the order of probabilities."""
        return self.record.competition.labels

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes for people."""
        return tuple(self.record.competition.classes.values())

    @cached_property
    def submitted(self) -> Decided:
        """What the run would submit of each image, by values chosen on other folds."""
        own = decided.read(self.run, self.table["id"].tolist(), self.decided_in)
        return self.task.decide(self.probabilities) if own is None else own

    @cached_property
    def decided(self) -> Decided:
        """What the run decides for each image; of lists, the usual decision."""
        is_list = isinstance(decided.read_decision(self.run), TopLists)
        return self.task.decide(self.probabilities) if is_list else self.submitted

    @cached_property
    def cases(self) -> Cases:
        """What a report counts and shows."""
        return self.task.cases(self.truth, self.probabilities, self.decided)

    @cached_property
    def losses(self) -> Floats:
        """The task's proper loss of each row, (N,)."""
        return self.task.losses(self.truth, self.probabilities)

    @property
    def groups(self) -> NDArray[np.object_] | None:
        """Group of each row, (N,); None if there are no groups."""
        return self.table["group"].to_numpy(dtype=object) if "group" in self.table else None


def are_in(run: Run) -> bool:
    """Return whether a finished run has all files that `read` needs. Older versions wrote fewer."""
    return (run.folder / filenames.UNFINISHED).is_file()


def read(run: Run) -> Findings:
    """Read the folder of a run. Raises UserError if the run is not finished."""
    result = run.finished()
    if not are_in(run):
        raise UserError(f"run {run.id} was made by an older kagglekit: run its command again to update it.")
    oof = run.oof()
    images = run.images("train").set_index("id").drop(columns=["label", "part", "row"], errors="ignore")
    table = oof.known("id", "label", "fold").join(images, on="id").reset_index(drop=True)
    if "group" in table and table["group"].isna().all():
        table = table.drop(columns="group")
    ids = table["id"].tolist()
    return Findings(
        run=run,
        record=run.record,
        result=result,
        recipe=run.recipe,
        table=table,
        truth=run.record.competition.task.truth(table["label"]),
        probabilities=oof.of(ids),
        unfinished=run.unfinished().of(ids),
    )


def of_rows(run: Run) -> Findings:
    """Read what rows of the submission are of: groups of images, each with the images' contents, or else images."""
    found = read(run)
    if run.of_rows(filenames.OOF) == filenames.OOF:
        return found
    images = run.images("train")[["row", "content", "group"]].groupby("row", sort=False)
    contents = images["content"].agg(lambda own: " ".join(sorted(own))).rename("content")
    oof = run.row_oof()
    table = oof.known("id", "label", "fold").join(contents, on="id").join(images["group"].first(), on="id")
    ids = table["id"].tolist()
    return replace(
        found,
        table=table,
        truth=found.task.truth(table["label"]),
        probabilities=oof.of(ids),
        unfinished=run.row_unfinished().of(ids),
        decided_in=run.of_rows(filenames.DECIDED),
    )
