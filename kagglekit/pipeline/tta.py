"""Test-time augmentation: plain, mirrored and augmented views, averages over nearest neighbours, and scenes.

N: images, D: features, C: classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.base import shortlists
from kagglekit.base.arrays import Floats32, Indices
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
    by_scene = [SCENES, *_of_neighbours(SCENE_NEIGHBOURS, finish)] if finish.scenes else []
    return [PLAIN, *mirrored, *augmented, *_of_neighbours(NEIGHBOURS, finish), *by_scene]


def is_transductive(view: str) -> bool:
    """Return whether a view learns from the images that are predicted."""
    return view not in (PLAIN, MIRROR) and not view.startswith(_AUGMENTED)


def _of_neighbours(view: str, finish: FinishSettings) -> dict[str, int]:
    """Return the views that average over neighbours, with how many: a quarter, half and all of the setting's number.

    How many are alike differs between films, and out-of-fold scores tell. `view` is the one of all.
    """
    most = finish.neighbours
    counts = sorted({max(1, most // 4), max(1, most // 2), most}) if most else []
    return {view if count == most else f"{count} {view}": count for count in counts}


def predict(
    views: Sequence[str], contents: Sequence[bytes], trained: TrainedModel, finish: FinishSettings
) -> dict[str, Wide]:
    """Return the probabilities in each view, (N, C) each, with mirrored classes mapped back."""
    found, pooled = _seen(views, contents, trained)
    if NEIGHBOURS in views:
        own = shortlists.mean([found[view] for view in (PLAIN, MIRROR) if view in found])
        found |= _averaged(own, pooled, contents, trained, _of_neighbours(NEIGHBOURS, finish))
    return found | (_predict_scenes(views, contents, trained, finish, found[PLAIN]) if SCENES in views else {})


def _seen(
    views: Sequence[str], contents: Sequence[bytes], trained: TrainedModel
) -> tuple[dict[str, Wide], NDArray[np.float16]]:
    """Return the probabilities (N, C) in each view that looks at one image alone, and plain pooled features (N, D)."""
    plain, pooled = trained.predict(contents)
    others = [view for view in views if view == MIRROR or view.startswith(_AUGMENTED)]
    return {PLAIN: plain} | {view: _predict_other(view, contents, trained) for view in others}, pooled


def _predict_scenes(
    views: Sequence[str], contents: Sequence[bytes], trained: TrainedModel, finish: FinishSettings, predicted: Wide
) -> dict[str, Wide]:
    """Return means of views with batch-norm statistics of each scene, and these averaged over neighbours in it, (N, C).

    Scenes are told apart by looks and by what images are taken for, as `predicted` (N, C). No labels are used, so the
    test set is treated exactly like the held-out images that the step is judged on.
    """
    pixels, counts = trained.trainer.data.pixels, _of_neighbours(SCENE_NEIGHBOURS, finish)
    shown = scenes.shown_by(predicted)
    scene = scenes.tell_apart((pixels.row(content) for content in contents), shown, finish.scenes)
    parts: dict[str, list[tuple[Indices, Wide]]] = {view: [] for view in (SCENES, *counts)}
    for number in np.unique(scene).tolist() or [0]:
        places = np.flatnonzero(scene == number)
        some = [contents[place] for place in places.tolist()]
        model = trained.adapted(some, mirrors=MIRROR in views) if len(some) > 1 else trained
        found, pooled = _seen(views, some, model)
        mean = shortlists.mean(list(found.values()))
        for view, rows in ({SCENES: mean} | _averaged(mean, pooled, some, trained, counts)).items():
            parts[view].append((places, rows))
    return {view: shortlists.arranged(own, len(contents)) for view, own in parts.items()}


def _averaged(
    rows: Wide,
    pooled: NDArray[np.float16],
    contents: Sequence[bytes],
    trained: TrainedModel,
    counts: Mapping[str, int],
) -> dict[str, Wide]:
    """Return probabilities (N, C) averaged over neighbours, alike in features and pixels, in each view of `counts`."""
    if not counts or not contents:
        return dict.fromkeys(counts, rows)
    pixels, device = trained.trainer.data.pixels, trained.trainer.world.device.type
    looks = looks_of(pooled, (pixels.row(content) for content in contents))
    return dict(zip(counts, average_neighbours(rows, looks, list(counts.values()), device), strict=True))


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
    made += _candidates_of(by_view, _of_neighbours(NEIGHBOURS, finish), "neighbours")
    if SCENES in by_view:
        made.append(Candidate("statistics of scenes", *by_view[SCENES], note=TRANSDUCTIVE))
    made += _candidates_of(by_view, _of_neighbours(SCENE_NEIGHBOURS, finish), "neighbours in scenes")
    return tuple(made)


def _candidates_of(
    by_view: Mapping[str, tuple[Wide, Wide]], counts: Mapping[str, int], what: str
) -> Iterator[Candidate]:
    """Yield the means of neighbours, few first; earlier versions had those of all only.

    They are judged with their best temperature, since the mean of many is less sure.
    """
    for view, count in counts.items():
        if view in by_view:
            name = f"mean of {count} {what}"
            yield Candidate(name, *by_view[view], note=TRANSDUCTIVE, recalibrates=True)


def _mean(pairs: Sequence[tuple[Wide, Wide]]) -> tuple[Wide, Wide]:
    return shortlists.mean([oof for oof, _ in pairs]), shortlists.mean([test for _, test in pairs])


def average_neighbours(probabilities: Wide, looks: Floats32, counts: Sequence[int], device: str) -> list[Wide]:
    """Average the probabilities (N, C) of each image with those of its nearest neighbours, for several counts of these.

    Neighbours are nearest by cosine similarity of `looks` (N, L). No labels are used, so the test set is
    treated exactly like the held-out images that the step is judged on.
    """
    import torch

    if not len(looks):
        return [probabilities] * len(counts)
    taken = [min(count + 1, len(looks)) for count in counts]  # an image is its own nearest neighbour
    features = torch.nn.functional.normalize(torch.from_numpy(looks).to(device), dim=1)
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(features), _BLOCK)]
    # nearest first
    nearest = torch.cat([(features[block] @ features.T).topk(max(taken), dim=1).indices for block in blocks])
    if isinstance(probabilities, Shortlists):
        places = nearest.cpu().numpy().T
        return [shortlists.mean([probabilities[place] for place in places[:few]]) for few in taken]
    rows = torch.from_numpy(probabilities).to(device)
    means = (torch.cat([rows[nearest[block, :few]].mean(1) for block in blocks]) for few in taken)
    return [np.asarray(mean.cpu().numpy()) for mean in means]
