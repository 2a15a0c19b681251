"""A small network on features: batch norm, dropout, one hidden layer; trained by torch.

N rows, D features, C columns of the target. As a head it is two linear maps with a ReLU between them: the batch norms
are folded in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.base.arrays import Floats32, Indices
from kagglekit.heads.layers import Head, Linear, Relu
from kagglekit.tasks.activations import IDENTITY, SIGMOID, SOFTMAX, Activation
from kagglekit.tasks.task import HUBER

if TYPE_CHECKING:
    import torch

_BATCH = 128
_RATE = 1e-3
_DECAY = 1e-2


@dataclass(frozen=True)
class Settings:
    """Final activation, size, dropout rate, seed, first bias and weights of the network's loss."""

    activation: Activation
    columns: int
    width: int
    dropout: float
    seed: int
    bias: Floats32
    """What is added to the random bias of the scores, (C,)."""
    weights: Floats32 | None = None
    """What multiplies the loss where a column is true, (C,)."""
    huber: bool = False
    """Whether the loss of numbers is Huber's, and not the squared error."""


def epochs(rows: Floats32, goals: Callable[[Indices], Floats32], settings: Settings, count: int) -> Iterator[Head]:
    """Train for `count` epochs and yield the head after each; the same rows and seed give the same heads.

    `rows` are (N, D); `goals` gives those of some rows, (B, C). It draws from torch's global generator and restores its
    state: run one training at a time per process.
    """
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), contextlib.ExitStack() as stack:
        torch.set_num_threads(1)  # the order of sums, and so the result, must not depend on the number of cores
        stack.callback(torch.set_num_threads, threads)
        torch.manual_seed(settings.seed)
        network = nn.Sequential(
            nn.BatchNorm1d(rows.shape[1]),
            nn.Dropout(settings.dropout / 2),
            nn.Linear(rows.shape[1], settings.width),
            nn.ReLU(),
            nn.BatchNorm1d(settings.width),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, settings.columns),
        )
        with torch.no_grad():
            network[6].bias.add_(torch.from_numpy(settings.bias))  # type: ignore[operator]
        optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        generator = torch.Generator().manual_seed(settings.seed)
        x, loss_of = torch.from_numpy(rows), _loss(settings)
        for epoch in range(1, count + 1):
            network.train()
            order = torch.randperm(len(x), generator=generator)
            # batch norm can't normalise a single row, so a last batch of one row is skipped
            for start in range(0, max(len(x) - 1, 1), _BATCH):
                batch = order[start : start + _BATCH]
                loss = loss_of(network(x[batch]), torch.from_numpy(goals(batch.numpy())))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            yield _folded(network.eval(), settings.activation, f"{epoch} epochs")


def _loss(settings: Settings) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the mean loss of scores (B, C) towards goals (B, C)."""
    import torch
    from torch.nn import functional

    weights = None if settings.weights is None else torch.from_numpy(settings.weights)
    of_numbers: Callable[..., torch.Tensor] = functional.mse_loss
    if settings.huber:
        of_numbers = partial(functional.huber_loss, delta=HUBER)
    # a class index is faster than a one-hot row
    by_activation: dict[Activation, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        SOFTMAX: lambda scores, goals: functional.cross_entropy(scores, goals.argmax(dim=1), weights),
        SIGMOID: lambda scores, goals: functional.binary_cross_entropy_with_logits(scores, goals, pos_weight=weights),
        IDENTITY: partial(_of_known, of_numbers),
    }
    return by_activation[settings.activation]


def _of_known(loss: Callable[..., torch.Tensor], scores: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of the known goals (B, C); those that are NaN are unknown."""
    known = ~goals.isnan()
    if known.all():
        return loss(scores, goals)
    return loss(scores[known], goals[known], reduction="sum") / known.sum().clamp(min=1)


def _folded(network: Any, activation: Activation, chosen: str) -> Head:
    first, hidden, second, last = network[0], network[2], network[4], network[6]
    return Head((_fold(first, hidden), Relu(), _fold(second, last), activation), chosen)


def _fold(norm: Any, linear: Any) -> Linear:
    """Return a batch norm followed by a linear layer as one linear map."""
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    shift = norm.bias.detach().numpy() - norm.running_mean.numpy() * scale
    weights = linear.weight.detach().numpy().T
    bias = shift @ weights + linear.bias.detach().numpy()
    return Linear(weights=(weights * scale[:, None]).astype(np.float32), bias=bias.astype(np.float32))
