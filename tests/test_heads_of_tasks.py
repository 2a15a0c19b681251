"""Heads of every task: labels, shares and numbers; what they are trained towards and what they predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from kagglekit.data import folds
from kagglekit.heads import head_file, heads, losses, prediction
from kagglekit.heads.layers import Head, scores_by_torch
from kagglekit.heads.training import Training
from kagglekit.recipe import HeadSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes, Labels, Numbers, Shares, Target

ONE_VIEW = ((0, 1, 2),)
TARGETS: dict[str, Target] = {
    "labels": Labels(["a", "b", "c"]),
    "shares": Shares(["a", "b", "c"]),
    "numbers": Numbers(["a", "b", "c"]),
}


def truth_of(kind: str, scores: np.ndarray) -> np.ndarray:
    """Return a truth (N, 3) that features can tell of."""
    if kind == "labels":
        return (scores > 0.5).astype(np.float64)
    return 1 / (1 + np.exp(-scores)) if kind == "shares" else 40 + 10 * scores


def training(kind: str, count: int = 150, features: int = 8, views: tuple[tuple[int, ...], ...] = ONE_VIEW) -> Training:
    """Return images (N, V, D) whose truth depends on their features; view v shows the columns `views[v]`."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(count, features))
    scores = rows @ random.normal(size=(features, 3)) + random.normal(size=(count, 3)) / 2
    first = np.linalg.pinv(random.normal(size=(features, 3)))  # the features of views that swap columns differ
    by_view = [rows + (scores[:, list(columns)] - scores) @ first for columns in views]
    return Training(
        task=kinds.of(TARGETS[kind]),
        rows=np.stack(by_view, axis=1).astype(np.float32),
        truth=truth_of(kind, scores),
        groups=None,
        view_classes=views,
    )


def fit(data: Training, *, part: np.ndarray | None = None, **chosen: object) -> Head:
    """Fit a head on a part of the images, by default on all."""
    return heads.fit(data, np.ones(len(data.truth), bool) if part is None else part, HeadSettings(**chosen), 0)


def standardised(data: Training) -> np.ndarray:
    """Return the rows of the only view, (N, D)."""
    rows = data.rows[:, 0].astype(np.float64)
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


@pytest.mark.parametrize("features", [8, 200], ids=["many rows", "few rows"])
@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_labels_are_one_logistic_regression_each(features: int, strength: float) -> None:
    data = training("labels", features=features)
    model = OneVsRestClassifier(LogisticRegression(C=strength, tol=1e-8, max_iter=5000))
    expected = model.fit(standardised(data), data.truth).predict_proba(standardised(data))
    found = prediction.predict(fit(data, regularisation_grid=(strength,)), data.rows, ONE_VIEW)
    assert np.abs(found - expected).max() < 5e-3


@pytest.mark.parametrize("features", [8, 200], ids=["many rows", "few rows"])
def test_balanced_labels_are_regressions_in_which_yes_and_no_weigh_the_same(features: int) -> None:
    data = training("labels", features=features)
    found = prediction.predict(fit(replace(data, balance=1.0), regularisation_grid=(0.1,)), data.rows, ONE_VIEW)
    rows = standardised(data)
    for column, yes in enumerate(data.truth.T):
        weights = np.where(yes > 0, (yes < 1).sum() / yes.sum(), 1.0)
        expected = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(rows, yes, weights).predict_proba(rows)[:, 1]
        assert np.abs(found[:, column] - expected).max() < 5e-3


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_a_rare_label_is_found_more_often_if_it_counts_more(head: str) -> None:
    data = training("labels", 400)
    rare = data.truth[:, 0] * (np.arange(400) % 6 == 0)
    data = replace(data, truth=np.column_stack([rare, data.truth[:, 1:]]))
    plain, half, balanced = (
        prediction.predict(fit(replace(data, balance=balance), head=head), data.rows, ONE_VIEW)[rare > 0, 0].mean()
        for balance in (0.0, 0.5, 1.0)
    )
    assert plain < half < balanced


@pytest.mark.parametrize("features", [8, 200], ids=["many rows", "few rows"])
@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_numbers_are_a_ridge_regression(features: int, strength: float) -> None:
    data = training("numbers", features=features)
    expected = Ridge(alpha=1 / strength).fit(standardised(data), data.truth).predict(standardised(data))
    found = prediction.predict(fit(data, regularisation_grid=(strength,)), data.rows, ONE_VIEW)
    assert np.abs(found - expected).max() < 2e-2 * data.truth.std()


