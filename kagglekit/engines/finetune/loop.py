"""The training loop: phases of epochs of steps, one model, on one part of the images.

B images in a batch, N in a table, H x W pixels, C classes. What a step does depends on the seed and its number only,
and all state is in checkpoints: a killed run goes on with the same numbers (bit for bit on a CPU).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit import interrupts, metrics, storage
from kagglekit.console import Advance, Console
from kagglekit.engines import devices
from kagglekit.engines.bank import Bank
from kagglekit.engines.finetune import advice, batches, checkpoints, finder, layers, plots, schedules
from kagglekit.engines.finetune.augment import Augmenter
from kagglekit.engines.finetune.phases import DEFAULT_RATE, HEAD, Phase
from kagglekit.engines.images import Preprocessing
from kagglekit.errors import UserError
from kagglekit.processes import World
from kagglekit.recipe import Recipe

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Stream = Iterator[tuple["torch.Tensor", "torch.Tensor"]]
"""uint8 images (B, H, W, 3) and labels (B,)."""
_PREDICTED_TOGETHER = 64
_TEMPERS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.02, 0.01)
_TEMPERED_ON = 8
"""Batches."""
_FINDER_STEPS = 100
_FINDER_EPOCH = 1_000_000
"""Where the finder's batches start to be numbered: it sees other batches than the epochs do."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What one model learns from, and what chooses its epochs."""

    pixels: Bank
    preprocessing: Preprocessing
    contents: Sequence[bytes]
    """Hashes of the images to train on, N."""
    labels: NDArray[np.int64]
    """Their classes, (N,)."""
    inner_contents: Sequence[bytes]
    """Hashes of the images that choose; none: nothing is chosen."""
    inner_labels: NDArray[np.int64]
    classes: int
    augmenter: Augmenter
    mirror: tuple[int, ...] | None
    """The mirrored image's class for each class, (C,)."""


