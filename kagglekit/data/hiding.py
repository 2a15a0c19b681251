"""Hide some training images, as the test set of a rehearsal.

What is hidden gets new ids in random order, and loses its labels: those are kept aside for grading. N training images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.base.arrays import Floats, Mask
from kagglekit.base.errors import UserError
from kagglekit.competitions import resolving, row_groups, submissions
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.data.tables import Tables
from kagglekit.recipe import DataSettings
from kagglekit.tasks.targets import SEPARATOR
from kagglekit.tasks.task import Strata

_LEAST, _MOST = 3, 10
"""One in how many images is hidden."""
_DRAWS = 10
"""Number of random sets of groups, of which the best stratified is hidden."""
_REAL_TEST = "in the real test set"


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """A competition whose test set are hidden training images."""

    competition: Competition
    """As its other training images have it."""
    tables: Tables
    truth: pd.DataFrame
    """Of what the submission's rows are of: `id`, `label`, `group` (by which scores vary), and `was`, the id before."""


def random_part(competition: Competition, tables: Tables, data: DataSettings, seed: int) -> Mask:
    """Return which training images to hide, (N,): stratified as folds are, or random whole groups.

    Their share is that of the real test images among all, from a tenth to a third. With `validation = "valid"` they are
    of the data's own validation set. No class or label loses all its images.
    """
    train = tables.train
    pool = np.ones(len(train), bool)
    if data.validation == "valid" and "valid" in train and train["valid"].any():
        pool = train["valid"].to_numpy(dtype=bool)
    labels = competition.task.strata(competition.task.truth(train["label"][pool]))
    groups = train["group"][pool].to_numpy() if "group" in train else None
    all_images = len(train) + len(tables.test)
    if groups is not None and len(np.unique(groups)) < 2:
        raise UserError(f"all {len(train)} training images are in one group, {str(groups[0])!r}: none can be hidden.")
    wanted = round(min(max(all_images / max(len(tables.test), 1), _LEAST), _MOST))
    count = max(2, min(wanted, folds.most(labels, groups)))
    hidden = np.zeros(len(train), bool)
    if groups is None:
        hidden[pool] = folds.split(labels, None, count, seed) == 0
    else:
        hidden[pool] = _some_groups(labels, groups, count, seed)
    hidden = _without_lost(_whole(hidden, train), train, competition)
    if not hidden.any():
        raise UserError(
            "no training image can be hidden: each has a class or label that no image of another group has."
        )
    return hidden


def _some_groups(labels: Strata, groups: NDArray[Any], count: int, seed: int) -> Mask:
    """Return a mask of random groups with about one in `count` images, (N,).

    Of several draws it is one that lacks the fewest labels, and has shares of them most like those of all. Folds of
    groups would not do: they are dealt by their sizes and labels, so that each seed would hide the same groups.
    """
    names, own = np.unique(groups, return_inverse=True)
    sizes = np.bincount(own)
    random = np.random.default_rng(seed)
    every = _shares(labels, np.ones(len(labels), bool))
    best, least = np.zeros(len(labels), bool), (np.inf, np.inf)
    for _ in range(_DRAWS):
        order = random.permutation(len(names))
        number = int(np.abs(np.cumsum(sizes[order])[:-1] - len(labels) / count).argmin()) + 1
        hidden = np.isin(own, order[:number])
        shares = _shares(labels, hidden)
        apart = float(((shares == 0) & (every > 0)).sum()), float(np.abs(shares - every).sum())
        if apart < least:
            best, least = hidden, apart
    return best


def _shares(labels: Strata, rows: Mask) -> Floats:
    """Return the share of each stratum, or of each of several labels, among some rows."""
    if labels.ndim == 2:
        return np.asarray(labels[rows].mean(axis=0), dtype=np.float64)
    codes = np.unique(labels, return_inverse=True)[1]
    return np.asarray(np.bincount(codes[rows], minlength=int(codes.max()) + 1) / rows.sum(), dtype=np.float64)


def _whole(hidden: Mask, train: pd.DataFrame) -> Mask:
    """Return a mask with all images of the groups that it has one of."""
    return np.asarray(train["group"].isin(train["group"][hidden])) if "group" in train else hidden


def _without_lost(hidden: Mask, train: pd.DataFrame, competition: Competition) -> Mask:
    """Return a mask without the groups that are needed to leave each class or label an image."""
    task = competition.task
    lost = set(task.absent(train["label"][~hidden])) - set(task.absent(train["label"]))
    has = [not lost.isdisjoint((label, *label.split(SEPARATOR))) for label in train["label"]]
    return hidden & ~_whole(hidden & np.array(has, bool), train)


def hide(competition: Competition, tables: Tables, hidden: Mask, seed: int) -> Hidden:
    """Return the competition without the labels of the `hidden` training images, (N,), which become its test set."""
    train = tables.train
    out = train[hidden].sample(frac=1.0, random_state=seed).reset_index(drop=True)
    kept = train[~hidden].reset_index(drop=True)
    numbers = pd.Series(np.arange(1, len(out) + 1).astype(str), dtype="str")
    test = pd.DataFrame({"id": numbers, "path": out["path"]})
    if competition.submission.per_group:
        truth = row_groups.of_training(out, competition.target, "the hidden images").rename(columns={"id": "was"})
        truth["id"] = pd.Series(np.arange(1, len(truth) + 1).astype(str), dtype="str")
        test["row"] = out["row"].map(dict(zip(truth["was"], truth["id"], strict=True))).astype("str")
    else:
        group = out["group"] if "group" in out else out["id"]
        truth = pd.DataFrame({"id": numbers, "label": out["label"], "group": group, "was": out["id"]})
    used = tables.counts.used
    counts = dataclasses.replace(
        tables.counts,
        used=frozenset(train["path"]) & used,
        ignored={**tables.counts.ignored, _REAL_TEST: tuple(sorted(used - set(train["path"])))},
    )
    return Hidden(
        competition=resolving.measured(competition, kept["label"]),
        tables=dataclasses.replace(
            tables,
            train=kept,
            test=test,
            requested=test,
            sample=_sample(competition, tables, truth["id"].tolist()),
            counts=counts,
        ),
        truth=truth[["id", "label", "group", "was"]],
    )


def most_folds(hidden: Hidden) -> int:
    """Return the largest number of folds that the training images left allow."""
    task, train = hidden.competition.task, hidden.tables.train
    groups = train["group"].to_numpy() if "group" in train else None
    return folds.most(task.strata(task.truth(train["label"])), groups)


def _sample(competition: Competition, tables: Tables, ids: list[str]) -> pd.DataFrame | None:
    """Return a sample submission of these ids like the real one; None if there is none, or its ids are no images'."""
    form, real = competition.submission, tables.sample
    if real is None:
        return None
    if form.by_hook and not set(submissions.expected_ids(competition, tables.asked, real)) <= set(real[form.id]):
        return None
    written = [submissions.written_id(competition, name) for name in ids]
    first: dict[Any, Any] = real.iloc[0].to_dict()
    names = {form.id: form.row_ids(written, competition.target)}
    return pd.DataFrame({column: names.get(column, first[column]) for column in real.columns}, dtype="str")
