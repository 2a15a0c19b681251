"""Scores against scikit-learn, or against the competition's grader rewritten from its description."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kagglekit import metrics
from kagglekit.base.arrays import Floats, Labels
from kagglekit.metrics import UndefinedScoreError

SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(2, 40)


def score(name: str, truth: Any, predicted: Any, labels: tuple[str, ...] = (), positive: str = "") -> float:
    return metrics.resolve(name, labels, positive).score(truth, predicted)


def tied(random: np.random.Generator, *shape: int) -> Floats:
    """Return probabilities with many ties."""
    return random.integers(0, random.integers(2, 30), shape) / 30


def classes(seed: int, rows: int, width: int) -> tuple[Labels, Labels, np.random.Generator]:
    """Return true and decided classes; some may be absent."""
    random = np.random.default_rng(seed)
    width = int(random.integers(1, width + 1))
    return random.integers(0, width, rows), random.integers(0, width, rows), random


def tags(seed: int, rows: int, width: int = 5) -> tuple[Any, Any, np.random.Generator]:
    """Return true and decided labels, (N, L); rows may have none."""
    random = np.random.default_rng(seed)
    return random.random((rows, width)) < 0.3, random.random((rows, width)) < 0.3, random


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_decisions_on_classes(seed: int, rows: int) -> None:
    truth, decided, _ = classes(seed, rows, 6)
    assert score("accuracy", truth, decided) == pytest.approx(sk.accuracy_score(truth, decided))
    with warnings.catch_warnings(action="ignore"):
        assert score("balanced_accuracy", truth, decided) == pytest.approx(sk.balanced_accuracy_score(truth, decided))
    for average in ("macro", "micro"):
        for beta in (0.5, 1, 2):
            expected = sk.fbeta_score(truth, decided, beta=beta, average=average, zero_division=0)
            assert score(f"fbeta({beta}, {average})", truth, decided) == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_decisions_on_two_classes(seed: int, rows: int) -> None:
    truth, decided, _ = classes(seed, rows, 2)
    for index, positive in enumerate(("cat", "dog")):
        expected = sk.f1_score(truth, decided, pos_label=index, zero_division=0, labels=[0, 1])
        assert score("f1(binary)", truth, decided, ("cat", "dog"), positive) == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_decisions_on_labels(seed: int, rows: int) -> None:
    truth, decided, _ = tags(seed, rows)
    assert score("accuracy", truth, decided) == pytest.approx(sk.accuracy_score(truth, decided))
    for average in ("macro", "micro", "samples"):
        for beta in (1, 2):
            expected = sk.fbeta_score(truth, decided, beta=beta, average=average, zero_division=0)
            assert score(f"fbeta({beta}, {average})", truth, decided) == pytest.approx(expected)
            assert score(f"fbeta({beta}, {average})", truth.astype(np.int8), decided) == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_kappa(seed: int, rows: int) -> None:
    truth, decided, _ = classes(seed, rows, 5)
    if len(np.unique(np.append(truth, decided))) == 1:
        with pytest.raises(UndefinedScoreError, match="quadratic weighted kappa is undefined: all rows have one grade"):
            score("qwk", truth, decided)
    else:
        expected = sk.cohen_kappa_score(truth, decided, weights="quadratic", labels=np.arange(5))
        assert score("qwk", truth, decided) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_areas_of_two_classes(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, dog = random.integers(0, 2, rows), tied(random, rows)
    rows_ = np.stack([1 - dog, dog], axis=1)
    if len(np.unique(truth)) < 2:
        with pytest.raises(UndefinedScoreError, match="AUC is undefined: the rows are all positive, or all negative"):
            score("auc", truth, rows_)
        return
    assert score("auc", truth, rows_) == pytest.approx(sk.roc_auc_score(truth, dog))
    assert score("auc", truth, rows_, ("cat", "dog"), "cat") == pytest.approx(sk.roc_auc_score(truth, dog))
    assert score("average_precision", truth, rows_) == pytest.approx(sk.average_precision_score(truth, dog))
    for lowest in (0.0, 0.3, 0.8):
        assert score(f"auc(min_tpr={lowest})", truth, rows_) == pytest.approx(isic_2024(truth, dog, lowest))
    assert score("auc(weights={0.4: 2, 1: 1})", truth, rows_) == pytest.approx(alaska2(truth, dog))


def isic_2024(truth: Labels, scores: Floats, lowest: float) -> float:
    """Return the partial area as the competition describes it: scikit-learn's, of the mirrored curve, unscaled."""
    most = 1 - lowest
    scaled = sk.roc_auc_score(1 - truth, -scores, max_fpr=most)
    least = most**2 / 2
    return float(least + (most - least) * (scaled - 0.5) / 0.5) if most < 1 else float(scaled)


