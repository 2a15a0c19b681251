"""Attention maps of a run's networks, from the models that were not trained on the image.

N: images, V: views, D: features, C: classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices, gpu
from kagglekit.base.errors import UserError
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.heads.layers import Head, scores_by_torch
from kagglekit.images.decoding import Pixels, Preprocessing
from kagglekit.models import earlier_layers
from kagglekit.models.backbone import LAYERS
from kagglekit.pipeline.methods.fitted import Network, Term
from kagglekit.pipeline.views import PLAIN
from kagglekit.report import gradcam
from kagglekit.report.gradcam import Maps

if TYPE_CHECKING:
    import torch

Box = tuple[float, float, float, float]
"""A part of an image: top, left, height, width, as shares of its sides."""
_BATCH = 8
_GRID = 48
"""Number of positions per side when maps of different parts of an image are averaged."""


@dataclass(frozen=True)
class Prepared:
    """An image after each preprocessing of a run."""

    pixels: Mapping[Preprocessing, Pixels]
    seen: Mapping[Preprocessing, Box]
    """Preprocessing -> part of the image that remains."""


@dataclass(frozen=True)
class Asked:
    """An image, and the class to explain."""

    image: Prepared
    part: str
    """Part of the run that predicts the image: `fold0` …"""
    label: int


@dataclass(frozen=True)
class _Question:
    """A view of some images, and what to explain of each."""

    images: Sequence[Prepared]
    head: Callable[[Sequence[Any]], Any] | None
    """From the features of all networks to scores (N, C); None if a network's own last layer gives them."""
    labels: NDArray[np.int64]
    """(N,)."""
    mirrored: bool


@dataclass(frozen=True)
class Evidence:
    """An attention map: where an image has evidence for a class."""

    values: Maps
    """Evidence at each position, (h, w); positive values support the class."""
    box: Box
    """Part of the image that the values cover."""


