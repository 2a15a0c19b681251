"""Check the tables of training and test images. Error messages name their source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base import image_names
from kagglekit.base.errors import PluginError
from kagglekit.competitions import row_groups
from kagglekit.competitions.competition import Competition

if TYPE_CHECKING:
    import pandas as pd


def check_train(table: pd.DataFrame, competition: Competition, source: str) -> pd.DataFrame:
    """Return the table of training images with its columns in order. Errors are PluginError, which names `source`."""
    check_images(table, ("id", "path", "label"), source)
    _check_labels(table, competition, source)
    if competition.has_groups and "group" not in table:
        raise PluginError(f"{source}: the competition declares groups, and the table has no column 'group'.")
    if competition.submission.per_group and "row" not in table:
        table = table.assign(row=table["group"])
    for column in ("group", "row"):
        _check_names(table, column, source)
    if "valid" in table and not all(isinstance(value, bool | np.bool_) for value in table["valid"]):
        raise PluginError(f"{source}: column 'valid' must hold True and False, with none missing.")
    wanted = ("id", "path", "label", "group", "valid", *(("row",) if competition.submission.per_group else ()))
    if competition.submission.per_group:
        row_groups.of_training(table, competition.target, source)
    return _with_slashes(table[[c for c in wanted if c in table]])


def check_test(table: pd.DataFrame, competition: Competition, source: str) -> pd.DataFrame:
    """Return the table of test images with its columns in order. Errors are PluginError, which names `source`."""
    per_group = bool(competition.submission.per_group)
    check_images(table, ("id", "path"), source)
    if per_group and "row" not in table:
        raise PluginError(f"{source}: a row of the submission is of a group, and the table has no column 'row'.")
    _check_names(table, "row", source)
    return _with_slashes(table[["id", "path", "row"] if per_group else ["id", "path"]])


def _check_names(table: pd.DataFrame, column: str, source: str) -> None:
    """Raise PluginError unless a column of names, if there is one, has a name for each image."""
    if column not in table:
        return
    if (table[column].isna() | (table[column] == "")).any():
        raise PluginError(f"{source}: column {column!r} has empty values.")
    if not all(isinstance(value, str) for value in table[column].tolist()):
        raise PluginError(f"{source}: column {column!r} must hold strings.")


def _with_slashes(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with paths as `DataFiles.absolute` gives them, also where a hook gave a path of Windows."""
    table = table.reset_index(drop=True)
    if not _ON_WINDOWS:
        return table
    return table.assign(path=[path if "/" in path else path.replace("\\", "/") for path in table["path"]])


_ON_WINDOWS = os.name == "nt"


def _check_labels(table: pd.DataFrame, competition: Competition, source: str) -> None:
    """Raise PluginError for a label that the target does not allow, and for columns without an image."""
    task, labels = competition.task, table["label"].tolist()
    faults = task.faults(labels)
    if faults:
        count = sum(label in faults for label in labels)
        first, why = next(iter(faults.items()))
        raise PluginError(
            f"{source}: {count} training images have a wrong label: {why}, for example "
            f"{table['path'].iloc[labels.index(first)]}{image_names.told_apart(first, competition.labels)}: correct "
            "the data or move the images away, or change the target in the plugin."
        )
    unused = [name for name in task.absent(labels) if name != getattr(competition.target, "unseen", "")]
    if unused and competition.target.exclusive:  # a label that no image has is only rare
        raise PluginError(
            f"{source}: no training image of class {unused[0]!r}: download the data again if it is incomplete, or "
            "remove the class from the plugin."
        )


def check_images(table: pd.DataFrame, columns: tuple[str, ...], source: str) -> None:
    """Raise PluginError unless the columns hold strings, and each id is one image. The message names `source`."""
    if not table.columns.is_unique:
        raise PluginError(f"{source}: the table has a duplicate column: {list(table.columns)}.")
    for column in columns:
        if column not in table:
            raise PluginError(f"{source}: the table has no column {column!r}; it has {list(table.columns)}.")
        if table[column].isna().any() or not all(isinstance(value, str) for value in table[column].tolist()):
            raise PluginError(f"{source}: column {column!r} must hold strings, with none missing.")
    if table.empty:
        raise PluginError(f"{source}: the table has no rows.")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        paths = table["path"][table["id"] == twice.iloc[0]].tolist()
        raise PluginError(f"{source}: two images have the id {twice.iloc[0]!r}: {paths[0]} and {paths[1]}; rename one.")
