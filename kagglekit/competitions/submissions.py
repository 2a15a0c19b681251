"""Format, check and write a submission. Rows are matched by id, never by position.

N rows, C classes.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from kagglekit.base.arrays import Floats
from kagglekit.competitions import layout
from kagglekit.base import image_names, patterns, storage
from kagglekit.competitions.competition import ClassLabel, Competition, Probability
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.base.errors import UserError

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
    names = competition.submission.sample
    if files.first(names) is None:
        return None
    name = next(name for name in names if files.first([name]) is not None)
    sample = layout.read_csv(files, name)
    wanted = columns(competition)
    if sorted(sample.columns) != sorted(wanted):
        raise UserError(
            f"{name} has the columns {', '.join(sample.columns)}; the plugin's submission format has "
            f"{', '.join(wanted)}: make the two agree."
        )
    if sample.empty:
        raise UserError(f"{name} has no rows: download the competition's data again.")
    twice = sample[competition.submission.id][sample[competition.submission.id].duplicated()]
    if len(twice):
        raise UserError(f"{name} has id {twice.iloc[0]!r} twice: download the competition's data again.")
    return sample


def columns(competition: Competition) -> list[str]:
    """Return the column names of the submission, id first."""
    form = competition.submission
    if isinstance(form, Probability | ClassLabel):
        return [form.id, form.label]
    return [form.id, *competition.labels]


def expected_ids(competition: Competition, test_ids: Sequence[str], sample: pd.DataFrame | None) -> list[str]:
    """Return the ids that need a row, as in the submission: those of the sample, else of all test images."""
    if sample is not None:
        return [str(value) for value in sample[competition.submission.id]]
    return [written_id(competition, test_id) for test_id in test_ids]


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
    frame: pd.DataFrame, competition: Competition, ids: Sequence[str], tolerance: float = ROW_SUM_TOLERANCE
) -> None:
    """Raise RefusedError, which names the rows, for a submission that Kaggle would refuse.

    Each of `ids` must have exactly one row. Each row of probabilities must sum to 1 within `tolerance`.
    """
    form = competition.submission
    wanted = columns(competition)
    if not all(isinstance(name, str) for name in frame.columns) or sorted(frame.columns) != sorted(wanted):
        _refuse(f"its columns are {list(frame.columns)}, not {wanted}")
    written = [str(value) for value in frame[form.id]]
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
    if isinstance(form, ClassLabel):
        strange = ~frame[form.label].astype("str").isin(competition.labels)
        _refuse_rows(frame, form.id, strange.to_numpy(), "have no class of the competition")
    else:
        _check_probabilities(frame, competition, tolerance)


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
        if not is_numeric_dtype(frame[column]):
            cells = [image_names.from_text(cell) if isinstance(cell, str) else cell for cell in frame[column]]
            written[column] = pd.Series(cells, frame.index, object)
    written.columns = pd.Index(map(image_names.from_text, frame.columns), dtype=object)
    with storage.replacing(path) as temporary:
        written.to_csv(temporary, index=False, lineterminator="\n", errors="surrogateescape")


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
        "columns": columns(competition),
        "labels": list(competition.labels),
        "test": list(competition.test_patterns),
        "test_expressions": [patterns.compile_pattern(pattern).pattern for pattern in competition.test_patterns],
        "slug": competition.kaggle,
        "own_hooks": list(own_hooks),
    }
