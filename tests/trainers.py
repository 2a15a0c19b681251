"""A trainer on a few drawn images, with no competition around it: a step takes a hundredth of a second."""

from __future__ import annotations

import gc
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from kagglekit.base.console import Console
from kagglekit.base.distributed import World
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.row_store import RowStore
from kagglekit.recipe import Recipe
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.training import loop, plots, policies, throughput
from kagglekit.training.augmenter import Augmenter
from kagglekit.training.batches import TrainingData
from kagglekit.training.loop import Trainer
from kagglekit.training.phases import Phase
from tests.conftest import TINY

SIZE = (32, 32)
CALM = Recipe.of(method="finetune", plan="quick", augment="none", mirror_share=0.0, learning_rate=1e-3)
"""Nothing is drawn, and nothing sweeps."""
FROZEN = CALM.changed(batch_norm="frozen")
ALL = Phase(name="all", trains="all", epochs=2)


class Pixels:
    """Images in memory, by content; each class has its own brightness."""

    def __init__(self, count: int, classes: int = 2) -> None:
        self.labels = np.arange(count, dtype=np.int64) % classes
        self.contents = [hashlib.blake2b(bytes([place]), digest_size=16).digest() for place in range(count)]
        random = np.random.default_rng(count)
        noise = random.integers(0, 90, (count, *SIZE, 3))
        images = noise + (self.labels * 150 // max(classes - 1, 1))[:, None, None, None]
        self._rows = dict(zip(self.contents, images.astype(np.uint8), strict=True))

    def row(self, content: bytes) -> NDArray[np.uint8]:
        row: NDArray[np.uint8] = self._rows[content]
        return row


def data(count: int = 16, validation: int = 4, *, classes: int = 2, recipe: Recipe = CALM, **more: Any) -> TrainingData:
    """`count` training images and `validation` others."""
    pixels = Pixels(count + validation, classes)
    given: dict[str, Any] = {
        "pixels": cast("RowStore", pixels),
        "preprocessing": Preprocessing(
            size=SIZE, crop="squash", crop_share=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        "contents": pixels.contents[:count],
        "labels": pixels.labels[:count],
        "validation_contents": pixels.contents[count:],
        "validation_labels": pixels.labels[count:],
        "task": kinds.of(Classes([str(number) for number in range(classes)])),
        "augmenter": Augmenter(
            transforms=policies.resolve(recipe.augmentation.augment, SIZE, {}),
            mirror=None,
            mirror_share=recipe.augmentation.mirror_share,
            erasing=recipe.augmentation.erasing,
            seed=3,
        ),
    }
    return TrainingData(**given | more)


def model(classes: int = 2, name: str = TINY, **more: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    made: torch.nn.Module = timm.create_model(name, num_classes=classes, **more)
    return made


def trainer(
    folder: Path,
    recipe: Recipe = CALM,
    *,
    of: TrainingData | None = None,
    net: torch.nn.Module | None = None,
    batch: int = 8,
) -> Trainer:
    of = of or data(recipe=recipe)
    return Trainer(
        net or model(len(of.task.columns)),
        of,
        recipe,
        World("cpu", "float32"),
        folder=folder,
        console=Console(io.StringIO()),
        seed=5,
        batch=batch,
        description={"model": TINY, "classes": list(of.task.columns)},
    )


def said(trained: Trainer) -> str:
    """What a trainer has told its console."""
    file = trained.console._file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def train(trained: Trainer, *phases: Phase) -> dict[str, torch.Tensor]:
    """Train to the end; return the weights."""
    trained.train(phases or (ALL,), lambda _: None)
    return state(trained)


def state(trained: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trained.learner.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], names: Iterable[str] = ()) -> bool:
    """Bit for bit."""
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in names or first)


def losses(trained: Trainer, kind: str = "step") -> Sequence[float]:
    key = "loss" if kind == "step" else "valid_loss"
    return [row[key] for row in trained.progress.history if row["kind"] == kind]


def spare(patch: pytest.MonkeyPatch, *, pictures: bool = False) -> None:
    """Leave out what takes time and is tested elsewhere: pictures, measuring, most of a sweep, collecting garbage."""
    if not pictures:
        patch.setattr(plots, "history_plot", lambda *_: None)
        patch.setattr(plots, "finder_plot", lambda *_: None)
    patch.setattr(throughput, "measure", lambda *_, **__: throughput.Speed(step=0.002, forward=0.001))
    patch.setattr(loop, "_FINDER_STEPS", 25)
    patch.setattr(gc, "collect", lambda *_: 0)
