"""A finished run that can predict, with torch or as one ONNX file.

Everything is read from the run's folder, without the plugin.

N: images, V: views, D: features, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import storage
from kagglekit.base.arrays import Floats
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import mirror_classes
from kagglekit.data import folds
from kagglekit.images.decoding import PREPROCESSING_VERSION, Preprocessing
from kagglekit.images.depth import Levels
from kagglekit.models import onnx_export, registry
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import postprocess, views
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.fitted import WHOLE, Fitted
from kagglekit.pipeline.views import PLAIN, ViewClasses
from kagglekit.recipe import FeatureSettings
from kagglekit.runs.record import BackboneRecord
from kagglekit.runs.store import Run
from kagglekit.tasks import decisions


class FittedRun:
    """A finished run: its networks, heads and finishing steps."""

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
        self.mirror = mirror_classes(self.labels, self.record.competition.flip)
        self.steps = alone.steps
        """Finishing steps that need no other images -> value."""
        self.decision = self.task.usual() if alone.decision is None else decisions.from_plain(alone.decision)
        """What is decided from the predictions."""
        self.left_out = alone.left_out
        """Steps that need other images, and were kept for the submission only."""
        self.out_of_fold = alone.out_of_fold
        """Out-of-fold score without the steps left out."""
        self._console = console
        self._method = table.of_run(self.recipe)
        self._fitted: dict[str, Fitted] = {}

    @cached_property
    def backbones(self) -> list[Backbone]:
        """Backbones of the run. Raises UserError if one is missing or has changed."""
        return [_resolved(spec, record, self.recipe.features, self._console) for spec, record in self._specs()]

    @property
    def levels(self) -> Levels:
        """How images of more than 8 bits per channel are shown; nothing if the run has no backbone."""
        return next((Preprocessing.from_plain(one.preprocessing).levels for one in self.record.backbones), ())

    @property
    def made_from(self) -> str:
        """Hash of the files that determine the predictions: weights, heads and finishing steps."""
        made = self.run.manifest("finish")
        assert made is not None, "alone.json is a file of this stage"
        return storage.digest(made.made_from, 32)

    def _specs(self) -> Sequence[tuple[str, BackboneRecord]]:
        records = self.record.backbones
        automatic = self.recipe.features.backbone == ("auto",)
        specs = [record.name for record in records] if automatic else self.recipe.features.backbone
        return list(zip(specs, records, strict=True))

    @property
    def views(self) -> tuple[str, ...]:
        """Views of an image that are predicted."""
        return self._method.views(self)

    @property
    def view_classes(self) -> ViewClasses:
        """For each view, the class that an image of class c shows, (V, C)."""
        return views.classes_in(self.views, len(self.labels), self.mirror)

    def fitted(self, part: str = WHOLE) -> Fitted:
        """Return a part of the run that can predict."""
        if part not in self._fitted:
            self._fitted[part] = self._method.fitted(self, part)
        return self._fitted[part]

    @property
    def folds(self) -> dict[str, int]:
        """Id of each scored training image -> fold."""
        fold = self.run.folds()
        scored = fold[fold != folds.TRAIN_ONLY]
        return dict(zip(scored.index.tolist(), scored.tolist(), strict=True))

    def preprocessings(self) -> dict[str, Preprocessing]:
        """Return input name -> preprocessing of the exported file: one input per distinct preprocessing."""
        different = list(dict.fromkeys(backbone.preprocessing for backbone in self.backbones))
        if len(different) == 1:
            return {onnx_export.IMAGES: different[0]}
        return {f"{onnx_export.IMAGES}{number}": preprocessing for number, preprocessing in enumerate(different)}

    def by_torch(self, images: Mapping[Preprocessing, NDArray[np.uint8]], part: str = WHOLE) -> Floats:
        """Predict with torch: uint8 images (N, H, W, 3) by preprocessing -> probabilities (N, C)."""
        import torch

        fitted, outputs = self.fitted(part), []
        for network in fitted.networks:
            module, pixels = network.module(), images[network.backbone.preprocessing]
            seen = [pixels if view == PLAIN else np.ascontiguousarray(pixels[:, :, ::-1]) for view in self.views]
            with torch.inference_mode():
                computed = [[rows.numpy() for rows in module(torch.from_numpy(view))] for view in seen]
            outputs.append([dict(zip(("pooled", "logits"), rows, strict=False)) for rows in computed])
        found = fitted.probabilities(outputs, self.view_classes)
        for step, value in self.steps.items():
            if value is not None:
                found = np.asarray(postprocess.STEPS[step][0](found, value, self.task.activation))
        return found


def _resolved(spec: str, record: BackboneRecord, used: FeatureSettings, console: Console) -> Backbone:
    """Return a backbone. Raises UserError if it is not the same as in the run."""
    then = Preprocessing.from_plain(record.preprocessing)
    backbone = registry.resolve(spec, used, console.say).with_levels(then.levels)
    if backbone.preprocessing != then or record.pixels not in (None, PREPROCESSING_VERSION):
        raise UserError(
            f"backbone {backbone.name}: the installed timm or kagglekit preprocesses images differently from the "
            f"run's (timm {record.made_by.get('timm', 'unknown')}): install the run's versions, or run again."
        )
    if backbone.sha256 != record.sha256:
        raise UserError(
            f"backbone {backbone.name}: its weights (sha256 {backbone.sha256[:12]}) are not those of the run "
            f"({record.sha256[:12]}): restore the run's weights, or run again."
        )
    return backbone
