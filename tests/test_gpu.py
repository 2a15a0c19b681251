"""What only a GPU shows: mixed precision, memory that runs out, two processes, and predictions."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from accelerate.state import AcceleratorState

from kagglekit.base import devices
from kagglekit.base.console import Console
from kagglekit.base.distributed import World
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.deploy.predictor import Image, Predictor
from kagglekit.images import decoding, files
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.row_store import RowStore
from kagglekit.recipe import Recipe
from kagglekit.report import saliency
from kagglekit.runs import store
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.training import batches, learner, loop
from kagglekit.training.augmenter import Augmenter
from kagglekit.training.phases import Phase
from tests import drawing
from tests.conftest import REPORT, Cli, succeeded

GPUS = devices.cuda_gpus()
DEVICE: devices.Device = "cuda"
SIDE, COUNT, BATCH = 128, 128, 64
RECIPE = Recipe.of(
    method="finetune", plan="quick", augment="none", batch_norm="frozen", loader_workers=0, learning_rate=5e-3
)
ALL = Phase(name="all", trains="all", epochs=4, find=False)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not GPUS, reason="no CUDA GPU found"),
    pytest.mark.filterwarnings("default"),  # what a driver or its libraries warn of is not ours
]


@pytest.fixture(autouse=True)
def own_world() -> Iterator[None]:
    """A process has one precision for good, as far as Accelerate is concerned; here each test has its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def whole_memory() -> Iterator[None]:
    """Give back what a test keeps the allocator from using."""
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def data(folder: Path) -> batches.TrainingData:
    """Noise of two classes, of which one is brighter."""
    labels = np.arange(COUNT, dtype=np.int64) % 2
    contents = [int(place).to_bytes(16, "big") for place in range(1, COUNT + 1)]
    store, random = RowStore(folder, {}), np.random.default_rng(0)
    for content, label in zip(contents, labels, strict=True):
        store.add(content, (random.integers(0, 156, (SIDE, SIDE, 3)) + 99 * label).astype(np.uint8))
    store.flush()
    return batches.TrainingData(
        pixels=store,
        preprocessing=Preprocessing(
            size=(SIDE, SIDE), crop="squash", crop_share=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        contents=contents,
        labels=labels,
        validation_contents=[],
        validation_labels=labels[:0],
        task=kinds.of(Classes(["dim", "bright"])),
        augmenter=Augmenter(transforms=[], mirror=None, mirror_share=0.0, erasing=0.0, seed=0),
    )


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    trainer: loop.Trainer
    said: str

    @property
    def losses(self) -> Sequence[float]:
        return [row["loss"] for row in self.trainer.progress.history if row["kind"] == "step"]


def train(folder: Path, precision: str = "float32", recipe: Recipe = RECIPE) -> Trained:
    """Train a ResNet-18 from random weights."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    output = io.StringIO()
    trainer = loop.Trainer(
        timm.create_model("resnet18", num_classes=2),
        data(folder / "store"),
        recipe,
        World(DEVICE, precision),
        folder=folder,
        console=Console(output),
        seed=0,
        batch=BATCH,
        description={"model": "resnet18"},
    )
    trainer.train((ALL,), lambda _: None)
    AcceleratorState._reset_state(reset_partial_state=True)
    return Trained(trainer, output.getvalue())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_what_float32_does(tmp_path: Path, precision: str) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bf16")
    single, mixed = train(tmp_path / "single").losses, train(tmp_path / "mixed", precision).losses
    assert mixed[0] == pytest.approx(single[0], abs=0.02)
    assert np.isfinite(mixed).all()
    assert np.mean(mixed[-2:]) < np.mean(mixed[:2]) - 0.15
    # fp16 starts with gradients scaled so far up that its first steps may be left out
    assert np.mean(mixed[-2:]) == pytest.approx(np.mean(single[-2:]), abs=0.15)


@pytest.mark.usefixtures("whole_memory")
@pytest.mark.parametrize("found", ["before the first step", "in a step"])
def test_a_batch_that_does_not_fit_is_halved_in_memory_and_is_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    whole = train(tmp_path / "whole")
    assert whole.trainer.learner.micro_batch == BATCH
    peak, losses = torch.cuda.max_memory_allocated(), whole.losses
    del whole
    torch.cuda.empty_cache()
    if found == "in a step":
        monkeypatch.setattr(learner.Learner, "_fit_to_memory", lambda *_: None)
    torch.cuda.set_per_process_memory_fraction(0.6 * peak / torch.cuda.get_device_properties(0).total_memory)
    halved = train(tmp_path / "halved")
    together = halved.trainer.learner.micro_batch
    assert together < BATCH
    assert halved.trainer.batch == BATCH
    assert f"out of memory: from now on {together} images are computed at a time" in halved.said
    assert halved.losses[0] == pytest.approx(losses[0], rel=0.01)
    assert np.mean(halved.losses) == pytest.approx(np.mean(losses), rel=0.1)


def test_worker_processes_give_the_same_batches(tmp_path: Path) -> None:
    without = train(tmp_path / "without").losses
    workers = train(tmp_path / "workers", recipe=RECIPE.changed(loader_workers=2)).losses
    assert workers[0] == pytest.approx(without[0], rel=0.01)
    assert np.mean(workers) == pytest.approx(np.mean(without), rel=0.1)


def test_predictions_are_computed_on_the_gpu_and_agree_with_the_cpu(
    cli: Cli, tiny: str, home: Path, tmp_path: Path
) -> None:
    succeeded(cli("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny, "--folds", "2"))
    (run,) = (home / "dogs-vs-cats" / "runs").iterdir()
    assert json.loads((run / "provider.json").read_text())["used"] == "cuda"
    succeeded(cli("export", run, "--fp16"))
    table = pd.read_parquet(run / "images.parquet")
    wanted = [Image(row.id, Path(row.path)) for row in table.itertuples()]
    rows = {}
    for name, file, provider in (("cpu", "model", "cpu"), ("cuda", "model", "cuda"), ("fp16", "model.fp16", "cuda")):
        predictor = Predictor(run / f"{file}.onnx", provider, pytest.fail, batch=7)
        assert predictor.session.device == provider
        rows[name] = np.array([row.probabilities for row in predictor.predict(wanted)])
    assert np.abs(rows["cuda"] - rows["cpu"]).max() < 5e-3, "TF32 has ten bits"
    assert np.abs(rows["fp16"] - rows["cpu"]).max() < 2e-2


def test_attention_is_computed_on_the_gpu_and_agrees_with_the_cpu(
    cli: Cli, tiny: str, home: Path, tmp_path: Path
) -> None:
    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny, "--folds", "2")
    assert "left out" not in succeeded(cli(*words, REPORT)).out
    (run,) = (home / "dogs-vs-cats" / "runs").iterdir()
    fitted = FittedRun(store.Run(run), Console(io.StringIO()))
    image = decoding.decode(files.read_bytes(pd.read_parquet(run / "images.parquet")["path"].iloc[0])[0])
    found = {}
    for device in ("cuda", "cpu"):
        looked = saliency.Attention(fitted)
        assert looked.device == "cuda"
        looked.device = device
        (evidence,) = looked.maps([saliency.Asked(looked.prepare(image), "fold0", 1)])
        assert evidence is not None
        found[device] = evidence.values
    assert np.abs(found["cuda"] - found["cpu"]).max() < 1e-2 * np.abs(found["cpu"]).max()


@pytest.mark.skipif(GPUS < 2, reason="there are not two CUDA GPUs here")
def test_two_processes_make_one_run(tiny: str, home: Path, tmp_path: Path) -> None:
    archive = drawing.dogs(tmp_path, train=96, test=12)
    settings = ["folds=2", "image_size=64", "augment=none", "loader_workers=0"]
    words: list[Any] = ["dogs-vs-cats", "--data", archive, "--backbone", tiny, "--method", "finetune"]
    words += ["--processes", 2, *(word for setting in settings for word in ("--set", setting))]
    command = [sys.executable, "-m", "kagglekit", "run", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (home / "dogs-vs-cats" / "runs").iterdir()
    assert json.loads((run / "provider.json").read_text())["used"] == "cuda"
    assert len(pd.read_parquet(run / "oof.parquet")) == 96
    submission = pd.read_csv(run / "submission.csv")
    assert submission["id"].tolist() == list(range(1, 13))
    assert submission["label"].between(0, 1).all()
