"""Who scores whom: folds, hold-outs and samples, fixed by seed and saved by id.

N images; a fold is an array of N integers: the part that scores the image, or -1 where it only trains.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.errors import UserError
from kagglekit.recipe import Recipe

Fold = NDArray[np.int64]
TRAIN_ONLY = -1


def assign(table: pd.DataFrame, recipe: Recipe) -> Fold:
    """Return each training image's fold, (N,); stratified by label, grouped when the table has groups.

    Raises UserError where the data doesn't allow what the recipe asks for.
    """
    if recipe.validation == "valid":
        if "valid" not in table or not table["valid"].any():
            raise UserError("validation = 'valid': the data brings no validation set; use folds or holdout.")
        return np.where(table["valid"], 0, TRAIN_ONLY).astype(np.int64)
    labels = table["label"].to_numpy()
    groups = table["group"].to_numpy() if "group" in table else None
    if recipe.validation == "holdout":
        if recipe.holdout >= len(table):
            raise UserError(f"holdout = {recipe.holdout}: there are only {len(table)} training images.")
        parts = split(labels, groups, max(2, round(len(table) / recipe.holdout)), recipe.seed)
        return np.where(parts == 0, 0, TRAIN_ONLY).astype(np.int64)
    return split(labels, groups, recipe.folds, recipe.seed)


def split(labels: NDArray[Any], groups: NDArray[Any] | None, parts: int, seed: int) -> Fold:
    """Return a part from 0 to `parts` - 1 for each row, (N,), by scikit-learn's stratified (group) k-fold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rarest = counts.argmin()
    if groups is None and counts[rarest] < parts:
        raise UserError(
            f"folds = {parts}: class {classes[rarest]!r} has only {counts[rarest]} training images; use fewer folds."
        )
    if groups is not None and len(np.unique(groups)) < parts:
        raise UserError(f"folds = {parts}: there are only {len(np.unique(groups))} groups; use fewer folds.")
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    made = splitter(n_splits=parts, shuffle=True, random_state=seed)
    fold = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        # a class that fewer groups than folds hold can't be spread evenly, and that is nobody's fault
        warnings.filterwarnings("ignore", message="The least populated class")
        for part, (_, scored) in enumerate(made.split(np.zeros(len(codes)), codes, groups)):
            fold[scored] = part
    return fold


def sample(table: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return `count` rows of a table, classes in proportion, in the table's order; all where it has fewer.

    With groups, images are drawn from every group, so that folds by group stay possible.
    """
    if count <= 0 or count >= len(table):
        return table
    if "label" not in table:
        chosen = np.random.default_rng(seed).permutation(len(table))[:count]
        return table.iloc[np.sort(chosen)].reset_index(drop=True)
    # taken in turn from each class, shuffled inside: every class keeps its share, and none is lost
    shuffled = table.sample(frac=1.0, random_state=seed)
    rank = shuffled.groupby("label").cumcount() + 0.5
    share = rank / shuffled.groupby("label")["label"].transform("size")
    kept = share.sort_values(kind="stable").index[:count].to_numpy()
    return table.loc[np.sort(kept)].reset_index(drop=True)


def scored(fold: Fold) -> NDArray[np.int64]:
    """Return the folds that score, in order."""
    return np.unique(fold[fold != TRAIN_ONLY])
