"""Numbers whose errors count by their size: Huber's loss, chosen where it predicts held-out images better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from kagglekit import Competition, CsvLabels, Number, Numbers, Value
from kagglekit.base.arrays import medians, robust_spreads, spreads
from kagglekit.heads import heads, losses
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.recipe import HeadSettings
from kagglekit.tasks import kinds, targets
from kagglekit.tasks.task import HUBER
from kagglekit.training import losses as training_losses

ROBUST = Numbers(["n"], absolute=True)


def training(target: Numbers, outliers: float, count: int = 240, features: int = 6) -> Training:
    """Return images (N, 1, D) with a number each, of which a share is far off."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(count, features))
    truth = 50 + 10 * rows @ random.normal(size=features) + random.normal(0, 3, count)
    truth[random.random(count) < outliers] += 4000
    return Training(
        task=kinds.of(target),
        rows=rows[:, None].astype(np.float32),
        truth=truth[:, None],
        groups=None,
        view_classes=((0,),),
    )


def fit(data: Training, head: str = "auto", **chosen: object) -> Head:
    """Fit a head on the first two thirds of the images."""
    return heads.fit(data, np.arange(len(data.truth)) % 3 != 0, HeadSettings(head=head, **chosen), 0)


def error(data: Training, head: Head) -> float:
    """Return the median absolute error of the other images."""
    held = np.arange(len(data.truth)) % 3 == 0
    return float(np.median(np.abs(head.predictions(data.rows[held, 0]) - data.truth[held])))


def competition(metric: str, target: targets.Target) -> Competition:
    return Competition(
        name="size",
        kaggle="",
        target=target,
        train=CsvLabels("train.csv", "train/{id}.jpg", id="id", label="n"),
        test="test/{id}.jpg",
        submission=Value(),
        metric=metric,
    )


def test_the_metric_says_how_errors_count() -> None:
    by_size = competition("mae", Number(0, 100)).target
    assert by_size == Numbers(["number"], low=0, high=100, absolute=True)
    assert kinds.of(by_size).loss == "Huber loss"
    squared = competition("rmse", Number(0, 100)).target
    assert "absolute" not in squared.to_plain(), "runs of before have the same description"
    assert targets.from_plain(by_size.to_plain()) == by_size
    assert targets.from_plain(squared.to_plain()) == squared


def test_a_robust_spread_is_that_of_most_values() -> None:
    values = np.random.default_rng(0).normal(5, 2, (5000, 1))
    far = np.concatenate([values, [[1e6], [np.nan]]])
    assert medians(far) == pytest.approx(5, abs=0.1)
    assert robust_spreads(far) == pytest.approx(2, abs=0.1)
    mostly_equal = np.array([[0.0], [0.0], [0.0], [7.0]])
    assert robust_spreads(mostly_equal) == spreads(mostly_equal)
    assert robust_spreads(np.full((3, 1), np.nan)) == 1


def test_the_loss_is_that_of_torch() -> None:
    task = kinds.of(Numbers(["a", "b"], absolute=True, means=[1, 2], scales=[2, 4]))
    random = np.random.default_rng(0)
    truth, predicted = random.normal(0, 8, (2, 20, 2))
    truth[0, 0] = np.nan
    there = torch.from_numpy(~np.isnan(truth))
    standard = [(torch.from_numpy(each) - torch.tensor([1, 2])) / torch.tensor([2, 4]) for each in (predicted, truth)]
    each = 2 * torch.nn.functional.huber_loss(*standard, reduction="none", delta=HUBER)
    expected = torch.where(there, each, 0.0).mean(dim=1)
    assert np.allclose(task.losses(truth, predicted), expected)
    loss = training_losses.of(task)
    total = loss.total(standard[0], loss.goals(torch.from_numpy(truth)))
    assert total.item() == pytest.approx(expected.sum().item())


def test_a_head_is_the_minimum_of_the_regularised_loss() -> None:
    data = training(ROBUST, outliers=0.1)
    head = fit(data, "logistic", regularisation_grid=(0.03,))
    part = np.arange(len(data.truth)) % 3 != 0
    rows, truth = data.rows[part, 0].astype(np.float64), data.truth[part]
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    goals = ((truth - medians(truth)) / robust_spreads(truth))[:, 0]

    def objective(values: np.ndarray) -> float:
        errors = np.abs(rows @ values[:-1] + values[-1] - goals)
        each = np.where(errors > HUBER, HUBER * (errors - HUBER / 2), errors**2 / 2)
        return float(0.03 * each.sum() + (values[:-1] ** 2).sum() / 2)

    best = minimize(objective, np.zeros(rows.shape[1] + 1)).x
    expected = (rows @ best[:-1] + best[-1]) * robust_spreads(truth) + medians(truth)
    assert np.allclose(head.predictions(data.rows[part, 0])[:, 0], expected, atol=0.02 * robust_spreads(truth))


@pytest.mark.parametrize("head", ["auto", "mlp"])
def test_outliers_count_little_where_errors_count_by_their_size(head: str) -> None:
    robust, squared = (training(target, outliers=0.1) for target in (ROBUST, Numbers(["n"])))
    chosen = fit(robust, head)
    assert error(robust, chosen) < error(squared, fit(squared, head)) / 5
    if head == "auto":
        assert chosen.chosen.startswith("Huber ")


def test_the_squared_error_is_tried_too_and_what_predicts_better_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    data = training(ROBUST, outliers=0)
    real, tried = heads._choose, {}

    def choose(each: Training, *rest: object) -> tuple[float, float]:
        tried[each.kind] = real(each, *rest)
        return tried[each.kind]

    monkeypatch.setattr(heads, "_choose", choose)
    head = fit(data)
    assert set(tried) == {losses.HuberError, losses.SquaredError}
    best = min(tried, key=lambda kind: tried[kind][1])
    assert head.chosen.startswith("Huber ") == (best is losses.HuberError)


def test_an_unreadable_image_gets_the_median() -> None:
    truth = np.array([[1.0], [2.0], [900.0]])
    assert kinds.of(ROBUST).prior(truth) == 2
    assert kinds.of(Numbers(["n"])).prior(truth) == 301
