"""The ONNX file of `kagglekit export`: one graph with metadata, which is kept only if it predicts as torch does.

N: images, H x W: pixels, C: classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PillowImage

from kagglekit.base import devices, environment, native_output, parallel, storage
from kagglekit.base.arrays import Floats
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.deploy import onnx_graph
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.images import decoding, files
from kagglekit.images.decoding import Pixels, Preprocessing
from kagglekit.models import backbone, sessions
from kagglekit.pipeline.methods.fitted import WHOLE

if TYPE_CHECKING:
    import onnx

AGREES = 1e-4
"""Largest allowed difference of a prediction between onnxruntime and torch, on the same pixels: of probabilities, or in
standard deviations of numbers."""
SEES_THE_SAME = 0.02
"""The same between our preprocessing and timm's transform of the same files, each with its own decoder."""
FP16_LOSES = 1e-3
"""Largest allowed increase of the out-of-fold loss in half precision."""
HALF_DIFFERS = 0.05
"""Largest allowed difference of a probability between half and single precision."""
_CHECKED = 16
"""Number of images to check, spread over the classes."""
_CHECKED_TOGETHER = 32


@dataclasses.dataclass(frozen=True)
class Checked:
    """The results of the checks."""

    torch: float
    """Largest difference of a probability from torch."""
    timm: float
    """The same from timm's transform and torch."""
    images: int


def write(run: FittedRun, path: Path, console: Console, *, floats: bool = False) -> Checked:
    """Write the file of a run. Raises UserError, and keeps no file, if it differs from torch or timm's transform."""
    import onnx

    model = onnx_graph.compose(run, floats=floats)
    _describe(model, run, floats=floats, precision="float32", checked_on="cpu", loss=run.out_of_fold)
    with storage.replacing(path) as temporary:
        onnx.save(model, temporary)
        checked = _check(run, temporary, floats=floats)
    megabytes = path.stat().st_size / 1e6
    console.say(
        f"{path}: {megabytes:.1f} MB; on {checked.images} real images it differs from torch by {checked.torch:.1g} "
        f"(limit {AGREES:g}), from timm's own transform by {checked.timm:.1g} (limit {SEES_THE_SAME:g})"
    )
    return checked


def write_fp16(run: FittedRun, path: Path, console: Console, *, floats: bool = False) -> tuple[float, float]:
    """Write the file of a run in half precision, for GPUs. Return the out-of-fold losses in single and half.

    Raises UserError, and keeps no file, if the loss grows by more than `FP16_LOSES`, or if the file differs from single
    precision by more than `HALF_DIFFERS` on real images.
    """
    import onnx

    losses, device = _losses(run, console, floats=floats)
    said = f"out-of-fold {run.task.loss} {losses[0]:.5f} in float32 and {losses[1]:.5f} in float16, on {device}"
    if not losses[1] - losses[0] <= FP16_LOSES:
        raise UserError(f"{said}: it grows by more than {FP16_LOSES:g}, so the file was not kept; use float32.")
    if device == "cpu":
        console.warn("a CPU computes float16 in float32: overflows show only on a GPU")
    model = onnx_graph.compose(run, floats=floats, half=True)
    _describe(model, run, floats=floats, precision="float16", checked_on=device, loss=losses[1])
    paths = _some_images(run)
    feeds, units = _feeds(run, _pixels(run, paths), floats=floats), run.task.units
    with storage.replacing(path) as temporary:
        onnx.save(model, temporary)
        whole = onnx_graph.compose(run, floats=floats).SerializeToString()
        both = [sessions.open_on(graph, "auto", devices.cores(), console.warn) for graph in (whole, temporary)]
        single, half = (session.run((onnx_graph.PROBABILITIES,), feeds)[0].astype(np.float64) for session in both)
        _refuse_unless(half / units, single / units, HALF_DIFFERS, paths, "single precision")
    console.say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; {said}")
    return losses


def _losses(run: FittedRun, console: Console, *, floats: bool) -> tuple[tuple[float, float], devices.Device]:
    """Return the out-of-fold losses in single and half precision, and the device that computed them."""
    table = _training_images(run)
    fold_of = run.folds
    table = table[table["id"].isin(list(fold_of))]
    labels: list[str] = []
    found: tuple[list[Floats], list[Floats]] = ([], [])
    device: devices.Device = "cpu"
    with console.progress("half precision", len(table), "images") as advance:
        for fold in sorted(set(fold_of.values())):
            held = table[[fold_of[image] == fold for image in table["id"]]]
            graphs = [onnx_graph.compose(run, f"fold{fold}", floats=floats, half=half) for half in (False, True)]
            both = [
                sessions.open_on(graph.SerializeToString(), "auto", devices.cores(), console.warn) for graph in graphs
            ]
            device = both[1].device
            for rows in parallel.chunks(held["path"].tolist(), _CHECKED_TOGETHER):
                feeds = _feeds(run, _pixels(run, rows), floats=floats)
                for session, kept in zip(both, found, strict=True):
                    kept.append(session.run((onnx_graph.PROBABILITIES,), feeds)[0].astype(np.float64))
                advance(len(rows))
            labels += held["label"].tolist()
    truth = run.task.truth(labels)
    single, half = (float(run.task.losses(truth, np.concatenate(rows)).mean()) for rows in found)
    return (single, half), device


