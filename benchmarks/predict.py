"""`kagglekit predict` against its limit, eager torch, torch.compile and the usual loop; and its peak memory.

The limit is the speed of the bare parts one after the other, 1 / (1/forward + 1/decode): `session.run` of the exported
file on batches in memory, and decoding and preprocessing, both on all cores. The bare session counts in its fastest
way: on all cores or with one thread per core, over several batch sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage

from benchmarks.features import ARCHIVE, photographs
from benchmarks.timing import machine, ratio, rounds, seconds
from kagglekit.base import devices
from kagglekit.cli import exporting
from kagglekit.deploy.onnx_graph import PROBABILITIES
from kagglekit.deploy.predictor import Predictor
from kagglekit.images import decoding, files
from kagglekit.models import sessions, timm_models
from kagglekit.models.weights import locate

_BATCHES = (1, 2, 4, 8, 16)
_TORCH_BATCH = 32


def exported(folder: Path, backbone: str) -> Path:
    """Export a small run with one view, so that all ways compute each image once."""
    from kagglekit.base.console import Console
    from kagglekit.pipeline.command import run as take

    settings = {"method": "features", "backbone": backbone, "feature_views": "plain", "sample": 200, "folds": 2}
    with open(os.devnull, "w") as quiet:
        run = take("dogs-vs-cats", ARCHIVE if ARCHIVE.is_file() else None, settings, Console(quiet))
    with contextlib.redirect_stdout(io.StringIO()):
        return exporting.export(str(run.folder), folder / "model.onnx", floats=False, fp16=False)


class Measurements:
    """Measure the images per second of all ways to predict."""

    def __init__(self, model: Path, backbone: str, paths: list[str], folder: Path) -> None:
        """Open the sessions and models of all ways."""
        self.model, self.backbone, self.paths, self.folder = model, backbone, paths, folder
        self.cores = devices.cores()
        self.predictor = Predictor(model, "cpu", print)
        (self.preprocessing,) = self.predictor.preprocessings.values()
        self.some = np.stack([self._pixels(path) for path in paths[: max(_BATCHES)]])
        self.wide = sessions.Session(model, "cpu", self.cores).onnx
        self.narrow = sessions.Session(model, "cpu", 1).onnx
        self.torch = timm_models.load_model(backbone, locate(backbone))[0]
        self.few = paths[:256]

    def _pixels(self, path: str) -> decoding.Pixels:
        return self.preprocessing.apply(decoding.decode(files.read_bytes(path)[0]))

    def forward(self) -> float:
        """Measure bare session.run, in its fastest way."""
        return max(
            self._forward(session, workers, batch)
            for session, workers in ((self.wide, 1), (self.narrow, self.cores))
            for batch in _BATCHES
        )

    def _forward(self, session: object, workers: int, batch: int) -> float:
        feeds = {"images": self.some[:batch]}
        calls = max(len(self.paths) // 20 // batch, 2 * workers)
        with ThreadPoolExecutor(workers) as pool:
            taken = seconds(lambda: list(pool.map(lambda _: session.run([PROBABILITIES], feeds), range(calls))))  # type: ignore[attr-defined]
        return calls * batch / taken

    def decode(self) -> float:
        """Measure bare reading, decoding and preprocessing on all cores."""
        with ThreadPoolExecutor(self.cores) as pool:
            return len(self.paths) / seconds(lambda: list(pool.map(self._pixels, self.paths)))

    def kagglekit(self) -> float:
        """Measure the command in this process, from opening the file to the CSV."""
        output = self.folder / "out.csv"
        with contextlib.redirect_stdout(io.StringIO()):
            taken = seconds(
                lambda: exporting.predict(str(self.model), [Path(p) for p in self.paths], output, 0, "cpu", 0)
            )
        return len(self.paths) / taken

    def eager(self) -> float:
        """Measure eager torch in batches of 32, with our decoding on all cores before each."""
        return self._torch(self.torch)

    def compiled(self) -> float:
        """Measure compiled torch, without the time of compilation."""
        if not hasattr(self, "_compiled"):
            self._compiled = torch.compile(self.torch)
            self._torch(self._compiled)
        return self._torch(self._compiled)

    def _torch(self, model: object) -> float:
        mean, std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (self.preprocessing.mean, self.preprocessing.std)
        )

        def loop() -> None:
            with torch.inference_mode(), ThreadPoolExecutor(self.cores) as pool:
                for start in range(0, len(self.few), _TORCH_BATCH):
                    pixels = np.stack(list(pool.map(self._pixels, self.few[start : start + _TORCH_BATCH])))
                    model((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)  # type: ignore[operator]

        return len(self.few) / seconds(loop)

    def usual(self) -> float:
        """Measure timm's model and transform with Pillow and a DataLoader with one process per core."""
        import timm

        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(self.torch))
        paths = self.few

        class Dataset(torch.utils.data.Dataset[torch.Tensor]):
            def __len__(self) -> int:
                return len(paths)

            def __getitem__(self, place: int) -> torch.Tensor:
                return transform(PillowImage.open(paths[place]).convert("RGB"))  # type: ignore[no-any-return]

        loader = torch.utils.data.DataLoader(Dataset(), batch_size=_TORCH_BATCH, num_workers=self.cores)

        def loop() -> None:
            with torch.inference_mode():
                for batch in loader:
                    self.torch(batch)

        return len(paths) / seconds(loop)