@dataclass
class Progress:
    """Where a training is."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    """Within the epoch."""
    rate: float = 0.0
    """Learning rate in use."""
    before: float | None = None
    """Inner loss before this phase."""
    train_loss: float = 0.0
    """Sum over the epoch's steps."""
    trend: list[float] = field(default_factory=list)
    """Inner loss after each epoch of this phase."""
    best: float | None = None
    """Least inner loss at the end of a restart."""
    waited: int = 0
    """Restarts since."""
    steps: int = 0
    """Of all phases."""
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """One model in training."""

    def __init__(
        self,
        model: torch.nn.Module,
        data: Data,
        recipe: Recipe,
        world: World,
        *,
        folder: Path,
        console: Console,
        seed: int,
        batch: int,
        description: dict[str, Any],
    ) -> None:
        """Get ready to train `model`; `folder` takes weights, checkpoints and plots, `batch` is that of a step."""
        import torch

        self.data, self.recipe, self.world, self.folder, self.console = data, recipe, world, folder, console
        self.seed = seed
        self.batch = max(min(batch, len(data.contents)) // world.size, 1) * world.size
        self.part = -(-self.batch // world.size // recipe.accumulate)
        """Images of a process that are computed together."""
        self.description = description
        self.layers = layers.Layers.read(model)
        on_device: Any = model.to(world.device)
        self.model: Any = on_device.to(memory_format=torch.channels_last)
        groups = layers.optimiser_groups(self.model, self.layers, recipe.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=DEFAULT_RATE)
        self.ema = self._average()
        self.progress = Progress()
        self.best_state: dict[str, Any] | None = None
        mean, std = data.preprocessing.mean, data.preprocessing.std
        self.mean = 255 * torch.tensor(mean, device=world.device).view(1, 3, 1, 1)
        self.std = 255 * torch.tensor(std, device=world.device).view(1, 3, 1, 1)
        automatic = devices.cores() if world.device.type == "cuda" else 0
        self._loader_workers = automatic if recipe.loader_workers < 0 else recipe.loader_workers

    # --- the line from the first phase to the last

    def train(self, phases: Sequence[Phase], advance: Advance) -> None:
        """Train through all phases, going on from a checkpoint where there is one."""
        self._resume()
        if self.progress.phase == 0 and self.progress.epoch == self.progress.step == 0:
            self._save_weights(HEAD)
            loss, _ = self._inner_loss()
            if loss is not None:
                self.console.say(f"{HEAD}: inner loss {loss:.4f}")
        done = sum(phase.epochs for phase in phases[: self.progress.phase]) + self.progress.epoch
        advance(done * self._images_per_epoch + self.progress.step * self.batch)
        for number in range(self.progress.phase, len(phases)):
            before = phases[number - 1].name if number else HEAD
            self._phase(phases[number], before, advance)
        self._checkpoint_path.unlink(missing_ok=True)

    def _phase(self, phase: Phase, name_before: str, advance: Advance) -> None:
        layers.freeze(self.model, self.layers, phase.trains)
        relative = layers.scales(self.layers, phase.rates or self.recipe.rates, self.recipe.layer_decay)
        wrapped, optimiser = self.world.prepare(self.model, self.optimiser)
        progress = self.progress
        if progress.epoch == progress.step == 0:
            progress.before = self._inner_loss()[0]
            if name_before == HEAD:
                self._temper_head(phase)
            progress.rate = self._choose_rate(phase, wrapped, optimiser, relative)
        if self.world.device.type == "cuda":
            self._fit_part_to_memory(wrapped, optimiser)
        ends = set(self._candidates(phase))
        stream = self._batches(range(progress.epoch, phase.epochs), progress.step, augmented=phase.augment)
        while progress.epoch < phase.epochs:
            batches_left = islice(stream, self.steps_per_epoch - progress.step)
            self._epoch(phase, batches_left, wrapped=wrapped, optimiser=optimiser, relative=relative, advance=advance)
            loss, _ = self._inner_loss()
            broken = self._note_epoch(phase, loss)
            progress.epoch += 1
            progress.step, progress.train_loss = 0, 0.0
            if loss is not None and (progress.epoch in ends or broken):
                self._keep_if_best(math.inf if broken else loss)
            if broken or (self.recipe.patience and progress.waited >= self.recipe.patience):
                why = "the loss is no number any more" if broken else f"no better for {progress.waited} restarts"
                self.console.say(f"{phase.name}: {why}: ended early")
                advance((phase.epochs - progress.epoch) * self._images_per_epoch)
                break
            self._save_progress()
        self._close(phase, name_before)
        self.model = self.world.unwrap(wrapped)
        self.world.release()

    @staticmethod
    def _candidates(phase: Phase) -> list[int]:
        """Return the epochs whose end may be chosen: where the rate has come down."""
        if phase.schedule == "one-cycle":
            return [phase.epochs]
        if phase.schedule == "flat":
            return list(range(1, phase.epochs + 1))
        return schedules.cycle_ends(phase.epochs, phase.cycle, phase.multiplier)

    def _epoch(
        self, phase: Phase, stream: Stream, *, wrapped: Any, optimiser: Any, relative: list[float], advance: Advance
    ) -> None:
        layers.set_mode(self.model, self.recipe)
        progress, per_epoch = self.progress, self.steps_per_epoch
        losses: list[torch.Tensor] = []
        saving = checkpoints.Reminder(self.recipe.checkpoint_seconds)
        with interrupts.deferred() as asked_to_stop:
            epoch = self._number(progress.epoch)
            for images, labels in stream:
                at = progress.epoch + progress.step / per_epoch
                share = schedules.share(phase.schedule, at, phase.epochs, phase.cycle, phase.multiplier)
                rate = progress.rate * share
                layers.set_rates(optimiser, rate, relative)
                losses.append(self.step(wrapped, optimiser, images, labels, (epoch, progress.step)))
                self._note_step(phase, at, rate)
                progress.step += 1
                progress.steps += 1
                advance(len(images) * self.world.size)
                if asked_to_stop() or saving.is_due():
                    self._add_losses(losses)
                    self._save_progress()
                if asked_to_stop():
                    raise interrupts.Interrupted
            self._add_losses(losses)

    def step(
        self, wrapped: Any, optimiser: Any, images: torch.Tensor, labels: torch.Tensor, key: tuple[int, ...]
    ) -> torch.Tensor:
        """Do one step on uint8 images (B, H, W, 3) and labels (B,); return the loss, still on the device.

        A batch that does not fit in memory is computed in halves, from then on.
        """
        import torch

        while True:
            try:
                loss = self._gradients(wrapped, images, labels, key)
                break
            except torch.OutOfMemoryError:
                optimiser.zero_grad(set_to_none=True)
                self._halve_part()
        if self.recipe.gradient_clip:
            self.world.clip(wrapped, self.recipe.gradient_clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(self.model, step=self.progress.steps)
        return loss

    def _gradients(
        self, wrapped: Any, images: torch.Tensor, labels: torch.Tensor, key: tuple[int, ...]
    ) -> torch.Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        torch.manual_seed(seed_of(self.seed, *key, self.world.rank))  # dropout and the like
        pixels = self._normalised(images)  # (B, 3, H, W)
        truth = batches.targets(labels.to(self.world.device), self.data.classes, self.recipe.label_smoothing)
        pixels, truth = batches.mix(pixels, truth, self.recipe, (self.seed, *key, self.world.rank))
        total = torch.zeros((), device=self.world.device)
        for start in range(0, len(pixels), self.part):
            some = slice(start, start + self.part)
            is_last = start + self.part >= len(pixels)
            with nullcontext() if is_last else self.world.alone(wrapped):
                with self.world.autocast():
                    scores = wrapped(pixels[some])  # (B, C)
                loss = cross_entropy(scores.float(), truth[some], reduction="sum") / len(pixels)
                self.world.backward(loss)
            total += loss.detach()
        return total

    # --- memory

    def _halve_part(self) -> None:
        import torch

        if self.part == 1 or self.world.size > 1:
            raise UserError(
                f"out of memory with {self.part} images of {self.data.preprocessing.size} computed together: use a "
                "smaller --set image_size or another --backbone; of several processes, --set accumulate=2."
            )
        self.part = -(-self.part // 2)
        torch.cuda.empty_cache()
        self.console.say(f"out of memory: from now on {self.part} images are computed together, {self.batch} a step")

    def _fit_part_to_memory(self, wrapped: Any, optimiser: Any) -> None:
        """Halve the images computed together until a step fits, in all processes alike, changing nothing else."""
        import torch

        layers.set_mode(self.model, self.recipe)
        shape = (self.part, *self.data.preprocessing.size, 3)
        with finder.restored(self.model, self.optimiser):
            while self.part > 1:
                images = torch.zeros(shape, dtype=torch.uint8)[: self.part]
                fits = True
                try:
                    with self.world.alone(wrapped):
                        self._gradients(wrapped, images, torch.zeros(self.part, dtype=torch.int64), (0, 0))
                except torch.OutOfMemoryError:
                    fits = False
                optimiser.zero_grad(set_to_none=True)
                agreed = self.world.mean(torch.tensor(float(fits), device=self.world.device))
                if float(agreed) == 1.0:
                    break
                torch.cuda.empty_cache()
                self.part = -(-self.part // 2)
                self.console.say(f"out of memory: {self.part} images are computed together, {self.batch} a step")

    # --- the head on precomputed features

    def _temper_head(self, phase: Phase) -> None:
        """Make a head less certain that is wrong by far on the batch statistics that training uses.

        It was fitted on features of running statistics, which small or unusual images do not have.
        """
        import torch
        from torch.nn.functional import cross_entropy

        head = self.model.get_classifier()
        if not isinstance(head, torch.nn.Linear):
            return
        losses = torch.zeros(len(_TEMPERS), device=self.world.device)
        with finder.restored(self.model, self.optimiser), torch.no_grad(), self.world.autocast():
            layers.set_mode(self.model, self.recipe)
            for images, labels in islice(self._batches(range(1), 0, augmented=phase.augment), _TEMPERED_ON):
                scores = self.model(self._normalised(images)).float()  # (B, C)
                truth = labels.to(self.world.device)
                losses += torch.stack([cross_entropy(scores * temper, truth) for temper in _TEMPERS])
        temper = _TEMPERS[int(self.world.mean(losses).argmin())]
        if temper < 1:
            self.console.say(f"{HEAD}: the head's scores are multiplied by {temper:g}, to fit training's batches")
            with torch.no_grad():
                head.weight.mul_(temper)
                head.bias.mul_(temper)

    # --- learning rate

    def find_rate(self, phase: Phase) -> finder.Curve:
        """Sweep the learning rate as `phase` would train; the model, the optimiser and what is drawn stay as is."""
        layers.freeze(self.model, self.layers, phase.trains)
        relative = layers.scales(self.layers, phase.rates or self.recipe.rates, self.recipe.layer_decay)
        wrapped, optimiser = self.world.prepare(self.model, self.optimiser)
        curve = self._sweep(phase, wrapped, optimiser, relative)
        self.model = self.world.unwrap(wrapped)
        self.world.release()
        return curve

    def _sweep(self, phase: Phase, wrapped: Any, optimiser: Any, relative: list[float]) -> finder.Curve:
        stream = self._finder_batches(augmented=phase.augment)
        average, self.ema = self.ema, None  # not to be moved

        def take_step(rate: float) -> float:
            key, images, labels = next(stream)
            layers.set_rates(optimiser, rate, relative)
            return float(self.world.mean(self.step(wrapped, optimiser, images, labels, key)))

        try:
            with finder.restored(self.model, self.optimiser):
                layers.set_mode(self.model, self.recipe)
                return finder.sweep(take_step, steps=_FINDER_STEPS)
        finally:
            self.ema = average

    def _choose_rate(self, phase: Phase, wrapped: Any, optimiser: Any, relative: list[float]) -> float:
        """Return the phase's highest rate of the head."""
        asked = self.recipe.learning_rate
        if asked or not phase.find:
            return (asked or self.progress.rate / self._rate_before or DEFAULT_RATE) * phase.rate
        curve = self._sweep(phase, wrapped, optimiser, relative)
        found = finder.suggestions(curve)
        if self.world.is_first:
            plots.finder_plot(curve, found, self.folder / f"finder-{phase.name}.png", f"{phase.name}: learning rate")
        if not found:
            self.console.warn(f"{phase.name}: the finder suggests nothing ({finder.why_none(curve)}): {DEFAULT_RATE:g}")
            return DEFAULT_RATE * phase.rate
        name = self.recipe.suggestion if self.recipe.suggestion in found else "valley"
        rate, was_capped = finder.capped(found[name], self.description["model"])
        listed = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
        note = f", capped for {self.description['model']}" if was_capped else ""
        self.console.say(f"{phase.name}: learning rate {rate:.2g} ({name}{note}; {listed})")
        return rate * phase.rate

    # --- judging

    def _inner_loss(self) -> tuple[float | None, float]:
        """Return the loss on the inner images, and its standard error; None where there are none."""
        rows, labels = self.data.inner_contents, self.data.inner_labels
        if not len(rows):
            return None, 0.0
        losses = metrics.log_loss_rows(labels, self.predict(rows)[0])
        return float(losses.mean()), float(losses.std() / np.sqrt(len(losses)))

    def predict(
        self, contents: Sequence[bytes], view: Callable[[Any, bytes], Any] | None = None
    ) -> tuple[Floats, NDArray[np.float16]]:
        """Return probabilities (N, C) and pooled features (N, D) of images by the hashes of their files.

        `view` changes each image's pixels. All processes predict a part each, and all get all of it.
        """
        import torch

        if not contents:
            return np.empty((0, self.data.classes)), np.empty((0, 1), np.float16)
        model = self.model if self.ema is None else self.ema.module
        model.eval()
        # every process has equally many, so that rows can be gathered
        mine = np.resize(np.arange(len(contents)), -(-len(contents) // self.world.size) * self.world.size)
        mine = mine[self.world.rank :: self.world.size]
        scores, pooled = [], []
        with torch.inference_mode(), self.world.autocast():
            for start in range(0, len(mine), _PREDICTED_TOGETHER):
                some = [contents[place] for place in mine[start : start + _PREDICTED_TOGETHER]]
                images = [np.asarray(self.data.pixels.row(content)) for content in some]
                if view is not None:
                    images = [view(image, content) for image, content in zip(images, some, strict=True)]
                maps = model.forward_features(self._normalised(torch.from_numpy(np.stack(images))))
                pooled.append(model.forward_head(maps, pre_logits=True).half())
                scores.append(model.forward_head(maps).float().softmax(1))
        return (
            self._all_rows(torch.cat(scores), len(contents)).astype(np.float64),
            self._all_rows(torch.cat(pooled), len(contents)),
        )

    def _all_rows(self, rows: torch.Tensor, count: int) -> NDArray[Any]:
        """Gather what every process has of `count` rows, each having taken its turn: (N / P, X) -> (N, X)."""
        gathered = self.world.gather(rows)  # each process's rows together
        in_order = gathered.view(self.world.size, len(rows), -1).transpose(0, 1).reshape(-1, rows.shape[1])
        found: NDArray[Any] = in_order[:count].cpu().numpy()
        return found

    def _keep_if_best(self, loss: float) -> None:
        progress = self.progress
        if progress.best is None or loss < progress.best:
            progress.best, progress.waited = loss, 0
            self.best_state = {name: tensor.clone() for name, tensor in self._state().items()}
        else:
            progress.waited += 1

    def _close(self, phase: Phase, name_before: str) -> None:
        """End a phase: take it back, or keep its best restart; say how it went; save its weights by name."""
        progress = self.progress
        taken_back = progress.before is not None and progress.best is not None and progress.best > progress.before
        if taken_back:
            self._load(checkpoints.load_weights(self._weights_path(name_before))[0])
            self.optimiser.state.clear()  # its moments are of steps that never were, and may be NaN
        elif self.best_state is not None:
            self._load(self.best_state)
        elif self.ema is not None:
            self._load(self._state())
        self._say_how_it_went(phase, taken_back)
        self._save_weights(phase.name)
        self._rate_before = phase.rate
        self.progress = Progress(
            phase=progress.phase + 1, rate=progress.rate, steps=progress.steps, history=progress.history
        )
        self.best_state = None
        self._save_progress()
        if self.world.is_first:
            plots.history_plot(progress.history, self.folder / "history.png", "training")
            storage.write_json(self.folder / "history.json", progress.history)

    def _say_how_it_went(self, phase: Phase, taken_back: bool) -> None:
        progress = self.progress
        epochs = [row for row in progress.history if row["kind"] == "epoch" and row["phase"] == phase.name]
        loss, spread = self._inner_loss() if not taken_back else (progress.best, 0.0)
        if taken_back:
            assert progress.before is not None
            epochs[-1]["taken_back"] = True
            self.console.say(
                f"{phase.name}: inner loss {progress.before:.4f} -> {progress.best:.4f}: worse, the step is taken back"
            )
        judged = advice.PhaseLosses(
            name=phase.name,
            train_loss=epochs[-1]["train_loss"],
            valid_loss=loss,
            before=progress.before,
            spread=spread,
            train_is_augmented=phase.augment,
            kind=phase.trains,
            num_epochs=len(epochs),
            num_classes=self.data.classes,
            recipe=self.recipe,
            trend=tuple(progress.trend),
        )
        for line in advice.judge(judged):
            self.console.say(line)

    # --- data

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return batches.steps(len(self.data.contents), self.batch)

    @property
    def _images_per_epoch(self) -> int:
        return self.steps_per_epoch * self.batch

    def _number(self, epoch: int) -> int:
        """Return a number that no other epoch of this training has."""
        return self.progress.phase * 1000 + epoch

    def _samples(self, augmented: bool) -> batches.Samples:
        augmenter = self.data.augmenter if augmented else None
        return batches.Samples(self.data.pixels, self.data.contents, self.data.labels, augmenter)

    def _batches(self, epochs: range, first_step: int, *, augmented: bool) -> Stream:
        """Yield the batches of several epochs of this phase, the first of them from `first_step` on."""
        count, world = len(self.data.contents), self.world
        orders = [
            batches.Order(count, self.batch, self.seed, self._number(epoch), start, world.rank, world.size)
            for epoch, start in zip(epochs, (first_step, *[0] * len(epochs)), strict=False)
        ]
        pinned = self.world.device.type == "cuda"
        return batches.load(self._samples(augmented), orders, self._loader_workers, pinned=pinned)

    def _finder_batches(self, *, augmented: bool) -> Iterator[tuple[tuple[int, int], torch.Tensor, torch.Tensor]]:
        epochs = range(_FINDER_EPOCH, _FINDER_EPOCH + -(-_FINDER_STEPS // self.steps_per_epoch))
        for step, (images, labels) in enumerate(self._batches(epochs, 0, augmented=augmented)):
            yield (_FINDER_EPOCH, step), images, labels

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) -> float (B, 3, H, W), channels last in memory."""
        on_device = images.to(self.world.device, non_blocking=True)
        return (on_device.permute(0, 3, 1, 2).float() - self.mean) / self.std

    # --- state

    _rate_before = 1.0
    """Share of the learning rate that the phase before had."""

    def _average(self) -> Any:
        if not self.recipe.ema:
            return None
        from timm.utils import ModelEmaV3

        return ModelEmaV3(self.model, decay=self.recipe.ema, use_warmup=True)

    def _state(self) -> dict[str, torch.Tensor]:
        """Return the weights that predict."""
        model = self.model if self.ema is None else self.ema.module
        state: dict[str, torch.Tensor] = model.state_dict()
        return state

    def _load(self, state: Any) -> None:
        self.model.load_state_dict(state)
        if self.ema is not None:
            self.ema.module.load_state_dict(state)

    def load(self, state: Any) -> None:
        """Start from the weights of another phase or run."""
        self._load(state)

    def _note_step(self, phase: Phase, at: float, rate: float) -> None:
        self.progress.history.append(
            {"kind": "step", "step": self.progress.steps, "phase": phase.name, "epoch": at, "loss": 0.0, "rate": rate}
        )

    def _add_losses(self, losses: list[torch.Tensor]) -> None:
        """Write the losses of steps into the history: they stay on the device until then, which need not wait."""
        import torch

        if not losses:
            return
        values = self.world.mean(torch.stack(losses)).tolist()
        rows = [row for row in self.progress.history if row["kind"] == "step"][-len(values) :]
        for row, value in zip(rows, values, strict=True):
            row["loss"] = value
        self.progress.train_loss += sum(values)
        losses.clear()

    def _note_epoch(self, phase: Phase, loss: float | None) -> bool:
        """Write an epoch into history and log; say whether the training has broken down."""
        progress = self.progress
        train_loss = progress.train_loss / self.steps_per_epoch
        progress.history.append(
            {
                "kind": "epoch",
                "step": self.progress.steps,
                "phase": phase.name,
                "epoch": progress.epoch,
                "train_loss": train_loss,
                "valid_loss": loss,
            }
        )
        if loss is not None:
            progress.trend.append(loss)
        inner = "" if loss is None else f", inner {loss:.4f}"
        self.console.say(f"{phase.name}: epoch {progress.epoch + 1} of {phase.epochs}: train {train_loss:.4f}{inner}")
        if math.isfinite(train_loss) and math.isfinite(loss or 0.0):
            return False
        if loss is None:
            raise UserError(
                f"{phase.name}: the training loss is {train_loss}: use a lower --set learning_rate (it was "
                f"{progress.rate:.2g}), or --set inner_share=0.1, which takes such a step back."
            )
        return True

    @property
    def _checkpoint_path(self) -> Path:
        return self.folder / "progress.pt"

    def _weights_path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _save_weights(self, name: str) -> None:
        if self.world.is_first:
            checkpoints.save_weights(self._weights_path(name), self._state(), self.description | {"phase": name})
        self.world.wait()

    def _save_progress(self) -> None:
        if not self.world.is_first:
            return
        checkpoints.save_progress(
            self._checkpoint_path,
            {
                "progress": dataclasses.asdict(self.progress),
                "rate_before": self._rate_before,
                "part": self.part,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "ema": None if self.ema is None else self.ema.module.state_dict(),
                "best": self.best_state,
                "scaler": self.world.scaler_state(),
            },
        )

    def _resume(self) -> None:
        found = checkpoints.load_progress(self._checkpoint_path)
        if found is None:
            return
        self.progress = Progress(**found["progress"])
        self._rate_before, self.part, self.best_state = found["rate_before"], found["part"], found["best"]
        self.model.load_state_dict(found["model"])
        self.optimiser.load_state_dict(found["optimiser"])
        if self.ema is not None:
            self.ema.module.load_state_dict(found["ema"])
        self.world.load_scaler(found["scaler"])
        self.console.say(f"going on from step {self.progress.steps}")


def seed_of(*numbers: int) -> int:
    """Return one seed for torch from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
