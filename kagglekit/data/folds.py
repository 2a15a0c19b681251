"""Cross-validation folds, hold-out sets and samples. The same seed gives the same split.

N: number of images. `Fold` is an array of N integers: the fold that scores each image, or -1 if the image is only
used for training.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.base.errors import UserError
from kagglekit.recipe import DataSettings

Fold = NDArray[np.int64]
TRAIN_ONLY = -1


def assign(table: pd.DataFrame, data: DataSettings) -> Fold:
    """Return the fold of each training image, (N,); stratified by label, and grouped if the table has groups.

    Raises UserError if the data doesn't allow the split that the settings ask for.
    """
    if data.validation == "valid":
        if "valid" not in table or not table["valid"].any():
            raise UserError("validation = 'valid': the data brings no validation set; use folds or holdout.")
        return np.where(table["valid"], 0, TRAIN_ONLY).astype(np.int64)
    labels = table["label"].to_numpy()
    groups = table["group"].to_numpy() if "group" in table else None
    if data.validation == "holdout":
        if data.holdout >= len(table):
            raise UserError(f"holdout = {data.holdout}: there are only {len(table)} training images.")
        held = held_out(labels, groups, data.holdout, data.seed)
        return np.where(held, 0, TRAIN_ONLY).astype(np.int64)
    return split(labels, groups, data.num_folds, data.seed)


def held_out(labels: NDArray[Any], groups: NDArray[Any] | None, count: int, seed: int) -> NDArray[np.bool_]:
    """Return a hold-out mask, (N,): `count` images, stratified by class, or whole groups with about as many images.

    Raises UserError if the data doesn't allow it.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    if groups is None:
        counts = np.unique(labels, return_counts=True)[1]
        classes = len(counts)
        if counts.min() < 2:
            raise UserError(f"holdout = {count}: a class has only one image, and both splits need one of each class.")
        if min(count, len(labels) - count) < classes:
            raise UserError(f"holdout = {count}: both splits need an image of each of the {classes} classes.")
        (_, held), *_ = StratifiedShuffleSplit(1, test_size=count, random_state=seed).split(labels, labels)
        return np.isin(np.arange(len(labels)), held)
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    if len(names) < 2:
        raise UserError(f"holdout = {count}: there is only one group, and it can't be split.")
    sizes = np.cumsum([(groups == name).sum() for name in names[:-1]])
    whole = int(np.abs(sizes - count).argmin()) + 1
    return np.isin(groups, names[:whole])


def split(labels: NDArray[Any], groups: NDArray[Any] | None, count: int, seed: int) -> Fold:
    """Return the fold of each row, 0 to `count` - 1, (N,), by scikit-learn's stratified (group) k-fold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rarest = counts.argmin()
    if groups is None and counts[rarest] < count:
        if counts[rarest] < 2:
            raise UserError(
                f"class {classes[rarest]!r} has only one readable training image, and scoring needs two: add some, or "
                "remove the class from the plugin."
            )
        raise UserError(
            f"folds = {count}: class {classes[rarest]!r} has only {counts[rarest]} training images; use fewer folds."
        )
    if groups is not None and len(np.unique(groups)) < count:
        if len(np.unique(groups)) < 2:
            raise UserError(
                f"all {len(labels)} training images are in one group, {str(groups[0])!r}, which folds can't split: "
                "check that the plugin names the right group column."
            )
        raise UserError(f"folds = {count}: there are only {len(np.unique(groups))} groups; use fewer folds.")
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    made = splitter(n_splits=count, shuffle=True, random_state=seed)
    fold = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        # a class in fewer groups than folds can't be spread evenly; the user can't change that
        warnings.filterwarnings("ignore", message="The least populated class")
        if groups is not None and counts.max() < count:
            raise UserError(f"folds = {count}: no class has as many images; use fewer folds.")
        for number, (_, scored) in enumerate(made.split(np.zeros(len(codes)), codes, groups)):
            fold[scored] = number
    return fold


def sample(table: pd.DataFrame, count: int, seed: int, least: int = 2) -> pd.DataFrame:
    """Return `count` rows of a table, in the table's order; all rows if it has fewer.

    The sample is stratified by class (and by the data's own validation set), but `least` images of each stratum come
    first, so that folds stay possible.
    """
    if count <= 0 or count >= len(table):
        return table
    if "label" not in table:
        chosen = np.random.default_rng(seed).permutation(len(table))[:count]
        return table.iloc[np.sort(chosen)].reset_index(drop=True)
    # rows are shuffled within each class, then taken from the classes in turn
    shuffled = table.sample(frac=1.0, random_state=seed)
    strata = shuffled.groupby([column for column in ("label", "valid") if column in table])
    rank = strata.cumcount()
    share = ((rank + 0.5) / strata["label"].transform("size")).where(rank >= least, rank - least)
    kept = share.sort_values(kind="stable").index[:count].to_numpy()
    return table.loc[np.sort(kept)].reset_index(drop=True)


def scored(fold: Fold) -> NDArray[np.int64]:
    """Return the sorted numbers of the folds that score images."""
    return np.unique(fold[fold != TRAIN_ONLY])