def peak(model: Path, paths: list[str], count: int, folder: Path) -> float:
    """Return the peak memory in MB of `kagglekit predict` on `count` images, in a separate process."""
    links = folder / f"links-{count}"
    links.mkdir()
    for number in range(count):
        (links / f"{number}.jpg").symlink_to(paths[number % len(paths)])
    output = str(folder / f"{count}.csv")
    command = [sys.executable, "-m", "kagglekit", "predict", str(model), str(links), "--output", output]
    # started by a small process: the system also counts the memory of the parent, and this one has loaded torch
    starter = [sys.executable, "-c", _STARTER, *command]
    return float(subprocess.run(starter, capture_output=True, text=True, check=True).stdout.split()[-1]) / 1024


_STARTER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--backbone", default="tf_efficientnet_lite0")
    options.add_argument(
        "--memory", type=int, nargs=2, metavar="IMAGES", help="Peak memory on so many, and on so many."
    )
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["KAGGLEKIT_HOME"] = str(folder / "home")
        model = exported(folder, chosen.backbone)
        there = photographs(folder, 1200)
        paths = [there[number % len(there)] for number in range(chosen.images)]
        print(f"{machine()}; {chosen.backbone}, {chosen.images} images")
        if chosen.memory:
            for count in chosen.memory:
                print(f"  peak memory on {count:6} images: {peak(model, there, count, folder):7.0f} MB")
            return
        bench = Measurements(model, chosen.backbone, paths, folder)
        bench.forward()  # warm up
        found = rounds({"forward": bench.forward, "decode": bench.decode, "kagglekit": bench.kagglekit}, chosen.rounds)
        rivals = {"eager torch": bench.eager, "torch.compile": bench.compiled, "usual loop": bench.usual}
        beside = rounds({"kagglekit": bench.kagglekit} | rivals, 2)
    limit = [1 / (1 / f + 1 / d) for f, d in zip(found["forward"], found["decode"], strict=True)]
    for way, rates in (found | {"limit": limit} | {way: beside[way] for way in rivals}).items():
        print(f"  {way:16}{statistics.median(rates):8.1f} images/s")
    print(f"  kagglekit / limit: {ratio(found['kagglekit'], limit)}")
    for way in rivals:
        print(f"  kagglekit / {way}: {ratio(beside['kagglekit'], beside[way])}")


if __name__ == "__main__":
    main()
