"""A model and its optimiser: what one step does, in whatever precision, memory and number of processes there is.

B images in a batch, N in a table, H x W pixels, C classes, D features.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.base.arrays import Floats
from kagglekit.base.distributed import World
from kagglekit.base.errors import OwnError, UserError
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.row_store import RowStore
from kagglekit.recipe import Recipe
from kagglekit.training import batches, layers, lr_finder
from kagglekit.training.phases import Phase

if TYPE_CHECKING:
    import torch

_PREDICTED_TOGETHER = 64
_MORE_WITHOUT_GRADIENTS = 4
"""Times as many images fit in memory when they are only predicted, at least."""
_TEMPERS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.02, 0.01)


class Learner:
    """One model that learns step by step."""

    def __init__(
        self,
        model: torch.nn.Module,
        preprocessing: Preprocessing,
        recipe: Recipe,
        world: World,
        *,
        seed: int,
        part: int,
        say: Callable[[str], None],
    ) -> None:
        """Move `model` to the device; `part` images of this process are computed together at most."""
        import torch

        self.recipe, self.world, self.seed, self.part = recipe, world, seed, part
        self._whole = part * recipe.training.accumulate
        world.reset_scaler()  # what fp16 has learnt of another model's gradients
        self.steps = 0
        self._size, self._say = preprocessing.size, say
        on_device: Any = model.to(world.device)
        self.model: Any = on_device.to(memory_format=torch.channels_last)
        self.layers = layers.Layers.read(self.model)
        groups = layers.optimiser_groups(self.model, self.layers, recipe.training.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, fused=True)
        self.ema = self._average()
        self._wrapped: Any = None
        self._prepared: Any = None
        self._relative: list[float] = []
        self._learning: list[torch.nn.Parameter] = []
        self._mean = 255 * torch.tensor(preprocessing.mean, device=world.device).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(preprocessing.std, device=world.device).view(1, 3, 1, 1)

    def _average(self) -> Any:
        if not self.recipe.training.ema:
            return None
        from timm.utils import ModelEmaV3

        return ModelEmaV3(self.model, decay=self.recipe.training.ema, use_warmup=True)

    # --- which layers learn, and how fast

    def begin(self, phase: Phase) -> None:
        """Let the layers of a phase learn, at their rates."""
        layers.freeze(self.model, self.layers, phase.trains)
        self._relative = layers.scales(
            self.layers, phase.rates or self.recipe.schedule.rates, self.recipe.schedule.layer_decay
        )
        self._wrapped, self._prepared = self.world.prepare(self.model, self.optimiser)
        self._learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if self.world.device.type == "cuda":
            self._fit_part_to_memory()

    def end(self) -> None:
        """Leave the model as it was before `begin`, but for its weights."""
        self.model = self.world.unwrap(self._wrapped)
        self._wrapped = self._prepared = None
        self.world.release()

    def set_rate(self, rate: float) -> None:
        """Set the head's learning rate, and each other layer's share of it."""
        layers.set_rates(self.optimiser, rate, self._relative)

    # --- a step

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put everything back when the block ends: weights, statistics, optimiser, random state, and fp16's scale."""
        scaler, steps = copy.deepcopy(self.world.scaler_state()), self.steps
        average, self.ema = self.ema, None  # not to be moved
        try:
            with lr_finder.restored(self.model, self.optimiser):
                yield
        finally:
            self.world.load_scaler(scaler)
            self.ema, self.steps = average, steps

    def set_mode(self) -> None:
        """Get ready for steps: dropout on, batch statistics of what learns."""
        layers.set_mode(self.model, self.recipe)

    def step(self, images: torch.Tensor, labels: torch.Tensor, key: tuple[int, ...]) -> torch.Tensor:
        """Do one step on uint8 images (B, H, W, 3) and labels (B,); return the loss, still on the device.

        What is drawn depends on `key`. A batch that does not fit in memory is computed in halves, from then on.
        """
        import torch

        while True:
            try:
                loss = self._gradients(images, labels, key)
                break
            except torch.OutOfMemoryError:
                self._prepared.zero_grad(set_to_none=True)
                if self.world.size > 1:  # the others are waiting for this one's gradients
                    raise self._too_large() from None
                self._halve_part()
        if self.recipe.training.gradient_clip:
            self.world.clip(self._learning, self.recipe.training.gradient_clip)
        self._prepared.step()
        self._prepared.zero_grad(set_to_none=True)
        if self.recipe.training.batch_norm != "frozen":
            self.world.share_buffers(self.model)
        self.steps += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.steps)
        return loss

    def _gradients(self, images: torch.Tensor, labels: torch.Tensor, key: tuple[int, ...]) -> torch.Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        torch.manual_seed(seed_of(self.seed, *key, self.world.rank))  # dropout and the like
        on_device = labels.to(self.world.device, non_blocking=True)
        truth = batches.targets(on_device, self.model.num_classes, self.recipe.augmentation.label_smoothing)  # (B, C)
        mixed = None
        if self.recipe.augmentation.mixup or self.recipe.augmentation.cutmix:  # images of different parts are mixed
            mixed, truth = batches.mix(self._normalised(images), truth, self.recipe, (self.seed, *key, self.world.rank))
        total = torch.zeros((), device=self.world.device)
        for start in range(0, len(images), self.part):
            some = slice(start, start + self.part)
            is_last = start + self.part >= len(images)
            with nullcontext() if is_last else self.world.alone(self._wrapped):
                pixels = self._normalised(images[some]) if mixed is None else mixed[some]  # (part, 3, H, W)
                with self.world.autocast():
                    scores = self._wrapped(pixels)  # (part, C)
                loss = cross_entropy(scores.float(), truth[some], reduction="sum") / len(images)
                self.world.backward(loss)
            total += loss.detach()
        return total

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) -> float (B, 3, H, W), channels last in memory."""
        on_device = images.to(self.world.device, non_blocking=True)
        return on_device.permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std)

    # --- memory

    def _too_large(self) -> UserError:
        height, width = self._size
        more = f"--set accumulate={2 * self.recipe.training.accumulate}, " if self.part > 1 else ""
        return OwnError(
            f"out of memory with {self.part} images of {height}x{width} computed together: use {more}a smaller "
            "--set image_size or train_batch, or another --backbone."
        )

    def _halve_part(self) -> None:
        import torch

        if self.part == 1:
            raise self._too_large()
        self.part = -(-self.part // 2)
        torch.cuda.empty_cache()
        self._say(f"out of memory: from now on {self.part} images are computed together, the step stays the same")

    def _fit_part_to_memory(self) -> None:
        """Halve the images computed together until a step fits, in all processes alike, changing nothing else."""
        import torch

        gc.collect()  # the model before this one, of which autocast keeps itself alive
        torch.cuda.empty_cache()
        self.set_mode()
        with self.restored():
            while not self._part_fits():
                self._halve_part()

    def _part_fits(self) -> bool:
        import torch

        # images that are mixed are all on the device at once
        count = self._whole if self.recipe.augmentation.mixup or self.recipe.augmentation.cutmix else self.part
        images = torch.zeros((count, *self._size, 3), dtype=torch.uint8)
        try:
            with self.world.alone(self._wrapped):
                self._gradients(images, torch.zeros(count, dtype=torch.int64), (0, 0))
            self.optimiser.step()  # its moments take memory too
            fits = 1.0
        except torch.OutOfMemoryError:
            fits = 0.0
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()  # of this step; what was there before comes back when the block of `restored` ends
        return float(self.world.mean(torch.tensor(fits, device=self.world.device))) == 1.0

    # --- a head that was fitted on precomputed features

    def temper_head(self, stream: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
        """Make a head less certain that is wrong by far on the batch statistics that training uses.

        It was fitted on features of running statistics, which small or unusual images don't have. `stream` yields
        uint8 images (B, H, W, 3) and labels (B,); returns what the head's scores are multiplied by.
        """
        import torch
        from torch.nn.functional import cross_entropy

        head = self.model.get_classifier()
        if not isinstance(head, torch.nn.Linear):
            return 1.0
        losses = torch.zeros(len(_TEMPERS), device=self.world.device)
        with self.restored(), torch.no_grad(), self.world.autocast():
            self.set_mode()
            for images, labels in stream:
                scores = self.model(self._normalised(images[: self.part])).float()
                truth = labels[: self.part].to(self.world.device)
                losses += torch.stack([cross_entropy(scores * temper, truth) for temper in _TEMPERS])
        temper = _TEMPERS[int(self.world.mean(losses).argmin())]
        with torch.no_grad():
            head.weight.mul_(temper)
            head.bias.mul_(temper)
        return temper

    # --- predicting

    def predict(self, pixels: RowStore, contents: Sequence[bytes]) -> Floats:
        """Return probabilities (N, C) of images by the hashes of their files, while the model is in training.

        All processes predict a part each, and all get all of it.
        """
        import torch

        model = self.model if self.ema is None else self.ema.module
        model.eval()
        # every process has equally many, so that rows can be gathered
        mine = np.resize(np.arange(len(contents)), -(-len(contents) // self.world.size) * self.world.size)
        mine = mine[self.world.rank :: self.world.size]
        together = min(_PREDICTED_TOGETHER, _MORE_WITHOUT_GRADIENTS * self.part)
        scores = []
        with torch.inference_mode(), self.world.autocast():
            for start in range(0, len(mine), together):
                some = [contents[place] for place in mine[start : start + together]]
                images = torch.from_numpy(np.stack([pixels.row(content) for content in some]))
                scores.append(model(self._normalised(images)).float().softmax(1))
        return self.world.all_rows(torch.cat(scores).cpu().numpy(), len(contents)).astype(np.float64)

    # --- weights

    @property
    def bare(self) -> Any:
        """The model itself, that nothing wraps, on the CPU and in evaluation mode: a copy."""
        return copy.deepcopy(self.model).cpu().eval()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights that predict: the average's, where one is kept."""
        model = self.model if self.ema is None else self.ema.module
        state: dict[str, torch.Tensor] = model.state_dict()
        return state

    def forget_steps(self) -> None:
        """Let go of moments and of fp16's scale: after steps that never were, and may have been no numbers."""
        self.optimiser.state.clear()
        self.world.reset_scaler()

    def load_weights(self, weights: Any) -> None:
        """Go on from other weights."""
        self.model.load_state_dict(weights)
        if self.ema is not None:
            self.ema.module.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Return all that a killed command needs to go on with the same numbers."""
        return {
            "steps": self.steps,
            "part": self.part,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "scaler": self.world.scaler_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Set what `state` returned."""
        self.steps, self.part = state["steps"], state["part"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
        self.world.load_scaler(state["scaler"])


def seed_of(*numbers: int) -> int:
    """Return one seed for torch from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
