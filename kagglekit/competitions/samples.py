"""Find and read the sample submission in a competition's data."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kagglekit.base import csv_files
from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions import csv_tables
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles

if TYPE_CHECKING:
    import pandas as pd


def read(competition: Competition, files: DataFiles) -> pd.DataFrame | None:
    """Return the sample submission as strings, or None if the data has none.

    Raises UserError if its columns or values don't match the competition's format, or an id has two different rows.
    What its values make doubtful becomes a remark of `files`.
    """
    name = find(competition, files)
    if name is None:
        return None
    form, target = competition.submission, competition.target
    wanted = form.columns(target)
    sample = csv_tables.read(files, name, wanted)
    if sample.empty:
        raise UserError(f"{name} has no rows: download the competition's data again.")
    if form.by_hook:
        csv_tables.require_columns(sample, wanted, name)
        return sample
    if not form.fits(target, list(sample.columns)):
        raise UserError(
            f"{name} has the columns {listed(list(sample.columns))}; the plugin's submission format has "
            f"{listed(list(wanted))}: make the two agree."
        )
    _check_ids(sample, form.id, name, files)
    fault = form.sample_fault(sample, target)
    if fault:
        raise UserError(
            f"{name} is not in the plugin's submission format, {form.words(target)}: {fault}; make the two agree."
        )
    files.remarks.extend(filter(None, [form.sample_remark(sample, target)]))
    return sample


def _check_ids(sample: pd.DataFrame, column: str, name: str, files: DataFiles) -> None:
    """Raise UserError if an id in `column` has two rows that differ, and remark on rows that repeat others."""
    if sample[column].is_unique:
        return
    once = sample.drop_duplicates()
    twice = once[column][once[column].duplicated()]
    if len(twice):
        raise UserError(f"{name} has id {twice.iloc[0]!r} twice: download the competition's data again.")
    files.remarks.append(f"{name} has {len(sample) - len(once)} rows twice: so has the submission")


def find(competition: Competition, files: DataFiles) -> str | None:
    """Return the path of the sample submission in the data, or None.

    It has one of the declared names, else a name such as `submission_format.csv` and the columns of the submission.
    Raises UserError if several have.
    """
    declared = competition.submission.sample
    named = next((name for name in declared if files.first([name]) is not None), None)
    if named is not None or not declared:
        return named
    form, target = competition.submission, competition.target
    found = usual(files, form.columns(target))
    return only([name for name, columns in found.items() if form.fits(target, columns)])


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
