"""Read the CSV files of a competition's data, whatever their encoding and separator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base import csv_files, image_names, patterns
from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions.datafiles import DataFiles

if TYPE_CHECKING:
    import pandas as pd


def read(files: DataFiles, name: str, expected: Collection[str]) -> pd.DataFrame:
    """Read a CSV file of the data, with all values as strings. Raises UserError if it is missing or broken.

    White space around the names of columns is dropped, except in `expected` ones. What was assumed about the file
    becomes a remark of `files`.
    """
    import pandas as pd

    path = files.first([name])
    if path is None:
        raise UserError(f"{files.origin} has no {name}: download the competition's data again.")
    table = parse(path)
    if table.assumed:
        files.remarks.append(f"{path.name} is read as {table.assumed}")
    names = table.named(expected)
    cells = zip(*table.rows, strict=True) if table.rows else [()] * len(names)
    frame = pd.DataFrame({place: pd.array(_as_text(column), dtype="str") for place, column in enumerate(cells)})
    frame.columns = pd.Index(names)
    return frame


def _as_text(cells: Sequence[str]) -> Sequence[str]:
    return list(map(image_names.to_text, cells)) if "\\" in "".join(cells) else cells


def parse(path: Path) -> csv_files.Table:
    """Read any CSV file. Raises UserError if it can't be read as CSV."""
    try:
        return csv_files.parse(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path} can't be read as CSV: {error}; save it as CSV in UTF-8, or download it again."
        ) from error


def require_columns(table: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    """Raise UserError unless the table of the file `name` has each of `columns` once."""
    for column in columns:
        count = list(table.columns).count(column)
        if count != 1:
            what = f"{count} columns" if count else "no column"
            raise UserError(f"{name} has {what} {column!r}; it has {listed(list(table.columns))}.")


def remark_twice(count: int, name: str, files: DataFiles) -> None:
    """Remark that `count` rows of the file `name` repeat others, if there are any."""
    if count:
        files.remarks.append(f"{name} has {count} rows twice: each is used once")


def with_joined(table: pd.DataFrame, texts: Iterable[str]) -> pd.DataFrame:
    """Return the table with a column for each text that joins columns, such as `{patient}_{side}`."""
    added = {}
    for text in texts:
        if "{" in text:
            named = patterns.columns(text)
            rows = zip(*(table[name].str.strip() for name in named), strict=True)
            added[text] = [patterns.joined(text, dict(zip(named, row, strict=True))) for row in rows]
    return table.assign(**added)