@pytest.mark.parametrize("head", ["logistic", "mlp"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_head_learns_every_task(kind: str, head: str) -> None:
    data, part = training(kind, 300), np.arange(300) % 4 != 0
    fitted = fit(data, part=part, head=head, mlp_epochs=40, mlp_dropout=0.1, mlp_width=64)
    others = np.flatnonzero(~part)
    loss = data.losses(others, prediction.predict_rows(fitted, data.rows, others, ONE_VIEW)).mean()
    prior = data.losses(others, np.tile(data.task.prior(data.truth[part]), (len(others), 1))).mean()
    entropy = data.losses(others, np.clip(data.truth[others], 1e-9, 1 - 1e-9)).mean() if kind == "shares" else 0.0
    assert loss - entropy < (prior - entropy) / 2


@pytest.mark.parametrize("kind", TARGETS)
def test_views_that_swap_columns_are_read_swapped(kind: str) -> None:
    data = training(kind, views=((0, 1, 2), (1, 0, 2)))
    fitted = fit(data)
    everyone = np.arange(len(data.truth))
    right = data.losses(everyone, prediction.predict(fitted, data.rows, data.view_classes)).mean()
    wrong = data.losses(everyone, prediction.predict(fitted, data.rows, ((0, 1, 2), (0, 1, 2)))).mean()
    assert right < 0.9 * wrong


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_a_label_that_no_image_or_every_image_has_keeps_its_share(head: str) -> None:
    data = training("labels")
    data.truth[:, 0], data.truth[:, 1] = 0, 1
    found = prediction.predict(fit(data, head=head, mlp_epochs=30), data.rows, ONE_VIEW)
    assert np.all(found[:, 0] < 0.1)
    assert np.all(found[:, 1] > 0.9)
    if head == "logistic":
        assert np.allclose(found[:, 0], 0.5 / 151, atol=1e-5)


def test_a_label_with_one_positive_does_no_harm_to_the_inner_fold_without_it() -> None:
    data = training("labels")
    data.truth[:, 0] = np.arange(150) == 7
    found = prediction.predict(fit(data), data.rows, ONE_VIEW)
    assert np.all(found[:, 0] < 0.6)
    assert found[:, 0].mean() == pytest.approx(1 / 150, abs=2e-3)


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_a_number_that_never_changes_is_predicted(head: str) -> None:
    data = training("numbers")
    data.truth[:, 1] = 7
    found = prediction.predict(fit(data, head=head, mlp_epochs=60), data.rows, ONE_VIEW)
    assert np.abs(found[:, 1] - 7).max() < (1e-3 if head == "logistic" else 1)


def test_numbers_of_any_unit_give_the_same_head() -> None:
    data = training("numbers")
    large = Training(**(vars(data) | {"truth": 1e4 * data.truth - 3e5}))
    for head in ("logistic", "mlp"):
        small, other = (
            prediction.predict(fit(one, head=head, mlp_epochs=3), one.rows, ONE_VIEW) for one in (data, large)
        )
        assert np.allclose(1e4 * small - 3e5, other, rtol=1e-3, atol=300)


@pytest.mark.parametrize("head", ["logistic", "mlp"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_head_is_the_same_to_numpy_torch_and_its_file(kind: str, head: str, tmp_path: Path) -> None:
    import torch

    data = training(kind)
    fitted, rows = fit(data, head=head, mlp_epochs=3), data.rows[:, 0]
    with torch.no_grad():
        scores = scores_by_torch(fitted, "cpu")(torch.from_numpy(rows)).numpy().astype(np.float64)
    assert np.allclose(data.activation.predictions(scores), fitted.predictions(rows), rtol=1e-4, atol=1e-5)
    head_file.save(tmp_path / "heads.safetensors", {"fold0": fitted, "all": fitted})
    read = head_file.load(tmp_path / "heads.safetensors")["all"]
    assert (read.chosen, read.activation) == (fitted.chosen, fitted.activation)
    assert np.array_equal(read.predictions(rows), fitted.predictions(rows))


def test_a_file_without_the_name_of_an_activation_is_that_of_earlier_versions_and_means_softmax() -> None:
    folder = Path(__file__).parent / "fixtures" / "run-0.1"
    (path,) = folder.glob("*/heads.safetensors")
    assert {head.activation.name for head in head_file.load(path).values()} == {"softmax"}


LOSSES = (losses.CrossEntropy, losses.BinaryCrossEntropy, losses.SquaredError, losses.HuberError)


@pytest.mark.parametrize("kind", LOSSES)
@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20))
def test_a_derivative_is_that_of_its_loss_and_keeps_its_bound(kind: type[losses.Loss], seed: int, size: float) -> None:
    loss, random = kind(), np.random.default_rng(seed)
    scores, goals = random.normal(0, size, (4, 2, 3)), random.dirichlet(np.ones(3), 4)
    step, slope = random.normal(size=scores.shape), scores.copy()
    values, near = loss.rows(slope, goals), scores + 1e-4 * step
    moved = loss.rows(near, goals)
    first = (slope * step).sum(axis=2)
    assert np.allclose((moved - values) / 1e-4, first, atol=2e-3 * (step**2).sum(axis=2).max())
    curvature = ((near - slope) * step).sum(axis=2) / 1e-4
    assert np.all(curvature <= (loss.curvature(3) + 1e-3) * (step**2).sum(axis=2))


def test_the_only_image_of_a_class_is_judged_by_no_fit_that_has_not_seen_it() -> None:
    labels = np.array([0] * 9 + [1] * 8 + [2, 3])
    training = Training(
        task=kinds.of(Classes(list("abcd"))),
        rows=np.random.default_rng(0).normal(size=(19, 1, 5)).astype(np.float32),
        truth=labels,
        groups=None,
        view_classes=((0, 1, 2, 3),),
    )
    inner = training.inner_parts(np.arange(19), 0)
    assert (inner[17:] == folds.TRAIN_ONLY).all()
    assert set(inner[:17]) == {0, 1, 2}
    head = heads.fit(training, np.ones(19, bool), HeadSettings(), 0)
    assert np.isfinite(head.predictions(training.rows[:, 0])).all()


def test_the_numbers_of_other_images_do_not_weigh_the_columns() -> None:
    """One column can be learnt, two are noise: with the spread of all images the first would count for nothing."""
    data, part = training("numbers"), np.arange(150) % 3 != 0
    data.truth[:, 1:] = np.random.default_rng(1).normal(size=(150, 2))
    far = data.truth.copy()
    far[~part, 0] *= 1e4
    chosen = []
    for truth in (data.truth, far):
        task = data.task.learnt_from(truth, slice(None))
        chosen.append(fit(replace(data, task=task, truth=truth), part=part).chosen)
    assert chosen[0] == chosen[1]


def test_some_of_very_many_labels_choose_the_regularisation_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(120, 1, 12)).astype(np.float32)
    truth = (rows[:, 0] @ random.normal(size=(12, 30)) + random.normal(size=(120, 30)) > 0).astype(np.float64)
    truth[:, 7] = 0  # a label that no image has says nothing
    data = Training(
        task=kinds.of(Labels([f"label {number}" for number in range(30)])),
        rows=rows,
        truth=truth,
        groups=None,
        view_classes=(tuple(range(30)),),
    )
    everything = fit(data)
    tried: list[int] = []
    real = heads._choose

    def choose(training: Training, *rest: object) -> tuple[float, float]:
        tried.append(training.columns)
        assert training.truth.sum(axis=0).min() >= 3
        return real(training, *rest)

    monkeypatch.setattr(heads, "_choose", choose)
    monkeypatch.setattr(heads, "MANY", 29)
    monkeypatch.setattr(heads, "_SAMPLED", 10)
    some = fit(data)
    assert tried == [10]
    assert some.chosen.startswith("C ")
    both = [prediction.predict(head, rows, data.view_classes) for head in (everything, some)]
    assert np.abs(both[0] - both[1]).mean() < 0.1


def test_labels_that_swap_in_a_mirror_stay_together_in_a_sample() -> None:
    data = training("labels", views=((0, 1, 2), (1, 0, 2)))
    some = data.of_columns([0])
    assert some is not None
    assert some.task.columns == ("a", "b")
    assert some.view_classes == ((0, 1), (1, 0))
    assert np.array_equal(some.goals(np.arange(9)), data.goals(np.arange(9))[:, :, :2])


def test_very_many_labels_that_are_all_rare_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MANY", 29)
    data = Training(
        task=kinds.of(Labels([f"label {number}" for number in range(30)])),
        rows=np.random.default_rng(0).normal(size=(60, 1, 5)).astype(np.float32),
        truth=np.eye(30)[np.arange(60) % 30],
        groups=None,
        view_classes=(tuple(range(30)),),
    )
    assert np.isfinite(prediction.predict(fit(data), data.rows, data.view_classes)).all()
