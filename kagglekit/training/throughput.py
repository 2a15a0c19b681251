"""How fast this machine trains and predicts, measured before training starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kagglekit.base import devices, distributed, memory
from kagglekit.base.errors import UserError
from kagglekit.models import timm_models
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.tasks.task import Task
from kagglekit.training import losses, precisions

TEN_CLASSES = kinds.of(Classes([str(number) for number in range(10)]))
"""What a model is measured with unless a task is known."""
_WINDOWS, _CALLS_PER_WINDOW = 4, 2


@dataclass(frozen=True)
class Speed:
    """Seconds per image, of a training step and of a forward pass."""

    step: float
    forward: float


def measure(
    backbone: str,
    shape: tuple[int, int],
    device: devices.Device,
    *,
    task: Task = TEN_CLASSES,
    train_batch: int = 0,
    precision: str = "auto",
) -> Speed:
    """Train and predict a few batches of noise; return the seconds per image. Random weights are as fast as others.

    A batch that does not fit in memory is halved, as in training. With several GPUs, each takes its share of a batch.
    """
    import torch

    gpus = distributed.count() if device == "cuda" else 1
    batch = max((train_batch or default_batch(device) * distributed.count()) // distributed.count(), 1)
    try:
        speed = memory.halving(
            batch,
            lambda size: _measure_batch(backbone, shape, precision, device, size, task=task),
            memory.of_torch,
            lambda *_: torch.cuda.empty_cache(),
        )
    except Exception as error:
        if not memory.of_torch(error):
            raise
        raise UserError(
            f"not even one image of {shape[0]}x{shape[1]} fits in memory to train {backbone} on: use a lower "
            "--set image_size, or a smaller --backbone."
        ) from None
    return Speed(speed.step / gpus, speed.forward)


def _measure_batch(
    backbone: str, shape: tuple[int, int], precision: str, device: devices.Device, batch: int, *, task: Task
) -> Speed:
    import torch

    if device == "cpu":
        devices.keep_memory()
    loss, columns = losses.of(task), len(task.columns)
    model = timm_models.create(backbone, shape, num_classes=columns).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters())
    images = torch.randn(batch, 3, *shape, device=device).contiguous(memory_format=torch.channels_last)
    goals = loss.goals(loss.blank(batch).to(device))
    narrow = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precisions.choose(precision, device))
    autocast = torch.autocast(device, dtype=narrow, enabled=narrow is not None)

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def step() -> None:
        with autocast:
            scores = model.train()(images)
        loss.total(scores.float(), goals).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        finish()

    def forward() -> None:
        with torch.inference_mode(), autocast:
            model.eval()(images)
        finish()

    return Speed(_seconds(step) / batch, _seconds(forward) / batch)


def _seconds(work: Callable[[], None]) -> float:
    """Return the time per call in the fastest window: other processes can only slow a window down."""
    work()  # the first call is slower
    windows = []
    for _ in range(_WINDOWS):
        started = time.perf_counter()
        for _ in range(_CALLS_PER_WINDOW):
            work()
        windows.append((time.perf_counter() - started) / _CALLS_PER_WINDOW)
    return min(windows)


def default_batch(device: devices.Device) -> int:
    """Return the default batch size of a process."""
    return 32 if device == "cpu" else 64
