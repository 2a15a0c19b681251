"""Scenes that are told apart by looks, and batch-norm statistics of each."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from kagglekit.images import scenes
from kagglekit.training import norm_statistics


def _rooms(count: int, each: int, seed: int = 0) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Images of rooms, 60 x 80, in each of which a small bright thing is elsewhere."""
    random = np.random.default_rng(seed)
    rooms = [random.integers(0, 200, (3, 4, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1) for _ in range(count)]
    room = random.permutation(np.arange(count).repeat(each))
    images = [rooms[number].copy() for number in room]
    for image in images:
        top, left = random.integers(0, 50), random.integers(0, 70)
        image[top : top + 10, left : left + 10] = 255
    return images, room


def random_classes(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, 4, count)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_rooms_are_told_apart_whatever_happens_in_them(count: int) -> None:
    images, room = _rooms(count, 60)
    found = scenes.tell_apart(images, random_classes(len(images)), 9)
    assert adjusted_rand_score(room, found) > 0.85


def test_clusters_of_what_happens_are_no_scenes() -> None:
    rooms, room = _rooms(3, 60)
    happens = random_classes(len(rooms))
    images = [image.copy() for image in rooms]
    for image, number in zip(images, happens.tolist(), strict=True):
        image[40:60, 20 * number : 20 * number + 20] = 255  # it makes clusters too
    found = scenes.tell_apart(images, happens, 12)
    assert adjusted_rand_score(room, found) > 0.85
    blind = scenes.tell_apart(images, random_classes(len(rooms))[::-1], 12)
    assert adjusted_rand_score(room, blind) < 0.8, "the pictures alone don't tell"


def test_what_is_shown() -> None:
    assert scenes.shown_by(np.array([[0.1, 0.9], [0.8, 0.2]])).tolist() == [1, 0]
    assert scenes.shown_by(np.arange(8.0)[:, None]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert scenes.shown_by(np.zeros((0, 1))).tolist() == []


def test_images_without_clear_scenes_are_one_scene() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(60)]
    assert not scenes.tell_apart(noise, random_classes(60), 9).any()
    assert not scenes.tell_apart(noise[:1] * 40, random_classes(40), 9).any(), "all the same"
    assert not scenes.tell_apart(noise[:1], random_classes(1), 9).any()
    assert scenes.tell_apart([], random_classes(0), 9).shape == (0,)


def test_statistics_of_images_undo_another_light() -> None:
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    images = torch.randn(2000, 3, 6, 6)
    darker = images * 0.3 - 2.0
    norm_statistics.adapt(layers, images.chunk(20), len(images))
    with torch.no_grad():
        wanted, fooled = layers(images), layers(darker)
    norm_statistics.adapt(layers, darker.chunk(20), len(darker))
    with torch.no_grad():
        mended = layers(darker)
    assert (fooled - wanted).abs().mean() > 0.5
    assert (mended - wanted).abs().mean() < 0.05
    assert not layers.training


def test_statistics_of_few_images_stay_near_those_of_training() -> None:
    import torch

    norm = torch.nn.BatchNorm1d(1)
    norm_statistics.adapt(norm, [torch.tensor([[8.0], [8.0]])], 2)
    assert norm.running_mean is not None
    assert norm.running_mean.item() == pytest.approx(8 * 2 / (2 + norm_statistics.PRIOR))
    assert norm.momentum == 0.1