class Attention:
    """The networks of a run. Each is loaded once."""

    def __init__(self, run: FittedRun) -> None:
        """Raise UserError if the run has no networks, or if its backbones have changed."""
        if not run.fitted().terms:
            raise UserError(f"method {run.recipe.training.method} has no network to inspect.")
        self._run = run
        self._models: dict[tuple[Any, ...], Any] = {}
        self.preprocessings = tuple(run.preprocessings().values())
        self.device = "cpu" if run.recipe.compute.provider == "cpu" else gpu.choose("auto")
        if self.device == "cpu":
            devices.keep_memory()

    def prepare(self, image: Pixels) -> Prepared:
        """Preprocess a decoded image (H, W, 3) for the networks of the run."""
        return Prepared(
            {preprocessing: preprocessing.apply(image) for preprocessing in self.preprocessings},
            {preprocessing: preprocessing.seen(*image.shape[:2]) for preprocessing in self.preprocessings},
        )

    def maps(self, asked: Sequence[Asked]) -> list[Evidence | None]:
        """Return the attention map of each image; None if no network's features have positions."""
        found: list[Evidence | None] = [None] * len(asked)
        for part in dict.fromkeys(image.part for image in asked):
            self._keep_only(self._run.fitted(part).networks)
            places = [place for place, image in enumerate(asked) if image.part == part]
            for start in range(0, len(places), _BATCH):
                some = places[start : start + _BATCH]
                for place, evidence in zip(some, self._batch([asked[at] for at in some], part), strict=True):
                    found[place] = evidence
        return found

    def model(self, network: Network) -> Any:
        """Return the timm model of a network, on the device."""
        if network.key not in self._models:
            self._models[network.key] = network.model().requires_grad_(requires_grad=False).to(self.device)
        return self._models[network.key]

    def _keep_only(self, networks: Sequence[Network]) -> None:
        """Free all other networks: each fold may have its own, and memory must not grow with the number of folds."""
        kept = {network.key for network in networks}
        self._models = {key: model for key, model in self._models.items() if key in kept}

    def _batch(self, asked: Sequence[Asked], part: str) -> list[Evidence | None]:
        labels = np.array([image.label for image in asked])
        found: list[list[Evidence]] = [[] for _ in asked]
        for term in self._run.fitted(part).terms:
            head = None if term.head is None else self._scores(term, term.head)
            for view, classes in zip(term.views, term.view_classes, strict=True):
                mirrored, wanted = view != PLAIN, np.array(classes)[labels]
                of_view = self._of_layers if term.output == LAYERS else self._of_view
                question = _Question([image.image for image in asked], head, wanted, mirrored)
                for network, maps in of_view(term.networks, question):
                    for evidence, image, values in zip(found, asked, term.weight * maps, strict=True):
                        box = image.image.seen[network.backbone.preprocessing]
                        evidence.append(Evidence(values[:, ::-1] if mirrored else values, box))
        return [_together(evidence) for evidence in found]

    def _of_view(self, networks: Sequence[Network], asked: _Question) -> list[tuple[Network, Maps]]:
        """Return the evidence (N, h, w) of each network whose features have positions."""
        import torch

        models = [self.model(network) for network in networks]
        seen = [self._input(network, asked) for network in networks]
        with torch.no_grad():
            maps = [model.forward_features(batch) for model, batch in zip(models, seen, strict=True)]
            pooled = [model.forward_head(each, pre_logits=True) for model, each in zip(models, maps, strict=True)]
        wanted = torch.from_numpy(asked.labels).to(self.device)
        found = []
        for place, (network, model, batch) in enumerate(zip(networks, models, seen, strict=True)):

            def scores(features: Any, place: int = place, model: Any = model) -> Any:
                if asked.head is None:
                    return model.forward_head(features)
                return asked.head(
                    [*pooled[:place], model.forward_head(features, pre_logits=True), *pooled[place + 1 :]]
                )

            evidence = gradcam.evidence(model, batch, maps[place], scores, wanted)
            if evidence is not None:
                found.append((network, evidence))
        return found

    def _of_layers(self, networks: Sequence[Network], asked: _Question) -> list[tuple[Network, Maps]]:
        """Return the same for a head on earlier layers, of each of them."""
        import torch

        head = asked.head
        assert head is not None
        every: list[tuple[Network, Any]] = []
        for network in networks:
            batch = self._input(network, asked)
            with torch.no_grad():
                every += [(network, maps) for maps in earlier_layers.maps(self.model(network), batch)[1]]
        wanted = torch.from_numpy(asked.labels).to(self.device)
        rows = [earlier_layers.pooled([maps]) for _, maps in every]

        def at(place: int) -> Callable[[Any], Any]:
            return lambda maps: head([*rows[:place], earlier_layers.pooled([maps]), *rows[place + 1 :]])

        return [(network, gradcam.evidence_in(maps, at(place), wanted)) for place, (network, maps) in enumerate(every)]

    def _input(self, network: Network, asked: _Question) -> torch.Tensor:
        """Return what a network sees of the images, (N, 3, H, W)."""
        return normalised(asked.images, network.backbone.preprocessing, mirrored=asked.mirrored).to(self.device)

    def _scores(self, term: Term, head: Head) -> Callable[[Sequence[Any]], Any]:
        """Return a function from the features of all networks (N, D), pooled at first, to the head's scores (N, C)."""
        import torch

        scores = scores_by_torch(head, self.device)
        if term.output != "logits":
            return lambda rows: scores(torch.cat(list(rows), dim=1))
        classifiers = [self.model(network).get_classifier() for network in term.networks]

        def of_logits(rows: Sequence[Any]) -> Any:
            return scores(torch.cat([layer(pooled) for layer, pooled in zip(classifiers, rows, strict=True)], dim=1))

        return of_logits


def normalised(images: Sequence[Prepared], preprocessing: Preprocessing, *, mirrored: bool = False) -> torch.Tensor:
    """Return the normalised input of a network with this preprocessing, (N, 3, H, W)."""
    import torch

    pixels = np.stack([image.pixels[preprocessing] for image in images])
    batch = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1] if mirrored else pixels)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (batch.float() / 255 - mean) / std


def _together(found: Sequence[Evidence]) -> Evidence | None:
    """Average the maps of networks and views; on the whole image if they cover different parts of it."""
    if not found:
        return None
    if len({evidence.box for evidence in found}) == 1:
        height, width = max((evidence.values.shape for evidence in found), key=lambda shape: shape[0] * shape[1])
        scaled = [cv2.resize(np.ascontiguousarray(evidence.values), (width, height)) for evidence in found]
        return Evidence(np.asarray(np.mean(scaled, axis=0), np.float32), found[0].box)
    whole = np.zeros((_GRID, _GRID), np.float32)
    for evidence in found:
        top, left, tall, wide = (round(_GRID * share) for share in evidence.box)
        part = whole[max(top, 0) : top + tall, max(left, 0) : left + wide]
        part += cv2.resize(np.ascontiguousarray(evidence.values), (part.shape[1], part.shape[0]))
    return Evidence(np.asarray(whole / len(found), np.float32), (0.0, 0.0, 1.0, 1.0))