def alaska2(truth: Labels, scores: Floats) -> float:
    """Return the area with the part below a true positive rate of 0.4 counted twice, by a fine grid of rates."""
    other, rate, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    total = 0.0
    for low, high, weight in ((0.0, 0.4, 2.0), (0.4, 1.0, 1.0)):
        knots = np.unique(np.concatenate([[low, high], rate[(rate > low) & (rate < high)]]))
        for start, end in itertools.pairwise(knots):
            middle = (start + end) / 2
            after = int(np.searchsorted(rate, middle))  # the steps before and after this rate
            share = (middle - rate[after - 1]) / (rate[after] - rate[after - 1])
            total += weight * (end - start) * (1 - other[after - 1] - share * (other[after] - other[after - 1]))
    return total / 1.4


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_mean_areas_leave_out_what_has_one_side(seed: int, rows: int) -> None:
    truth, _, random = tags(seed, rows)
    scores = tied(random, rows, 5)
    both = [column for column in range(5) if 0 < truth[:, column].sum() < rows]
    assume(both)
    expected = np.mean([sk.roc_auc_score(truth[:, column], scores[:, column]) for column in both])
    metric = metrics.resolve("auc(mean)")
    assert metric.score(truth, scores) == pytest.approx(expected)
    assert metric.left_out is not None
    assert list(metric.left_out(truth, 5)) == [column for column in range(5) if column not in both]


