"""Training batches: shuffled, augmented and mixed, the same for any number of workers.

B images per batch, H x W pixels, C columns of the target. The order depends only on the seed and the epoch, a sample
only on the seed, the epoch and the image. So a killed command can resume inside an epoch.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.base import parallel
from kagglekit.base.arrays import Floats32
from kagglekit.competitions import plugins
from kagglekit.images.decoding import Pixels, Preprocessing
from kagglekit.images.row_store import RowStore
from kagglekit.recipe import AugmentationSettings
from kagglekit.tasks.task import Task, Truth
from kagglekit.training.augmenter import Augmenter, Label, label_at

if TYPE_CHECKING:
    import torch

Stream = Iterator[tuple["torch.Tensor", "torch.Tensor"]]
"""uint8 images (B, H, W, 3) and labels, int64 (B,) or float32 (B, C), batch by batch."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The training split of one model, and the validation split that chooses its epochs."""

    pixels: RowStore
    preprocessing: Preprocessing
    contents: Sequence[bytes]
    """Content hashes of the N training images, then of G images without labels, if there are guesses."""
    labels: Truth
    """What is known of the training images, (N,) or (N, C)."""
    validation_contents: Sequence[bytes]
    """Content hashes of the validation images; empty without a validation split."""
    validation_labels: Truth
    task: Task
    augmenter: Augmenter
    guesses: Floats32 | None = None
    """Probabilities of classes that are learnt of the last G of the contents, which have no labels, (G, C)."""

    @property
    def goals(self) -> Truth:
        """What images are labelled with in batches: class indices, int64 (N,), or float32 (N, C); or (N + G, C)."""
        if self.guesses is not None:
            return np.concatenate([self.task.goals(self.labels), self.guesses])
        return self.labels if self.labels.ndim == 1 else self.task.goals(self.labels)


@dataclass(frozen=True)
class Samples:
    """A dataset of training images, with keys (epoch, index)."""

    pixels: RowStore
    contents: Sequence[bytes]
    labels: Truth
    augmenter: Augmenter | None

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Pixels, Label]:
        epoch, index = key
        image, label = np.asarray(self.pixels.row(self.contents[index])), label_at(self.labels, index)
        if self.augmenter is None:
            return image, label
        return self.augmenter(image, label, epoch=epoch, content=self.contents[index])


@dataclass(frozen=True)
class Order:
    """The batches of an epoch from `first_step` on, as keys of `Samples`; each process takes its share of a batch."""

    count: int
    batch: int
    seed: int
    epoch: int
    first_step: int
    rank: int
    processes: int

    def __len__(self) -> int:
        return steps(self.count, self.batch) - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        for step in range(self.first_step, steps(self.count, self.batch)):
            batch = order[step * self.batch : (step + 1) * self.batch]
            yield [(self.epoch, int(index)) for index in batch[self.rank :: self.processes]]


def steps(count: int, batch: int) -> int:
    """Return the number of steps per epoch, at least 1; an incomplete last batch is dropped."""
    return max(count // batch, 1)


@dataclass(frozen=True)
class _Epochs:
    """Several epochs' batches, one after another."""

    orders: Sequence[Order]

    def __len__(self) -> int:
        return sum(map(len, self.orders))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return chain.from_iterable(self.orders)


def load(samples: Samples, orders: Sequence[Order], workers: int, *, pinned: bool) -> Stream:
    """Yield uint8 images (B, H, W, 3) and labels (B,) or (B, C), epoch after epoch, without restarting workers."""
    epochs = _Epochs(orders)
    if not workers or not _can_travel(samples.augmenter):
        # one thread loads ahead: between training steps there is a core to spare
        yield from parallel.overlapped(epochs, lambda keys: _collate([samples[key] for key in keys]), 1)
        return
    from torch.utils.data import DataLoader

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: the user's choice
        # any object with keys works as a dataset, whatever the type says
        loader: DataLoader[Any] = DataLoader(
            samples,  # type: ignore[arg-type]
            batch_sampler=epochs,
            num_workers=workers,
            collate_fn=_collate,
            worker_init_fn=_start_worker,
            pin_memory=pinned,
        )
        batches = iter(loader)
    yield from batches


def _can_travel(augmenter: Augmenter | None) -> bool:
    """Return whether workers can unpickle an augmenter: without fork, they can't import a single-file plugin."""
    return multiprocessing.get_start_method() == "fork" or plugins.FILE_MODULE.encode() not in pickle.dumps(augmenter)


def _collate(rows: Sequence[tuple[Pixels, Label]]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    images, labels = zip(*rows, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def _start_worker(_number: int) -> None:
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training handles Ctrl-C and still needs its batches
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def mix(
    images: torch.Tensor, goals: torch.Tensor, augmentation: AugmentationSettings, key: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix images (B, 3, H, W) and their goals (B, C) within the batch, by mixup or CutMix.

    Mixup: Zhang et al. 2018; CutMix: Yun et al. 2019. The randomness depends only on `key`.
    """
    random = np.random.default_rng(key)
    if augmentation.cutmix and random.random() < augmentation.cutmix:
        return _cutmix(images, goals, random)
    if augmentation.mixup:
        share = float(random.beta(augmentation.mixup, augmentation.mixup))
        other = random.permutation(len(images))
        return images * share + images[other] * (1 - share), goals * share + goals[other] * (1 - share)
    return images, goals


def _cutmix(images: torch.Tensor, goals: torch.Tensor, random: Any) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = images.shape[2:]
    side = float(np.sqrt(1 - random.beta(1.0, 1.0)))
    tall, wide = int(height * side), int(width * side)
    top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
    other = random.permutation(len(images))
    mixed = images.clone()
    mixed[:, :, top : top + tall, left : left + wide] = images[other, :, top : top + tall, left : left + wide]
    kept = 1 - tall * wide / (height * width)
    return mixed, goals * kept + goals[other] * (1 - kept)
