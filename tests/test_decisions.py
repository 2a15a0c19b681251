"""Decisions: what predictions become in a submission, and how their values are chosen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kagglekit.base.arrays import softmax
from kagglekit.metrics import Metric, resolve
from kagglekit.pipeline import deciding, gates, postprocess
from kagglekit.pipeline.gates import Scored
from kagglekit.tasks import decisions, fitting, kinds
from kagglekit.tasks.activations import SIGMOID
from kagglekit.tasks.decisions import CutPoints, MostProbable, Range, Thresholds, TopLists
from kagglekit.tasks.targets import Classes, Grades, Labels, Number, Shares

ALL = [
    MostProbable(),
    MostProbable(weights=(1.0, 2.5, 0.1)),
    Thresholds(thresholds=(0.5, 0.2, 0.9), one_of=((0, 2),), at_least_one=True),
    CutPoints(cuts=(0.4, 1.6)),
    TopLists(k=2, unseen=1, threshold=0.3),
    Range(low=0.2),
]


@pytest.mark.parametrize("decision", ALL, ids=lambda decision: decision.kind.replace(" ", "-"))
def test_a_decision_survives_as_json_and_looks_at_rows_in_blocks(
    decision: decisions.Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = decisions.from_plain(json.loads(json.dumps(decision.to_plain())))
    assert again == decision
    rows = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    whole = decision.apply(rows)
    monkeypatch.setattr(decisions, "_BLOCK", 20)
    assert np.array_equal(again.apply(rows), whole)
    assert decision.apply(rows[:0]).shape == (0, *whole.shape[1:])


def test_the_usual_decision_of_each_kind() -> None:
    rows = np.array([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    assert kinds.of(Classes(list("abc"))).decide(rows).tolist() == [0, 2]
    assert kinds.of(Labels(list("abc"))).decide(rows).tolist() == [[1, 1, 0], [0, 0, 1]]
    assert kinds.of(Grades(3)).decide(rows).tolist() == [1, 2]
    assert kinds.of(Number(0.2, 0.6)).decide(rows[:, :1]).tolist() == [[0.5], [0.2]]
    assert kinds.of(Shares(list("abc"))).decide(rows).tolist() == rows.tolist()
    assert kinds.of(Classes(list("abc"))).lists(2).apply(rows).tolist() == [[0, 1], [2, 1]]


def test_an_image_gets_exactly_one_label_of_a_set_and_at_least_one() -> None:
    task = kinds.of(Labels(["clear", "haze", "road", "water"], one_of=[["clear", "haze"]]))
    rows = np.array([[0.4, 0.3, 0.6, 0.1], [0.8, 0.9, 0.0, 0.0]])
    assert task.decide(rows).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]]
    some = Thresholds(thresholds=(0.5, 0.2), at_least_one=True)
    assert some.apply(np.array([[0.4, 0.19], [0.4, 0.1], [0.6, 0.3]])).tolist() == [[0, 1], [1, 0], [1, 1]]


def test_the_class_of_unknown_images_comes_before_those_that_are_less_probable_than_its_threshold() -> None:
    task = kinds.of(Classes(["new", "a", "b", "c"], unseen="new"))
    rows = np.array([[0.05, 0.7, 0.2, 0.05], [0.1, 0.3, 0.3, 0.3]])
    lists = task.lists(3)
    assert lists.apply(rows).tolist() == [[1, 2, 0], [1, 2, 3]]
    assert isinstance(lists, TopLists)
    with_threshold = TopLists(k=3, unseen=lists.unseen, threshold=0.4)
    assert with_threshold.apply(rows).tolist() == [[1, 0, 2], [0, 1, 2]]
    assert TopLists(k=5).apply(rows).tolist() == [[1, 2, 0, 3, -1], [1, 2, 3, 0, -1]]


@settings(max_examples=60)
@given(arrays.arrays(np.float64, (7, 9), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5])), st.integers(1, 12))
def test_lists_are_those_of_a_stable_sort(rows: np.ndarray, k: int) -> None:
    expected = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    assert decisions.best_of(rows, k)[:, : expected.shape[1]].tolist() == expected.tolist()


def test_a_decision_says_its_values() -> None:
    assert [decision.text() for decision in ALL] == ["", "0.1 to 2.5", "0.2 to 0.9", "0.4, 1.6", "0.3", ""]
    assert Thresholds(thresholds=(0.3, 0.3)).text() == "0.3"


# Fitting


def grades(count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return (truth, probabilities) whose mean grade is too near to the middle."""
    random = np.random.default_rng(3)
    truth = random.choice(5, count, p=[0.5, 0.1, 0.25, 0.05, 0.1])
    seen = truth + random.normal(0, 0.6, count)
    return truth, softmax(-np.abs(seen[:, None] - np.arange(5)) * 0.9)


