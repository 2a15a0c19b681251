"""Heads of ordered grades: their minimum, their probabilities, and where `auto` takes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from kagglekit.heads import head_file, heads, prediction
from kagglekit.heads.layers import Head, Linear, Ordered, scores_by_torch
from kagglekit.heads.losses import CumulativeLink
from kagglekit.heads.training import Training
from kagglekit.recipe import HeadSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.activations import SOFTMAX
from kagglekit.tasks.targets import Grades

CUTS = np.array([-2.0, 0.0, 2.5])


def of_grades(rows: np.ndarray, truth: np.ndarray, grades: int, **more: object) -> Training:
    """Return rows (N, D) of one view as training data."""
    same = (tuple(range(grades)),)
    task = kinds.of(Grades(grades))
    fields = {"task": task, "rows": rows[:, None].astype(np.float32), "truth": truth, "groups": None} | more
    return Training(view_classes=same, **fields)


def proportional(count: int = 200, features: int = 6, cuts: np.ndarray = CUTS, seed: int = 0) -> Training:
    """Draw rows and their grades from a model with proportional odds."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, features))
    scores = rows @ random.normal(size=features) + random.logistic(size=count)
    return of_grades(rows, (scores[:, None] > cuts).sum(axis=1), len(cuts) + 1)


def fit(data: Training, head: str = "ordinal", part: np.ndarray | None = None, **chosen: object) -> Head:
    """Fit a head on a part of the images, by default on all."""
    everyone = np.ones(len(data.truth), bool)
    return heads.fit(data, everyone if part is None else part, HeadSettings(head=head, **chosen), 0)


def minimum(rows: np.ndarray, truth: np.ndarray, grades: int, strength: float, weights: np.ndarray) -> np.ndarray:
    """Return the probabilities (N, C) at the minimum that scipy finds for standardised rows."""

    def probabilities(values: np.ndarray) -> np.ndarray:
        cuts = values[0] + np.concatenate([[0], np.exp(values[1 : grades - 1]).cumsum()])
        reached = expit(rows @ values[grades - 1 :, None] - cuts)
        return -np.diff(np.pad(reached, [(0, 0), (1, 1)], constant_values=((0, 0), (1, 0))), axis=1)

    def objective(values: np.ndarray) -> float:
        own = probabilities(values)[np.arange(len(truth)), truth]
        loss = -(weights[truth] * np.log(np.maximum(own, 1e-300))).sum()
        return float(strength * loss + (values[grades - 1 :] ** 2).sum() / 2)

    start = np.zeros(grades - 1 + rows.shape[1])
    return probabilities(minimize(objective, start, method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 10**6}).x)


def standardised(data: Training) -> np.ndarray:
    rows = data.rows[:, 0].astype(np.float64)
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


@pytest.mark.parametrize("balance", [0.0, 1.0])
@pytest.mark.parametrize("strength", [1e-2, 1.0])
@pytest.mark.parametrize(
    ("count", "features", "grades"),
    [(150, 6, 2), (150, 6, 4), (25, 30, 4)],
    ids=["two grades", "many rows", "few rows"],
)
def test_the_minimum_is_the_one_that_scipy_finds(
    count: int, features: int, grades: int, strength: float, balance: float
) -> None:
    data = replace(proportional(count, features, CUTS[: grades - 1]), balance=balance)
    weights = data.task.weights(data.truth, balance)
    expected = minimum(
        standardised(data), data.truth, grades, strength, np.ones(grades) if weights is None else weights
    )
    found = prediction.predict(fit(data, regularisation_grid=(strength,)), data.rows, data.view_classes)
    assert np.abs(found - expected).max() < 5e-3


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(0.1, 20), st.booleans())
def test_a_derivative_is_that_of_the_log_loss(grades: int, seed: int, size: float, balanced: bool) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, grades, 5)
    goals = np.eye(grades, dtype=np.float32)[truth]
    weights = random.uniform(0.5, 2, grades) if balanced else np.ones(grades)
    loss, sums = CumulativeLink(weights if balanced else None), goals.sum(axis=0)[None]
    bias = np.sort(random.normal(0, size, grades - 1))[::-1] - 0.1 * np.arange(grades - 1)
    numbers = random.normal(0, size, (5, 1))

    def value(bias: np.ndarray) -> tuple[float, np.ndarray]:
        scores = (numbers + bias)[:, None]
        rows = loss.rows(scores, goals).sum()
        other, slope = loss.of_bias(bias[None], sums)
        return float(rows + other[0]), scores[:, 0].sum(axis=0) + slope[0]

    found, slope = value(bias)
    lacking = np.flatnonzero(np.bincount(truth, minlength=grades) == 0)
    everyone = np.concatenate([truth, lacking])
    logs = np.log(loss.predictions(np.concatenate([numbers, np.zeros((len(lacking), 1))]) + bias))
    counts = np.concatenate([weights.astype(np.float32)[truth], np.full(len(lacking), 0.5)])
    assert found == pytest.approx(-(counts * logs[np.arange(len(everyone)), everyone]).sum(), rel=1e-4)
    step = random.normal(size=grades - 1)
    ahead, behind = (value(bias + sign * 1e-5 * step)[0] for sign in (1, -1))
    assert (ahead - behind) / 2e-5 == pytest.approx(float(slope @ step), rel=1e-3, abs=1e-3)
    assert value(bias[::-1])[0] == np.inf or grades == 2


