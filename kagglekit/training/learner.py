"""A model and its optimiser: one training step, in any precision, memory and number of processes.

B images per batch, M per micro-batch (computed at once), N in a table, H x W pixels, C columns of the target.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from kagglekit.base import memory, parallel, shortlists
from kagglekit.base.arrays import Floats
from kagglekit.base.distributed import World
from kagglekit.base.errors import OwnError, UserError
from kagglekit.base.shortlists import Wide
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.row_store import RowStore
from kagglekit.recipe import AugmentationSettings, ScheduleSettings, TrainingSettings
from kagglekit.tasks.task import Task
from kagglekit.training import batches, layers, losses, norm_statistics
from kagglekit.training.phases import Phase
from kagglekit.training.snapshots import TrainingState

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")
_PREDICTED_TOGETHER = 64
_ADAPTED_TOGETHER, _MOST_ADAPTED = 100, 1000
"""Images per batch from which batch-norm statistics are taken, and in all: more take time, and change little."""
_MORE_WITHOUT_GRADIENTS = 4
"""Factor by which more images fit in memory without gradients, at least."""
_TEMPERS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.02, 0.01)


class Learner:
    """A model in training, with its optimiser."""

    def __init__(
        self,
        model: torch.nn.Module,
        preprocessing: Preprocessing,
        world: World,
        *,
        task: Task,
        weights: Floats | None,
        training: TrainingSettings,
        schedule: ScheduleSettings,
        augmentation: AugmentationSettings,
        seed: int,
        micro_batch: int,
        say: Callable[[str], None],
    ) -> None:
        """Move `model` to the device; compute at most `micro_batch` images of this process at once.

        `weights` (C,) multiply the training loss where a column is true.
        """
        import torch

        self.training, self.schedule, self.augmentation = training, schedule, augmentation
        self._activation, self._plain_loss = task.network_activation, losses.of(task)
        self.loss = losses.of(task, augmentation.label_smoothing, weights)
        self.world, self.seed, self.micro_batch = world, seed, micro_batch
        self._whole = micro_batch * training.accumulate
        self._size, self._say = preprocessing.size, say
        on_device: Any = model.to(world.device)
        self.model: Any = on_device.to(memory_format=torch.channels_last)
        self.layers = layers.Layers.read(self.model)
        groups = layers.optimiser_groups(self.model, self.layers, training.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, fused=True)
        self.state = TrainingState(self.model, self.optimiser, self._average(), world)
        self._wrapped: Any = None
        self._prepared: Any = None
        self._relative: list[float] = []
        self._learning: list[torch.nn.Parameter] = []
        self._mean = 255 * torch.tensor(preprocessing.mean, device=world.device).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(preprocessing.std, device=world.device).view(1, 3, 1, 1)

    def _average(self) -> Any:
        if not self.training.ema:
            return None
        from timm.utils import ModelEmaV3

        return ModelEmaV3(self.model, decay=self.training.ema, use_warmup=True)

    # --- trained layers and learning rates

    def begin(self, phase: Phase) -> None:
        """Unfreeze the layers that a phase trains, and set their relative learning rates."""
        layers.freeze(self.model, self.layers, phase.trains)
        self._relative = layers.scales(self.layers, phase.rates or self.schedule.rates, self.schedule.layer_decay)
        self._wrapped, self._prepared = self.world.prepare(self.model, self.optimiser)
        self._learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if self.world.device.type == "cuda":
            self._fit_to_memory()

    def end(self) -> None:
        """Undo `begin`, but keep the trained weights."""
        self.model = self.state.model = self.world.unwrap(self._wrapped)
        self._wrapped = self._prepared = None
        self.world.release()

    def set_rate(self, rate: float) -> None:
        """Set the head's learning rate, and each other layer's share of it."""
        layers.set_rates(self.optimiser, rate, self._relative)

    # --- a step

    def set_mode(self) -> None:
        """Set training mode: dropout on, batch statistics in trained layers."""
        layers.set_mode(self.model, self.training.batch_norm)

    def step(self, images: torch.Tensor, labels: torch.Tensor, key: tuple[int, ...]) -> torch.Tensor:
        """Take one step on uint8 images (B, H, W, 3) and labels (B,) or (B, C); return the loss, still on the device.

        `key` seeds it. If memory runs out, the micro-batch is halved from then on.
        """
        import torch

        def gradients() -> torch.Tensor:
            try:
                return self._gradients(images, labels, key)
            except torch.OutOfMemoryError:
                self._prepared.zero_grad(set_to_none=True)
                if self.world.size > 1:  # the others are waiting for this one's gradients
                    raise self._too_large() from None
                raise

        loss = self._halving(gradients)
        if self.training.gradient_clip:
            self.world.clip(self._learning, self.training.gradient_clip)
        self._prepared.step()
        self._prepared.zero_grad(set_to_none=True)
        if self.training.batch_norm != "frozen":
            self.world.share_buffers(self.model)
        self.state.steps += 1
        if self.state.average is not None:
            self.state.average.update(self.model, step=self.state.steps)
        return loss

    def _gradients(self, images: torch.Tensor, labels: torch.Tensor, key: tuple[int, ...]) -> torch.Tensor:
        import torch

        torch.manual_seed(seed_of(self.seed, *key, self.world.rank))  # dropout and the like
        on_device = labels.to(self.world.device, non_blocking=True)
        goals = self.loss.goals(on_device)  # (B, C)
        mixed = None
        if self.augmentation.mixes:  # images are mixed across micro-batches
            mixed, goals = batches.mix(
                self._normalised(images), goals, self.augmentation, (self.seed, *key, self.world.rank)
            )
        total = torch.zeros((), device=self.world.device)
        for start in range(0, len(images), self.micro_batch):
            some = slice(start, start + self.micro_batch)
            is_last = start + self.micro_batch >= len(images)
            with nullcontext() if is_last else self.world.alone(self._wrapped):
                pixels = self._normalised(images[some]) if mixed is None else mixed[some]  # (M, 3, H, W)
                with self.world.autocast():
                    scores = self._wrapped(pixels)  # (M, C)
                loss = self.loss.total(scores.float(), goals[some]) / len(images)
                self.world.backward(loss)
            total += loss.detach()
        return total

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise images: uint8 (B, H, W, 3) -> float (B, 3, H, W), channels last in memory."""
        on_device = images.to(self.world.device, non_blocking=True)
        return on_device.permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std)

    # --- memory

    def _too_large(self) -> UserError:
        height, width = self._size
        more = f"--set accumulate={2 * self.training.accumulate}, " if self.micro_batch > 1 else ""
        return OwnError(
            f"out of memory with {self.micro_batch} images of {height}x{width} at a time: use {more}a smaller "
            "--set image_size or train_batch, or another --backbone."
        )

    def _halving(self, compute: Callable[[], Result]) -> Result:
        """Return `compute()`; each time that memory runs out, halve the micro-batch from then on."""
        import torch

        def attempt(size: int) -> Result:
            self.micro_batch = size
            return compute()

        def halved(_: int, size: int) -> None:
            torch.cuda.empty_cache()
            self._say(f"out of memory: from now on {size} images are computed at a time; the step stays the same")

        try:
            return memory.halving(self.micro_batch, attempt, memory.of_torch, halved)
        except Exception as error:
            if not memory.of_torch(error):
                raise
            raise self._too_large() from None

    def _fit_to_memory(self) -> None:
        """Halve the micro-batch until a step fits in all processes; change nothing else."""
        import torch

        gc.collect()  # free the previous model, which autocast keeps in a reference cycle
        torch.cuda.empty_cache()
        self.set_mode()
        with self.state.restored():
            self._halving(self._try_step)

    def _try_step(self) -> None:
        """Take a step on black images; raise OutOfMemoryError in all processes if it does not fit in one of them."""
        import torch

        # mixing needs the whole batch on the device
        count = self._whole if self.augmentation.mixes else self.micro_batch
        images = torch.zeros((count, *self._size, 3), dtype=torch.uint8)
        try:
            with self.world.alone(self._wrapped):
                self._gradients(images, self.loss.blank(count), (0, 0))
            self.optimiser.step()  # its moments take memory too
            fits = True
        except torch.OutOfMemoryError:
            fits = False
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()  # of this step; `restored` brings back the state before it
        if any(self.world.any_of(not fits)):
            raise torch.OutOfMemoryError

    # --- a head that was fitted on precomputed features

    def temper_head(self, stream: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
        """Scale down a head that is overconfident with the batch statistics of training; return the factor.

        It was fitted on features from running statistics, which don't fit small or unusual images. `stream` yields
        uint8 images (B, H, W, 3) and labels (B,) or (B, C).
        """
        import torch

        head = self.model.get_classifier()
        if not isinstance(head, torch.nn.Linear):
            return 1.0
        totals = torch.zeros(len(_TEMPERS), device=self.world.device)
        with self.state.restored(), torch.no_grad(), self.world.autocast():
            self.set_mode()
            for images, labels in stream:
                scores = self.model(self._normalised(images[: self.micro_batch])).float()
                goals = self._plain_loss.goals(labels[: self.micro_batch].to(self.world.device))
                found = [self._plain_loss.total(scores * temper, goals) for temper in _TEMPERS]
                totals += torch.stack(found) / len(scores)
        temper = _TEMPERS[int(self.world.mean(totals).argmin())]
        with torch.no_grad():
            head.weight.mul_(temper)
            head.bias.mul_(temper)
        return temper

    # --- predicting

    def predict(self, pixels: RowStore, contents: Sequence[bytes]) -> Wide:
        """Return predictions (N, C) of images, given by content hash, while the model is in training.

        Each process predicts its share of the images, and gets all results.
        """
        import torch

        model = self.state.predicts
        model.eval()
        own = self.world.own_share(contents)
        together = min(_PREDICTED_TOGETHER, _MORE_WITHOUT_GRADIENTS * self.micro_batch)
        found = []
        with torch.inference_mode(), self.world.autocast():
            for some in parallel.chunks(own, together):
                images = torch.from_numpy(np.stack([pixels.row(content) for content in some]))
                scores = model(self._normalised(images)).float().cpu().numpy().astype(np.float64)
                found.append(self._activation.kept(self._activation.predictions(scores)))
        return self.world.all_predictions(shortlists.joined(found), len(contents))

    def adapted(self, pixels: RowStore, contents: Sequence[bytes], *, mirrors: bool) -> dict[str, torch.Tensor]:
        """Return the weights to predict with, with batch-norm statistics of these images, which they are to predict.

        `mirrors` adds each image's mirrored view. Two images or more are needed.
        """
        import torch

        order = np.random.default_rng(self.seed).permutation(len(contents))[:_MOST_ADAPTED]
        parts = np.array_split(order, -(-len(order) // _ADAPTED_TOGETHER))

        def batches() -> Iterator[torch.Tensor]:
            for part in parts:
                images = torch.from_numpy(np.stack([pixels.row(contents[index]) for index in part.tolist()]))
                yield self._normalised(images)
                if mirrors:
                    yield self._normalised(images.flip(2))

        model = copy.deepcopy(self.state.predicts)
        with self.world.autocast():
            norm_statistics.adapt(model, batches(), len(order))
        weights: dict[str, torch.Tensor] = model.state_dict()
        return weights

    # --- saved state

    @property
    def bare(self) -> Any:
        """A copy of the unwrapped model, on the CPU and in evaluation mode."""
        return copy.deepcopy(self.model).cpu().eval()

    def checkpoint(self) -> dict[str, Any]:
        """Return the state that a killed command needs to resume with the same results."""
        return {"part": self.micro_batch} | self.state.checkpoint()

    def load_checkpoint(self, kept: dict[str, Any]) -> None:
        """Restore a state that `checkpoint` returned."""
        self.micro_batch = kept["part"]
        self.state.load_checkpoint(kept)


def seed_of(*numbers: int) -> int:
    """Combine several numbers into one seed for torch."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