def labels(count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return (truth, calibrated probabilities) of labels, some of them rare."""
    random = np.random.default_rng(4)
    rare = np.array([-0.5, -1.5, -2.5, -3.5])
    scores = random.normal(rare, 1.5, (count, 4))
    predictions = 1 / (1 + np.exp(-scores))
    return (random.random(scores.shape) < predictions).astype(float), predictions


def imbalanced(count: int = 3000, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    share = np.array([0.85, 0.08, 0.05, 0.02])[:columns] / np.array([0.85, 0.08, 0.05, 0.02])[:columns].sum()
    truth = random.choice(columns, count, p=share)
    scores = random.normal(0, 1, (count, columns)) + 1.5 * np.eye(columns)[truth]
    return truth, softmax(1.5 * scores + np.log(share))


def whales(count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return (truth, probabilities) of 30 classes; the last, of unknown images, is seen too seldom."""
    random = np.random.default_rng(6)
    truth = np.where(random.random(count) < 0.3, 29, random.integers(0, 29, count))
    scores = random.normal(0, 1, (count, 30)) + 4 * np.eye(30)[truth] * (truth < 29)[:, None]
    return truth, softmax(scores - 3 * (np.arange(30) == 29))


DRAWN = {
    "qwk": (Grades(5), grades),
    "fbeta(2, samples)": (Labels(list("abcd")), labels),
    "f1(macro)": (Labels(list("abcd")), labels),
    "f1(micro)": (Labels(list("abcd")), labels),
    "balanced_accuracy": (Classes(list("abcd")), imbalanced),
    "f1(binary)": (Classes(["no", "yes"]), lambda: imbalanced(columns=2)),
    "map@5": (Classes([str(number) for number in range(30)], unseen="29"), whales),
}


def made(name: str, truth: np.ndarray, predictions: np.ndarray, folds: int = 5) -> tuple[deciding.Made, Metric]:
    metric, task = resolve(name), kinds.of(DRAWN[name][0])
    rows = np.arange(len(truth))
    return deciding.make(Scored(truth, predictions, rows, rows % folds), task, metric, 0), metric


@pytest.mark.parametrize("name", DRAWN)
def test_fitted_decisions_gain_out_of_fold_and_others_folds_values_are_used(name: str) -> None:
    truth, predictions = DRAWN[name][1]()
    found, metric = made(name, truth, predictions)
    kept = [gate for gate in found.gates if gate.judgement.kept]
    assert kept
    usual = deciding.usual(kinds.of(DRAWN[name][0]), metric)
    assert found.decision != usual
    assert metric.score(truth, found.decided) > metric.score(truth, usual.apply(predictions)) + 0.005
    assert kept[-1].judgement.after == pytest.approx(metric.score(truth, found.decided))
    here = np.arange(len(truth)) % 5 == 2
    other = truth.copy()
    other[here] = truth[here][::-1]
    again, _ = made(name, other, predictions)
    if [gate.judgement.kept for gate in again.gates] == [gate.judgement.kept for gate in found.gates]:
        assert np.array_equal(again.decided[here], found.decided[here]), "a fold's own truth decides nothing in it"


@pytest.mark.parametrize("name", ["qwk", "balanced_accuracy", "map@5"])
def test_on_shuffled_labels_nothing_is_gained(name: str) -> None:
    truth, predictions = DRAWN[name][1]()
    kept = 0
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(truth)
        if name == "map@5":  # how frequent the unknown are is no secret
            shuffled = np.random.default_rng(seed).integers(0, 30, len(truth))
        found, metric = made(name, shuffled, predictions)
        kept += sum(gate.judgement.kept for gate in found.gates)
        chance = {"qwk": 0.0, "balanced_accuracy": 0.25, "map@5": (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 30}[name]
        assert metric.score(shuffled, found.decided) == pytest.approx(chance, abs=0.05)
    assert kept <= 1


def test_thresholds_on_shuffled_labels_gain_no_more_than_the_same_labels_for_all() -> None:
    truth, predictions = labels()
    shuffled = np.random.default_rng(0).permutation(truth)
    found, metric = made("fbeta(2, samples)", shuffled, predictions)
    same = [np.tile(np.array(row, bool), (len(truth), 1)) for row in np.ndindex(2, 2, 2, 2)]
    assert metric.score(shuffled, found.decided) < max(metric.score(shuffled, rows) for rows in same) + 0.01


@pytest.mark.parametrize("name", ["fbeta(2, samples)", "f1(macro)", "f1(micro)"])
def test_candidates_are_scored_as_the_metric_scores_them(name: str) -> None:
    truth, predictions = labels(200)
    metric, random = resolve(name), np.random.default_rng(0)
    off, on = predictions >= 0.5, random.random(predictions.shape) < 0.5
    edges = np.array([0.1, 0.4, 0.7])
    reached = np.searchsorted(edges, predictions[:, 1], side="right")
    expected = [metric.score(truth, np.where(predictions[:, 1:2] >= edge, on, off)) for edge in edges]
    for same in (metric, replace(metric, of_counts=None), replace(metric, of_counts=None, per_row=None, resample=None)):
        assert fitting._Switch(same, truth, off, on)._scores(reached, 3) == pytest.approx(expected)


def test_a_metric_of_ranks_or_decisions_gets_no_temperature() -> None:
    truth, predictions = imbalanced(400, columns=2)
    rows = np.arange(len(truth))
    scored = Scored(truth, predictions**3 / (predictions**3).sum(axis=1, keepdims=True), rows, rows % 5)
    for name in ("auc", "accuracy", "balanced_accuracy"):
        after, tried = postprocess.finish(scored, ["temperature", "clip"], resolve(name), 0)
        assert tried == []
        assert after is scored.probabilities
    _, tried = postprocess.finish(scored, ["temperature", "clip"], resolve("log_loss"), 0)
    assert tried[0].judgement.kept


def test_labels_are_tempered_on_log_odds_and_clipped_without_normalising() -> None:
    truth, predictions = labels()
    odds = SIGMOID.scores(predictions) * 4
    rows = np.arange(len(truth))
    scored = Scored(truth, SIGMOID.predictions(odds), rows, rows % 5)
    after, (gate, _) = postprocess.finish(scored, ["temperature", "clip"], resolve("log_loss"), 0, SIGMOID)
    assert gate.judgement.kept
    assert gate.value == pytest.approx(4, rel=0.2)
    assert np.abs(after - predictions).max() < 0.05
    clipped = postprocess.clip(np.array([[0.0, 0.5, 1.0]]), 0.1, SIGMOID)
    assert clipped.tolist() == [[0.1, 0.5, 0.9]]


def test_many_predictions_are_finished_on_a_sample_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0, 2, (3000, 40))
    truth = (scores + random.gumbel(size=scores.shape)).argmax(axis=1)
    rows = np.arange(len(truth))
    scored = Scored(truth, softmax(3 * scores), rows, rows % 5)
    whole, (gate,) = postprocess.finish(scored, ["temperature"], resolve("log_loss"), 0)
    monkeypatch.setattr(postprocess, "_MOST", 1 << 14)
    monkeypatch.setattr(gates, "_BLOCK", 1 << 10)
    some, (other,) = postprocess.finish(scored, ["temperature"], resolve("log_loss"), 0)
    assert gate.judgement.kept
    assert other.judgement.kept
    assert other.value == pytest.approx(gate.value, rel=0.15)
    assert other.judgement.after == pytest.approx(gate.judgement.after, rel=0.01)
    assert np.allclose(some.sum(axis=1), whole.sum(axis=1))
