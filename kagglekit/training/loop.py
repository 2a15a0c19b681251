"""The training loop: phases of epochs of steps, for one model on one training split.

B images per batch, N in a table, H x W pixels. A step depends only on the seed and its number, and all
state is in checkpoints: a killed run resumes with the same results (bit for bit on a CPU).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.base import devices, interrupts
from kagglekit.base.console import Advance, Console
from kagglekit.base.distributed import World
from kagglekit.base.errors import UserError
from kagglekit.recipe import Recipe
from kagglekit.training import advice, batches, checkpoints, lr_finder, rate_limits, schedules
from kagglekit.training.batches import TrainingData
from kagglekit.training.learner import Learner
from kagglekit.training.model_folder import ModelFolder
from kagglekit.training.pacing import Pacer
from kagglekit.training.phases import HEAD, START, Phase
from kagglekit.training.progress import Progress

if TYPE_CHECKING:
    import torch

_TEMPERED_ON = 8
"""Number of batches used to temper the head."""
_MOST_WORKERS = 16
"""Maximum number of loader workers per process: more only fill memory."""
_FINDER_STEPS = 100
_FINDER_EPOCH = 1_000_000
"""First epoch number of the finder, so that its batches differ from those of training."""


class Trainer:
    """One model in training."""

    def __init__(
        self,
        model: torch.nn.Module,
        data: TrainingData,
        recipe: Recipe,
        world: World,
        *,
        folder: Path,
        console: Console,
        seed: int,
        batch: int,
        description: dict[str, Any],
        after_epoch: Callable[[str, float, float], object] = lambda *_: None,
    ) -> None:
        """Prepare to train `model` with batch size `batch`; weights, checkpoints and plots go to `folder`.

        `after_epoch` is told the epoch, and where there is one its validation loss and the loss's standard error; what
        it raises ends the training.
        """
        self.data, self.recipe, self.world, self.console, self.seed = data, recipe, world, console, seed
        self.files = ModelFolder(folder, world, description)
        self._architecture: str = description["model"]
        self._after_epoch = after_epoch
        self.batch = max(min(batch, len(data.contents)) // world.size, 1) * world.size
        micro_batch = -(-self.batch // world.size // recipe.training.accumulate)
        self.learner = Learner(
            model,
            data.preprocessing,
            world,
            task=data.task,
            weights=data.task.weights(data.labels, recipe.data.balance),
            training=recipe.training,
            schedule=recipe.schedule,
            augmentation=recipe.augmentation,
            seed=seed,
            micro_batch=micro_batch,
            say=console.say,
        )
        self.progress = Progress()
        self._best_weights: dict[str, torch.Tensor] | None = None
        self._pacer: Pacer | None = None
        automatic = min(max(devices.cores() // world.size, 1), _MOST_WORKERS) if world.device.type == "cuda" else 0
        self._loader_workers = automatic if recipe.compute.loader_workers < 0 else recipe.compute.loader_workers

    # --- from the first phase to the last

    def train(self, phases: Sequence[Phase], advance: Advance, start: str = START, pacer: Pacer | None = None) -> None:
        """Train all phases, resuming from a checkpoint if there is one.

        `start` names the initial weights: `features` if the head was fitted on features. `pacer`, for a single phase,
        decides how many epochs it has.
        """
        self._pacer = pacer
        self._resume()
        if self.progress.phase == 0 and self.progress.at_start:
            self.files.save_weights(start, self.learner.state.weights())
        done = sum(phase.epochs for phase in phases[: self.progress.phase]) + self.progress.epoch
        advance(done * self.images_per_epoch + self.progress.step * self.batch)
        for number in range(self.progress.phase, len(phases)):
            self._phase(phases[number], phases[number - 1].name if number else start, advance)

    def _phase(self, phase: Phase, name_before: str, advance: Advance) -> None:
        self.learner.begin(phase)
        if self.progress.at_start:
            self._prepare(phase, name_before)
        if self._epochs(phase, advance):
            self.learner.state.forget_steps()
        self._keep_or_roll_back(phase, name_before)
        self.learner.end()
        self.files.save_weights(phase.name, self.learner.state.weights())
        self.progress = self.progress.next_phase()
        # before the phase counts as done: a command that resumes later does not write its files
        self.files.write_history(self.progress.history)
        self._save_progress()

    def _prepare(self, phase: Phase, name_before: str) -> None:
        """Record the validation loss before a phase, and choose its learning rate."""
        self.progress.before, _ = self._validation_loss()
        if self.progress.before is not None:
            self.console.say(f"{name_before}: validation loss {self.progress.before:.4f}")
        if name_before == HEAD:
            first = islice(self._batches(range(1), 0, augmented=phase.augment), _TEMPERED_ON)
            temper = self.learner.temper_head(first)
            if temper < 1:
                self.console.say(
                    f"{HEAD}: the head's scores are scaled by {temper:g} to suit the batch statistics of training"
                )
        self.progress.rate = self._choose_rate(phase)
        self.progress.rate_share = phase.rate

    def _epochs(self, phase: Phase, advance: Advance) -> bool:
        """Train a phase's epochs; return whether it diverged."""
        progress = self.progress
        epochs = range(progress.epoch, math.ceil(self._length(phase)))
        stream = self._batches(epochs, progress.step, augmented=phase.augment)
        while progress.epoch < self._length(phase):
            self._epoch(phase, islice(stream, self.steps_per_epoch - progress.step), advance)
            broken, loss, spread = self._judge_epoch(phase)
            if loss is not None and (broken or self._may_be_chosen(phase)) and progress.note_candidate(loss):
                self._best_weights = self.learner.state.copied_weights()
            if broken or (self.recipe.schedule.patience and progress.waited >= self.recipe.schedule.patience):
                why = "the loss is NaN or infinite" if broken else f"no improvement for {progress.waited} restarts"
                self.console.say(f"{phase.name}: {why}: stopped early")
                advance(max(round(self._length(phase)) - progress.epoch, 0) * self.images_per_epoch)
                return broken
            self._save_progress()
            if loss is not None:
                self._after_epoch(f"{phase.name} {progress.epoch} of {self._length(phase):g}", loss, spread)
        if self._pacer:
            self._pacer.trained(self.progress.num_steps)
        return False

    def _epoch(self, phase: Phase, stream: batches.Stream, advance: Advance) -> None:
        self.learner.set_mode()
        progress, number = self.progress, self._number(self.progress.epoch)
        losses: list[torch.Tensor] = []
        saving = checkpoints.Reminder(self.recipe.compute.checkpoint_seconds)
        with interrupts.deferred() as stop_requested:
            for images, labels in stream:
                self._look_at_clock(phase)
                at = progress.epoch + progress.step / self.steps_per_epoch
                if at >= self._length(phase):
                    break
                position = self._pacer.position(self._step, at) if self._pacer else at
                share = schedules.share(phase.schedule, position, phase.epochs, phase.cycle, phase.multiplier)
                rate = progress.rate * share
                self.learner.set_rate(rate)
                losses.append(self.learner.step(images, labels, (number, progress.step)))
                progress.note_step(phase.name, at, rate)
                advance(len(images) * self.world.size)
                stop, save = self.world.any_of(stop_requested(), saving.is_due())
                if stop or save:
                    self._note_losses(losses)
                    self._save_progress()
                if stop:
                    raise interrupts.Interrupted
            self._note_losses(losses)
            if len(self.data.validation_contents):  # validation may take a while, and may be interrupted
                self._save_progress()

    @property
    def _step(self) -> int:
        """Steps of this phase so far."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    def _length(self, phase: Phase) -> float:
        """Return the epochs of a phase; the last one may be cut short."""
        return self._pacer.epochs(self._step) if self._pacer else phase.epochs

    def _look_at_clock(self, phase: Phase) -> None:
        if self._pacer is None:
            return
        before = math.ceil(self._length(phase))
        self._pacer.check(self._step)
        now = self._length(phase)
        if math.ceil(now) != before:
            self.console.say(f"{phase.name}: {now:.1f} epochs instead of {before}, to end in time")

    def _may_be_chosen(self, phase: Phase) -> bool:
        """Return whether the weights at the end of an epoch may be chosen: those where the rate has come down."""
        if phase.schedule == "one-cycle":
            return self.progress.epoch >= self._length(phase)
        if phase.schedule == "flat":
            return True
        return self.progress.epoch in schedules.cycle_ends(phase.epochs, phase.cycle, phase.multiplier)

    def _note_losses(self, losses: list[torch.Tensor]) -> None:
        """Record the losses of steps; until then they stay on the device, so that no step waits for it."""
        import torch

        if losses:
            self.progress.note_losses(self.world.mean(torch.stack(losses)).tolist())
            losses.clear()

    # --- learning rate

    def find_rate(self, phase: Phase) -> lr_finder.Sweep:
        """Sweep the learning rate as `phase` would train; model, optimiser and random state are restored."""
        self.learner.begin(phase)
        curve = self._sweep(phase)
        self.learner.end()
        return curve

    def _sweep(self, phase: Phase) -> lr_finder.Sweep:
        learner, number = self.learner, self._number(_FINDER_EPOCH)
        epochs = range(_FINDER_EPOCH, _FINDER_EPOCH + -(-_FINDER_STEPS // self.steps_per_epoch))
        stream = enumerate(self._batches(epochs, 0, augmented=phase.augment))

        def take_step(rate: float) -> float:
            step, (images, labels) = next(stream)
            learner.set_rate(rate)
            return float(self.world.mean(learner.step(images, labels, (number, step))))

        with learner.state.restored():
            learner.set_mode()
            return lr_finder.sweep(take_step, steps=_FINDER_STEPS)

    def _choose_rate(self, phase: Phase) -> float:
        """Return the peak learning rate of the head in a phase."""
        requested, progress = self.recipe.schedule.learning_rate, self.progress
        usual = rate_limits.usual_rate(self._architecture)
        if requested or not phase.find:
            return (requested or progress.rate / progress.rate_share or usual) * phase.rate
        curve = self._sweep(phase)
        found = lr_finder.suggestions(curve)
        self.files.write_sweep(phase.name, curve, found)
        if not found:
            why = lr_finder.why_none(curve)
            self.console.warn(f"{phase.name}: the finder has no suggestion ({why}): training at the usual {usual:g}")
            return usual * phase.rate
        rate, how = rate_limits.pick(found, self.recipe.schedule.suggestion, self._architecture)
        self.console.say(f"{phase.name}: learning rate {rate:.2g} ({how})")
        return rate * phase.rate

    # --- judging

    def _validation_loss(self) -> tuple[float | None, float]:
        """Return the loss on the validation split (None without one), and its standard error."""
        rows, labels = self.data.validation_contents, self.data.validation_labels
        if not len(rows):
            return None, 0.0
        losses = self.data.task.losses(labels, self.learner.predict(self.data.pixels, rows))
        return float(losses.mean()), float(losses.std() / np.sqrt(len(losses)))

    def _judge_epoch(self, phase: Phase) -> tuple[bool, float | None, float]:
        """End an epoch; return whether it diverged, the validation loss, infinite if so, and its standard error."""
        progress = self.progress
        train_loss, (loss, spread) = progress.train_loss / progress.step, self._validation_loss()
        validation = "" if loss is None else f", validation loss {loss:.4f}"
        epoch = f"epoch {progress.epoch + 1} of {math.ceil(self._length(phase))}"
        self.console.say(f"{phase.name}: {epoch}: training loss {train_loss:.4f}{validation}")
        progress.note_epoch(phase.name, train_loss, loss)
        if math.isfinite(train_loss) and math.isfinite(loss or 0.0):
            return False, loss, spread
        if loss is None:
            raise UserError(
                f"{phase.name}: the training loss is {train_loss}: use a lower --set learning_rate (it was "
                f"{progress.rate:.2g}), or --set validation_share=0.1, so that such a phase is rolled back."
            )
        return True, math.inf, 0.0

    def _keep_or_roll_back(self, phase: Phase, name_before: str) -> None:
        """Keep the best weights of a phase, or roll it back if it worsened the validation loss; print advice."""
        progress = self.progress
        epochs = [row for row in progress.history if row["kind"] == "epoch" and row["phase"] == phase.name]
        if progress.worse_than_before:
            self.learner.state.load_weights(self.files.load_weights(name_before))
            self.learner.state.forget_steps()
            epochs[-1]["taken_back"] = True
            change = f"validation loss {progress.before:.4f} -> {progress.best:.4f}"
            self.console.say(f"{phase.name}: {change}: worse, so the phase is rolled back")
            loss, spread = progress.best, 0.0
        else:
            self.learner.state.load_weights(self._best_weights or self.learner.state.weights())
            loss, spread = self._validation_loss()
        self._best_weights = None
        if self.data.guesses is None:  # towards guesses no training loss is low
            self._give_advice(phase, epochs, loss, spread)

    def _give_advice(self, phase: Phase, epochs: Sequence[dict[str, Any]], loss: float | None, spread: float) -> None:
        judged = advice.PhaseLosses(
            name=phase.name,
            train_loss=epochs[-1]["train_loss"],
            valid_loss=loss,
            before=self.progress.before,
            spread=spread,
            train_is_augmented=phase.augment,
            kind=phase.trains,
            num_epochs=len(epochs),
            is_cut=self._pacer is not None and self._pacer.length < phase.epochs,
            guessing=self.data.task.guessing(self.data.labels),
            smooths=self.learner.loss.smooths,
            settings=self.recipe.as_dict(),
            trend=tuple(self.progress.trend),
        )
        for line in advice.judge(judged):
            self.console.say(line)

    # --- data

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch."""
        return batches.steps(len(self.data.contents), self.batch)

    @property
    def images_per_epoch(self) -> int:
        """Number of images per epoch: those that fill whole batches."""
        return self.steps_per_epoch * self.batch

    def _number(self, epoch: int) -> int:
        """Return a number of the epoch that is unique in this training."""
        return self.progress.phase * 1000 + epoch

    def _batches(self, epochs: range, first_step: int, *, augmented: bool) -> batches.Stream:
        """Yield the batches of several epochs of this phase, the first epoch from `first_step` on."""
        data, world = self.data, self.world
        samples = batches.Samples(data.pixels, data.contents, data.goals, data.augmenter if augmented else None)
        orders = [
            batches.Order(len(data.contents), self.batch, self.seed, self._number(epoch), start, world.rank, world.size)
            for epoch, start in zip(epochs, (first_step, *[0] * len(epochs)), strict=False)
        ]
        return batches.load(samples, orders, self._loader_workers, pinned=world.device.type == "cuda")

    # --- checkpoints

    def _save_progress(self) -> None:
        progress = dict(vars(self.progress))
        kept = {"progress": progress, "learner": self.learner.checkpoint(), "best": self._best_weights}
        self.files.save_checkpoint(kept | {"batch": self.batch, "processes": self.world.size})

    def _resume(self) -> None:
        found = self.files.load_checkpoint()
        if found is not None:
            self._check_batch(found.get("batch", self.batch), found.get("processes", self.world.size))
            self.progress = Progress(**found["progress"])
            self.learner.load_checkpoint(found["learner"])
            self._best_weights = found["best"]
            self.console.say(f"resuming at step {self.progress.num_steps}")

    def _check_batch(self, batch: int, processes: int) -> None:
        """Raise UserError if a checkpoint has batches of another size: its steps would be other parts of an epoch."""
        if batch == self.batch:
            return
        begun = "1 process" if processes == 1 else f"{processes} processes"
        raise UserError(
            f"{self.files.path.name} was begun with batches of {batch} images in {begun}, and {self.world.size} would "
            f"share batches of {self.batch}: go on with --processes {processes}, or remove "
            f"{self.files.path / checkpoints.FILE} to train this model from its start."
        )
