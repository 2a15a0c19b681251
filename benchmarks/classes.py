"""Peak memory and core time of each command where there are very many classes, or labels of which an image has several.

Images have 16 x 16 pixels in two colours by class; the backbone is timm's `test_resnet` with random weights, so that
nearly all the work is that of tables, heads, finishing and reports. Scores mean nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.timing import machine
from kagglekit.runs import store

CASES = ((8_000, 6_000), (18_000, 15_501), (70_000, 64_500))
"""Images and classes."""
TESTED = 2_000
PLUGIN = """
from kagglekit import *

@hookimpl
def competition():
    return Competition(
        name="many", kaggle="", target={}(FromCsv("classes.csv", "species")),
        train=CsvLabels("train.csv", "train/{{id/}}.png", id="id", label={}),
        test="test/{{id}}.png", submission={}, metric="{}",
    )
"""
FORMS = {
    "f1(macro)": "ClassLabel(label='species')",
    "map@5": "TopClasses(label='species')",
    "log_loss": "ClassLabel(label='species')",
    "fbeta(2, samples)": "JoinedLabels(label='species')",
}
LABELS = ("fbeta(2, samples)",)
"""The metrics of labels."""
PER_IMAGE = 3
"""Labels of an image, where it has several; its colours are those of the first."""


def plugin_of(metric: str) -> str:
    """Return the plugin's text."""
    target, label = ("Labels", 'Tags("species")') if metric in LABELS else ("Classes", '"species"')
    return PLUGIN.format(target, label, FORMS[metric], metric)


def draw(folder: Path, images: int, classes: int, more: int = 0) -> None:
    """Draw images, a table of their classes, each with `more` others, and a list of all classes."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (classes, 2, 3))
    frequent = 1 / (np.arange(classes) + 10)  # a long tail: many classes have one image
    tail = random.choice(classes, images + TESTED - classes, p=frequent / frequent.sum())
    own = np.concatenate([np.arange(classes), tail])
    for number, label in enumerate(own):
        name = f"train/{number % 100}/i{number}" if number < images else f"test/i{number}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        half = np.repeat(colours[label], 8, axis=0)[:, None] * np.ones((1, 16, 1))
        image = np.clip(half + random.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), image)
    every = np.column_stack([own, random.choice(classes, (len(own), more), p=frequent / frequent.sum())])
    rows = [
        f"{number % 100}/i{number},{' '.join(f's{label}' for label in dict.fromkeys(every[number].tolist()))}\n"
        for number in range(images)
    ]
    (folder / "train.csv").write_text("id,species\n" + "".join(rows))
    (folder / "classes.csv").write_text("species\n" + "".join(f"s{label}\n" for label in range(classes)))


def weights(folder: Path) -> str:
    """Return the spec of a backbone with random weights."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), folder / "tiny.safetensors")
    return f"test_resnet={folder / 'tiny.safetensors'}"


def command(home: Path, *words: str) -> str:
    """Run a command in a separate process. Return its peak memory and core time in words."""
    environment = os.environ | {"KAGGLEKIT_HOME": str(home)}
    process = subprocess.Popen([sys.executable, "-m", "kagglekit", *words], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        return f"failed ({status})"
    return f"{usage.ru_maxrss / 1024:.0f} MB, {usage.ru_utime + usage.ru_stime:.0f} s of core time"


def measure(folder: Path, images: int, classes: int, metric: str, settings: Sequence[str]) -> None:
    """Print what each command takes."""
    data, home, plugin = folder / "data", folder / "home", folder / "many.py"
    draw(data, images, classes, PER_IMAGE - 1 if metric in LABELS else 0)
    plugin.write_text(plugin_of(metric))
    words = [word for each in settings for word in ("--set", each)]
    options = ["--method", "features", "--backbone", weights(folder), "--no-report", *words]
    print(
        f"{images} images, {classes} classes, {metric}, an array of all probabilities {images * classes * 8e-6:.0f} MB"
    )
    print(f"  run: {command(home, 'run', str(plugin), '--data', str(data), *options)}", flush=True)
    (made,) = (home / "many" / "runs").glob("*/run.json")
    run = store.Run(made.parent)
    result = run.finished()
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    print(f"    {result.metric} {result.out_of_fold:.4f}; {stages}")
    print(f"  report: {command(home, 'report', run.id)}", flush=True)
    print(f"  the audit: {command(home, 'audit', str(plugin), '--data', str(data))}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--case", type=int, nargs=2, action="append", help="images and classes")
    options.add_argument("--metric", default="f1(macro)", choices=FORMS)
    options.add_argument("--set", nargs="+", default=["head=nearest", "image_size=32", "folds=3"])
    chosen = options.parse_args()
    print(machine())
    for images, classes in chosen.case or CASES:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), images, classes, chosen.metric, chosen.set)


if __name__ == "__main__":
    main()
