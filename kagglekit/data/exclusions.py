"""The user's list of training images that runs exclude. No image file is deleted."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kagglekit.base import image_names, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import csv_tables
from kagglekit.tasks.task import Task

COLUMNS = ("id", "reason")
DROP = "drop"
"""Column with `yes` for images to drop. Without this column, all listed images are dropped."""


def read(path: Path) -> pd.DataFrame:
    """Read a list of images to drop: `id` and `reason`, as strings; empty if there is no file.

    Raises UserError if it is no such list.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    if not path.read_bytes().strip():
        raise UserError(f"{path} is empty: its first line must be `id,reason`.")
    table = csv_tables.parse(path)
    header = [name.lower() for name in table.named()]
    _check_header(header, path)
    frame = pd.DataFrame(table.rows, columns=header, dtype=str)
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
    if strange or len(set(header)) < len(header):  # another column might be meant to select rows
        name = strange[0] if strange else header[0]
        raise UserError(
            f"{path}: columns must be `id`, `reason` and `{DROP}`, each at most once; {name!r} is unknown or repeated."
        )


def of(workspace: Workspace, console: Console) -> pd.DataFrame:
    """Return the training images that a competition's runs exclude, and say what was assumed about the file."""
    return _read_aloud(workspace.drops, console)


def _read_aloud(path: Path, console: Console) -> pd.DataFrame:
    listed = read(path)
    assumed = csv_tables.parse(path).assumed if path.exists() else ""
    if assumed:
        console.say(f"{path.name} is read as {assumed}")
    return listed


def apply(path: Path, workspace: Workspace, train: pd.DataFrame, task: Task, console: Console) -> pd.DataFrame:
    """Exclude the images listed in `path` from later runs. Return the list.

    Replaces the earlier list. Raises UserError for ids that match no training image, and if a class would have no
    images left.
    """
    if not path.is_file():
        raise UserError(f"--apply {path}: no such file.")
    listed = aligned(_read_aloud(path, console), train)
    if listed.empty:
        raise UserError(f"{path}: no row says yes in column `{DROP}`, or there are no rows: nothing would be dropped.")
    unknown = sorted(set(listed["id"]) - set(train["id"]))
    if unknown:
        raise UserError(
            f"{path}: {len(unknown)} of {len(listed)} ids match no training image, for example {unknown[0]!r} (ids "
            f"look like {train['id'].iloc[0]!r})."
        )
    kept = train[~train["id"].isin(listed["id"])]
    if kept.empty:
        raise UserError(f"{path} would leave no training image: remove some of its ids.")
    lacking = task.absent(train["label"])
    lost = [name for name in task.absent(kept["label"]) if name not in lacking]
    if lost:
        raise UserError(f"{path} would leave no training image of class {lost[0]!r}: remove some of its ids.")
    write(workspace.drops, listed)
    return listed


def aligned(listed: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Return a list of images to drop with the ids as the table of training images spells them.

    A listed id may be a path, with an extension, in any case. Ids that match no image stay as they are.
    """
    names = listed["id"].tolist()
    spelled = [image_names.spellings(*row) for row in zip(train["id"], train["path"], strict=True)]
    rows = image_names.match(spelled, names)
    for image, row, image_id, path in zip(spelled, rows, train["id"], train["path"], strict=True):
        # the id of an image that is gone, such as `valid/cat/1`, is not the path of another one
        if row is not None and (not image_names.is_loose(image, names[row]) or _is_path(names[row], image_id, path)):
            names[row] = image_id
    return listed.assign(id=names)


def _is_path(row: str, image_id: str, path: str) -> bool:
    """Return whether a row names the image at `path`: the path agrees with all of it, or with more than the id."""
    parts = [image_names.folded(image_names.without_ending(name)).split("/") for name in (row, path)]
    same = 0
    for one, other in zip(reversed(parts[0]), reversed(parts[1]), strict=False):
        if one != other:
            break
        same += 1
    return same == len(parts[0]) or same > image_id.count("/") + 1


def write(path: Path, listed: pd.DataFrame) -> None:
    """Write a list of images to drop, atomically."""
    storage.write_text(path, to_csv(listed))


def to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV that reads back unchanged, whatever characters it contains."""
    # pandas writes a lone carriage return without quotes, but reads it as the end of a row
    strange = any(frame[column].astype(str).str.contains("\r", regex=False).any() for column in frame)
    return str(frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL if strange else csv.QUOTE_MINIMAL))
