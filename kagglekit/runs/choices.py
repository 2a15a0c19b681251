"""What a run chose by its machine, its time and its data, before it was made: JSON files in the run's folder.

`filenames` has the names of the files, `record` the other contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kagglekit.base.plain import Plain, left_out


@dataclass(frozen=True, kw_only=True)
class BackbonePace(Plain):
    """The expected times of a model of one backbone, in seconds."""

    epoch: float
    """Time of an epoch."""
    model: float
    """Time of the model besides its epochs."""


@dataclass(frozen=True, kw_only=True)
class Pace(Plain):
    """The expected times of a run that has to end within a budget. All times are in seconds."""

    budget: float
    """Time that the whole command may take."""
    least: float
    """Time of the whole command with this plan, and a reserve. It may be more than the budget if none was given."""
    epochs: int
    """Epochs of each model."""
    epoch: float
    """Time of an epoch of one model of the first backbone."""
    model: float
    """Time of one model of the first backbone besides its epochs."""
    ending: float
    """Time from the last model to the end of the command."""
    others: tuple[BackbonePace, ...] = ()
    """The times of the other backbones' models."""

    def of_backbone(self, number: int) -> Pace:
        """Return the times for the models of one backbone, of which the first has number 0."""
        if not number:
            return self
        other = self.others[number - 1]
        return replace(self, epoch=other.epoch, model=other.model)


@dataclass(frozen=True, kw_only=True)
class PaceCheck(Plain):
    """A comparison of a model's training with the clock."""

    step: int
    """Steps trained before."""
    seconds: float
    """Time of the model so far."""
    epochs: float
    """Epochs that the model trains in all, from here on."""
    epoch: float | None = None
    """Time of an epoch, measured since the comparison before, in seconds; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class ModelPace(Plain):
    """What the clock decided for one model: `pace.json` in its folder."""

    checks: tuple[PaceCheck, ...] = ()
    epoch: float | None = None
    """Time of an epoch, measured over the whole training, in seconds."""
    seconds: float | None = None
    """Time of the whole model."""


@dataclass(frozen=True, kw_only=True)
class LeftOut(Plain):
    """What a run left out to end within its budget."""

    folds: tuple[int, ...] = ()
    pseudo_labels: bool | None = left_out()
    """Whether pseudo-labels are left out; None in older runs, and where they are not."""
    refit: bool | None = left_out()
    """The same of models that are trained on all images."""


@dataclass(frozen=True, kw_only=True)
class Entrant(Plain):
    """A candidate of a race of frozen backbones."""

    backbone: str
    """Its name for `registry.resolve`."""
    seconds: float | None = None
    """Measured time that an image takes, in the views of the run; None if it was not tried."""
    images: int = 0
    """Number of training images that it was judged on, out-of-fold; 0 if time alone decided."""
    loss: float | None = None
    """Mean of the task's proper loss over them."""
    behind: float | None = None
    """Mean difference from the best on the same images."""
    error: float | None = None
    """Standard error of that difference."""
    verdict: str = ""
    """What became of it, for people."""


@dataclass(frozen=True, kw_only=True)
class Race(Plain):
    """A race of frozen backbones on a sample of the training images: `race.json`."""

    entrants: tuple[Entrant, ...]
    """The best first."""
    chosen: tuple[str, ...]
    """The backbones to spend the budget on."""
    seconds: float
    """Seconds that their features of all images take."""


@dataclass(frozen=True, kw_only=True)
class Decision(Plain):
    """The choices that depend on the machine and its state, made once per run."""

    device: str
    backbones: tuple[str, ...]
    """Names of the backbones for `registry.resolve`."""
    reason: str
    """Reason for the backbones; empty if the user named them."""
    settings: Mapping[str, Any]
    """Chosen settings of the recipe."""
    why: str
    """Reason for the settings."""
    batch_size: int
    """Images per batch."""
    when: str
    """Local date and time."""
    pace: Pace | None = None
    """Expected times; None if the run need not end within a budget."""
    race: Race | None = None
    """The race that chose the frozen backbones; None if there was none."""
    first: Decision | None = None
    """What was decided of the run that is made before this one, and blended with it; None if there is none."""
