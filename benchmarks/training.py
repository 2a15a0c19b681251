"""Training throughput: kagglekit's loop against a bare torch loop on preloaded tensors.

Both train the same model with the same optimiser, batch size, memory format and allocator settings, on all cores.
kagglekit's loop reads pixels from a store on disk, mirrors and augments them (`side-on`), uses a DataLoader, and keeps
a history and checkpoints. Both are timed from the end of the first step to the end of the last. The other costs of a
phase (first step, weights by name, plots) do not grow with the number of images, and are printed in seconds.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.features import ARCHIVE
from benchmarks.timing import machine, ratio, rounds
from kagglekit.base import devices
from kagglekit.base.console import Console
from kagglekit.base.distributed import World
from kagglekit.data import archives
from kagglekit.images import pixels
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.row_store import RowStore
from kagglekit.models import timm_models, weights
from kagglekit.recipe import Recipe, ScheduleSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.training import batches, loop, phases, policies
from kagglekit.training.augmenter import Augmenter

SLUG = "state-farm-distracted-driver-detection"
DRIVERS = ARCHIVE.parents[1] / SLUG / f"{SLUG}.zip"
SIZES = {(72, 96): (DRIVERS, "imgs/train/*/*.jpg"), (224, 224): (ARCHIVE, "train/*.jpg")}
"""Height and width -> archive and pattern of the photographs."""
CLASSES = 10
MIRROR = (0, 3, 4, 1, 2, 5, 6, 7, 8, 9)
"""Classes of State Farm's mirrored images: a mirrored driver uses the other hand."""
EPOCHS = 2


@dataclass(frozen=True)
class Images:
    """A store of pixels of one size."""

    store: RowStore
    contents: Sequence[bytes]
    preprocessing: Preprocessing


