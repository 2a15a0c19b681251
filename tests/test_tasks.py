"""What depends on what is predicted, and stratification by several labels."""

from __future__ import annotations

import json
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import expit, log_softmax
from sklearn.metrics import log_loss

from kagglekit.base.arrays import spreads
from kagglekit.base.errors import UserError
from kagglekit.data import folds, iterative
from kagglekit.tasks import kinds, targets
from kagglekit.tasks.activations import ACTIVATIONS, IDENTITY, SIGMOID, SOFTMAX
from kagglekit.tasks.targets import Classes, FromTrain, Grades, Labels, Number, Numbers, Shares

ALL = [
    Classes({"c": "cat", "d": "dog"}, unseen="d"),
    Labels(["rust", "scab", "frog eye"], one_of=[["rust", "scab"]], at_least_one=True),
    Grades(5),
    Grades({"low": "Low", "high": "High"}),
    Number(1, 100, name="Pawpularity"),
    Numbers(["x", "y"], means=[1.0, 2.0], scales=[0.5, 3.0]),
    Shares(["a", "b"]),
]


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.kind)
def test_a_target_survives_as_json(target: targets.Target) -> None:
    again = targets.from_plain(json.loads(json.dumps(target.to_plain())))
    assert again == target
    assert kinds.of(again).columns == target.columns


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classes(["a", "a"]), "names 'a' twice"),
        (lambda: Classes("cat"), "must list names, not 'cat'"),
        (lambda: Classes(["cat"]), "at least two labels"),
        (lambda: Classes(["cat", "dog"], unseen="cow"), "unseen 'cow' is not one of the classes"),
        (lambda: Labels([]), "at least one label"),
        (lambda: Labels(["a|b"]), "must have no '|'"),
        (lambda: Labels(["a", "b"], one_of=[["a", "c"]]), "one_of names 'c'"),
        (lambda: Grades(1), "two grades or more"),
        (lambda: Number(5, 5), "low 5 must be smaller than high 5"),
    ],
)
def test_targets_that_can_not_be_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        make()  # type: ignore[operator]


def test_names_may_come_from_the_data() -> None:
    target = Labels(FromTrain(), at_least_one=True)
    assert target.source == FromTrain()
    assert target.columns == ()
    assert target.named({"a": "A"}) == Labels({"a": "A"}, at_least_one=True)


@pytest.mark.parametrize(
    ("target", "labels", "message"),
    [
        (Classes(["a", "b"]), ["a", "z"], "label 'z' is not one of the classes ['a', 'b']"),
        (Grades(3), ["3"], "label '3' is not one of the classes"),
        (Labels(["a", "b"]), ["", "a|z"], "'z' in 'a|z' is not one of the labels"),
        (Labels(["a", "b"], at_least_one=True), [""], "no label"),
        (Labels(["a", "b", "c"], one_of=[["a", "b"]]), ["a|c", "a|b"], "'a|b' has 2 of the labels ['a', 'b']"),
        (Labels(["a", "b", "c"], one_of=[["a", "b"]]), ["c"], "'c' has 0 of the labels"),
        (Number(1, 100), ["100", "101"], "'101' is outside 1 to 100"),
        (Number(), ["nan"], "'nan' is not a number"),
        (Numbers(["x", "y"]), ["1"], "'1' has 1 numbers, not 2"),
        (Number(), ["one"], "'one' is not a number"),
        (Shares(["a", "b"]), ["0.5|1.5"], "'1.5' is outside 0 to 1"),
    ],
)
def test_labels_that_can_not_be_meant_are_named(target: targets.Target, labels: list[str], message: str) -> None:
    task = kinds.of(target)
    assert message in task.faults(labels)[labels[-1]]
    assert not task.faults(labels[:-1])


def test_truth_prior_goals_and_mirror_of_each_kind() -> None:
    one = kinds.of(Classes(["a", "b", "c"]))
    truth = one.truth(["c", "a", "c", "b"])
    assert truth.tolist() == [2, 0, 2, 1]
    assert one.prior(truth).tolist() == [0.25, 0.25, 0.5]
    assert one.goals(truth[:1]).tolist() == [[0, 0, 1]]
    assert one.mirrored(truth, (1, 0, 2)).tolist() == [2, 1, 2, 0]
    assert one.unused(truth[:3]) == ["b"]
    some = kinds.of(Labels(["a", "b", "c"]))
    tags = some.truth(["a|c", "", "b"])
    assert tags.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert some.mirrored(tags, (1, 0, 2)).tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert some.unused(tags[:2]) == ["b"]
    numbers = kinds.of(Numbers(["x", "y"], low=0))
    assert numbers.truth(["1.5|2", "0|4"]).tolist() == [[1.5, 2], [0, 4]]
    assert numbers.decide(np.array([[-1.0, 3.0]])).tolist() == [[0, 3]]
    grades = kinds.of(Grades(3))
    assert grades.decide(np.array([[0.5, 0.0, 0.5], [0.2, 0.2, 0.6], [0.75, 0.25, 0]])).tolist() == [1, 1, 0]


