"""Test-time augmentation: plain, mirrored and augmented views, averages over nearest neighbours, and scenes.

N: images, D: features, C: classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.base import shortlists
from kagglekit.base.arrays import Floats32, Labels
from kagglekit.base.shortlists import Shortlists, Wide
from kagglekit.images import scenes
from kagglekit.images.decoding import Pixels
from kagglekit.pipeline.predictions import Candidate
from kagglekit.pipeline.views import MIRROR, PLAIN
from kagglekit.recipe import FinishSettings
from kagglekit.runs.record import TRANSDUCTIVE

if TYPE_CHECKING:
    from kagglekit.training.inference import TrainedModel

NEIGHBOURS = "neighbours"
SCENES = "scenes"
"""The mean of the plain, mirrored and augmented views, with batch-norm statistics of each scene's images."""
SCENE_NEIGHBOURS = "scene neighbours"
TRANSDUCTIVE_VIEWS = (NEIGHBOURS, SCENES, SCENE_NEIGHBOURS)
"""Views that learn from the images that are predicted."""
MIRRORED = "mirrored view"
"""Name of the step that averages the plain and the mirrored view."""
_AUGMENTED = "augmented"
"""Prefix of the names of augmented views."""
_AUGMENTED_EPOCH = 2_000_000
"""An epoch that training never reaches, so that the random augmentations differ from those in training."""
_SMALL = (24, 18)
"""Width and height of the copies of images whose pixels neighbours share."""
_BLOCK = 1024
"""Images per block of the neighbour search."""


def names(finish: FinishSettings, *, mirrors: bool, models: int) -> list[str]:
    """Return the views of a run with `models` models per fold. With one model, only the plain view can be judged."""
    if models < 2:
        return [PLAIN]
    mirrored = [MIRROR] if mirrors else []
    augmented = [f"{_AUGMENTED}{number}" for number in range(finish.tta_views)]
    alike = [NEIGHBOURS] if finish.neighbours else []
    by_scene = [SCENES, *([SCENE_NEIGHBOURS] if finish.neighbours else [])] if finish.scenes else []
    return [PLAIN, *mirrored, *augmented, *alike, *by_scene]


def predict(
    views: Sequence[str], contents: Sequence[bytes], trained: TrainedModel, finish: FinishSettings
) -> dict[str, Wide]:
    """Return the probabilities in each view, (N, C) each, with mirrored classes mapped back."""
    found, pooled = _seen(views, contents, trained)
    if NEIGHBOURS in views:
        own = shortlists.mean([found[view] for view in (PLAIN, MIRROR) if view in found])
        found[NEIGHBOURS] = _averaged(own, pooled, contents, trained, finish)
    if SCENES in views:
        by_scene, alike = _predict_scenes(views, contents, trained, finish, scenes.shown_by(found[PLAIN]))
        found |= {SCENES: by_scene} | ({SCENE_NEIGHBOURS: alike} if SCENE_NEIGHBOURS in views else {})
    return found


def _seen(
    views: Sequence[str], contents: Sequence[bytes], trained: TrainedModel
) -> tuple[dict[str, Wide], NDArray[np.float16]]:
    """Return the probabilities (N, C) in each view that looks at one image alone, and plain pooled features (N, D)."""
    plain, pooled = trained.predict(contents)
    others = [view for view in views if view == MIRROR or view.startswith(_AUGMENTED)]
    return {PLAIN: plain} | {view: _predict_other(view, contents, trained) for view in others}, pooled


def _predict_scenes(
    views: Sequence[str], contents: Sequence[bytes], trained: TrainedModel, finish: FinishSettings, shown: Labels
) -> tuple[Wide, Wide]:
    """Return means of views with batch-norm statistics of each scene, and these averaged over neighbours in it, (N, C).

    Scenes are told apart by looks and by what images are taken for, `shown` (N,). No labels are used, so the test set
    is treated exactly like the held-out images that the step is judged on.
    """
    pixels = trained.trainer.data.pixels
    scene = scenes.tell_apart((pixels.row(content) for content in contents), shown, finish.scenes)
    own, alike = [], []
    for number in np.unique(scene).tolist() or [0]:
        places = np.flatnonzero(scene == number)
        some = [contents[place] for place in places.tolist()]
        model = trained.adapted(some, mirrors=MIRROR in views) if len(some) > 1 else trained
        found, pooled = _seen(views, some, model)
        mean = shortlists.mean(list(found.values()))
        own.append((places, mean))
        alike.append((places, _averaged(mean, pooled, some, trained, finish)))
    return shortlists.arranged(own, len(contents)), shortlists.arranged(alike, len(contents))