@settings(max_examples=40)
@given(st.lists(st.floats(-60, 60), min_size=1, max_size=7), st.integers(0, 99))
def test_probabilities_sum_to_one_and_higher_scores_mean_higher_grades(distances: list[float], seed: int) -> None:
    import torch

    cuts = np.sort(np.array(distances)) + 1e-4 * np.arange(len(distances))
    scores = np.sort(np.random.default_rng(seed).normal(0, 40, (30, 1)), axis=0).astype(np.float32)
    one = Linear(weights=np.ones((1, 1), np.float32), bias=np.zeros(1, np.float32))
    head = Head((one, Ordered(cuts=cuts), SOFTMAX), "")
    found = head.predictions(scores)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    reached = found[:, ::-1].cumsum(axis=1)[:, ::-1]
    assert (np.diff(reached, axis=0) >= -1e-6).all()
    assert np.allclose(reached[:, 1:], expit(scores.astype(np.float64) - cuts), atol=1e-5)
    by_torch = scores_by_torch(head, "cpu")(torch.from_numpy(scores)).numpy()
    assert np.allclose(by_torch, head.scores(scores), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("features", [6, 300], ids=["many rows", "few rows"])
@pytest.mark.parametrize("lacking", [0, 1, 3])
def test_a_grade_that_the_part_lacks_gets_a_small_probability(lacking: int, features: int) -> None:
    data = proportional(features=features)
    head = fit(data, part=data.truth != lacking)
    found = head.predictions(data.rows[:, 0])
    assert np.isfinite(found).all()
    assert 0 < found[data.truth != lacking, lacking].mean() < 0.02
    cuts = next(layer.cuts for layer in head.layers if isinstance(layer, Ordered))
    assert (np.diff(cuts) > 0).all()


def test_a_grade_that_inner_folds_lack_and_one_with_one_image_do_no_harm() -> None:
    data = proportional(120)
    rare = np.where((data.truth == 3) & (np.arange(120) != np.flatnonzero(data.truth == 3)[0]), 2, data.truth)
    groups = np.array([f"g{number % 4}" for number in range(120)], dtype=object)
    for own in (None, groups):
        found = fit(replace(data, truth=rare, groups=own)).predictions(data.rows[:, 0])
        assert np.isfinite(found).all()
        assert 0 < found[:, 3].mean() < 0.05


def test_a_head_sees_nothing_of_the_images_outside_its_part() -> None:
    data, part = proportional(), np.arange(200) % 3 != 0
    changed = replace(data, rows=np.where(part[:, None, None], data.rows, 1e3), truth=data.truth * part)
    first, second = (head_file.arrays(fit(one, part=part)) for one in (data, changed))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_head_is_the_same_after_its_file(tmp_path: Path) -> None:
    data = proportional()
    head = fit(data)
    head_file.save(tmp_path / "heads.safetensors", {"all": head})
    read = head_file.load(tmp_path / "heads.safetensors")["all"]
    assert read.chosen == head.chosen
    assert np.array_equal(read.predictions(data.rows[:, 0]), head.predictions(data.rows[:, 0]))


def test_mirrored_views_teach_and_answer_with_the_grade_that_they_show() -> None:
    data = proportional()
    both = replace(
        data, rows=np.concatenate([data.rows, -data.rows], axis=1), view_classes=((0, 1, 2, 3), (3, 2, 1, 0))
    )
    found = prediction.predict(fit(both), both.rows, both.view_classes)
    plain = prediction.predict(fit(data), data.rows, data.view_classes)
    assert np.allclose(found.sum(axis=1), 1)
    assert both.losses(np.arange(200), found).mean() < 1.1 * data.losses(np.arange(200), plain).mean()


def test_auto_takes_what_predicts_held_out_images_better() -> None:
    ordered = proportional(400)
    chosen = fit(ordered, "auto")
    assert chosen.chosen == fit(ordered).chosen
    assert chosen.chosen.startswith("ordinal C ")
    held = proportional(2400)
    loss = {
        head: held.losses(
            np.arange(400, 2400), fit(held, head, part=np.arange(2400) < 400).predictions(held.rows[400:, 0])
        )
        for head in ("ordinal", "logistic")
    }
    gain = loss["logistic"] - loss["ordinal"]
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    random = np.random.default_rng(0)
    truth = np.arange(400) % 4
    unordered = of_grades(random.normal(0, 1.5, (4, 6))[[2, 0, 3, 1]][truth] + random.normal(size=(400, 6)), truth, 4)
    assert fit(unordered, "auto").chosen == fit(unordered, "logistic").chosen


def test_few_images_of_a_grade_leave_the_choice_among_three() -> None:
    data = proportional(60)
    assert fit(data, "auto").chosen in {fit(data, head).chosen for head in ("ordinal", "logistic", "nearest")}
