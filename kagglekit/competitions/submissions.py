"""Format, check and write a submission. Rows are matched by id, never by position.

N rows, C classes.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_string_dtype

from kagglekit.base import image_names, patterns, storage
from kagglekit.base.arrays import Floats
from kagglekit.base.errors import UserError
from kagglekit.competitions import csv_tables, samples
from kagglekit.competitions.competition import ClassLabel, Competition, OwnFormat, Probability
from kagglekit.competitions.datafiles import DataFiles

HOOKS = ("submission", "test_table")
"""Hooks that a plugin may implement and a bundle can't contain."""
ROW_SUM_TOLERANCE = 1e-6
ROUNDED_SUM_TOLERANCE = 1e-3
"""Tolerance for files from elsewhere, which may be rounded. Metrics divide each row by its sum."""


class RefusedError(UserError):
    """A submission that Kaggle would refuse; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the submission was not written, Kaggle would refuse it: {reason}.")
        self.reason = reason


def read_sample(competition: Competition, files: DataFiles) -> pd.DataFrame | None:
    """Return the sample submission as strings, or None if the data has none.

    Raises UserError if its columns don't match the competition's format or an id occurs twice.
    """
    name = samples.find(competition, files)
    if name is None:
        return None
    wanted = samples.columns(competition)
    sample = csv_tables.read(files, name, wanted)
    if sample.empty:
        raise UserError(f"{name} has no rows: download the competition's data again.")
    if isinstance(competition.submission, OwnFormat):
        csv_tables.require_columns(sample, wanted, name)
        return sample
    if sorted(sample.columns) != sorted(wanted):
        raise UserError(
            f"{name} has the columns {', '.join(sample.columns)}; the plugin's submission format has "
            f"{', '.join(wanted)}: make the two agree."
        )
    return _once(sample, wanted[0], name, files)


def _once(sample: pd.DataFrame, column: str, name: str, files: DataFiles) -> pd.DataFrame:
    """Return a sample without rows that repeat others. Raises UserError if an id in `column` still occurs twice."""
    once = sample.drop_duplicates(ignore_index=True)
    csv_tables.remark_twice(len(sample) - len(once), name, files)
    twice = once[column][once[column].duplicated()]
    if len(twice):
        raise UserError(f"{name} has id {twice.iloc[0]!r} twice: download the competition's data again.")
    return once


def expected_ids(competition: Competition, test_ids: Sequence[str], sample: pd.DataFrame | None) -> list[str]:
    """Return the ids that need a row, as in the submission: those of the sample, else of all test images.

    In a format of the plugin's own, the sample's ids need not be images: then they are those of all test images too.
    """
    written = [written_id(competition, test_id) for test_id in test_ids]
    if sample is None:
        return written
    listed = [str(value) for value in sample[competition.submission.id].unique()]
    if isinstance(competition.submission, OwnFormat):
        found = sum(row is not None for row in rows_of(written, listed))
        return listed if found * 2 >= len(listed) else written
    return listed


def rows_of(written: Sequence[str], ids: Sequence[str]) -> list[int | None]:
    """Return the position among `ids` of each test id, as `written` in the submission; None if it is not there."""
    return image_names.match([image_names.spellings(name, name) for name in written], ids)


def written_id(competition: Competition, test_id: str) -> str:
    """Return a test id in the submission's format."""
    return competition.submission.id_format.replace("{id}", test_id)


def test_id(competition: Competition, written: str) -> str | None:
    """Return the test id whose form in the submission is `written`; None if there is none."""
    before, _, after = competition.submission.id_format.partition("{id}")
    bare = written.removeprefix(before).removesuffix(after)
    return bare if written_id(competition, bare) == written else None