@settings(max_examples=30)
@given(SEEDS, st.integers(8, 40))
def test_mean_areas_of_classes_and_average_precisions(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.permutation(np.append(np.arange(4), random.integers(0, 4, rows - 4)))
    scores, flags = tied(random, rows, 4), np.eye(4, dtype=bool)[truth]
    assert score("auc(mean)", truth, scores) == pytest.approx(sk.roc_auc_score(flags, scores, average="macro"))
    for average in ("macro", "micro"):
        expected = sk.average_precision_score(flags, scores, average=average)
        assert score(f"average_precision({average})", truth, scores) == pytest.approx(expected)
        assert score(f"average_precision({average})", flags, scores) == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_global_average_precision(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.random((rows, 4))
    truth = random.integers(-1, 4, rows)
    assume((truth >= 0).any())
    order = np.argsort(-scores.max(axis=1))
    right = (scores.argmax(axis=1) == truth)[order]
    precisions = right.cumsum() / np.arange(1, rows + 1)
    assert score("gap", truth, scores) == pytest.approx((precisions * right).sum() / (truth >= 0).sum())


@settings(max_examples=30)
@given(SEEDS, ROWS, st.integers(1, 7))
def test_lists(seed: int, rows: int, k: int) -> None:
    truth, _, random = tags(seed, rows)
    scores, one = random.random((rows, 5)), random.integers(0, 5, rows)
    lists = np.array([np.append(random.permutation(5), [-1, -1])[:k] for _ in range(rows)])
    of_labels = np.mean([apk(set(np.flatnonzero(row)), list_, k) for row, list_ in zip(truth, lists, strict=True)])
    of_classes = np.mean([apk({label}, list_, k) for label, list_ in zip(one, lists, strict=True)])
    assert score(f"map@{k}", truth, lists) == pytest.approx(of_labels)
    assert score(f"map@{k}", one, lists) == pytest.approx(of_classes)
    best = metrics.plain_decision(metrics.resolve(f"top_error@{k}"), scores)
    expected = 1 - sk.top_k_accuracy_score(one, scores, k=k, labels=np.arange(5)) if k < 5 else 0.0
    assert score(f"top_error@{k}", one, best) == pytest.approx(expected)


def apk(true: set[int], guesses: Any, k: int) -> float:
    """Return Kaggle's average precision of a list of guesses."""
    found, total = 0, 0.0
    for place, guess in enumerate(guesses, 1):
        if guess in true:
            found += 1
            total += found / place
    return total / min(len(true), k) if true else 0.0


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_log_losses_of_labels(seed: int, rows: int) -> None:
    truth, _, random = tags(seed, rows, 3)
    scores = np.clip(tied(random, rows, 3), 1e-15, 1 - 1e-15)
    each = [sk.log_loss(truth[:, column], scores[:, column], labels=[0, 1]) for column in range(3)]
    assert score("log_loss", truth, scores) == pytest.approx(np.mean(each), rel=1e-6)
    labels = ("any", "C1", "C2")
    expected = np.average(each, weights=[2, 1, 1])
    assert score("log_loss(weights={'any': 2})", truth, scores, labels) == pytest.approx(expected, rel=1e-6)
    found = score("log_loss(weights={'any': 7, 'C*': 1}, positive_weight=2)", truth, scores, labels)
    assert found == pytest.approx(cervical_spine(truth, scores, np.array([7, 1, 1])))


def cervical_spine(truth: Any, scores: Floats, weights: Any) -> float:
    """Return the metric of RSNA's cervical spine fracture detection: each row's weighted mean, positives twice."""
    rows = []
    for true, row in zip(truth, np.clip(scores, 1e-15, 1 - 1e-15), strict=True):
        weight = [w * (2 if flag else 1) for w, flag in zip(weights, true, strict=True)]
        loss = [-np.log(p if flag else 1 - p) for p, flag in zip(row, true, strict=True)]
        rows.append(np.dot(weight, loss) / sum(weight))
    return float(np.mean(rows))


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_the_weighted_log_loss_of_classes_is_a_mean_of_means(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, scores = random.integers(0, 3, rows), random.dirichlet(np.ones(3), rows)
    losses, weights = metrics.log_loss_rows(truth, scores), np.array([3, 1, 0.5])
    occur = np.unique(truth)
    expected = np.average([losses[truth == one].mean() for one in occur], weights=weights[occur])
    found = score("log_loss(weights={'a': 3, 'c': 0.5})", truth, scores, ("a", "b", "c"))
    assert found == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_probabilistic_f1(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, cancer = random.integers(0, 2, rows), tied(random, rows) * random.integers(0, 2)
    both = np.stack([1 - cancer, cancer], axis=1)
    if not truth.any():
        with pytest.raises(UndefinedScoreError, match="probabilistic F1 is undefined: no row is positive"):
            score("pf1", truth, both)
        return
    right, wrong = cancer[truth == 1].sum(), cancer[truth == 0].sum()
    precision, recall = right / max(right + wrong, 1e-300), right / truth.sum()
    expected = 2 * precision * recall / (precision + recall) if precision > 0 and recall > 0 else 0.0
    assert score("pf1", truth, both) == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, ROWS)
def test_numbers(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, numbers = random.normal(100, 3, (rows, 3)), random.normal(100, 3, (rows, 3))
    assert score("rmse", truth, numbers) == pytest.approx(np.sqrt(((truth - numbers) ** 2).mean()))
    assert score("mcrmse", truth, numbers) == pytest.approx(
        sk.root_mean_squared_error(truth, numbers, multioutput="uniform_average")
    )
    assert score("mae", truth, numbers) == pytest.approx(sk.mean_absolute_error(truth, numbers))
    assert score("r2", truth, numbers) == pytest.approx(sk.r2_score(truth, numbers))


def test_numbers_that_are_unknown_are_not_scored() -> None:
    truth, numbers = np.array([[1.0, np.nan], [3.0, 4.0]]), np.array([[2.0, 9.0], [3.0, 6.0]])
    assert score("rmse", truth, numbers) == pytest.approx(np.sqrt(5 / 3))
    assert score("mae", truth, numbers) == pytest.approx(1)
    assert score("mcrmse", truth, numbers) == pytest.approx((np.sqrt(1 / 2) + 2) / 2)


def test_weighted_recall_is_bengalis() -> None:
    """Three parts of a character: the macro recall of each, the first counted twice."""
    random = np.random.default_rng(0)
    widths = {"root": 5, "vowel": 3, "consonant": 2}
    labels = tuple(f"{part}_{index}" for part, width in widths.items() for index in range(width))
    true, given_ = ({part: random.integers(0, width, 30) for part, width in widths.items()} for _ in range(2))
    true["root"][true["root"] == 4] = 3  # a class that does not occur, but is decided
    flags = [np.hstack([np.eye(widths[part], dtype=bool)[each[part]] for part in widths]) for each in (true, given_)]
    with warnings.catch_warnings(action="ignore"):
        recalls = [sk.recall_score(true[part], given_[part], average="macro", zero_division=0) for part in widths]
    name = "weighted_recall(weights={'root_*': 2, 'vowel_*': 1, 'consonant_*': 1})"
    assert score(name, *flags, labels) == pytest.approx(np.average(recalls, weights=[2, 1, 1]))


@pytest.mark.parametrize(
    ("name", "truth", "predicted", "message"),
    [
        ("r2", np.ones((3, 1)), np.zeros((3, 1)), "R2 is undefined: the true numbers of a column are all equal"),
        ("rmse", np.full((2, 1), np.nan), np.zeros((2, 1)), "RMSE is undefined: no true number is known"),
        ("rmse", np.zeros((2, 1)), np.full((2, 1), np.nan), "RMSE: a prediction is not a finite number"),
        ("rmse", np.zeros((2, 1)), np.zeros((2, 2)), r"the shape \(2, 2\), and the truth \(2, 1\)"),
        ("gap", np.array([-1, -1]), np.eye(2), "GAP is undefined: no row has a class"),
        ("auc(mean)", np.array([1, 1]), np.eye(2), "undefined: the rows are all positive, or all negative"),
        ("auc", np.array([0, 1]), np.eye(3)[:2], "AUC is for two classes or one label, not 3"),
        ("log_loss", np.array([0, 1]), np.full((2, 2), np.nan), "log loss is undefined"),
        ("accuracy", np.empty(0, int), np.empty(0, int), "accuracy is undefined: no row"),
        ("log_loss(weights={'a': 2})", np.array([0]), np.ones((1, 2)), "which the metric does not know yet"),
        ("weighted_recall(weights={'a': 2})", np.array([0]), np.array([0]), "which the metric does not know yet"),
    ],
    ids=lambda value: value if isinstance(value, str) and "undefined" not in value else "",
)
def test_what_has_no_score_says_so(name: str, truth: Any, predicted: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(name, truth, predicted)


def test_the_direction_and_needs_of_each_metric() -> None:
    lower = {name for name in metrics.known() if metrics.resolve(FULL.get(name, name)).lower_is_better}
    assert lower == {"log_loss", "mae", "mcrmse", "rmse", "top_error@5"}
    needs = {name: metrics.resolve(FULL.get(name, name)).needs for name in metrics.known()}
    assert {name for name, need in needs.items() if need == "probabilities"} == {"log_loss", "pf1", "gap"}
    assert {name for name, need in needs.items() if need == "ranks"} == {"auc", "average_precision"}
    assert {name for name, need in needs.items() if need == "top"} == {"map@5", "top_error@5"}
    assert {name for name, need in needs.items() if need == "numbers"} == {"mae", "mcrmse", "r2", "rmse"}


FULL = {"f1": "f1(macro)", "fbeta": "fbeta(2, macro)", "weighted_recall": "weighted_recall(weights={'a': 1})"}