def _describe(
    model: onnx.ModelProto, run: FittedRun, *, floats: bool, precision: str, checked_on: str, loss: float
) -> None:
    import onnx

    weights = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: tensor.name):
        weights.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)} ".encode())
        weights.update(onnx.numpy_helper.to_array(tensor).tobytes())
    metric = run.run.finished().metric if precision == "float32" else run.task.loss
    onnx.helper.set_model_props(
        model,
        about(run, floats=floats)
        | {
            "kagglekit": environment.installed_version("kagglekit"),
            "competition": run.record.competition.name,
            "classes": json.dumps(run.meanings),
            "preprocessing": json.dumps({k: p.to_plain() for k, p in run.preprocessings().items()}),
            "max_megapixels": str(run.recipe.data.max_megapixels),
            "precision": precision,
            "checked_on": checked_on,
            "out_of_fold": json.dumps({metric: loss}),
            "activation": run.task.activation.name,
            "synthetic": json.dumps(run.run.synthetic),
            "backbones": json.dumps([{key: getattr(b, key) for key in _SAID_OF_BACKBONES} for b in run.predicting]),
            "weights_sha256": weights.hexdigest(),
            "made_by": json.dumps(backbone.exporter()),
        },
    )


_SAID_OF_BACKBONES = ("name", "sha256", "licence")


def about(run: FittedRun, *, floats: bool = False) -> dict[str, str]:
    """Return the metadata that identifies the file of a run."""
    return {
        "run": run.run.id,
        "input": "float32" if floats else "uint8",
        "steps": json.dumps(run.steps),
        "decision": json.dumps(run.decision.to_plain()),
        "made_from": run.made_from,
    }


def is_of(path: Path, run: FittedRun) -> bool:
    """Return whether the file exists and belongs to this run in its current state."""
    import onnx

    if not path.is_file():
        return False
    said = {prop.key: prop.value for prop in onnx.load(path, load_external_data=False).metadata_props}
    return about(run).items() <= said.items()


def _training_images(run: FittedRun) -> pd.DataFrame:
    table = run.run.images("train")
    gone = next((path for path in table["path"] if not files.place(path).is_file()), None)
    if gone is not None:
        raise UserError(f"the file is checked on the run's training images, but {gone} is missing: restore the data.")
    return table


def _pixels(run: FittedRun, paths: Sequence[str]) -> dict[Preprocessing, Pixels]:
    """Preprocess images: preprocessing -> (N, H, W, 3)."""
    different = list(run.preprocessings().values())

    def prepare(path: str) -> list[Pixels]:
        image = decoding.decode(files.read_bytes(path)[0], different[0].levels)
        return [preprocessing.apply(image) for preprocessing in different]

    rows = list(parallel.overlapped(paths, prepare, devices.cores()))
    return {preprocessing: np.stack([row[index] for row in rows]) for index, preprocessing in enumerate(different)}


def _feeds(run: FittedRun, pixels: Mapping[Preprocessing, Pixels], *, floats: bool) -> dict[str, NDArray[Any]]:
    feeds = {name: pixels[preprocessing] for name, preprocessing in run.preprocessings().items()}
    return {name: rows.astype(np.float32) / 255 for name, rows in feeds.items()} if floats else dict(feeds)


def _some_images(run: FittedRun) -> list[str]:
    """Return the paths of some training images, spread over the classes."""
    table = _training_images(run)
    each = table.groupby("label").cumcount()
    chosen: list[str] = table.loc[each.sort_values(kind="stable").index[:_CHECKED], "path"].tolist()
    return chosen


@native_output.decoders_silenced()
def _check(run: FittedRun, path: Path, *, floats: bool) -> Checked:
    paths = _some_images(run)
    session = sessions.Session(path, "cpu", devices.cores())

    def compute(pixels: Mapping[Preprocessing, Pixels]) -> Floats:
        """Compute one image alone and the others in a batch: any batch size must work."""
        feeds = _feeds(run, pixels, floats=floats)
        parts = [{name: rows[some] for name, rows in feeds.items()} for some in (slice(0, 1), slice(1, None))]
        found = [session.run((onnx_graph.PROBABILITIES,), part)[0] for part in parts if len(next(iter(part.values())))]
        return np.concatenate(found).astype(np.float64)

    ours, units = _pixels(run, paths), run.task.units
    theirs = {preprocessing: _by_timm(preprocessing, paths) for preprocessing in ours}
    found = compute(ours)
    by_torch = _refuse_unless(
        found / units, run.by_torch(ours, WHOLE) / units, AGREES, paths, "torch on the same pixels"
    )
    by_timm = _refuse_unless(found / units, compute(theirs) / units, SEES_THE_SAME, paths, "timm's own transform")
    return Checked(by_torch, by_timm, len(paths))


def _refuse_unless(found: Floats, expected: Floats, most: float, paths: Sequence[str], rival: str) -> float:
    """Return the largest difference. Raises UserError, which names the worst image, if it exceeds `most`."""
    differences = np.abs(found - expected).max(axis=1)
    worst = int(np.where(np.isnan(differences), np.inf, differences).argmax())
    if not differences[worst] <= most:
        raise UserError(
            f"the exported file was not kept: for {paths[worst]} a probability differs by {differences[worst]:.2g} "
            f"from {rival}, more than {most:g}; use another --backbone, and please report it."
        )
    return float(differences[worst])


def _by_timm(preprocessing: Preprocessing, paths: Sequence[str]) -> Pixels:
    """Decode images with Pillow and apply timm's transform without the normalisation."""
    import timm

    crop: Any = "center" if preprocessing.crop == "centre" else preprocessing.crop
    transform = timm.data.create_transform(
        input_size=(3, *preprocessing.size),
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop_share,
        crop_mode=crop,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    made = []
    for path in paths:
        content, _ = files.read_bytes(path)
        seen = PillowImage.fromarray(decoding.decode_otherwise(content, preprocessing.levels))
        made.append(transform(seen).numpy())
    return np.asarray(np.round(np.stack(made).transpose(0, 2, 3, 1) * 255), dtype=np.uint8)
