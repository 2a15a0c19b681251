"""The images of a run of method "finetune": their features, their pixels, and how they are augmented.

N: training images, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base import devices, gpu
from kagglekit.base.arrays import Indices
from kagglekit.heads import features
from kagglekit.images import pixels
from kagglekit.images.row_store import RowStore
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import views
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.base import MethodRun
from kagglekit.pipeline.methods.fold_models import fold_models
from kagglekit.runs import filenames
from kagglekit.training import contact_sheet, policies
from kagglekit.training import phases as named

if TYPE_CHECKING:
    from kagglekit.training.augmenter import Augmenter


_MOST_DIFFERENT = 1000
"""Number of images with different labels that the contact sheet of augmented images chooses from."""
_SHEET_ROWS, _SHEET_VIEWS = 6, 7
"""Rows of the contact sheet of augmented images, and pictures per row."""


class FinetuneImages(MethodRun):
    """What models see, and the features that their heads start from."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.phases = named.of(job.recipe.schedule)
        self.on_features = named.starts_on_features(job.recipe.schedule, job.recipe.training.start)
        self.fold_models = fold_models(job.run, job.recipe, job.backbones)
        self.views, self.view_classes = views.of_run(job.competition, job.recipe.features.feature_views, job.console)
        self.device = gpu.choose(job.recipe.compute.provider)

    def write_features(self) -> None:
        """Store features of the training images and pixels of all images."""
        used: set[str] = set()
        for backbone in self.job.backbones:
            if self.on_features:
                used.add(self._features(backbone)[1])
            self._all_pixels(backbone)
        try:
            self._draw_augmented()
        except Exception as error:  # noqa: BLE001  a missing picture must not stop the training
            self.job.console.warn(f"the sheet of augmented images can't be drawn ({type(error).__name__}: {error})")
        self.write_device(self.device, features=sorted(used))

    def _draw_augmented(self) -> None:
        """Draw augmented images as in training, of some images with different labels."""
        from kagglekit.training import learner
        from kagglekit.training.augmenter import label_at

        first = self.fold_models[0]
        augmenter = self._augmenter(first.backbone, learner.seed_of(self.recipe.data.seed, first.fold, first.number))
        store = self._pixels(first.backbone, self.table["path"].tolist(), self.contents)
        once = np.flatnonzero(~self.table["label"].duplicated())[:_MOST_DIFFERENT]
        different = once[np.unique(self.truth[once], axis=0, return_index=True)[1]]
        shown = different[np.linspace(0, len(different) - 1, min(_SHEET_ROWS, len(different))).astype(int)].tolist()
        some = [(store.row(self.contents[index]), label_at(self.truth, index), self.contents[index]) for index in shown]
        sheet = self.run.folder / filenames.AUGMENTATIONS
        contact_sheet.draw_sheet(augmenter, some, contact_sheet.captions(self.job.competition), _SHEET_VIEWS, sheet)

    def _features(self, backbone: Backbone) -> tuple[features.Features, devices.Device]:
        engine = features.FeatureEngine(
            [backbone],
            self.views,
            "pooled",
            self.recipe.compute,
            self.job.workspace.features,
            batch_size=self.job.batch_size,
            warn=self.job.console.warn,
        )
        return engine.compute(self.table["path"].tolist(), self.contents, self.job.console), engine.device

    def _all_pixels(self, backbone: Backbone) -> RowStore:
        """Return the pixels of the training images and the readable test images."""
        paths = [*self.table["path"], *self.readable["path"]]
        return self._pixels(backbone, paths, [*self.contents, *self.test_contents])

    def _pixels(self, backbone: Backbone, paths: Sequence[str], contents: Sequence[bytes]) -> RowStore:
        workers = self.recipe.compute.num_threads
        folder = self.job.workspace.cache / "pixels"
        return pixels.pixel_store(
            backbone.preprocessing, paths, contents, folder=folder, workers=workers, console=self.job.console
        )

    def _some(self, indices: Indices) -> list[bytes]:
        return [self.contents[index] for index in indices.tolist()]

    def _augmenter(self, backbone: Backbone, seed: int) -> Augmenter:
        from kagglekit.training.augmenter import Augmenter

        size = backbone.preprocessing.size
        return Augmenter(
            transforms=policies.resolve(
                self.recipe.augmentation.augment, size, policies.of_plugin(self.job.plugin, size)
            ),
            mirror=self.job.competition.mirror_classes,
            mirror_share=self.recipe.augmentation.mirror_share,
            erasing=self.recipe.augmentation.erasing,
            seed=seed,
        )
