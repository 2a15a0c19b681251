"""The position and losses of a training, as stored in checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """The position and losses of a training."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    """Step within the epoch."""
    rate: float = 0.0
    """Peak learning rate of this phase."""
    rate_share: float = 1.0
    """The phase's share of the learning rate; `rate` includes it."""
    before: float | None = None
    """Validation loss before this phase."""
    train_loss: float = 0.0
    """Sum of the training losses over the epoch's steps."""
    trend: list[float] = field(default_factory=list)
    """Validation loss after each epoch of this phase."""
    best: float | None = None
    """Lowest validation loss at the end of a restart."""
    waited: int = 0
    """Number of restarts since the best one."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row per step and one per epoch, as `plots.history_plot` takes them."""
    num_steps: int = 0
    """Number of steps over all phases."""

    @property
    def at_start(self) -> bool:
        """Whether this phase has not begun."""
        return self.epoch == self.step == 0

    def next_phase(self) -> Progress:
        """Return the start of the next phase."""
        return Progress(
            phase=self.phase + 1,
            rate=self.rate,
            rate_share=self.rate_share,
            history=self.history,
            num_steps=self.num_steps,
        )

    def note_step(self, phase: str, epoch: float, rate: float) -> None:
        """Record a step; its loss follows (`note_losses`)."""
        row = {"kind": "step", "step": self.num_steps, "phase": phase, "epoch": epoch, "loss": math.nan, "rate": rate}
        self.history.append(row)
        self.step += 1
        self.num_steps += 1

    def note_losses(self, losses: Sequence[float]) -> None:
        """Record the losses of the last steps."""
        for row, loss in zip(self.history[-len(losses) :], losses, strict=True):
            row["loss"] = loss
        self.train_loss += sum(losses)

    def note_epoch(self, phase: str, train_loss: float, valid_loss: float | None) -> None:
        """Record an epoch, and move to the next one."""
        self.history.append(
            {
                "kind": "epoch",
                "step": self.num_steps,
                "phase": phase,
                "epoch": self.epoch,
                "train_loss": train_loss,
                "valid_loss": valid_loss,
            }
        )
        if valid_loss is not None:
            self.trend.append(valid_loss)
        self.epoch += 1
        self.step, self.train_loss = 0, 0.0

    def note_candidate(self, loss: float) -> bool:
        """Record the validation loss of candidate weights; return whether it is the best of this phase."""
        if self.best is not None and loss >= self.best:
            self.waited += 1
            return False
        self.best, self.waited = loss, 0
        return True

    @property
    def worse_than_before(self) -> bool:
        """Whether the best weights of this phase are worse than those that it began with."""
        return self.before is not None and self.best is not None and self.best > self.before
