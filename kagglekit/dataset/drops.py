"""The list of training images that runs leave out: made by the user's word only, and nothing is deleted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kagglekit import storage
from kagglekit.errors import UserError
from kagglekit.workspace import Workspace

COLUMNS = ("id", "reason")
DROP = "drop"
"""A column that says yes where an image is to be dropped; a list without it means all of its rows."""


def read(path: Path) -> pd.DataFrame:
    """Return a list of drops: `id` and `reason`, as strings; empty where there is no file.

    Raises UserError for a file that is no such list.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: its first line must be `id,reason`.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read as CSV: {error!s:.120}.") from error
    if "id" not in frame:
        raise UserError(f"{path} has no column `id`, only {', '.join(map(str, frame.columns[:5]))}.")
    if "reason" not in frame:
        frame["reason"] = "not stated"
    if DROP in frame:
        strange = sorted(set(frame[DROP].str.strip().str.lower()) - {"", "yes", "no"})
        if strange:
            raise UserError(f"{path}: column `{DROP}` holds yes, no or nothing, not {strange[0]!r}.")
        frame = frame[frame[DROP].str.strip().str.lower() == "yes"]
    return frame[list(COLUMNS)].drop_duplicates("id").reset_index(drop=True)


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
    if listed.empty and path.stat().st_size and DROP in pd.read_csv(path, nrows=0):
        raise UserError(f"{path}: no row says yes in the column `{DROP}`, so nothing would be dropped.")
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
    with storage.replacing(path) as temporary:
        listed.to_csv(temporary, index=False, lineterminator="\n")
