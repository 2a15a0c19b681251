"""Cross-validation folds, hold-out sets and samples. The same seed gives the same split.

N: number of images. `Fold` is an array of N integers: the fold that scores each image, or -1 if the image is only
used for training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Indices, Labels
from kagglekit.base.errors import UserError
from kagglekit.data import iterative
from kagglekit.recipe import DataSettings
from kagglekit.runs import store
from kagglekit.tasks.task import Strata, Task

Fold = NDArray[np.int64]
TRAIN_ONLY = store.TRAIN_ONLY
_CELLS = 1 << 22
"""Most numbers of a block of groups by classes."""


def assign(table: pd.DataFrame, task: Task, data: DataSettings) -> Fold:
    """Return the fold of each training image, (N,); stratified as the task says, and grouped if the table has groups.

    Raises UserError if the data doesn't allow the split that the settings ask for.
    """
    if data.validation == "valid":
        if "valid" not in table or not table["valid"].any():
            raise UserError("validation = 'valid': the data brings no validation set; use folds or holdout.")
        return np.where(table["valid"], 0, TRAIN_ONLY).astype(np.int64)
    labels = task.strata(task.truth(table["label"]))
    groups = table["group"].to_numpy() if "group" in table else None
    if data.validation == "holdout":
        if data.holdout >= len(table):
            raise UserError(f"holdout = {data.holdout}: there are only {len(table)} training images.")
        held = held_out(labels, groups, data.holdout, data.seed)
        return np.where(held, 0, TRAIN_ONLY).astype(np.int64)
    return split(labels, groups, data.num_folds, data.seed)


def held_out(labels: Strata, groups: NDArray[Any] | None, count: int, seed: int) -> NDArray[np.bool_]:
    """Return a hold-out mask, (N,): `count` images, stratified, or whole groups with about as many images.

    `labels` are strata, (N,) or (N, L). Without groups, the image of a class that has only one is not held out. Raises
    UserError if the data doesn't allow the split.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    if groups is None and labels.ndim == 2:
        return _held_of_labels(labels, count, seed)
    if groups is None:
        labels = _joined(labels, min(count, len(labels) - count, len(labels) // 2))
        several = _several(labels, f"holdout = {count}: ")
        stratified = labels[several]
        classes = len(np.unique(stratified))
        if min(count, len(stratified) - count) < classes:
            raise UserError(f"holdout = {count}: both splits need an image of each of the {classes} classes.")
        (_, held), *_ = StratifiedShuffleSplit(1, test_size=count, random_state=seed).split(stratified, stratified)
        return np.isin(np.arange(len(labels)), np.flatnonzero(several)[held])
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    if len(names) < 2:
        raise UserError(f"holdout = {count}: there is only one group, and it can't be split.")
    sizes = pd.Series(groups).value_counts()[names[:-1]].cumsum().to_numpy()
    whole = int(np.abs(sizes - count).argmin()) + 1
    return np.isin(groups, names[:whole])


def _held_of_labels(labels: Strata, count: int, seed: int) -> NDArray[np.bool_]:
    """Return a hold-out mask, (N,), that shares out the labels (N, L); a random one if all are too rare for that."""
    share = count / len(labels)
    held = np.asarray(iterative.split(labels, None, [1 - share, share], seed) == 1)
    if not held.any():
        held[np.random.default_rng(seed).choice(len(labels), count, replace=False)] = True
    return held


def most(labels: Strata, groups: NDArray[Any] | None) -> int:
    """Return the largest number of folds into which `split` can deal rows with these strata, and groups if any."""
    if groups is not None:
        return len(np.unique(groups))
    if labels.ndim == 2 or labels.dtype.kind in "iu":
        return len(labels)
    return int(np.unique(labels, return_counts=True)[1].max())


def _joined(strata: Strata, most: int) -> Strata:
    """Return bins of numbers, (N,), of which neighbours are joined to `most` of them; names of classes as they are.

    Bins only share out numbers evenly. They must forbid no split.
    """
    if strata.ndim == 2 or strata.dtype.kind not in "iu":
        return strata
    bins = int(strata.max(initial=0)) + 1
    return np.asarray(strata * max(min(bins, most), 1) // bins)


def split(labels: Strata, groups: NDArray[Any] | None, count: int, seed: int) -> Fold:
    """Return the fold of each row, (N,), 0 to `count` - 1, as scikit-learn's stratified (group) k-fold deals them.

    `labels` are strata (N,), or several of them (N, L), which are stratified iteratively. Without groups, the image of
    a class that has only one is TRAIN_ONLY: no model could predict it without having seen it. Raises UserError if the
    data doesn't allow the split.
    """
    if labels.ndim == 2:
        _check_folds(np.zeros(len(labels), np.int64), groups, count)
        return iterative.split(labels, groups, [1 / count] * count, seed)
    labels = _joined(labels, len(labels) // count)
    several = _several(labels, "") if groups is None else np.ones(len(labels), bool)
    codes = np.unique(labels[several], return_inverse=True)[1]
    _check_folds(codes, groups, count)
    fold = np.full(len(labels), TRAIN_ONLY, np.int64)
    fold[several] = _dealt(codes, count, seed) if groups is None else _dealt_groups(codes, groups, count, seed)
    return fold


def _dealt(codes: Labels, count: int, seed: int) -> Fold:
    """Return the folds that scikit-learn's StratifiedKFold gives rows of classes `codes` (N,).

    It looks at all rows for each class, which takes minutes with very many classes. Source: its `_make_test_folds`.
    """
    from sklearn.utils import check_random_state

    _, first, own = np.unique(codes, return_index=True, return_inverse=True)
    places = np.argsort(np.argsort(first))[own]  # of the classes, in the order in which they appear
    order = np.argsort(places, kind="stable")
    shares = [np.bincount(places[order][fold::count], minlength=len(first)) for fold in range(count)]
    random = check_random_state(seed)
    dealt = [np.arange(count).repeat(share) for share in np.transpose(shares)]
    for one in dealt:
        random.shuffle(one)
    found = np.empty(len(codes), np.int64)
    found[order] = np.concatenate(dealt)
    return found


def _dealt_groups(codes: Labels, groups: NDArray[Any], count: int, seed: int) -> Fold:
    """Return the folds that scikit-learn's StratifiedGroupKFold gives rows of classes `codes` (N,) in groups (N,).

    It keeps an array of all groups by all classes, and looks at all classes and folds for each group. Here only the
    classes that a group has are looked at. Source: its `_iter_test_indices`.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils import check_random_state

    names, own = np.unique(groups, return_inverse=True)
    order = np.arange(len(names))
    check_random_state(seed).shuffle(order)
    counts = csr_matrix((np.ones(len(codes)), (np.argsort(order)[own], codes)))  # (G, C)
    sizes = np.bincount(codes).astype(np.float64)
    dealt, spreads = np.zeros((count, len(sizes))), np.zeros(len(sizes))
    part = np.empty(len(names), np.int64)
    for group in np.argsort(-_spreads_of_groups(counts), kind="stable").tolist():
        there = slice(*counts.indptr[group : group + 2])
        classes, more = counts.indices[there], counts.data[there]
        part[group] = fold = _best_fold(dealt, spreads, sizes, classes, more)
        dealt[fold, classes] += more
        spreads[classes] = _spreads(dealt[:, classes] / sizes[classes])
    return part[np.argsort(order)[own]]


def _spreads_of_groups(counts: Any) -> Floats:
    """Return the standard deviation of the images by class of each group of a sparse matrix (G, C), (G,)."""
    step = max(1, _CELLS // counts.shape[1])
    blocks = range(0, counts.shape[0], step)
    return np.concatenate([np.std(counts[start : start + step].toarray(), axis=1) for start in blocks])


def _best_fold(dealt: Floats, spreads: Floats, sizes: Floats, classes: Indices, more: Floats) -> int:
    """Return the fold in which `more` images of some classes leave the classes spread most evenly.

    `dealt` (K, C) are the images dealt so far, `spreads` (C,) the standard deviations of their shares of `sizes` (C,).
    """
    best, least, fewest = 0, np.inf, np.inf
    for fold, images in enumerate(dealt.sum(axis=1).tolist()):
        after = dealt[:, classes]
        after[fold] += more
        changed = spreads.copy()
        changed[classes] = _spreads(after / sizes[classes])
        value = float(changed.mean())
        if value < least or (abs(value - least) <= 1e-8 + 1e-5 * least and images < fewest):  # as `np.isclose`
            best, least, fewest = fold, value, images
    return best


def _spreads(shares: Floats) -> Floats:
    """Return the standard deviation of each column of (K, C), (C,); rows are added in turn, as numpy does with many."""
    away = shares - sum(shares) / len(shares)
    return np.asarray(np.sqrt(sum(away * away) / len(shares)))


def _several(labels: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """Return a mask of the rows whose class has at least two, (N,). Raises UserError if they can't be scored.

    `what` begins the message.
    """
    if len(labels) < 2:
        raise UserError(f"{what}there is only one readable training image, and scoring needs two: add some.")
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2 and (counts > 1).sum() < 2:
        raise UserError(
            f"{what}class {str(classes[counts.argmin()])!r} has only one readable training image, and scoring "
            "needs two classes with two: add some, or remove the class from the plugin."
        )
    return np.asarray(counts[codes] > 1)


def _check_folds(codes: NDArray[Any], groups: NDArray[Any] | None, count: int) -> None:
    """Raise UserError if there are too few groups, or images (of classes `codes`, (N,)), for `count` folds."""
    if groups is not None and len(np.unique(groups)) < count:
        if len(np.unique(groups)) < 2:
            raise UserError(
                f"all {len(codes)} training images are in one group, {str(groups[0])!r}, which folds can't split: "
                "check that the plugin names the right group column."
            )
        raise UserError(f"folds = {count}: there are only {len(np.unique(groups))} groups; use fewer folds.")
    largest = np.bincount(codes).max()
    if largest < count:
        has = "there are" if largest == len(codes) else "the largest class has"
        raise UserError(f"folds = {count}: {has} only {largest} training images; use fewer folds.")


def sample(table: pd.DataFrame, count: int, seed: int, least: int = 2, labels: Strata | None = None) -> pd.DataFrame:
    """Return `count` rows of a table, in the table's order; all rows if it has fewer.

    The sample is stratified by `labels` (N,), if any, and by the data's own validation set, but `least` images of each
    stratum come first, so that folds stay possible.
    """
    if count <= 0 or count >= len(table):
        return table
    if labels is not None and labels.ndim == 2:
        labels = np.zeros(len(table), np.int64) if "valid" in table else None
    if labels is None:
        chosen = np.random.default_rng(seed).permutation(len(table))[:count]
        return table.iloc[np.sort(chosen)].reset_index(drop=True)
    # rows are shuffled within each class, then taken from the classes in turn
    shuffled = table.assign(label=labels).sample(frac=1.0, random_state=seed)
    strata = shuffled.groupby([column for column in ("label", "valid") if column in table])
    rank = strata.cumcount()
    share = ((rank + 0.5) / strata["label"].transform("size")).where(rank >= least, rank - least)
    kept = share.sort_values(kind="stable").index[:count].to_numpy()
    return table.loc[np.sort(kept)].reset_index(drop=True)


def scored(fold: Fold) -> NDArray[np.int64]:
    """Return the sorted numbers of the folds that score images."""
    return np.unique(fold[fold != TRAIN_ONLY])
