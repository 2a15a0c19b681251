"""Resamples: the fast ways agree with scoring the rows anew, whole clusters are drawn, and no rare class is lost."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit import metrics
from kagglekit.metrics import Metric, resampling
from kagglekit.metrics.metric import Resamples, by_rows

LABELS = ("cat", "dog")
SPELLED = (
    "log_loss",
    "log_loss(weights={'cat': 3})",
    "accuracy",
    "balanced_accuracy",
    "weighted_recall(weights={'cat': 2, 'dog': 1})",
    "f1(binary)",
    "f1(macro)",
    "f1(micro)",
    "fbeta(2, samples)",
    "pf1",
    "qwk",
    "auc",
    "auc(mean)",
    "auc(min_tpr=0.8)",
    "auc(weights={0.4: 2, 1: 1})",
    "average_precision",
    "average_precision(macro)",
    "average_precision(micro)",
    "gap",
    "map@5",
    "top_error@1",
    "rmse",
    "mcrmse",
    "mae",
    "r2",
)


def case(metric: Metric, seed: int, rows: int) -> tuple[Any, Any]:
    """Return truth and predictions for two classes, two labels or two numbers, with ties."""
    random = np.random.default_rng(seed)
    if metric.needs == "numbers":
        return random.normal(size=(rows, 2)), random.normal(size=(rows, 2))
    cat = random.integers(0, 12, rows) / 12
    scores = np.stack([cat, 1 - cat], axis=1)
    of_labels = "classes" not in metric.kinds or ("labels" in metric.kinds and seed % 2 and "mean" in metric.name)
    truth = random.random((rows, 2)) < 0.5 if of_labels else random.integers(0, 2, rows)
    return truth, metrics.plain_decision(metric, scores, "labels" if of_labels else "classes")


@pytest.mark.parametrize("name", SPELLED)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(8, 40), groups=st.integers(2, 12))
def test_resampled_scores_are_those_of_the_repeated_rows(name: str, seed: int, rows: int, groups: int) -> None:
    metric = metrics.resolve(name, LABELS)
    truth, predicted = case(metric, seed, rows)
    clusters = np.random.default_rng(seed).permutation(np.arange(rows) % groups)
    (resamples,) = resampling.draw(truth, clusters, 7, seed)
    again = by_rows(metric.score)(truth, predicted, resamples)
    assert metric.resampled(truth, predicted, resamples) == pytest.approx(again, nan_ok=True)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 8), st.booleans())
def test_a_resample_has_as_many_clusters_and_every_class(seed: int, rows: int, width: int, labels: bool) -> None:
    random = np.random.default_rng(seed)
    truth = random.random((rows, width)) < 0.1 if labels else random.integers(0, width, rows)
    clusters = random.integers(0, rows, rows)
    flags = truth if labels else np.eye(width, dtype=bool)[truth]
    (resamples,) = resampling.draw(truth, clusters, 30, seed)
    num_clusters = len(np.unique(clusters))
    assert resamples.counts.shape == (30, num_clusters)
    assert (resamples.counts.sum(axis=1) >= num_clusters).all()
    if not labels and num_clusters == rows:
        assert (resamples.counts.sum(axis=1) == num_clusters).all()
    for counts in resamples.counts:
        drawn = np.repeat(np.arange(rows), counts[resamples.clusters])
        assert (flags[drawn].any(axis=0) == flags.any(axis=0)).all()
        assert (flags[drawn].all(axis=0) == flags.all(axis=0)).all()


def test_the_same_seed_draws_the_same() -> None:
    truth, clusters = np.arange(100) % 2, np.arange(100) // 2
    one, other = ([r.counts for r in resampling.draw(truth, clusters, 5, seed)] for seed in (3, 3))
    assert np.array_equal(one, other)


def test_a_target_of_many_classes_is_resampled_as_a_whole() -> None:
    truth = np.arange(400) // 2
    (resamples,) = resampling.draw(truth, np.arange(400), 50, 0)
    assert resamples.counts.var() == pytest.approx(1, rel=0.05), "with a stratum a class it would be one half"


@pytest.mark.parametrize("positives", [1, 2, 18, 40])
def test_rare_positives_give_a_number_for_every_metric(positives: int) -> None:
    truth = (np.arange(2000) < positives).astype(np.int64)
    dog = np.random.default_rng(0).random(2000) + truth / 2
    rows = np.stack([1.5 - dog, dog], axis=1) / 1.5
    own = Metric(name="own", score=lambda true, given_: float(sk.roc_auc_score(true, given_[:, 1])))
    for metric in (metrics.auc(), metrics.average_precision(), metrics.pf1(), own):
        blocks = resampling.draw(truth, np.arange(2000), 20, 0)
        scores = np.concatenate([metric.resampled(truth, rows, block) for block in blocks])
        assert len(scores) == 20
        assert np.isfinite(scores).all()


def test_the_error_of_an_area_is_that_of_new_samples() -> None:
    """The bootstrap's error is near the spread of the score over data drawn anew; two in a hundred are positive."""

    def sample(seed: int) -> tuple[Any, Any]:
        random = np.random.default_rng(seed)
        truth = (random.random(1500) < 0.02).astype(np.int64)
        score = random.normal(size=1500) + 1.5 * truth
        return truth, np.stack([-score, score], axis=1)

    metric = metrics.auc()
    spread = np.std([metric.score(*sample(seed)) for seed in range(300)], ddof=1)
    errors = []
    for seed in range(20):
        truth, rows = sample(seed)
        (resamples,) = resampling.draw(truth, np.arange(len(truth)), 200, seed)
        errors.append(np.std(metric.resampled(truth, rows, resamples), ddof=1))
    assert np.mean(errors) == pytest.approx(spread, rel=0.15)


def test_a_resample_that_has_no_score_is_nan() -> None:
    resamples = Resamples(np.arange(4), np.array([[1, 1, 1, 1], [2, 2, 0, 0]]))
    truth, dog = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    rows = np.stack([1 - dog, dog], axis=1)
    for metric in (metrics.auc(), metrics.auc("mean"), metrics.average_precision(), metrics.auc(min_tpr=0.5)):
        whole, part = metric.resampled(truth, rows, resamples)
        assert whole == metric.score(truth, rows)
        assert np.isnan(part)


@pytest.mark.parametrize(("name", "rows"), [("auc", 220_000), ("qwk", 20_000), ("f1(macro)", 20_000)])
def test_resamples_are_fast(name: str, rows: int) -> None:
    """40 resamples of 220,000 rows take half a second, and all 400 of 20,000 rows too; machines may be busy."""
    metric = metrics.resolve(name)
    random = np.random.default_rng(0)
    truth, dog = random.integers(0, 2, rows), random.random(rows)
    predicted = metrics.plain_decision(metric, np.stack([1 - dog, dog], axis=1))
    start = time.process_time()
    for resamples in resampling.draw(truth, np.arange(rows), 8_000_000 // rows, 0):
        metric.resampled(truth, predicted, resamples)
    assert time.process_time() - start < 5
