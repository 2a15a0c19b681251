"""Where a network looked: Grad-CAM from the models of the image's own fold, which have not seen it.

N images, V views, D channels, h x w places of the last feature maps, C classes. Where a linear head sits on channels
that are averaged over all places, as on most frozen backbones, Grad-CAM is the exact class activation map: the mean
over all places is the class's score, but for a constant.

Sources: Selvaraju et al., "Grad-CAM" (2017); Zhou et al., "Learning deep features for discriminative localization"
(2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.engines import devices
from kagglekit.engines.decoding import Pixels, Preprocessing
from kagglekit.engines.finetune import views
from kagglekit.engines.portable import Network, Portable

if TYPE_CHECKING:
    import torch

Maps = NDArray[np.float32]
_BATCH = 8


Prepared = Mapping[Preprocessing, Pixels]
"""An image as each of a run's preprocessings makes it."""


@dataclass(frozen=True)
class Asked:
    """An image, and the class whose evidence is looked for."""

    image: Prepared
    part: str
    """The part of the run that predicts it: `fold0` …"""
    label: int


class Attention:
    """The networks of one run, loaded once each."""

    def __init__(self, run: Portable) -> None:
        self._run = run
        self._models: dict[str, Any] = {}
        if devices.choose(run.recipe.provider) == "cpu":
            devices.keep_memory()

    def prepare(self, image: Pixels) -> Prepared:
        """Return a decoded image (H, W, 3) as the run's networks take it."""
        return {preprocessing: preprocessing.apply(image) for preprocessing in self._run.preprocessings().values()}

    def maps(self, asked: Sequence[Asked]) -> list[Maps | None]:
        """Return where each image has evidence for its class, (h, w), above zero where it has.

        None for a network whose features can't be traced to places.
        """
        found: list[Maps | None] = [None] * len(asked)
        for part in dict.fromkeys(image.part for image in asked):
            places = [place for place, image in enumerate(asked) if image.part == part]
            for start in range(0, len(places), _BATCH):
                some = places[start : start + _BATCH]
                for place, evidence in zip(some, self._batch([asked[at] for at in some], part), strict=True):
                    found[place] = evidence
            if self._run.trained:
                self._models.clear()  # each fold has its own, and memory must not grow with them
        return found

    def model(self, network: Network) -> Any:
        """Return a network as a timm model, ready to compute."""
        if network.name not in self._models:
            self._models[network.name] = network.model().requires_grad_(requires_grad=False)
        return self._models[network.name]

    def _batch(self, asked: Sequence[Asked], part: str) -> list[Maps | None]:
        networks = self._run.networks(part)
        heads = self._heads(networks, part)
        labels = np.array([image.label for image in asked])
        evidence: list[list[Maps]] = [[] for _ in asked]
        for view, classes in zip(self._run.views, self._run.view_classes, strict=True):
            seen = [
                normalised(
                    [image.image for image in asked], network.backbone.preprocessing, mirrored=view != views.PLAIN
                )
                for network in networks
            ]
            models = [self.model(network) for network in networks]
            for maps in _evidence(models, seen, heads, np.array(classes)[labels]):
                for images, values in zip(evidence, maps, strict=True):
                    images.append(values if view == views.PLAIN else values[:, ::-1])
        return [_together(maps) for maps in evidence]

    def _heads(self, networks: Sequence[Network], part: str) -> Callable[[Sequence[Any]], Any] | None:
        """Return what turns the frozen networks' outputs side by side (N, D) into scores (N, C)."""
        if self._run.trained:
            return None
        import torch

        head = {name: torch.from_numpy(array) for name, array in self._run.heads[part].arrays().items()}

        def scores(rows: Sequence[torch.Tensor]) -> torch.Tensor:
            beside = torch.cat(list(rows), dim=1)
            if "hidden_weights" in head:
                hidden = torch.relu(beside @ head["hidden_weights"] + head["hidden_bias"])
                return hidden @ head["weights"] + head["bias"]
            return ((beside - head["mean"]) / head["scale"]) @ head["weights"] + head["bias"]

        output = self._run.recipe.output
        if output == "pooled":
            return scores
        classifiers = [self.model(network).get_classifier() for network in networks]
        return lambda rows: scores([layer(pooled) for layer, pooled in zip(classifiers, rows, strict=True)])


def normalised(images: Sequence[Prepared], preprocessing: Preprocessing, *, mirrored: bool = False) -> torch.Tensor:
    """Return images as a network with this preprocessing sees them: (N, 3, H, W)."""
    import torch

    pixels = np.stack([image[preprocessing] for image in images])
    batch = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1] if mirrored else pixels)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (batch.float() / 255 - mean) / std