def _averaged(
    rows: Wide, pooled: NDArray[np.float16], contents: Sequence[bytes], trained: TrainedModel, finish: FinishSettings
) -> Wide:
    """Return probabilities (N, C) averaged over neighbours, if there are any: those alike in features and pixels."""
    if not finish.neighbours or not contents:
        return rows
    pixels, device = trained.trainer.data.pixels, trained.trainer.world.device.type
    looks = looks_of(pooled, (pixels.row(content) for content in contents))
    return average_neighbours(rows, looks, finish.neighbours, device)


def looks_of(pooled: NDArray[np.float16], images: Iterable[Pixels]) -> Floats32:
    """Return what neighbours are alike in, (N, D + 18 * 24 * 3): features (N, D), and pixels of small copies.

    Each part has length 1. Features alone tell apart what the model has learned to, right or wrong; pixels know which
    frames of a film are near each other. `images` (H, W, 3) are as the model sees them.
    """
    small = [cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA).ravel() for image in images]
    pixels = np.stack(small).astype(np.float32)
    return np.concatenate([_unit(pooled.astype(np.float32)), _unit(pixels - pixels.mean(axis=0))], axis=1)


def _unit(rows: Floats32) -> Floats32:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def _predict_other(view: str, contents: Sequence[bytes], trained: TrainedModel) -> Wide:
    augmenter = trained.trainer.data.augmenter
    if view == MIRROR:
        mirrored, _ = trained.predict(contents, lambda image, _: np.ascontiguousarray(image[:, ::-1]))
        assert augmenter.mirror is not None  # this view exists only if flips are allowed
        return shortlists.turned(mirrored, augmenter.mirror)
    # not mirrored: mirroring is a separate view, and swaps the class, which is unknown for test images
    still = dataclasses.replace(augmenter, mirror=None, erasing=0.0)
    epoch = _AUGMENTED_EPOCH + int(view.removeprefix(_AUGMENTED))
    augmented, _ = trained.predict(contents, lambda image, content: still(image, 0, epoch=epoch, content=content)[0])
    return augmented


def candidates(by_view: Mapping[str, tuple[Wide, Wide]], finish: FinishSettings) -> tuple[Candidate, ...]:
    """Return the candidates that may improve on the plain view, from the smallest change to the largest.

    `by_view` has the out-of-fold probabilities (mean over a fold's models) and those of the test set (over all models).
    """
    seen = {view: pair for view, pair in by_view.items() if view in (PLAIN, MIRROR) or view.startswith(_AUGMENTED)}
    made = []
    if MIRROR in seen:
        made.append(Candidate(MIRRORED, *_mean([seen[PLAIN], seen[MIRROR]]), alone=True))
    if len(seen) > len(made) + 1:
        made.append(Candidate(f"{finish.tta_views} augmented views", *_mean(list(seen.values()))))
    if NEIGHBOURS in by_view:
        made.append(_of_neighbours(f"mean of {finish.neighbours} neighbours", by_view[NEIGHBOURS]))
    if SCENES in by_view:
        made.append(Candidate("statistics of scenes", *by_view[SCENES], note=TRANSDUCTIVE))
    if SCENE_NEIGHBOURS in by_view:
        name = f"mean of {finish.neighbours} neighbours in scenes"
        made.append(_of_neighbours(name, by_view[SCENE_NEIGHBOURS]))
    return tuple(made)


def _of_neighbours(name: str, pair: tuple[Wide, Wide]) -> Candidate:
    return Candidate(name, *pair, note=TRANSDUCTIVE, recalibrates=True)  # a mean of many is less sure


def _mean(pairs: Sequence[tuple[Wide, Wide]]) -> tuple[Wide, Wide]:
    return shortlists.mean([oof for oof, _ in pairs]), shortlists.mean([test for _, test in pairs])


def average_neighbours(probabilities: Wide, looks: Floats32, count: int, device: str) -> Wide:
    """Average the probabilities (N, C) of each image with those of its `count` nearest neighbours.

    Neighbours are nearest by cosine similarity of `looks` (N, L). No labels are used, so the test set is
    treated exactly like the held-out images that the step is judged on.
    """
    import torch

    taken = min(count + 1, len(looks))  # an image is its own nearest neighbour
    features = torch.nn.functional.normalize(torch.from_numpy(looks).to(device), dim=1)
    nearest = (
        (features[start : start + _BLOCK] @ features.T).topk(taken, dim=1).indices
        for start in range(0, len(features), _BLOCK)
    )
    if isinstance(probabilities, Shortlists):
        places = np.concatenate([block.cpu().numpy() for block in nearest])  # (N, taken)
        return shortlists.mean([probabilities[place] for place in places.T])
    rows = torch.from_numpy(probabilities).to(device)
    means = [rows[block].mean(1) for block in nearest]
    return np.asarray(torch.cat(means).cpu().numpy()) if means else probabilities
