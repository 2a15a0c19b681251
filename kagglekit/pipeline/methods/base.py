"""Base classes of methods. A method turns images into probabilities by id.

A new method is a module in this package and an entry in `table.py`.

N: training images, M: test images, R: readable test images, C: classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices, shortlists
from kagglekit.base.arrays import Floats
from kagglekit.base.console import Console
from kagglekit.base.shortlists import Wide
from kagglekit.base.workspace import Workspace
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.fitted import Fitted
from kagglekit.pipeline.predictions import Candidate, Predictions
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, record
from kagglekit.runs.record import BackboneRecord, Provider
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Task, Truth
from kagglekit.training.budget import Plan, Work


class Method(ABC):
    """The interface that pipeline, export, report and audit need of a method.

    The stages of a method must write at least the files `FOLDS` and `PROVIDER` of `runs/filenames.py`.
    """

    name: ClassVar[str]
    """Name of the method, as in the setting `method`."""
    takes_backbones: ClassVar[bool] = True
    """Whether the backbones of the settings are used."""

    @abstractmethod
    def describe(self, recipe: Recipe) -> str:
        """Return the name and the most distinctive setting, for lists of runs."""

    # --- before a run

    @abstractmethod
    def default_backbones(self, recipe: Recipe, work: Work, device: devices.Device) -> tuple[tuple[str, ...], str]:
        """Return the default backbones for this work on a device, if the method needs any, and the reason for them."""

    def check(self, recipe: Recipe, task: Task) -> None:  # noqa: B027
        """Raise UserError for settings that this method can't follow, before any data is read."""

    def plan(self, recipe: Recipe, work: Work, device: devices.Device) -> Plan:  # noqa: ARG002
        """Choose the settings that depend on machine and budget. Raises UserError if the budget is too small."""
        return Plan({"folds": recipe.data.num_folds}, "")

    def inputs(self, recipe: Recipe, workspace: Workspace) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what results depend on besides settings, data and backbones, for the run's key."""
        return {}

    def search_space(self, competition: Competition, device: devices.Device) -> Mapping[str, str]:  # noqa: ARG002
        """Return setting -> values for `tune` to search, as `--search` takes them; none if nothing is to be tuned."""
        return {}

    def using(self, backbones: Sequence[Backbone]) -> list[Backbone]:
        """Return the backbones with the outputs that the method uses."""
        return [backbone.without_layers() for backbone in backbones]

    # --- during a run

    def backbones(self, job: Job) -> tuple[BackboneRecord, ...]:
        """Return the backbones that the run uses."""
        return tuple(backbone.record() for backbone in job.backbones)

    @abstractmethod
    def stages(self, job: Job) -> tuple[Stage, ...]:
        """Return the stages of the method; the last ones write the predictions."""

    @abstractmethod
    def predict(self, job: Job, stages: Stages) -> Predictions | None:
        """Run the stages and return the predictions; None in all processes but the first."""

    # --- after a run

    def ways(self, job: Job) -> Mapping[str, Predictions]:  # noqa: ARG002
        """Return the predictions of each way to predict the test set, by name, if a finished run has several."""
        return {}

    @abstractmethod
    def fitted(self, run: FinishedRun, part: str, member: str = "") -> Fitted:
        """Return a part of the run: `WHOLE`, or `fold0` …, which has not been trained on the images of that fold.

        With `member`, return only that member inside the run.
        """

    def members(self, run: FinishedRun, asked: Asked) -> list[Member]:  # noqa: ARG002
        """Return what of a run may be blended: first the run, then the members inside it; none if nothing may."""
        return []

    def show(self, run: Run, console: Console) -> None:  # noqa: B027
        """Print what a finished run has found out besides its final numbers."""


