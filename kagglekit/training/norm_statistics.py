"""Batch-norm statistics of the images that are predicted, instead of those of training.

B images per batch, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PRIOR = 16
"""How many images the statistics of training count as, as in Schneider et al. 2020."""


def adapt(model: torch.nn.Module, batches: Iterable[torch.Tensor], count: int) -> None:
    """Replace batch-norm statistics, in place, by means over batches (B, 3, H, W) of `count` images.

    They hide what differs between training and these images in brightness, colour and background (Li et al. 2016,
    "Revisiting batch normalization for practical domain adaptation"). A batch needs two images or more.
    """
    import torch

    model.eval()
    norms: list[Any] = [each for each in model.modules() if _has_statistics(each)]
    before = [(norm.running_mean.clone(), norm.running_var.clone(), norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    with torch.no_grad():
        for images in batches:
            model(images)
        for norm, (mean, variance, momentum) in zip(norms, before, strict=True):
            norm.running_mean.lerp_(mean, PRIOR / (PRIOR + count))
            norm.running_var.lerp_(variance, PRIOR / (PRIOR + count))
            norm.momentum = momentum
    model.eval()


def _has_statistics(module: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
