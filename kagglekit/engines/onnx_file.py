"""The file that `kagglekit export` writes: one graph that says what it is, and is kept only if it tells the truth.

N images, H x W pixels, C classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps

from kagglekit import metrics, runs, storage
from kagglekit.console import Console
from kagglekit.engines import backbones, composing, decoding, devices, images, inference, sessions
from kagglekit.engines.decoding import Pixels, Preprocessing
from kagglekit.engines.portable import WHOLE, Portable
from kagglekit.errors import UserError

if TYPE_CHECKING:
    import onnx

Floats = NDArray[np.float64]
AGREES = 1e-4
"""Largest difference of a probability between onnxruntime and torch on the same pixels."""
SEES_THE_SAME = 0.02
"""The same between our preprocessing and timm's own transform of the same files, each with its decoder."""
FP16_LOSES = 1e-3
"""Largest growth of the out-of-fold log loss that a file in half precision is kept with."""
_CHECKED = 16
"""Images, spread over the classes."""
_CHECKED_TOGETHER = 32


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the gates found."""

    torch: float
    """Largest difference of a probability to torch."""
    timm: float
    """The same to timm's transform and torch."""
    images: int


def write(run: Portable, path: Path, console: Console, *, floats: bool = False) -> Checked:
    """Write a run's file; raise UserError, and keep none, where it differs from torch or from timm's transform."""
    import onnx

    model = composing.compose(run, floats=floats)
    _describe(model, run, floats=floats, precision="float32")
    with storage.replacing(path) as temporary:
        onnx.save(model, temporary)
        checked = _check(run, temporary, floats=floats)
    megabytes = path.stat().st_size / 1e6
    console.say(
        f"{path}: {megabytes:.1f} MB; on {checked.images} real images it differs from torch by {checked.torch:.1g} "
        f"(at most {AGREES:g} is kept), from timm's own transform by {checked.timm:.1g} (at most {SEES_THE_SAME:g})"
    )
    return checked


def write_fp16(run: Portable, path: Path, console: Console, *, floats: bool = False) -> tuple[float, float]:
    """Write a run's file in half precision, for GPUs; return the out-of-fold log losses in single and in half.

    Raises UserError, and keeps none, where the loss grows by more than `FP16_LOSES`.
    """
    import onnx

    device = devices.choose("auto")
    truth: list[int] = []
    single: list[Floats] = []
    half: list[Floats] = []
    table = _training_images(run)
    place = run.folds
    table = table[table["id"].isin(list(place))]
    with console.progress("half precision", len(table), "images") as advance:
        for fold in sorted(set(place.values())):
            held = table[[place[image] == fold for image in table["id"]]]
            model = composing.compose(run, f"fold{fold}", floats=floats)
            graphs = [graph.SerializeToString() for graph in (model, _networks_halved(model))]
            both = [sessions.Session(graph, device, devices.cores()) for graph in graphs]
            for rows in inference.chunks(held["path"].tolist(), _CHECKED_TOGETHER):
                feeds = _feeds(run, _pixels(run, rows), floats)
                for session, found in zip(both, (single, half), strict=True):
                    found.append(session.run((composing.PROBABILITIES,), feeds)[0].astype(np.float64))
                advance(len(rows))
            truth += [run.labels.index(label) for label in held["label"]]
    losses = [float(metrics.log_loss_rows(np.array(truth), np.concatenate(rows)).mean()) for rows in (single, half)]
    said = f"out-of-fold log loss {losses[0]:.5f} in float32 and {losses[1]:.5f} in float16"
    if not losses[1] - losses[0] <= FP16_LOSES:
        raise UserError(f"{said}: it grows by more than {FP16_LOSES:g}, and the file was not kept; use float32.")
    model = _networks_halved(composing.compose(run, floats=floats))
    _describe(model, run, floats=floats, precision="float16")
    with storage.replacing(path) as temporary:
        onnx.save(model, temporary)
    console.say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; {said}")
    return losses[0], losses[1]


def halved(model: onnx.ModelProto, kept: Sequence[str] = ()) -> onnx.ModelProto:
    """Return a graph in half precision, but for the nodes that are `kept`; inputs and outputs stay as they are."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights too small for it become zero, which the loss judges
        converted: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, node_block_list=list(kept))
    return converted


def _networks_halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return networks in half precision; heads and finishing steps, which take logarithms, stay as they are."""
    return halved(model, [node.name for node in model.graph.node if not node.name.startswith(composing.NETWORK)])