class FoldByFold(Method):
    """A method whose folds can be trained by separate commands."""

    @abstractmethod
    def folds(self, job: Job) -> Sequence[int]:
        """Return the folds of a run."""

    @abstractmethod
    def prepare(self, job: Job, stages: Stages) -> None:
        """Write the files that all folds share. Only one command at a time may do this."""

    @abstractmethod
    def train_fold(self, job: Job, stages: Stages, fold: int) -> None:
        """Train the models of a fold. Call `prepare` first."""


class MethodRun:
    """A run in progress: the parts that all methods share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run: Run = job.run
        self.recipe: Recipe = job.recipe
        self.task = job.competition.task
        self.labels = self.task.columns
        self.table = job.tables.train
        self.readable = job.tables.requested[self._is_readable].reset_index(drop=True)

    @property
    def _is_readable(self) -> NDArray[np.bool_]:
        """Mask of the readable images among the test images to predict, (M,)."""
        return (self.job.tables.requested["content"] != "").to_numpy(dtype=bool)

    @cached_property
    def truth(self) -> Truth:
        """What is known of each training image, (N,) or (N, C)."""
        return self.task.truth(self.table["label"])

    @cached_property
    def groups(self) -> NDArray[np.object_] | None:
        """Group of each training image, (N,); None if there are no groups."""
        return self.table["group"].to_numpy(dtype=object) if "group" in self.table else None

    @cached_property
    def contents(self) -> list[bytes]:
        """Hash of each training image's file, (N,)."""
        return [bytes.fromhex(content) for content in self.table["content"]]

    @cached_property
    def test_contents(self) -> list[bytes]:
        """Hash of each readable test image's file, (R,)."""
        return [bytes.fromhex(content) for content in self.readable["content"]]

    @cached_property
    def fold(self) -> folds.Fold:
        """Fold of each training image, (N,), read from the run's file."""
        return np.asarray(self.run.folds().loc[self.table["id"]], dtype=np.int64)

    @property
    def scored_ids(self) -> list[str]:
        """Ids of the training images that are scored."""
        return list(self.table["id"][self.fold != folds.TRAIN_ONLY])

    @property
    def prior(self) -> Floats:
        """What is predicted of an image that can't be read, such as the share of each class, (C,)."""
        return self.task.prior(self.truth)

    def write_folds(self) -> None:
        """Assign the training images to folds, and write the assignment. Warn of classes that are not scored."""
        fold = folds.assign(self.table, self.task, self.recipe.data)
        lacking = set(self.task.unused(self.truth))  # which has been said
        unscored = [name for name in self.task.unused(self.truth[fold != folds.TRAIN_ONLY]) if name not in lacking]
        if unscored:
            kind, exclusive = self.task.target.kind, self.task.target.exclusive
            counts = "does not count them" if exclusive else "counts only that they are not there"
            self.job.console.warn(
                f"no image of {len(unscored)} {kind} is scored, for example of {unscored[0]!r}: they are trained and "
                f"predicted, but the score {counts}"
            )
        self.run.write_frame(filenames.FOLDS, self.table[["id"]].assign(fold=fold))

    def write_device(self, used: str, features: Sequence[str] | None = None, folder: str = "") -> None:
        """Record the device of the run, or of a model in its `folder`, and the devices of precomputed `features`."""
        provider = Provider(
            asked=self.recipe.compute.provider, used=used, features=None if features is None else tuple(features)
        )
        record.write(self.run.folder / folder / filenames.PROVIDER, provider)

    def all_requested(self, test: Wide) -> Wide:
        """Expand rows of the readable test images, (R, C), to all test images, (M, C). Unreadable images get NaN."""
        return shortlists.spread(test, self._is_readable)

    def predictions(self, oof: Wide, test: Wide, candidates: tuple[Candidate, ...] = ()) -> Predictions:
        """Return the method's result from rows of the scored images and of all test images to predict."""
        table = self.table.assign(fold=self.fold)
        return Predictions(train=table, oof=oof, test=test, prior=self.prior, candidates=candidates)
