"""The losses of all tasks: as torch computes them, as the tasks do, with goals that are smoothed and mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from kagglekit.recipe import AugmentationSettings, Recipe
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes, Grades, Labels, Numbers, Shares, Target
from kagglekit.training import batches, losses
from kagglekit.training.augmenter import Augmenter
from tests import trainers

COUNT = 7
TARGETS: dict[str, tuple[Target, list[str]]] = {
    "classes": (Classes(["a", "b", "c"]), list("abcabca")),
    "grades": (Grades(3), list("0120120")),
    "labels": (Labels(["left", "right", "dark"]), ["left", "right|dark", "", "dark", "left|right", "left", "right"]),
    "numbers": (
        Numbers(["x", "y"], means=[3.0, 200.0], scales=[2.0, 50.0]),
        ["1|100", "5|300", "2|150", "3|200", "4|250", "1|300", "5|100"],
    ),
    "shares": (Shares(["x", "y"]), ["0|1", "0.5|0.5", "0.25|0.75", "0.1|0.9", "1|1", "0.3|0.3", "0.7|0.2"]),
}
EACH = pytest.mark.parametrize("kind", TARGETS)


def of(kind: str) -> tuple[Any, Any, torch.Tensor]:
    """The task of a kind, some truth, and labels as batches have them."""
    target, labels = TARGETS[kind]
    task = kinds.of(target)
    truth = task.truth(labels)
    return task, truth, torch.from_numpy(truth if truth.ndim == 1 else task.goals(truth))


@EACH
def test_training_lowers_the_task_s_own_loss(kind: str) -> None:
    task, truth, labels = of(kind)
    loss = losses.of(task)
    scores = torch.randn(COUNT, len(task.columns), generator=torch.Generator().manual_seed(0))
    predictions = task.network_activation.predictions(scores.numpy().astype(np.float64))
    expected = task.losses(truth, predictions).sum()
    assert float(loss.total(scores, loss.goals(labels))) == pytest.approx(expected, rel=1e-5)
    assert loss.goals(loss.blank(2)).shape == (2, len(task.columns))


def test_losses_are_those_of_torch() -> None:
    scores = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(1))
    for kind, expected in (
        ("classes", lambda labels: functional.cross_entropy(scores, labels)),
        ("labels", lambda labels: functional.binary_cross_entropy_with_logits(scores, labels)),
    ):
        task, _, labels = of(kind)
        loss = losses.of(task)
        assert torch.allclose(loss.total(scores, loss.goals(labels)) / COUNT, expected(labels))
    task, _, labels = of("numbers")
    loss, standardised = losses.of(task), (labels - torch.tensor([3.0, 200])) / torch.tensor([2.0, 50])
    found = loss.total(scores[:, :2], loss.goals(labels)) / COUNT
    assert torch.allclose(found, functional.mse_loss(scores[:, :2], standardised))


def test_balanced_losses_are_weighted_as_torch_weights_them() -> None:
    scores = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(1))
    task, truth, labels = of("classes")
    weights = torch.tensor(task.weights(truth, 1.0), dtype=torch.float32)
    expected = functional.cross_entropy(scores, labels, weights, reduction="sum")
    loss = losses.of(task, weights=weights.numpy())
    assert torch.allclose(loss.total(scores, loss.goals(labels)), expected)
    assert weights[labels].mean() == pytest.approx(1)
    each = torch.bincount(labels, weights[labels])
    assert torch.allclose(each, each[0]), "all classes count the same together"
    task, truth, labels = of("labels")
    weights = torch.tensor(task.weights(truth, 1.0), dtype=torch.float32)
    expected = functional.binary_cross_entropy_with_logits(scores, labels, pos_weight=weights)
    loss = losses.of(task, weights=weights.numpy())
    assert torch.allclose(loss.total(scores, loss.goals(labels)) / COUNT, expected)
    yes = labels.sum(dim=0)
    some = (yes > 0) & (yes < COUNT)
    assert torch.allclose((weights * yes)[some], (COUNT - yes)[some])
    assert task.weights(truth, 0.0) is None


def test_a_model_is_trained_with_the_weights_of_its_own_images(tmp_path: Path) -> None:
    labels = np.array([0] * 12 + [1] * 4)
    balanced = trainers.CALM.changed(balance=1.0)
    loss = trainers.trainer(tmp_path, balanced, of=trainers.data(labels=labels)).learner.loss
    scores, goals = torch.zeros(2, 2), torch.eye(2)
    ratio = loss.total(scores[1:], goals[1:]) / loss.total(scores[:1], goals[:1])
    assert float(ratio) == pytest.approx(3)


def test_label_smoothing_is_for_probabilities() -> None:
    task, _, labels = of("labels")
    assert losses.of(task, 0.2).goals(labels[:2]).tolist() == [
        pytest.approx([0.9, 0.1, 0.1]),
        pytest.approx([0.1, 0.9, 0.9]),
    ]
    task, _, labels = of("numbers")
    assert not losses.of(task).smooths
    assert torch.equal(losses.of(task, 0.2).goals(labels), losses.of(task).goals(labels))


@EACH
def test_mixed_goals_lie_between_those_that_are_mixed(kind: str) -> None:
    task, _, labels = of(kind)
    plain = losses.of(task).goals(labels)
    images = plain.view(COUNT, -1, 1, 1).expand(-1, -1, 16, 16).contiguous()  # each image shows its goals
    for setting in ("mixup", "cutmix"):
        mixed, goals = batches.mix(images, plain, AugmentationSettings(**{setting: 1.0}), (3, 1))
        assert torch.allclose(mixed.mean(dim=(2, 3)), goals, atol=1e-5)
        assert not torch.equal(goals, plain)


@settings(max_examples=30)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_a_linear_map_to_numbers_becomes_one_to_standardised_numbers(mean: float, scale: float, seed: int) -> None:
    task = kinds.of(Numbers(["x"], means=[mean], scales=[scale]))
    random = np.random.default_rng(seed)
    rows, weights, bias = random.normal(size=(5, 4)), random.normal(size=(4, 1)), random.normal(size=1)
    slope, offset = task.network_activation.linear(weights, bias)
    found = task.network_activation.predictions(rows @ slope + offset)
    assert found == pytest.approx(rows @ weights + bias, abs=1e-9 * (abs(mean) + scale))


# Mirroring


def augmenter(mirror: tuple[int, ...], share: float = 1.0) -> Augmenter:
    return Augmenter(transforms=[], mirror=mirror, mirror_share=share, erasing=0.0, seed=0)


def test_a_mirrored_image_s_left_tag_is_its_right_one() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    tags = np.array([1, 0, 1], np.float32)
    seen, label = augmenter((1, 0, 2))(image, tags, epoch=0, content=b"a")
    assert np.array_equal(seen, image[:, ::-1])
    assert np.array_equal(label, [0, 1, 1])
    assert np.array_equal(tags, [1, 0, 1]), "what is known of the image itself stays"
    _, label = augmenter((1, 0, 2), share=0.0)(image, tags, epoch=0, content=b"a")
    assert np.array_equal(label, tags)
    _, number = augmenter((0,))(image, np.array([2.5], np.float32), epoch=0, content=b"a")
    assert np.array_equal(number, [2.5]), "numbers that do not swap stay"


# Training


def trained(kind: str, folder: Path, recipe: Recipe = trainers.CALM, **more: Any) -> Any:
    """A trainer of images whose brightness says what they are labelled with."""
    target, _ = TARGETS[kind]
    task = kinds.of(target)
    plain = trainers.data(recipe=recipe)
    bright = np.concatenate([plain.labels, plain.validation_labels])
    told = {
        "grades": ("0", "2"),
        "labels": ("left", "right|dark"),
        "numbers": ("1|300", "5|100"),
        "shares": ("0|1", "1|0.5"),
    }[kind]
    truth = task.truth([told[index] for index in bright])
    own = trainers.data(
        recipe=recipe, task=task, labels=truth[:16], validation_labels=truth[16:], augmenter=plain.augmenter
    )
    return trainers.trainer(folder, recipe, of=own, **more)


@pytest.mark.parametrize("kind", ["grades", "labels", "numbers", "shares"])
def test_a_model_learns_each_task(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)
    made = trained(kind, tmp_path, trainers.CALM.changed(learning_rate=5e-3))
    task, truth = made.data.task, made.data.validation_labels
    trainers.train(made, trainers.Phase(name="all", trains="all", epochs=4))
    predictions = made.learner.predict(made.data.pixels, made.data.validation_contents)
    assert predictions.shape == (4, len(task.columns))
    judged = trainers.losses(made, "epoch")
    assert min(judged) == pytest.approx(task.losses(truth, predictions).mean())
    assert np.mean(trainers.losses(made)[-2:]) < 0.6 * np.mean(trainers.losses(made)[:2]), trainers.said(made)


def test_tags_are_trained_with_all_that_mixes_and_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)
    drawn = trainers.CALM.changed(mixup=0.3, cutmix=0.5, label_smoothing=0.1, accumulate=2, mirror_share=0.5)
    made = trained("labels", tmp_path, drawn)
    trainers.train(made)
    assert all(np.isfinite(trainers.losses(made)))


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_a_finder_sweeps_each_loss(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)
    made = trained(kind, tmp_path)
    curve = made.find_rate(trainers.ALL)
    assert len(curve.losses) > 10
    assert np.isfinite(curve.losses[:10]).all()


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_a_head_of_huge_scores_is_tempered(kind: str, tmp_path: Path) -> None:
    made = trained(kind, tmp_path)
    with torch.no_grad():
        made.learner.model.fc.weight.mul_(1e3)
    stream = made._batches(range(1), 0, augmented=False)
    assert made.learner.temper_head(stream) < 0.1