@settings(max_examples=50)
@given(arrays.arrays(np.float64, (6, 4), elements=st.floats(-30, 30)))
def test_activations_agree_with_scipy_and_have_inverses(scores: np.ndarray) -> None:
    assert np.allclose(SOFTMAX.predictions(scores), np.exp(log_softmax(scores, axis=1)))
    assert np.allclose(SIGMOID.predictions(scores), expit(scores))
    for each in ACTIVATIONS.values():
        predictions = each.predictions(scores)
        assert np.allclose(each.predictions(each.scores(predictions)), predictions)
        assert np.allclose(each.mean(np.stack([predictions, predictions]), axis=0), predictions)
    assert IDENTITY.mean(np.array([[1.0], [3.0]]), axis=0).tolist() == [2.0]


@pytest.mark.filterwarnings("error")
def test_a_sigmoid_of_huge_scores_is_zero_or_one() -> None:
    assert SIGMOID.predictions(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_losses_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(4), 50)
    truth = random.integers(0, 4, 50)
    one = kinds.of(Classes(list("abcd")))
    assert one.losses(truth, rows).mean() == pytest.approx(log_loss(truth, rows, labels=[0, 1, 2, 3]))
    some = kinds.of(Labels(list("abcd")))
    tags = (random.random((50, 4)) < 0.3).astype(float)
    columns = [log_loss(tags[:, column], rows[:, column], labels=[0, 1]) for column in range(4)]
    assert some.losses(tags, rows).mean() == pytest.approx(np.mean(columns))
    numbers = kinds.of(Numbers(list("abcd")))
    assert numbers.losses(tags, rows).mean() == pytest.approx(((tags - rows) ** 2).mean())


def test_numbers_are_stratified_in_bins_of_equal_size() -> None:
    truth = np.random.default_rng(0).normal(size=(100, 1))
    strata = kinds.of(Number()).strata(truth)
    assert np.bincount(strata).tolist() == [10] * 10
    order = strata[np.argsort(truth[:, 0])]
    assert (np.diff(order) >= 0).all() or (np.diff(order) <= 0).all()


def test_a_few_numbers_can_be_split_into_folds() -> None:
    for count in (7, 20, 49):
        strata = kinds.of(Number()).strata(np.arange(count, dtype=float)[:, None])
        assert np.bincount(folds.split(strata, None, 5, seed=0)).min() >= count // 5


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_iterative_folds_share_out_each_label_and_keep_groups_whole(parts: int, seed: int, grouped: bool) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((240, 5)) < (0.5, 0.3, 0.1, 0.05, 0.02)
    groups = np.array([f"g{number // 3}" for number in range(240)]) if grouped else None
    fold = iterative.split(labels, groups, [1 / parts] * parts, seed)
    assert set(fold) == set(range(parts))
    assert (fold == iterative.split(labels, groups, [1 / parts] * parts, seed)).all()
    if groups is not None:
        assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
        return
    for label in labels.T:
        counts = np.bincount(fold[label], minlength=parts)
        assert counts.max() - counts.min() <= 2
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 0.15 * len(labels) / parts + 3


def test_a_tag_with_one_image_is_no_obstacle() -> None:
    labels = np.zeros((20, 2), bool)
    labels[3, 0] = True
    fold = iterative.split(labels, None, [0.5, 0.5], 0)
    assert np.bincount(fold).tolist() == [10, 10]


def test_bins_of_numbers_forbid_no_folds_and_messages_call_them_no_classes() -> None:
    def strata(count: int) -> np.ndarray:
        return np.asarray(kinds.of(Number()).strata(np.arange(count, dtype=float)[:, None]))

    assert set(np.bincount(folds.split(strata(50), None, 20, seed=0))) == {2, 3}
    assert folds.held_out(strata(200), None, 3, seed=0).sum() == 3
    groups = np.repeat(np.arange(25), 2).astype(str)
    assert len(np.unique(folds.split(strata(50), groups, 20, seed=0))) == 20
    with pytest.raises(UserError, match="folds = 51: there are only 50 training images; use fewer folds"):
        folds.split(strata(50), None, 51, seed=0)
    with pytest.raises(UserError, match="^there is only one readable training image"):
        folds.split(strata(1), None, 5, seed=0)


def test_a_hold_out_of_rare_labels_is_not_empty() -> None:
    labels = np.arange(20)[:, None] % 4 == np.arange(4)
    assert folds.held_out(labels, None, 1, seed=0).sum() == 1


def test_numbers_are_learnt_in_units_of_the_rows_that_are_known() -> None:
    task = kinds.of(Numbers(["x", "y"], low=0, means=[9.0, 9.0], scales=[9.0, 9.0]))
    known = task.learnt_from(np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 7.0]]), np.arange(2))
    assert known.target == Numbers(["x", "y"], low=0, means=[2.0, 5.0], scales=[1.0, 1.0])
    grades = kinds.of(Grades(3))
    assert grades.learnt_from(np.array([0, 2]), np.arange(1)) is grades


def test_a_column_that_never_changes_has_a_spread_to_divide_by() -> None:
    columns = np.stack([np.full(1000, 0.1), np.tile([1.0, 3.0], 500)], axis=1)
    assert spreads(columns).tolist() == [1.0, 1.0]


def test_folds_of_rare_classes_are_dealt_in_several_threads_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """As heads are fitted. Each would put back the filters of warnings as another had changed them."""
    before, interval = list(warnings.filters), sys.getswitchinterval()
    codes, groups = np.array([0, 0, *[1] * 28]), np.arange(30).astype(str)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda seed: folds.split(codes, groups, 3, seed), range(60)))
    finally:
        sys.setswitchinterval(interval)
    assert list(warnings.filters) == before
