"""Feature extraction against its limit, and against the usual loop in eager torch with Pillow.

The limit is the speed of the bare parts one after the other, 1 / (1/forward + 1/decode): `session.run` on batches in
memory, and decoding and preprocessing on all cores. The bare session is measured with all cores and with one thread per
core; the faster way counts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import machine, ratio, rounds, seconds
from kagglekit.base import devices
from kagglekit.base.console import Console
from kagglekit.data import archives
from kagglekit.heads.features import FeatureEngine
from kagglekit.images import decoding, files
from kagglekit.models import backbone, batch_sizes, registry, sessions, timm_models, weights
from kagglekit.recipe import ComputeSettings, FeatureSettings

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data"
ARCHIVE = ARCHIVE / "dogs-vs-cats-redux-kernels-edition" / "dogs-vs-cats-redux-kernels-edition.zip"
VIEWS = ("plain", "mirror")


def photographs(folder: Path, count: int) -> list[str]:
    """Return real photographs if available, else drawn images of the same size."""
    if ARCHIVE.is_file():
        unpacked = archives.extract(ARCHIVE, folder).folder
        return [str(path) for path in sorted(unpacked.glob("train/*.jpg"))[:count]]
    print("the real archive is not here: noise of the same size instead")
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (375, 450, 3), dtype=np.uint8)).save(path, quality=90)
    return [str(path) for path in paths]


class Measurements:
    """Measure the images per second (each in two views) of all ways to compute features."""

    def __init__(self, paths: list[str], folder: Path, backbone: backbone.Backbone) -> None:
        """Open sessions and load the inputs of the bare loops."""
        self.paths, self.folder, self.backbone = paths, folder, backbone
        self.contents = [hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest() for path in paths]
        self.cores = devices.cores()
        chunk = [backbone.preprocessing.apply(decoding.decode(files.read_bytes(path)[0])) for path in paths[:4]]
        self.batch = np.repeat(np.stack(chunk), len(VIEWS), axis=0)
        self.wide = sessions.Session(Path(backbone.graph), "cpu", self.cores).onnx
        self.narrow = sessions.Session(Path(backbone.graph), "cpu", 1).onnx
        self.model = timm_models.load_model(backbone.name, weights.locate(backbone.name))[0]

    def _forward(self, session: object, workers: int) -> float:
        def run(_: int) -> None:
            session.run(["pooled"], {"images": self.batch})  # type: ignore[attr-defined]

        calls = max(8, len(self.paths) // 4 // 2)
        with ThreadPoolExecutor(workers) as pool:
            taken = seconds(lambda: list(pool.map(run, range(calls))))
        return calls * 4 / taken

    def forward(self) -> float:
        """Measure bare session.run: the faster of one session on all cores and one thread per core."""
        return max(self._forward(self.wide, 1), self._forward(self.narrow, self.cores))

    def decode(self) -> float:
        """Measure bare reading, decoding and preprocessing on all cores."""

        def one(path: str) -> None:
            self.backbone.preprocessing.apply(decoding.decode(files.read_bytes(path)[0]))

        with ThreadPoolExecutor(self.cores) as pool:
            taken = seconds(lambda: list(pool.map(one, self.paths)))
        return len(self.paths) / taken

    def kagglekit(self) -> float:
        """Measure the feature engine of a run with an empty cache, including the writing to it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as store, open(os.devnull, "w") as quiet:
            engine = FeatureEngine([self.backbone], VIEWS, "pooled", ComputeSettings(), Path(store))
            return len(self.paths) / seconds(lambda: engine.compute(self.paths, self.contents, Console(quiet)))

    def torch_pillow(self) -> float:
        """Measure the usual loop: timm's model and transform, Pillow, a DataLoader, eager torch, batches of 32."""
        import timm

        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(self.model))
        paths = self.paths[:128]

        class Dataset(torch.utils.data.Dataset[torch.Tensor]):
            def __len__(self) -> int:
                return len(paths)

            def __getitem__(self, place: int) -> torch.Tensor:
                return transform(Image.open(paths[place]).convert("RGB"))  # type: ignore[no-any-return]

        loader = torch.utils.data.DataLoader(Dataset(), batch_size=32, num_workers=self.cores)

        def loop() -> None:
            with torch.inference_mode():
                for batch in loader:
                    for view in (batch, batch.flip(3)):
                        self.model.forward_head(self.model.forward_features(view), pre_logits=True)  # type: ignore[operator]

        return len(paths) / seconds(loop)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=400)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--backbone", default="tf_efficientnet_lite2")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        backbone = registry.resolve(chosen.backbone, FeatureSettings(), print)
        bench = Measurements(photographs(Path(folder), chosen.images), Path(folder), backbone)
        ways = {"forward": bench.forward, "decode": bench.decode, "kagglekit": bench.kagglekit}
        bench.forward()  # warm up
        found = rounds(ways, chosen.rounds)
        usual = rounds({"kagglekit": bench.kagglekit, "torch + Pillow": bench.torch_pillow}, 2)
    limit = [1 / (1 / f + 1 / d) for f, d in zip(found["forward"], found["decode"], strict=True)]
    print(f"{machine()}; {chosen.backbone}, {chosen.images} images, views {', '.join(VIEWS)}, batch of "
          f"{batch_sizes.automatic_batch('cpu')} images")  # fmt: skip
    for name, rates in (found | {"limit": limit, "torch + Pillow": usual["torch + Pillow"]}).items():
        print(f"  {name:16}{statistics.median(rates):8.1f} images/s")
    print(f"  kagglekit / limit: {ratio(found['kagglekit'], limit)}")
    print(f"  kagglekit / (eager torch + Pillow): {ratio(usual['kagglekit'], usual['torch + Pillow'])}")


if __name__ == "__main__":
    main()
