"""Our path (OpenCV decoding, Pillow scaling, onnxruntime) against timm's model and transform, on real images.

Prints the share of images with the same top-1 ImageNet class, and the out-of-fold log losses of Dogs vs Cats with the
same folds and heads on features of both paths.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.features import ARCHIVE, photographs
from benchmarks.timing import machine
from kagglekit.base.console import Console
from kagglekit.data import folds
from kagglekit.heads import heads, prediction
from kagglekit.heads.features import FeatureEngine
from kagglekit.heads.training import Training
from kagglekit.metrics import log_loss_rows
from kagglekit.models import registry, timm_models, weights
from kagglekit.recipe import ComputeSettings, FeatureSettings, HeadSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes

VIEWS = ("plain", "mirror")


def timms_own(name: str, paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return pooled features (N, V, D) and logits (N, V, K) of timm's model and transform, in eager torch."""
    model = timm_models.load_model(name, weights.locate(name))[0]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    pooled, logits = [], []
    for path in paths:
        plain = transform(Image.open(path).convert("RGB"))
        with torch.inference_mode():
            out = model.forward_head(model.forward_features(torch.stack([plain, plain.flip(2)])), pre_logits=True)  # type: ignore[operator]
            pooled.append(out.numpy())
            logits.append(model.get_classifier()(out).numpy())  # type: ignore[operator]
    return np.stack(pooled), np.stack(logits)


def ours(name: str, paths: list[str], folder: Path, output: str) -> np.ndarray:
    """Return features (N, V, D) or logits (N, V, K) of our path."""
    engine = FeatureEngine([registry.resolve(name, FeatureSettings())], VIEWS, output, ComputeSettings(), folder)
    contents = [hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest() for path in paths]
    return engine.compute(paths, contents, Console()).rows(np.arange(len(paths)))


def loss(rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the out-of-fold log loss of the default heads on these features."""
    classes = ((0, 1), (0, 1))
    fold = folds.split(labels, None, 5, 0)
    task = kinds.of(Classes(["cat", "dog"]))
    training = Training(task=task, rows=rows, truth=labels, groups=None, view_classes=classes)
    total = np.empty(len(labels))
    with threadpool_limits(1, user_api="blas"):
        for part in range(5):
            here = fold == part
            head = heads.fit(training, ~here, HeadSettings(), 0)
            total[here] = log_loss_rows(labels[here], prediction.predict(head, rows[here], classes))
    return float(total.mean())


def main() -> None:
    """Compare both paths on the real training images."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=1200)
    options.add_argument("--backbone", nargs="*", default=list(weights.EMBEDDED))
    chosen = options.parse_args()
    if not ARCHIVE.is_file():
        sys.exit("the real archive is not here: this is measured on it only")
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder), 1200)[:: 1200 // chosen.images]
        labels = np.array([Path(path).name.startswith("dog") for path in paths], dtype=np.int64)
        for name in chosen.backbone:
            pooled, logits = timms_own(name, paths)
            own = ours(name, paths, Path(folder), "logits")
            same = float((own[:, 0].argmax(axis=1) == logits[:, 0].argmax(axis=1)).mean())
            here, there = loss(ours(name, paths, Path(folder), "pooled"), labels), loss(pooled, labels)
            print(f"  {name}: top-1 equal on {same:.2%}; out-of-fold {here:.5f}, timm's own {there:.5f}, "
                  f"difference {here - there:+.6f}")  # fmt: skip


if __name__ == "__main__":
    main()
