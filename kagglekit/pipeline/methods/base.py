"""What a method is: a way from images to probabilities by id. A new one is a module here and an entry in `table.py`.

N training images, M test images, R readable ones of them, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices
from kagglekit.base.arrays import Floats, Labels, class_indices
from kagglekit.data import folds
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.fitted import Fitted
from kagglekit.pipeline.predictions import Candidate, Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, record
from kagglekit.runs.record import Provider
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.training.budget import Plan, Work


class FinishedRun(Protocol):
    """What a method reads of a run that is finished."""

    @property
    def run(self) -> Run:
        """Its folder."""

    @property
    def recipe(self) -> Recipe:
        """Its settings."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes' labels, in the order of probabilities."""

    @property
    def mirror(self) -> tuple[int, ...] | None:
        """The class that a mirrored image of each class shows; None where flips are forbidden."""

    @property
    def steps(self) -> Mapping[str, float | None]:
        """Finishing steps that an image takes by itself -> their value."""

    @property
    def backbones(self) -> Sequence[Backbone]:
        """Its backbones; raises UserError where one is no longer what it was."""


class Method(ABC):
    """One way from images to probabilities; what pipeline, export, report and audit need of it.

    Its stages leave at least the files `FOLDS` and `PROVIDER` of `runs/filenames.py`.
    """

    name: ClassVar[str]
    """What setting `method` calls it."""

    @abstractmethod
    def describe(self, recipe: Recipe) -> str:
        """Return its name and what tells its runs apart first, for lists of runs."""

    # --- before a run

    @abstractmethod
    def default_backbones(self, device: devices.Device) -> tuple[tuple[str, ...], str]:
        """Return the backbones that it takes on a device where none is given, if it needs any, and why these."""

    def suits(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[bool, str]:  # noqa: ARG002
        """Say whether method `auto` takes it here, and why or why not; the reason may be left to the one before."""
        return False, ""

    def plan(self, recipe: Recipe, work: Work, device: devices.Device) -> Plan:  # noqa: ARG002
        """Settle what depends on machine and budget; raise UserError where the budget is too small."""
        return Plan({"folds": recipe.data.num_folds}, "")

    # --- making it

    @abstractmethod
    def stages(self, job: Job) -> tuple[Stage, ...]:
        """Return the stages that end in its predictions."""

    @abstractmethod
    def predict(self, job: Job, stages: Stages) -> Predictions | None:
        """Make the stages, and return what they predict; None in a process that only helps another."""

    # --- a finished run

    @abstractmethod
    def views(self, run: FinishedRun) -> tuple[str, ...]:
        """Return the views of an image that are predicted."""

    @abstractmethod
    def fitted(self, run: FinishedRun, part: str) -> Fitted:
        """Return a part of the run: `WHOLE`, or `fold0` …, which has not seen the images of its fold."""


class FoldByFold(Method):
    """A method whose folds can be trained by commands of their own."""

    @abstractmethod
    def folds(self, job: Job) -> Sequence[int]:
        """Return the folds of a run."""

    @abstractmethod
    def prepare(self, job: Job, stages: Stages) -> None:
        """Make what all folds share: commands that each train one do it in turn."""

    @abstractmethod
    def train_fold(self, job: Job, stages: Stages, fold: int) -> None:
        """Train the models of a fold, after `prepare`."""


class MethodRun:
    """A run that a method is making: what every method needs to know of its images."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run: Run = job.run
        self.recipe: Recipe = job.recipe
        self.labels = job.competition.labels
        self.table = job.tables.train
        self.readable = job.tables.asked[self._is_readable].reset_index(drop=True)

    @property
    def _is_readable(self) -> NDArray[np.bool_]:
        """Whether each test image that is asked for can be read, (M,)."""
        return (self.job.tables.asked["content"] != "").to_numpy(dtype=bool)

    @cached_property
    def truth(self) -> Labels:
        """Each training image's class, (N,)."""
        return class_indices(self.table["label"], self.labels)

    @cached_property
    def groups(self) -> NDArray[np.object_] | None:
        """Each training image's group, (N,)."""
        return self.table["group"].to_numpy(dtype=object) if "group" in self.table else None

    @cached_property
    def contents(self) -> list[bytes]:
        """Hashes of what the files of the training images hold, (N,)."""
        return [bytes.fromhex(content) for content in self.table["content"]]

    @cached_property
    def test_contents(self) -> list[bytes]:
        """The same of the readable test images, (R,)."""
        return [bytes.fromhex(content) for content in self.readable["content"]]

    @cached_property
    def fold(self) -> folds.Fold:
        """Each training image's fold, (N,), once that is written."""
        return np.asarray(self.run.folds().loc[self.table["id"]], dtype=np.int64)

    @property
    def scored_ids(self) -> list[str]:
        """Ids of the training images that a fold scores."""
        return list(self.table["id"][self.fold != folds.TRAIN_ONLY])

    @property
    def prior(self) -> Floats:
        """The classes' shares in training, (C,)."""
        return np.bincount(self.truth, minlength=len(self.labels)) / len(self.table)

    def write_folds(self) -> None:
        """Decide who scores whom."""
        self.run.write_frame(
            filenames.FOLDS, self.table[["id"]].assign(fold=folds.assign(self.table, self.recipe.data))
        )

    def write_device(self, used: str, features: Sequence[str] | None = None, folder: str = "") -> None:
        """Write down what the run, or a model in a `folder` of it, is computed on, and the `features` to start from."""
        provider = Provider(
            asked=self.recipe.compute.provider, used=used, features=None if features is None else tuple(features)
        )
        record.write(self.run.folder / folder / filenames.PROVIDER, provider)

    def all_asked(self, test: Floats) -> Floats:
        """Return rows of the readable test images (R, C) among NaN for those that can't be read: (M, C)."""
        found = np.full((len(self.job.tables.asked), len(self.labels)), np.nan)
        found[self._is_readable] = test
        return found

    def predictions(self, oof: Floats, test: Floats, candidates: tuple[Candidate, ...] = ()) -> Predictions:
        """Return what the method hands on: rows of the scored images, and of all test images that are asked for."""
        return Predictions(
            train=self.table.assign(fold=self.fold), oof=oof, test=test, prior=self.prior, candidates=candidates
        )
