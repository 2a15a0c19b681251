"""Decisions: what predictions become in a submission, and how their values are chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kagglekit.tasks import decisions, kinds
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


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float64, (7, 9), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5])), st.integers(1, 12))
def test_lists_are_those_of_a_stable_sort(rows: np.ndarray, k: int) -> None:
    expected = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    assert decisions.best_of(rows, k)[:, : expected.shape[1]].tolist() == expected.tolist()


def test_a_decision_says_its_values() -> None:
    assert [decision.text() for decision in ALL] == ["", "0.1 to 2.5", "0.2 to 0.9", "0.4, 1.6", "0.3", ""]
    assert Thresholds(thresholds=(0.3, 0.3)).text() == "0.3"
