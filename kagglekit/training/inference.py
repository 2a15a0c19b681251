"""Prediction with a trained model, by onnxruntime, on decoded pixels.

N images, C columns of the target, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import parallel, shortlists
from kagglekit.base.shortlists import Wide
from kagglekit.models import batch_sizes, onnx_export, sessions
from kagglekit.models.backbone import Backbone
from kagglekit.recipe import ComputeSettings

if TYPE_CHECKING:
    import torch

    from kagglekit.training.loop import Trainer

View = Callable[[Any, bytes], Any]
"""(pixels (H, W, 3), content hash of the file) -> pixels."""


class TrainedModel:
    """A trained model as a graph; each process predicts its share of the images, and gets all results."""

    def __init__(
        self,
        trainer: Trainer,
        backbone: Backbone,
        compute: ComputeSettings,
        warn: sessions.Say,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Export the current weights of `trainer`, or `weights`."""
        self.trainer = trainer
        self._backbone, self._compute, self._warn = backbone, compute, warn
        graph = onnx_export.trained(backbone, trainer.learner.bare, weights or trainer.learner.state.weights())
        if trainer.world.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()  # onnxruntime needs the memory that training has used
        self._session = sessions.open_on(graph, compute.provider, 1, warn)
        self.device = self._session.device
        self._batch = compute.feature_batch or batch_sizes.automatic_batch(self.device, backbone.preprocessing.size)
        # processes on one CPU share its cores
        self._workers = max(compute.num_threads // trainer.world.size, 1)

    def adapted(self, contents: Sequence[bytes], *, mirrors: bool) -> TrainedModel:
        """Return the model with batch-norm statistics of these images, and of their mirrored views."""
        weights = self.trainer.learner.adapted(self.trainer.data.pixels, contents, mirrors=mirrors)
        return TrainedModel(self.trainer, self._backbone, self._compute, self._warn, weights)

    def predict(self, contents: Sequence[bytes], view: View | None = None) -> tuple[Wide, NDArray[np.float16]]:
        """Return predictions (N, C) and pooled features (N, D) of images, given by content hash.

        `view` changes each image's pixels.
        """
        world, pixels, task = self.trainer.world, self.trainer.data.pixels, self.trainer.data.task
        activation = task.network_activation
        if not contents:
            return activation.kept(np.empty((0, len(task.columns)))), np.empty((0, 1), np.float16)
        own = world.own_share(contents)

        def compute(chunk: Sequence[bytes]) -> tuple[Wide, NDArray[Any]]:
            images = [pixels.row(content) for content in chunk]
            if view is not None:
                images = [view(image, content) for image, content in zip(images, chunk, strict=True)]
            logits, pooled = self._session.run(("logits", "pooled"), {onnx_export.IMAGES: np.stack(images)})
            return activation.kept(activation.predictions(logits.astype(np.float64))), pooled

        computed = list(parallel.overlapped(parallel.chunks(own, self._batch), compute, self._workers))
        predictions = world.all_predictions(shortlists.joined([rows for rows, _ in computed]), len(contents))
        pooled = world.all_rows(np.concatenate([rows for _, rows in computed]), len(contents))
        return predictions, pooled.astype(np.float16)
