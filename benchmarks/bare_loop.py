"""The bare loop that State Farm's fine-tuning is compared with, as written in an afternoon with timm and torch.

One tf_efficientnet_lite0 with ImageNet weights and a new head, images squashed to 96 x 96, AdamW with three learning
rates and one cycle, three epochs in batches of 32, light augmentation, no mirroring and no post-processing. With
`--run`, it uses the folds of a run, and both are compared with drivers resampled.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.timing import machine
from benchmarks.training import DRIVERS
from kagglekit import metrics
from kagglekit.base import devices
from kagglekit.competitions import plugins
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import archives, folds
from kagglekit.models import timm_models, weights
from kagglekit.recipe import DataSettings
from kagglekit.runs import store

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import would look for a newer version on the network
MODEL = "tf_efficientnet_lite0"
SIDE, BATCH, CLASSES = 96, 32, 10
RATES = (1e-4, 3e-4, 1e-3)
"""Learning rates of early layers, middle layers and head."""
EARLY_BLOCKS = 3
RESAMPLES = 10_000


def new_model() -> torch.nn.Module:
    """Return the pretrained backbone with an untrained head."""
    model = timm_models.load_model(MODEL, weights.locate(MODEL), (SIDE, SIDE))[0]
    model.reset_classifier(CLASSES)  # type: ignore[operator]
    return model.to(memory_format=torch.channels_last)


def groups(model: torch.nn.Module) -> list[dict[str, object]]:
    """Return the parameter groups of the optimiser: early layers, middle layers and head."""
    parts: list[list[torch.nn.Parameter]] = [[], [], []]
    for name, parameter in model.named_parameters():
        stem, _, rest = name.partition(".")
        if stem in ("conv_stem", "bn1") or (stem == "blocks" and int(rest.partition(".")[0]) < EARLY_BLOCKS):
            parts[0].append(parameter)
        else:
            parts[1 if stem == "blocks" else 2].append(parameter)
    return [{"params": part, "lr": rate} for part, rate in zip(parts, RATES, strict=True)]


def normalised(images: np.ndarray) -> torch.Tensor:
    """Convert uint8 (B, H, W, 3) to float (B, 3, H, W), normalised with mean and deviation 0.5 as for these weights."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> torch.nn.Module:
    """Return a model trained on images (N, H, W, 3) and labels (N,)."""
    import albumentations

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    augment = albumentations.Compose(
        [
            albumentations.Affine(
                scale=(0.95, 1.1), translate_percent=(-0.05, 0.05), rotate=(-5, 5), border_mode=4, p=1
            ),
            albumentations.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0, p=0.8),
        ],
        seed=seed,
    )
    model, steps = new_model(), len(images) // BATCH
    optimiser = torch.optim.AdamW(groups(model), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, list(RATES), total_steps=epochs * steps)
    for epoch in range(epochs):
        model.train()
        order, total = random.permutation(len(images)), 0.0
        for places in np.split(order[: steps * BATCH], steps):
            pixels = normalised(np.stack([augment(image=images[place])["image"] for place in places]))
            loss = torch.nn.functional.cross_entropy(model(pixels), torch.from_numpy(labels[places]))
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            total += loss.item()
        print(f"    epoch {epoch + 1} of {epochs}: train {total / steps:.4f}", flush=True)
    return model.eval()


def predict(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Return probabilities, (N, C)."""
    with torch.inference_mode():
        parts = [model(normalised(images[start : start + 64])).softmax(1) for start in range(0, len(images), 64)]
    return torch.cat(parts).numpy().astype(np.float64)


def interval(rows: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean of rows (N,), resampling whole clusters (N,)."""
    sums, sizes = np.bincount(clusters, weights=rows), np.bincount(clusters)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def report(name: str, truth: np.ndarray, probabilities: np.ndarray, clusters: np.ndarray, note: str) -> np.ndarray:
    """Print a line of out-of-fold scores. Return the log loss of each row, (N,)."""
    rows = metrics.log_loss_rows(truth, probabilities)
    error, right = metrics.clustered_error(rows, clusters), metrics.correct_rows(truth, probabilities).mean()
    print(f"  {name}: log loss {rows.mean():.4f} ± {error:.4f}, accuracy {right:.1%}{note}", flush=True)
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folds", type=int, default=3)
    options.add_argument("--run", default="", help="take a run's folds, and compare with it")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--seed", type=int, default=0, help="of the training; folds have the recipe's")
    options.add_argument("--sample", type=int, default=0, help="try it out on a few images")
    options.add_argument("--threads", type=int, default=devices.cores())
    chosen = options.parse_args()
    if not DRIVERS.is_file():
        sys.exit("the real archive is not here: this is measured on it only")
    devices.keep_memory()
    torch.set_num_threads(chosen.threads)
    started, plugin = time.perf_counter(), plugins.load("state-farm")
    with tempfile.TemporaryDirectory() as folder:
        files = DataFiles.from_folders([archives.extract(DRIVERS, Path(folder)).folder], str(DRIVERS))
        table = plugin.train_table(plugin.competition(), files)
        data = DataSettings(folds=chosen.folds)
        if chosen.run:
            run = store.find(chosen.run)
            table = table.merge(pd.read_parquet(run.folder / "folds.parquet"), on="id", validate="1:1")
        else:
            strata = table["label"].to_numpy()
            table = folds.sample(table, chosen.sample, data.seed, data.num_folds, labels=strata)
            table["fold"] = folds.assign(table, plugin.competition().task, data)
        pixels = [
            Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC) for path in table["path"]
        ]
    images = np.stack([np.asarray(image) for image in pixels])
    truth = np.array([plugin.competition().labels.index(label) for label in table["label"]], dtype=np.int64)
    fold, clusters = table["fold"].to_numpy(), pd.factorize(table["group"])[0].astype(np.int64)
    probabilities = np.full((len(table), CLASSES), np.nan)
    print(f"{machine()}; {len(table)} images of {len(np.unique(clusters))} drivers, {chosen.threads} threads")
    for part in folds.scored(fold):
        print(f"  fold {part}: {(fold != part).sum()} images to learn from", flush=True)
        model = train(images[fold != part], truth[fold != part], chosen.epochs, chosen.seed + int(part))
        probabilities[fold == part] = predict(model, images[fold == part])
    is_scored = fold != folds.TRAIN_ONLY
    truth, clusters, ids = truth[is_scored], clusters[is_scored], table["id"][is_scored].tolist()
    note = f", {time.perf_counter() - started:.0f} s"
    bare = report("bare loop", truth, probabilities[is_scored], clusters, note)
    if chosen.run and run.result:
        labels = plugin.competition().labels
        note = f" ({run.result.before_finish:.4f} before finishing), run {run.id}"
        found = np.asarray(run.read_probabilities("oof.parquet", ids, labels))
        theirs = report("kagglekit", truth, found, clusters, note)
        low, high = interval(bare - theirs, clusters)
        gain = (bare - theirs).mean()
        print(f"  kagglekit's loss is lower by {gain:.4f}, drivers drawn anew: {low:.4f} to {high:.4f} (95%)")


if __name__ == "__main__":
    main()