def photographs(archive: Path, pattern: str, count: int, preprocessing: Preprocessing, folder: Path) -> Images:
    """Return real photographs if available, else noise of the same size."""
    if not archive.is_file():
        print(f"the real archive is not here: noise instead of {archive.name}")
        return noise(count, preprocessing, folder)
    found = sorted(archives.extract(archive, folder).folder.glob(pattern))
    paths = [str(path) for path in found[:: max(len(found) // count, 1)][:count]]
    contents = [hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest() for path in paths]
    quiet, workers = Console(io.StringIO()), devices.cores()
    store = pixels.pixel_store(preprocessing, paths, contents, folder=folder / "pixels", workers=workers, console=quiet)
    return Images(store, contents, preprocessing)


def noise(count: int, preprocessing: Preprocessing, folder: Path) -> Images:
    """Return random pixels."""
    store, random = RowStore(folder / "noise", {"size": preprocessing.size}), np.random.default_rng(0)
    contents = [number.to_bytes(16, "big") for number in range(1, count + 1)]
    for content in contents if contents[-1] not in store else ():
        store.add(content, random.integers(0, 256, (*preprocessing.size, 3), dtype=np.uint8))
    store.flush()
    return Images(store, contents, preprocessing)


class _Clock:
    """Times a training of `total` images by its progress, from the end of the first step."""

    def __init__(self, total: int, device: torch.device) -> None:
        self._total, self._device = total, device
        self._first = self._done = 0
        self._started = self._ended = 0.0

    def advance(self, count: int) -> None:
        """Count finished images. At start and end, wait until the device has finished them."""
        self._done += count
        if not self._done or (self._first and self._done < self._total):
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        if self._first:
            self._ended = time.perf_counter()
        else:
            self._first, self._started = count, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._ended - self._started

    @property
    def rate(self) -> float:
        """Images per second."""
        return (self._total - self._first) / self.seconds


class Contest:
    """A model that kagglekit's loop and a bare loop train from the same weights, with `steps` steps per epoch."""

    def __init__(self, model: torch.nn.Module, images: Images, world: World, *, batch: int, steps: int) -> None:
        self.model, self.images, self.world = model, images, world
        self.batch, self.steps = batch, steps
        self.beside: list[float] = []
        """Untimed seconds of each training by kagglekit."""
        self.console = Console(io.StringIO())

    @property
    def total(self) -> int:
        """Number of images in one measurement."""
        return EPOCHS * self.steps * self.batch

    def trainer(self, recipe: Recipe, folder: Path) -> loop.Trainer:
        """Return a trainer as in method `finetune`, but without validation images."""
        size, count = self.images.preprocessing.size, self.steps * self.batch
        data = batches.TrainingData(
            pixels=self.images.store,
            preprocessing=self.images.preprocessing,
            contents=list(itertools.islice(itertools.cycle(self.images.contents), count)),
            labels=np.arange(count, dtype=np.int64) % CLASSES,
            validation_contents=[],
            validation_labels=np.empty(0, np.int64),
            task=kinds.of(Classes([str(number) for number in range(CLASSES)])),
            augmenter=Augmenter(
                transforms=policies.resolve(recipe.augmentation.augment, size, {}),
                mirror=MIRROR,
                mirror_share=recipe.augmentation.mirror_share,
                erasing=recipe.augmentation.erasing,
                seed=0,
            ),
        )
        return loop.Trainer(
            copy.deepcopy(self.model),
            data,
            recipe,
            self.world,
            folder=folder,
            console=self.console,
            seed=0,
            batch=self.batch,
            description={"model": "tf_efficientnet_lite0"},
        )

    def kagglekit(self, recipe: Recipe | None = None) -> float:
        """Return the images per second of kagglekit's loop, by default with its default settings."""
        with tempfile.TemporaryDirectory() as folder:
            return self.timed(self.trainer(recipe or Recipe(), Path(folder)))

    def timed(self, trainer: loop.Trainer) -> float:
        """Train all layers for two epochs. Return the images per second."""
        clock = _Clock(self.total, self.world.device)
        started = time.perf_counter()
        trainer.train(phases.of(ScheduleSettings(plan="quick", phases=(f"all epochs={EPOCHS}",))), clock.advance)
        self.beside.append(time.perf_counter() - started - clock.seconds)
        return clock.rate

    def bare(self, precision: str = "float32") -> float:
        """Return the images per second of a bare loop."""
        device = self.world.device
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        model = copy.deepcopy(self.model).to(device)
        model = model.to(memory_format=torch.channels_last).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
        scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        batches = self._ready()
        clock = _Clock(self.total, device)
        for images, labels in itertools.islice(itertools.cycle(batches), EPOCHS * self.steps):
            with torch.autocast(device.type, kind, enabled=kind is not None):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad()
            clock.advance(len(images))
        return clock.rate

    def _ready(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return a few normalised batches on the device: floats (B, 3, H, W), channels last; and labels (B,)."""
        made = []
        contents = itertools.cycle(self.images.contents)
        for _ in range(min(4, self.steps)):
            rows = np.stack([self.images.store.row(content) for content in itertools.islice(contents, self.batch)])
            images = torch.from_numpy(rows).to(self.world.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            made.append((images, torch.arange(self.batch, device=self.world.device) % CLASSES))
        return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="tf_efficientnet_lite0")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--steps", type=int, default=16, help="of an epoch; a measurement has two")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    devices.keep_memory()
    torch.set_num_threads(devices.cores())
    world = World("cpu", "float32")
    print(f"{machine()}; {chosen.model}, batch of {chosen.batch}, {EPOCHS} epochs of {chosen.steps} steps")
    for size, (archive, pattern) in SIZES.items():
        model = timm_models.load_model(chosen.model, weights.locate(chosen.model), size)[0]
        preprocessing = timm_models.preprocessing_of(model, size).cropped("squash")
        model.reset_classifier(CLASSES)  # type: ignore[operator]
        with tempfile.TemporaryDirectory() as folder:
            images = photographs(archive, pattern, chosen.batch * chosen.steps, preprocessing, Path(folder))
            warm = Contest(model, images, world, batch=chosen.batch, steps=1)
            rounds({"kagglekit": warm.kagglekit, "bare": warm.bare}, 1)
            contest = Contest(model, images, world, batch=chosen.batch, steps=chosen.steps)
            found = rounds({"kagglekit": contest.kagglekit, "bare": contest.bare}, chosen.rounds)
        middle = {name: statistics.median(rates) for name, rates in found.items()}
        print(f"  {size[0]}x{size[1]}: kagglekit {middle['kagglekit']:.1f}, bare {middle['bare']:.1f} images/s")
        print(f"    kagglekit / bare: {ratio(found['kagglekit'], found['bare'])}")
        print(f"    beside that a phase takes {statistics.median(contest.beside):.2f} s", flush=True)


if __name__ == "__main__":
    main()
