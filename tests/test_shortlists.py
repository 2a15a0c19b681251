"""Predictions of very many classes: short lists give what arrays give, in time and memory that grow with the rows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit import metrics
from kagglekit.base import shortlists
from kagglekit.base.arrays import Floats, softmax
from kagglekit.base.shortlists import LENGTH, Shortlists
from kagglekit.data import folds
from kagglekit.formats.groups import Members
from kagglekit.heads import prediction
from kagglekit.heads.layers import Head, Linear
from kagglekit.metrics import Metric
from kagglekit.pipeline import deciding, gates, grouping, postprocess
from kagglekit.pipeline.gates import Scored
from kagglekit.report import compare, stats
from kagglekit.runs.probabilities import Probabilities
from kagglekit.tasks import kinds
from kagglekit.tasks.activations import SOFTMAX
from kagglekit.tasks.decisions import Decision, MostProbable, TopLists
from kagglekit.tasks.targets import Classes

ROWS, CLASSES = 40, 1200
TASK = kinds.of(Classes([f"c{number}" for number in range(CLASSES)]))


def drawn(rows: int = ROWS, classes: int = CLASSES, seed: int = 0) -> tuple[Any, Floats]:
    """Return truth and probabilities that often agree; some classes are equally probable."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, rows)
    scores = np.round(random.normal(0, 1, (rows, classes)), 1)
    scores[np.arange(rows), truth] += random.normal(5, 3, rows)
    return truth, softmax(scores)


def lists_and_array() -> tuple[Any, Shortlists, Floats]:
    """Return truth, short lists, and the array that they stand for."""
    truth, rows = drawn()
    lists = Shortlists.of(rows)
    return truth, lists, np.asarray(lists)


def test_the_most_probable_are_kept_and_the_others_share_what_is_left() -> None:
    truth, rows = drawn()
    lists = SOFTMAX.kept(rows)
    assert isinstance(lists, Shortlists)
    best = np.argsort(-rows, axis=1, kind="stable")
    assert (lists.values == np.take_along_axis(rows, best[:, :LENGTH], axis=1).astype(np.float32)).all()
    assert (lists.places[:, :40] == best[:, :40]).all()  # of equals at the end any may be kept
    array = np.asarray(lists)
    assert array == pytest.approx(np.where(array == lists.rest[:, None], array, rows), rel=1e-6)
    assert array.sum(axis=1) == pytest.approx(1)
    assert (lists.argmax(axis=1) == rows.argmax(axis=1)).all()
    assert lists.max(axis=1) == pytest.approx(rows.max(axis=1))
    own = lists[np.arange(ROWS), truth]
    assert (own == array[np.arange(ROWS), truth]).all()
    assert (lists[3:5][np.arange(2), 7] == array[3:5, 7]).all()
    assert isinstance(SOFTMAX.kept(rows[:, :1000]), np.ndarray)


@pytest.mark.parametrize(
    "change", [lambda rows: postprocess.temper(rows, 1.7), lambda rows: postprocess.clip(rows, 1e-4)]
)
def test_a_change_of_lists_is_that_of_their_array(change: Callable[[Any], Any]) -> None:
    _, lists, array = lists_and_array()
    after = change(lists)
    assert isinstance(after, Shortlists)
    assert np.asarray(after) == pytest.approx(change(array), rel=1e-5)


@pytest.mark.parametrize(
    "decision",
    [
        MostProbable(),
        MostProbable(weights=tuple(np.random.default_rng(1).uniform(0.5, 1, CLASSES).tolist())),
        TopLists(k=5),
        TopLists(k=5, unseen=3, threshold=0.05),
    ],
)
def test_decisions_on_lists_are_those_on_their_array(decision: Decision) -> None:
    _, lists, array = lists_and_array()
    assert (decision.apply(lists) == decision.apply(array)).all()


def test_a_list_longer_than_what_is_kept_ends_early() -> None:
    _, lists, _ = lists_and_array()
    found = TopLists(k=LENGTH + 3).apply(lists)
    assert found.shape == (ROWS, LENGTH + 3)
    assert (found[:, LENGTH:] == -1).all()
    assert (found[:, :LENGTH] >= 0).all()