def _evidence(
    models: Sequence[Any],
    seen: Sequence[torch.Tensor],
    scores: Callable[[Sequence[Any]], Any] | None,
    labels: NDArray[np.int64],
) -> list[Maps]:
    """Return each network's evidence for `labels` (N,), (N, h, w), of those that it can be had of."""
    import torch

    with torch.no_grad():
        maps = [model.forward_features(batch) for model, batch in zip(models, seen, strict=True)]
        pooled = [model.forward_head(each, pre_logits=True) for model, each in zip(models, maps, strict=True)]
    found = []
    for place, (model, batch) in enumerate(zip(models, seen, strict=True)):

        def head(features: Any, place: int = place, model: Any = model) -> Any:
            if scores is None:
                return model.forward_head(features)
            return scores([*pooled[:place], model.forward_head(features, pre_logits=True), *pooled[place + 1 :]])

        evidence = _of_places(model, batch, maps[place], head, torch.from_numpy(labels))
        if evidence is not None:
            found.append(evidence)
    return found


def _of_places(model: Any, batch: Any, maps: Any, head: Callable[[Any], Any], labels: Any) -> Maps | None:
    """Return a network's evidence, (N, h, w); None where it has no places that can be told apart."""
    from captum.attr import LayerGradCam

    grid = model.forward_intermediates(batch[:1], indices=1, output_fmt="NCHW", intermediates_only=True)[-1].shape[-2:]
    layout = _Layout.of(model, maps, tuple(grid))
    if layout is None:
        return None
    tail = _tail(layout, head)
    found = LayerGradCam(tail, tail.maps).attribute(maps.detach(), target=labels)
    if not found.abs().max() and hasattr(model, "blocks"):
        # pooled from a token of its own, which has met the places in the last block
        found = _before_last_block(model, batch, layout, head, labels)
    return np.asarray(found.detach().numpy()[:, 0], np.float32)


def _tail(layout: _Layout, head: Callable[[Any], Any]) -> Any:
    """Return what comes after the last features as a module, whose `maps` are those features as (N, D, h, w)."""
    from torch import nn

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, features: Any) -> Any:
            return head(layout.back(self.maps(layout.images(features)), features))

    return Tail().eval()


def _before_last_block(model: Any, batch: Any, layout: _Layout, head: Callable[[Any], Any], labels: Any) -> Any:
    from captum.attr import LayerGradCam
    from torch import nn

    class Watched(nn.Module):
        """The last block, with its input as feature maps."""

        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.block, self.maps = block, nn.Identity()

        def forward(self, tokens: Any, *more: Any, **named: Any) -> Any:
            return self.block(layout.back(self.maps(layout.images(tokens)), tokens), *more, **named)

    class Whole(nn.Module):
        def forward(self, images: Any) -> Any:
            return head(model.forward_features(images))

    last = model.blocks[-1]
    watched = model.blocks[-1] = Watched(last)
    whole = Whole()
    whole.watched = watched
    try:
        return LayerGradCam(whole, watched.maps).attribute(batch, target=labels)
    finally:
        model.blocks[-1] = last


@dataclass(frozen=True)
class _Layout:
    """How a network's last features lie in memory."""

    kind: str
    """`maps` (N, D, h, w), `last` (N, h, w, D) or `tokens` (N, P + h * w, D)."""
    grid: tuple[int, ...]
    prefix: int = 0

    @classmethod
    def of(cls, model: Any, features: Any, grid: tuple[int, ...]) -> _Layout | None:
        if features.ndim == 4:
            return cls("maps" if features.shape[1] == model.num_features else "last", grid)
        prefix = getattr(model, "num_prefix_tokens", 0)
        if features.ndim == 3 and features.shape[1] == prefix + grid[0] * grid[1]:
            return cls("tokens", grid, prefix)
        return None

    def images(self, features: Any) -> Any:
        """Return the features as maps (N, D, h, w)."""
        if self.kind == "maps":
            return features
        if self.kind == "last":
            return features.permute(0, 3, 1, 2)
        return features[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)

    def back(self, maps: Any, features: Any) -> Any:
        """Return maps (N, D, h, w) in the layout of `features`, whose tokens without a place are kept."""
        import torch

        if self.kind == "maps":
            return maps
        if self.kind == "last":
            return maps.permute(0, 2, 3, 1)
        return torch.cat([features[:, : self.prefix], maps.flatten(2).transpose(1, 2)], dim=1)


def _together(maps: Sequence[Maps]) -> Maps | None:
    """Return the mean of several networks' and views' maps, at the finest grid."""
    if not maps:
        return None
    height, width = max((values.shape for values in maps), key=lambda shape: shape[0] * shape[1])
    # a place of a coarse grid stands for more of the image than one of a fine grid
    scaled = [cv2.resize(values * values.size, (width, height)) for values in maps]
    return np.asarray(np.mean(scaled, axis=0), np.float32)
