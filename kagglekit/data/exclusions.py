"""The list of training images that runs leave out: made by the user's word only, and nothing is deleted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kagglekit.base import storage
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace

COLUMNS = ("id", "reason")
DROP = "drop"
"""A column that says yes where an image is to be dropped; a list without it means all of its rows."""


def read(path: Path) -> pd.DataFrame:
    """Return a list of drops: `id` and `reason`, as strings; empty where there is no file.

    Columns may be divided by commas, semicolons or tabs, as spreadsheets do. Raises UserError for a file that is no
    such list.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # reading text would change new lines in names
    except FileNotFoundError:
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8: save it as CSV in UTF-8.") from None
    first = text.partition("\n")[0]
    divider = next((sign for sign in ",;\t" if sign in first), ",")
    # a new line inside quotes stays as it is
    lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=divider) if any(line)]
    if not lines:
        raise UserError(f"{path} is empty: its first line must be `id,reason`.")
    header = [name.strip().lower() for name in lines[0]]
    _check_header(header, path)
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(line)} fields, and the first {len(header)}: quote texts with commas."
            )
    frame = pd.DataFrame(lines[1:], columns=header, dtype=str)
    if "reason" not in frame:
        frame["reason"] = "not stated"
    if DROP in frame:
        said = frame[DROP].str.strip().str.lower()
        strange = sorted(set(said) - {"", "yes", "no"})
        if strange:
            raise UserError(f"{path}: column `{DROP}` holds yes, no or nothing, not {strange[0]!r}.")
        frame = frame[said == "yes"]
    return frame[list(COLUMNS)].drop_duplicates("id").reset_index(drop=True)


def _check_header(header: Sequence[str], path: Path) -> None:
    if "id" not in header:
        raise UserError(f"{path} has no column `id`, only {', '.join(header[:5])}.")
    strange = [name for name in header if name not in (*COLUMNS, DROP)]
    if strange or len(set(header)) < len(header):  # it may be meant to say which rows count
        name = strange[0] if strange else header[0]
        raise UserError(
            f"{path}: its columns are `id`, `reason` and `{DROP}`, each once; {name!r} is none, or too much."
        )


def of(workspace: Workspace) -> pd.DataFrame:
    """Return what a competition's runs leave out."""
    return read(workspace.drops)


def apply(path: Path, workspace: Workspace, train: pd.DataFrame) -> pd.DataFrame:
    """Make `path` the list of what later runs leave out, in place of the one before; return it.

    Raises UserError for ids that are no training image's, and where a class would be left with none.
    """
    if not path.is_file():
        raise UserError(f"--apply {path}: no such file.")
    listed = read(path)
    if listed.empty:
        raise UserError(f"{path}: no row says yes in the column `{DROP}`, or there is none: nothing would be dropped.")
    unknown = sorted(set(listed["id"]) - set(train["id"]))
    if unknown:
        raise UserError(
            f"{path}: {len(unknown)} of {len(listed)} ids are no training image's, such as {unknown[0]!r} (they are "
            f"such as {train['id'].iloc[0]!r})."
        )
    kept = train[~train["id"].isin(listed["id"])]
    lost = sorted(set(train["label"]) - set(kept["label"]))
    if lost:
        raise UserError(f"{path} would leave no training image of class {lost[0]!r}: take some of its ids out.")
    write(workspace.drops, listed)
    return listed


def write(path: Path, listed: pd.DataFrame) -> None:
    """Write a list of drops whole."""
    storage.write_text(path, to_csv(listed))


def to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV that reads back as it was, whatever names hold."""
    # pandas leaves a lone carriage return unquoted, and reads it as the end of a row
    strange = any(frame[column].astype(str).str.contains("\r", regex=False).any() for column in frame)
    return str(frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL if strange else csv.QUOTE_MINIMAL))