WEIGHTED = metrics.log_loss(weights={"c1*": 2})
OWN = Metric(
    name="own", score=lambda truth, rows: float(rows[np.arange(len(truth)), truth].mean()), lower_is_better=False
)


@pytest.mark.parametrize("metric", [metrics.log_loss(), WEIGHTED, metrics.gap(), OWN], ids=lambda metric: metric.name)
def test_scores_errors_and_gains_of_lists_are_those_of_their_array(metric: Metric) -> None:
    truth, lists, array = lists_and_array()
    metric = metric.for_labels(TASK.columns, "") if metric.for_labels else metric
    found = []
    for rows in (lists, array):
        scored = Scored(truth, rows, np.arange(ROWS), np.arange(ROWS) % 3)
        after = postprocess.temper(rows, 1.3)
        judgement = gates.judge(scored, rows, after, metric, 0)
        found.append([judgement.before, judgement.gain, judgement.low, gates.standard_error(scored, rows, metric, 0)])
    assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-7)


def test_files_parts_and_views_keep_lists(tmp_path: Path) -> None:
    _, lists, array = lists_and_array()
    ids = [f"i{number}" for number in range(ROWS)]
    Probabilities.table(ids, lists, TASK.columns, view=["plain"] * ROWS).to_parquet(tmp_path / "a.parquet")
    back = Probabilities.read(tmp_path / "a.parquet", TASK.columns, "plain").of(ids[::-1])
    assert isinstance(back, Shortlists)
    assert (np.asarray(back) == array[::-1]).all()
    odd, even = np.arange(1, ROWS, 2), np.arange(0, ROWS, 2)
    again = shortlists.arranged([(odd, lists[odd]), (even, lists[even])], ROWS)
    assert (np.asarray(again) == array).all()
    turn = np.random.default_rng(0).permutation(CLASSES).tolist()
    assert (np.asarray(shortlists.turned(lists, turn)) == array[:, turn]).all()
    assert (np.asarray(Shortlists.unpacked(lists.packed(), CLASSES)) == array).all()
    mean = shortlists.mean([lists, array, lists])
    assert isinstance(mean, Shortlists)
    assert np.asarray(mean) == pytest.approx(array, rel=1e-5)
    where = np.arange(ROWS + 2) >= 2
    whole = shortlists.spread(lists, where)
    assert (shortlists.unknown(whole) == ~where).all()
    for filled in (shortlists.filled(whole, array[0]), shortlists.filled(np.asarray(whole), array[0])):
        assert np.asarray(filled) == pytest.approx(array[[0, 0, *range(ROWS)]], rel=1e-5)