def _describe(model: onnx.ModelProto, run: Portable, *, floats: bool, precision: str) -> None:
    import onnx

    weights = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: tensor.name):
        weights.update(tensor.name.encode() + tensor.raw_data)
    competition = run.record["competition"]
    onnx.helper.set_model_props(
        model,
        {
            "kagglekit": runs.installed_version("kagglekit"),
            "run": run.run.id,
            "competition": competition["name"],
            "classes": json.dumps(run.meanings),
            "preprocessing": json.dumps({k: dataclasses.asdict(p) for k, p in run.preprocessings().items()}),
            "input": "float32" if floats else "uint8",
            "precision": precision,
            "steps": json.dumps(run.steps),
            "out_of_fold": json.dumps({run.run.result["metric"]: run.out_of_fold} if run.run.result else {}),
            "synthetic": json.dumps(run.run.synthetic),
            "backbones": json.dumps({b.name: {"sha256": b.sha256, "licence": b.licence} for b in run.backbones}),
            "weights_sha256": weights.hexdigest(),
            "made_by": json.dumps(backbones.exporter()),
        },
    )


def _training_images(run: Portable) -> pd.DataFrame:
    table = pd.read_parquet(run.run.folder / "images.parquet")
    table = table[table["part"] == "train"]
    gone = next((path for path in table["path"] if not Path(path).is_file()), None)
    if gone is not None:
        raise UserError(f"the file is checked on the run's training images, and {gone} is gone: bring the data back.")
    return table


def _pixels(run: Portable, paths: Sequence[str]) -> dict[Preprocessing, Pixels]:
    """Return images as each preprocessing makes them, (N, H, W, 3)."""
    different = list(run.preprocessings().values())

    def prepare(path: str) -> list[Pixels]:
        image = decoding.decode(images.read_bytes(path)[0])
        return [preprocessing.apply(image) for preprocessing in different]

    rows = list(inference.overlapped(paths, prepare, devices.cores()))
    return {preprocessing: np.stack([row[place] for row in rows]) for place, preprocessing in enumerate(different)}


def _feeds(run: Portable, pixels: Mapping[Preprocessing, Pixels], floats: bool) -> dict[str, NDArray[Any]]:
    feeds = {name: pixels[preprocessing] for name, preprocessing in run.preprocessings().items()}
    return {name: rows.astype(np.float32) / 255 for name, rows in feeds.items()} if floats else dict(feeds)


def _check(run: Portable, path: Path, *, floats: bool) -> Checked:
    table = _training_images(run)
    each = table.groupby("label").cumcount()
    paths = table.loc[each.sort_values(kind="stable").index[:_CHECKED], "path"].tolist()
    session = sessions.Session(path, "cpu", devices.cores())

    def compute(pixels: Mapping[Preprocessing, Pixels]) -> Floats:
        """Compute one image by itself and the others together: any batch must do."""
        feeds = _feeds(run, pixels, floats)
        parts = [{name: rows[some] for name, rows in feeds.items()} for some in (slice(0, 1), slice(1, None))]
        found = [session.run((composing.PROBABILITIES,), part)[0] for part in parts if len(next(iter(part.values())))]
        return np.concatenate(found).astype(np.float64)

    ours = _pixels(run, paths)
    theirs = {preprocessing: _by_timm(preprocessing, paths) for preprocessing in ours}
    found = compute(ours)
    by_torch = _refuse_unless(found, run.by_torch(ours, WHOLE), AGREES, paths, "torch on the same pixels")
    by_timm = _refuse_unless(found, compute(theirs), SEES_THE_SAME, paths, "what timm's own transform makes of it")
    return Checked(by_torch, by_timm, len(paths))


def _refuse_unless(found: Floats, expected: Floats, most: float, paths: Sequence[str], rival: str) -> float:
    """Return the largest difference; raise UserError, which names the worst image, where it is larger than `most`."""
    differences = np.abs(found - expected).max(axis=1)
    worst = int(np.where(np.isnan(differences), np.inf, differences).argmax())
    if not differences[worst] <= most:
        raise UserError(
            f"the exported file was not kept: for {paths[worst]} a probability differs by {differences[worst]:.2g} "
            f"from {rival}, more than {most:g}; use another --backbone, and please report it."
        )
    return float(differences[worst])


def _by_timm(preprocessing: Preprocessing, paths: Sequence[str]) -> Pixels:
    """Return images as timm's transform makes them of what Pillow decodes, before they are normalised."""
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
        with PillowImage.open(path) as image:
            made.append(transform(ImageOps.exif_transpose(image).convert("RGB")).numpy())
    return np.asarray(np.round(np.stack(made).transpose(0, 2, 3, 1) * 255), dtype=np.uint8)
