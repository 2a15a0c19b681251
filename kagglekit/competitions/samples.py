"""Find the sample submission in a competition's data."""

from __future__ import annotations

from collections.abc import Collection

from kagglekit.base import csv_files
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import ClassLabel, Competition, OwnFormat, Probability
from kagglekit.competitions.datafiles import DataFiles


def columns(competition: Competition) -> list[str]:
    """Return the column names of the submission, id first; for a format of the plugin's own, only the id."""
    form = competition.submission
    if isinstance(form, OwnFormat):
        return [form.id]
    if isinstance(form, Probability | ClassLabel):
        return [form.id, form.label]
    return [form.id, *competition.labels]


def find(competition: Competition, files: DataFiles) -> str | None:
    """Return the path of the sample submission in the data, or None.

    It has one of the declared names, else a name such as `submission_format.csv` and the columns of the submission.
    Raises UserError if several have.
    """
    declared = competition.submission.sample
    named = next((name for name in declared if files.first([name]) is not None), None)
    if named is not None or not declared:
        return named
    wanted = columns(competition)
    own = isinstance(competition.submission, OwnFormat)
    found = usual(files, wanted)
    return only(
        [name for name in found if (wanted[0] in found[name] if own else sorted(found[name]) == sorted(wanted))]
    )


def usual(files: DataFiles, expected: Collection[str] = ()) -> dict[str, list[str]]:
    """Return name -> columns of the CSV files at the top level that are called as samples usually are."""
    names = [path for path in files.paths if "/" not in path and csv_files.is_sample(path)]
    return {name: csv_files.columns(files.paths[name].read_bytes(), expected) for name in names}


def only(names: list[str]) -> str | None:
    """Return the only sample among `names`, or None if there are none. Raises UserError if there are several."""
    if len(names) > 1:
        raise UserError(
            f"{' and '.join(names)} may each be the sample submission: rename the one that counts to "
            "sample_submission.csv."
        )
    return names[0] if names else None
