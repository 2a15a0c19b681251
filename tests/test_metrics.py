"""Metrics: by hand, and as scikit-learn computes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss

from kagglekit import metrics
from kagglekit.base.arrays import Floats, Labels
from kagglekit.metrics import Metric

EPSILON = 1e-15


def drawn(seed: int, num_rows: int, num_classes: int) -> tuple[Labels, Floats]:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(num_classes), num_rows)
    return random.integers(0, num_classes, num_rows), probabilities


def test_log_loss_by_hand() -> None:
    rows = metrics.log_loss_rows(np.array([0, 1, 2]), np.array([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]]))
    assert rows == pytest.approx([math.log(2), 0.35667494393873245, 2.995732273553991], rel=1e-12)
    assert rows.dtype == np.float64


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 100.0])
def test_rows_are_divided_by_their_sum(scale: float) -> None:
    truth, probabilities = drawn(0, 50, 4)
    assert metrics.log_loss_rows(truth, scale * probabilities) == pytest.approx(
        metrics.log_loss_rows(truth, probabilities), rel=1e-12
    )


def test_each_row_is_divided_by_its_own_sum() -> None:
    rows = metrics.log_loss_rows(np.array([0, 0]), np.array([[2.0, 2.0], [0.3, 0.1]]))
    assert rows == pytest.approx([math.log(2), math.log(4 / 3)], rel=1e-12)


def test_certainty_is_clipped_to_1e_15_on_both_sides() -> None:
    rows = metrics.log_loss_rows(np.array([0, 0]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert rows[0] == pytest.approx(-math.log(EPSILON), rel=1e-12)
    assert rows[0] == pytest.approx(34.538776394910684, rel=1e-12)
    assert rows[1] == -math.log(1 - EPSILON)
    assert rows[1] > 0


def test_single_precision_is_scored_in_double() -> None:
    rows = metrics.log_loss_rows(np.array([0]), np.array([[1.0, 0.0]], dtype=np.float32))
    assert rows[0] == -math.log(1 - EPSILON)


def test_for_two_classes_it_is_the_binary_log_loss() -> None:
    truth, probabilities = drawn(1, 200, 2)
    dog = probabilities[:, 1]
    binary = -(truth * np.log(dog) + (1 - truth) * np.log(1 - dog)).mean()
    assert metrics.resolve("log_loss").score(truth, probabilities) == pytest.approx(binary, rel=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 12))
def test_scores_agree_with_scikit_learn_and_are_the_mean_of_their_rows(seed: int, num_rows: int, width: int) -> None:
    truth, probabilities = drawn(seed, num_rows, width)
    expected = {
        "log_loss": log_loss(truth, probabilities, labels=np.arange(width)),
        "accuracy": accuracy_score(truth, probabilities.argmax(axis=1)),
    }
    for name, score in expected.items():
        metric = metrics.resolve(name)
        decided = metrics.plain_decision(metric, probabilities)
        assert metric.score(truth, decided) == pytest.approx(score, rel=1e-9)
        assert metric.per_row is not None
        assert metric.per_row(truth, decided).mean() == pytest.approx(score, rel=1e-9)


def test_accuracy_by_hand() -> None:
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    assert metrics.correct_rows(np.array([1, 1, 0]), probabilities).tolist() == [1.0, 0.0, 0.0]
    metric = metrics.resolve("accuracy")
    assert metric.score(np.array([1, 0, 0]), metrics.plain_decision(metric, probabilities)) == pytest.approx(2 / 3)


def test_the_direction_of_each_metric() -> None:
    known = {name: metrics.resolve(name).lower_is_better for name in ("log_loss", "accuracy")}
    assert known == {"log_loss": True, "accuracy": False}


def test_the_plain_decision_of_each_kind() -> None:
    rows = np.array([[0.5, 0.5, 0.0], [0.1, 0.3, 0.6], [0.6, 0.0, 0.4]])
    decisions = Metric(name="own", score=brier_score, needs="decisions")
    top = Metric(name="own", score=brier_score, needs="top", k=2)
    longer = Metric(name="own", score=brier_score, needs="top", k=4)
    assert metrics.plain_decision(decisions, rows).tolist() == [0, 2, 0]
    assert metrics.plain_decision(decisions, rows, "grades").tolist() == [1, 2, 1]
    assert metrics.plain_decision(decisions, rows, "labels").tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert metrics.plain_decision(top, rows).tolist() == [[0, 1], [2, 1], [0, 2]]
    assert metrics.plain_decision(longer, rows).tolist() == [[0, 1, 2, -1], [2, 1, 0, -1], [0, 2, 1, -1]]
    assert metrics.plain_decision(Metric(name="own", score=brier_score), rows) is rows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"needs": "logits"}, "needs 'logits' is not one of probabilities, ranks"),
        ({"needs": "top"}, "has a k above 0"),
        ({"k": 5}, "has a k above 0"),
        ({"kinds": ("boxes",)}, "are not among classes, labels"),
        ({"kinds": ()}, "are not among classes, labels"),
    ],
)
def test_a_metric_that_contradicts_itself_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Metric(name="own", score=brier_score, **wrong)  # type: ignore[arg-type]


def brier_score(truth: Labels, probabilities: Floats) -> float:
    return float(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1).mean())


def test_a_metric_is_meant_by_its_name_itself_or_a_callable() -> None:
    own = Metric(name="own", score=brier_score, lower_is_better=False)
    assert metrics.resolve("log_loss").name == "log loss"
    assert metrics.resolve(own) is own
    taken = metrics.resolve(brier_score)
    assert (taken.name, taken.score, taken.lower_is_better, taken.per_row) == ("brier score", brier_score, True, None)


def test_an_unknown_metric_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'logloss' is not one of accuracy, auc, .*log_loss, "):
        metrics.resolve("logloss")


def directly(rows: Floats, clusters: np.ndarray) -> float:
    """Return the cluster-robust error of the mean, as its formula stands."""
    names = np.unique(clusters)
    squares = sum(((rows[clusters == name] - rows.mean()).sum()) ** 2 for name in names)
    return math.sqrt(len(names) / (len(names) - 1) * squares) / len(rows)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 9))
def test_the_clustered_error_is_its_formula(seed: int, num_rows: int, num_clusters: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.exponential(size=num_rows)
    clusters = 3 * random.integers(0, num_clusters, num_rows)  # numbers may be left out
    clusters[:2] = 0, 3
    assert metrics.clustered_error(rows, clusters) == pytest.approx(directly(rows, clusters), rel=1e-9, abs=1e-12)


def test_rows_that_are_their_own_clusters_give_the_usual_standard_error() -> None:
    rows = np.random.default_rng(0).exponential(size=100)
    usual = rows.std(ddof=1) / math.sqrt(100)
    assert metrics.clustered_error(rows, np.arange(100)) == pytest.approx(usual, rel=1e-12)


def test_rows_that_only_repeat_their_cluster_add_no_certainty() -> None:
    rows = np.random.default_rng(0).exponential(size=20)
    once = metrics.clustered_error(rows, np.arange(20))
    assert metrics.clustered_error(np.repeat(rows, 7), np.repeat(np.arange(20), 7)) == pytest.approx(once, rel=1e-12)
