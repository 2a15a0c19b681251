"""What methods, export and report read of a finished run, from its folder, without the plugin.

N: scored images, R: readable test images, V: views, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kagglekit.base.arrays import Labels
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import mirror_classes
from kagglekit.images.decoding import PREPROCESSING_VERSION, Preprocessing
from kagglekit.images.depth import Levels
from kagglekit.models import registry
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import views
from kagglekit.pipeline.views import ViewClasses
from kagglekit.recipe import FeatureSettings
from kagglekit.runs import record
from kagglekit.runs.record import BackboneRecord
from kagglekit.runs.store import Run
from kagglekit.tasks import decisions


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The images whose predictions are read."""

    ids: Sequence[str]
    """The scored training images, (N,)."""
    fold: Labels
    """Their folds, (N,)."""
    test: Sequence[str]
    """The readable test images, (R,)."""


class FinishedRun:
    """A finished run: its settings, backbones and finishing steps."""

    def __init__(self, run: Run, console: Console) -> None:
        """Read the folder of a run. Raises UserError if the run is not finished."""
        run.finished()
        alone = run.alone
        if alone is None:
            raise UserError(f"run {run.id} is not finished: rerun its command to resume.")
        self.run = run
        self.record = run.record
        self.recipe = run.recipe
        self.meanings = self.record.competition.classes
        self.task = self.record.competition.task
        self.labels = self.task.columns
        """What is predicted, such as the labels of the classes, in the order of predictions."""
        self.mirror = mirror_classes(self.labels, self.record.competition.flip)
        """For each class, the index of the mirrored image's class, (C,); None if flips are forbidden."""
        self.steps = alone.steps
        """Finishing steps that need no other images -> value."""
        self.decision = self.task.usual() if alone.decision is None else decisions.from_plain(alone.decision)
        """What is decided from the predictions."""
        self.left_out = alone.left_out
        """Steps that need other images, and were kept for the submission only."""
        self.out_of_fold = alone.out_of_fold
        """Out-of-fold score without the steps left out."""
        self.console = console

    @cached_property
    def backbones(self) -> list[Backbone]:
        """Backbones of the run. Raises UserError if one is missing or has changed."""
        return [_resolved(spec, then, self.recipe.features, self.console) for spec, then in self._specs()]

    @property
    def levels(self) -> Levels:
        """How images of more than 8 bits per channel are shown; nothing if the run has no backbone."""
        return next((Preprocessing.from_plain(one.preprocessing).levels for one in self.record.backbones), ())

    def classes_in(self, seen: Sequence[str]) -> ViewClasses:
        """Return the classes that views show, (V, C)."""
        return views.classes_in(seen, len(self.labels), self.mirror)

    def _specs(self) -> Sequence[tuple[str, BackboneRecord]]:
        records = self.record.backbones
        raced = self.run.race
        if raced is not None:
            specs: Sequence[str] = raced.chosen
        else:
            specs = record.names_of(records) if self.recipe.features.chooses else self.recipe.features.backbone
        return list(zip(specs, records, strict=True))


def _resolved(spec: str, recorded: BackboneRecord, used: FeatureSettings, console: Console) -> Backbone:
    """Return a backbone. Raises UserError if it is not the same as in the run."""
    then = Preprocessing.from_plain(recorded.preprocessing)
    backbone = registry.resolve(spec, used, console.say).with_levels(then.levels)
    if backbone.preprocessing != then or recorded.pixels not in (None, PREPROCESSING_VERSION):
        raise UserError(
            f"backbone {backbone.name}: the installed timm or kagglekit preprocesses images differently from the "
            f"run's (timm {recorded.made_by.get('timm', 'unknown')}): install the run's versions, or run again."
        )
    if backbone.sha256 != recorded.sha256:
        raise UserError(
            f"backbone {backbone.name}: its weights (sha256 {backbone.sha256[:12]}) are not those of the run "
            f"({recorded.sha256[:12]}): restore the run's weights, or run again."
        )
    return backbone