@contextmanager
def at_most(megabytes: float) -> Iterator[None]:
    """Fail if the block has more than so much memory at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


def many(rows: int, classes: int) -> tuple[Any, Shortlists]:
    """Return truth and short lists of which one of the first four classes is often true."""
    random = np.random.default_rng(0)
    places = (random.integers(0, classes, (rows, 1)) + 7 * np.arange(LENGTH)) % classes
    values = 0.5 ** np.arange(1, LENGTH + 1) * random.uniform(0.5, 1, (rows, 1))
    rest = (1 - values.sum(axis=1)) / (classes - LENGTH)
    lists = Shortlists(places.astype(np.int32), values.astype(np.float32), rest, classes)
    return places[np.arange(rows), random.integers(0, 4, rows)], lists


@pytest.mark.parametrize("name", ["log_loss", "f1(macro)"])
def test_finishing_deciding_and_the_report_need_no_array_of_all(name: str) -> None:
    rows, classes = 4000, 10_000  # 320 MB
    task = kinds.of(Classes([f"c{number}" for number in range(classes)]))
    metric = metrics.resolve(name, task.columns)
    truth, lists = many(rows, classes)
    scored = Scored(truth, lists, np.arange(rows), np.arange(rows) % 3)
    with at_most(220):
        after, _ = postprocess.finish(scored, ["temperature", "clip"], metric, 0)
        made = deciding.make(Scored(truth, after, scored.clusters, scored.fold), task, metric, 0)
        assert gates.standard_error(scored, deciding.needed(metric, after, made.decision), metric, 0) > 0
        decided = task.decide(after)
        cases = task.cases(truth, after, decided)
        assert sum(each.images for each in stats.by_category(cases)) == rows
        assert task.suspects(truth, after)
        assert task.confidence(truth, after, decided) is not None
        assert len(stats.loss_by_value(task, truth, after, "clip")) > 5
        assert Probabilities.table([str(row) for row in range(rows)], after, task.columns).shape == (rows, 130)


def test_heads_of_many_classes_predict_short_lists() -> None:
    rows, classes = 6000, 1500  # 72 MB for all, 3 MB for a block
    random = np.random.default_rng(0)
    truth = np.arange(rows) % classes
    means = random.normal(0, 1, (classes, 12)).astype(np.float32)
    values = means[truth] + random.normal(0, 0.2, (rows, 12)).astype(np.float32)
    last = Linear(weights=means.T * 5, bias=-2.5 * (means**2).sum(axis=1))
    head = Head((last, SOFTMAX), "")
    with at_most(36):
        found = prediction.predict_rows(head, values[:, None], np.arange(rows), (tuple(range(classes)),))
    assert isinstance(found, Shortlists)
    assert (found.argmax(axis=1) == truth).mean() > 0.5
    assert isinstance(
        prediction.predict_rows(head, values[:, None], np.arange(0), (tuple(range(classes)),)), Shortlists
    )


def test_the_correlation_of_errors_is_that_of_all_cells() -> None:
    truth, one = drawn()
    other = np.asarray(postprocess.temper(drawn(seed=1)[1], 2))
    goals = TASK.goals(truth)
    expected = np.corrcoef((goals - one).ravel(), (goals - other).ravel())[0, 1]
    assert compare._correlation(TASK, truth, one, other) == pytest.approx(expected)
    assert np.isnan(compare._correlation(TASK, truth, goals.astype(float), other))


def test_many_classes_are_dealt_into_folds_as_scikit_learn_does() -> None:
    from sklearn.model_selection import StratifiedKFold

    labels = pd.Series(np.random.default_rng(0).geometric(0.2, 500)).astype(str).to_numpy()
    counts = pd.Series(labels).value_counts()
    kept = labels[pd.Series(labels).map(counts).to_numpy() > 4]
    made = StratifiedKFold(4, shuffle=True, random_state=7).split(kept, kept)
    fold = folds.split(kept, None, 4, 7)
    for number, (_, scored) in enumerate(made):
        assert (np.flatnonzero(fold == number) == scored).all()


@pytest.mark.parametrize("count", [2, 5, 9])
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_groups_of_many_classes_are_dealt_into_folds_as_scikit_learn_does(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    monkeypatch.setattr(folds, "_CELLS", 200)
    for seed in range(8):
        random = np.random.default_rng(seed)
        labels = pd.Series(random.geometric(0.1, 300)).astype(str).to_numpy()
        groups = random.integers(0, 60, 300).astype(str)
        made = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups)
        fold = folds.split(labels, groups, count, seed)
        for number, (_, scored) in enumerate(made):
            assert (np.flatnonzero(fold == number) == scored).all()


def test_groups_of_images_are_means_of_their_lists() -> None:
    _, lists, array = lists_and_array()
    described: Any = SimpleNamespace(submission=SimpleNamespace(per_group="mean", positive=""), task=TASK)
    members = Members.of([[f"g{number % 7}", f"h{number // 9}"] for number in range(ROWS)])
    found = grouping._combined(members, lists, described)
    assert isinstance(found, Shortlists)
    expected = Shortlists.of(members.combined(array, "mean"))
    assert np.asarray(found) == pytest.approx(np.asarray(expected), rel=1e-6)