def lay_out(
    competition: Competition, ids: Sequence[str], probabilities: Floats, sample: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the submission, with rows and columns in the order of the sample, if any."""
    form = competition.submission
    frame = pd.DataFrame({form.id: pd.Series(list(ids), dtype="str")})
    if isinstance(form, Probability):
        frame[form.label] = probabilities[:, competition.labels.index(form.of)]
    elif isinstance(form, ClassLabel):
        frame[form.label] = [competition.labels[index] for index in probabilities.argmax(axis=1)]
    else:
        values = pd.DataFrame(probabilities, columns=list(competition.labels))
        frame = pd.concat([frame, values], axis=1)
    if sample is None:
        return frame
    by_id = frame.set_index(form.id)
    known = [value for value in sample[form.id] if value in by_id.index]
    return by_id.loc[known].reset_index()[list(sample.columns)]


def check(
    frame: pd.DataFrame,
    competition: Competition,
    ids: Sequence[str],
    *,
    sample: pd.DataFrame | None = None,
    tolerance: float = ROW_SUM_TOLERANCE,
) -> None:
    """Raise RefusedError, which names the rows, for a submission that Kaggle would refuse.

    Each of `ids` must have exactly one row. Each row of probabilities must sum to 1 within `tolerance`. A format of the
    plugin's own must have the columns and ids of the `sample`, if any, and no missing values.
    """
    form = competition.submission
    if isinstance(form, OwnFormat):
        _check_own(frame, form, ids, sample)
        return
    _check_columns(frame, samples.columns(competition))
    _check_ids([str(value) for value in frame[form.id]], ids)
    if isinstance(form, ClassLabel):
        strange = ~frame[form.label].astype("str").isin(competition.labels)
        _refuse_rows(frame, form.id, strange.to_numpy(), "have no class of the competition")
    else:
        _check_probabilities(frame, competition, tolerance)


def _check_own(frame: pd.DataFrame, form: OwnFormat, ids: Sequence[str], sample: pd.DataFrame | None) -> None:
    if not frame.columns.is_unique:
        _refuse(f"two of its columns {list(frame.columns)} have one name")
    _check_columns(frame, list(frame.columns) if sample is None else list(sample.columns))
    if frame.empty:
        _refuse("it has no rows")
    empty = [name for name in frame.columns if frame[name].isna().any()]
    if empty:
        _refuse(f"column {empty[0]!r} has missing values")
    if not form.one_row_per_id:
        return
    if form.id not in frame:
        _refuse(f"its columns {list(frame.columns)} have no {form.id!r}")
    _check_ids([str(value) for value in frame[form.id]], ids if sample is None else list(map(str, sample[form.id])))


def _check_columns(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or sorted(names) != sorted(wanted):
        _refuse(f"its columns are {names}, not {list(wanted)}")


def _check_ids(written: Sequence[str], ids: Sequence[str]) -> None:
    twice = sorted({value for value, again in zip(written, pd.Series(written).duplicated(), strict=True) if again})
    if twice:
        _refuse(f"{_some(twice)} more than once")
    present, requested = set(written), set(ids)
    missing = [value for value in ids if value not in present]
    if missing:
        _refuse(f"{_some(missing)} missing")
    extra = [value for value in written if value not in requested]
    if extra:
        _refuse(f"{_some(extra)} not in the test set")


def _check_probabilities(frame: pd.DataFrame, competition: Competition, tolerance: float) -> None:
    form = competition.submission
    values = frame.drop(columns=form.id)
    if not all(is_numeric_dtype(kind) and not is_bool_dtype(kind) and kind.kind != "c" for kind in values.dtypes):
        _refuse(f"columns {list(values.columns)} must hold numbers")
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse_rows(frame, form.id, np.any(~np.isfinite(numbers), axis=1), "hold no number")
    _refuse_rows(frame, form.id, np.any((numbers < 0) | (numbers > 1), axis=1), "are outside 0 to 1")
    if not isinstance(form, Probability):
        off = np.abs(numbers.sum(axis=1) - 1) > tolerance
        _refuse_rows(frame, form.id, off, "do not sum to 1")


def _refuse_rows(frame: pd.DataFrame, column: str, wrong: Any, what: str) -> None:
    if wrong.any():
        _refuse(f"rows of {_some([str(value) for value in frame[column][wrong]])} {what}")


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(value) for value in ids[:3])
    return f"{len(ids)} ids ({shown}{', …' if len(ids) > 3 else ''})"


def _refuse(reason: str) -> None:
    raise RefusedError(reason)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write the CSV atomically. Probabilities keep all digits: the last ones matter for log loss.

    Ids and classes get the bytes of the file names that they are.
    """
    written = frame.copy()
    for column in frame.columns:
        if is_string_dtype(frame[column]):
            written[column] = pd.Series(_file_names(frame[column]), frame.index, object)
    written.columns = pd.Index(_file_names(frame.columns), dtype=object)
    with storage.replacing(path) as temporary:
        written.to_csv(temporary, index=False, lineterminator="\n", errors="surrogateescape")


def _file_names(texts: Iterable[Any]) -> list[Any]:
    return [image_names.from_text(text) if isinstance(text, str) else text for text in texts]


def parse(content: bytes) -> pd.DataFrame:
    """Return the table in a submission's bytes, as strings. Raises ValueError if it is none."""
    text = image_names.to_text(content.decode("utf-8-sig", "surrogateescape"))
    return pd.read_csv(io.StringIO(text), dtype="str", keep_default_na=False)


def describe(competition: Competition, own_hooks: Sequence[str]) -> dict[str, Any]:
    """Return what a bundle needs to know about a competition, as plain values.

    Runs store it, so that an export needs no plugin. `own_hooks` are those of `HOOKS` that the plugin implements.
    """
    form = competition.submission
    return dataclasses.asdict(form) | {
        "kind": type(form).__name__,
        "samples": list(form.sample),
        "columns": samples.columns(competition),
        "labels": list(competition.labels),
        "test": list(competition.test_patterns),
        "test_expressions": [patterns.compile_pattern(pattern).pattern for pattern in competition.test_patterns],
        "slug": competition.kaggle,
        "own_hooks": list(own_hooks),
    }
