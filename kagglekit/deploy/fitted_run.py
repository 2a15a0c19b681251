"""A finished run that can predict, with torch or as one ONNX file.

Everything is read from the run's folder, without the plugin.

N: images, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import storage
from kagglekit.base.arrays import Floats
from kagglekit.base.console import Console
from kagglekit.data import folds
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import onnx_export
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import postprocess
from kagglekit.pipeline.finished import FinishedRun
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.fitted import WHOLE, Fitted, Term
from kagglekit.pipeline.views import PLAIN
from kagglekit.runs.store import Run


class FittedRun(FinishedRun):
    """A finished run: its networks, heads and finishing steps."""

    def __init__(self, run: Run, console: Console) -> None:
        """Read the folder of a run. Raises UserError if the run is not finished."""
        super().__init__(run, console)
        self._method = table.of_run(self.recipe)
        self._fitted: dict[str, Fitted] = {}

    @cached_property
    def predicting(self) -> list[Backbone]:
        """Different backbones of the networks that predict."""
        found = {(one.backbone.sha256, one.backbone.preprocessing): one.backbone for one in self.fitted().networks}
        return list(found.values())

    @property
    def made_from(self) -> str:
        """Hash of the files that determine the predictions: weights, heads and finishing steps."""
        made = self.run.manifest("finish")
        assert made is not None, "alone.json is a file of this stage"
        return storage.digest(made.made_from, 32)

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
        different = list(dict.fromkeys(backbone.preprocessing for backbone in self.predicting))
        if len(different) == 1:
            return {onnx_export.IMAGES: different[0]}
        return {f"{onnx_export.IMAGES}{number}": preprocessing for number, preprocessing in enumerate(different)}

    def by_torch(self, images: Mapping[Preprocessing, NDArray[np.uint8]], part: str = WHOLE) -> Floats:
        """Predict with torch: uint8 images (N, H, W, 3) by preprocessing -> probabilities (N, C)."""
        terms = self.fitted(part).terms
        found: Floats = np.sum([term.weight * _by_torch(term, images) for term in terms], axis=0)
        for step, value in self.steps.items():
            if value is not None:
                found = np.asarray(postprocess.STEPS[step][0](found, value, self.task.activation))
        return found


def _by_torch(term: Term, images: Mapping[Preprocessing, NDArray[np.uint8]]) -> Floats:
    """Return what a term predicts, (N, C)."""
    import torch

    outputs = []
    for network in term.networks:
        module, pixels = network.module(), images[network.backbone.preprocessing]
        seen = [pixels if view == PLAIN else np.ascontiguousarray(pixels[:, :, ::-1]) for view in term.views]
        with torch.inference_mode():
            computed = [[rows.numpy() for rows in module(torch.from_numpy(view))] for view in seen]
        outputs.append([dict(zip(onnx_export.OUTPUTS, rows, strict=False)) for rows in computed])
    return term.probabilities(outputs)
