"""Scenes that are told apart by looks, and batch-norm statistics of each."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

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


@pytest.mark.parametrize("count", [2, 3, 5])
def test_rooms_are_told_apart_whatever_happens_in_them(count: int) -> None:
    images, room = _rooms(count, 30)
    found = scenes.tell_apart(images, 9)
    assert len({*zip(found.tolist(), room.tolist(), strict=True)}) == len(set(found.tolist())) == count


def test_images_without_clear_scenes_are_one_scene() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(60)]
    assert not scenes.tell_apart(noise, 9).any()
    assert not scenes.tell_apart(noise[:1] * 40, 9).any(), "all the same"
    assert not scenes.tell_apart(noise[:1], 9).any()
    assert scenes.tell_apart([], 9).shape == (0,)


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
