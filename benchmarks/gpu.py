"""Benchmarks of training that need a GPU, in one table and ten minutes at most.

The table has images per second of kagglekit's loop in float32, bf16 and fp16 against a bare torch loop with the same
autocast on preloaded tensors, both channels last; of prediction in half precision against bare sessions and torch; of
the loop with more and more worker processes; with a batch that does not fit in memory; and, with two GPUs, of two
processes.

Weights and pixels are random: no file is needed. Each line is measured in a separate process, so that one may fail
without the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.timing import machine, ratio, rounds
from kagglekit.base import devices
from kagglekit.base.console import Console
from kagglekit.models import timm_models, weights

LIMIT = 570.0
"""Time limit of the whole command, in seconds."""
MODELS = {"tf_efficientnetv2_s": (300, 300), "convnext_tiny": (224, 224)}
"""timm model -> height and width."""
PRECISIONS = ("float32", "bf16", "fp16")
PIXELS = 256
"""Number of different images; longer epochs repeat them."""

Row = list[str]
"""What was measured, images per second, ratio, note."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The measurement of one process."""

    kind: str
    """Name of the function that measures it."""
    model: str = "tf_efficientnetv2_s"
    size: tuple[int, int] = MODELS["tf_efficientnetv2_s"]
    precision: str = "bf16"
    tuned: bool = False
    """Whether cuDNN benchmarks its algorithms."""
    device: devices.Device = "cuda"
    batch: int = 64
    seconds: float = 4.0
    """Approximate time of one measurement, in seconds."""
    limit: float = 120.0
    """Time limit of the process, in seconds."""


def jobs(gpus: int) -> list[Job]:
    """Return all measurements, most important first."""
    precise = [
        Job(kind="precision", model=model, size=size, precision=precision)
        for model, size in MODELS.items()
        for precision in PRECISIONS
    ]
    two = [Job(kind="processes", batch=128)] if gpus > 1 else []
    return [
        *precise[:3],
        *(Job(kind="inference", model=model, size=size, precision="fp16") for model, size in MODELS.items()),
        *precise[3:],
        Job(kind="memory", precision="float32"),
        *two,
        Job(kind="workers"),
        Job(kind="precision", tuned=True),
    ]


# --- in the process of a job


def contest(job: Job, steps: int, folder: Path, batch: int = 0) -> Any:
    """Return a contest of the job's model on random pixels."""
    import torch

    from benchmarks.training import CLASSES, Contest, noise
    from kagglekit.base.distributed import World

    torch.backends.cudnn.benchmark = job.tuned
    torch.manual_seed(0)
    model = timm_models.create(job.model, job.size, num_classes=CLASSES)
    images = noise(PIXELS, timm_models.preprocessing_of(model, job.size).cropped("squash"), folder)
    return Contest(model, images, World(job.device, job.precision), batch=batch or job.batch, steps=steps)


def warmed_up(job: Job, folder: Path) -> Any:
    """Return a warmed-up contest with as many steps as fit into the job's seconds."""
    made = contest(job, 3, folder)
    made.kagglekit()
    made.bare(job.precision)  # the first call is slower
    rate = made.bare(job.precision)
    made.steps = int(np.clip(rate * job.seconds / 2 / made.batch, 3, 60))
    return made


def precision(job: Job, folder: Path) -> list[Row]:
    """Measure kagglekit's loop and the bare loop in one precision."""
    made = warmed_up(job, folder)
    found = rounds({"kagglekit": made.kagglekit, "bare": lambda: made.bare(job.precision)}, 3)
    middle = {name: statistics.median(rates) for name, rates in found.items()}
    tuned = ", cudnn.benchmark" if job.tuned else ""
    what = f"{job.model} at {job.size[0]}, {job.precision}{tuned}"
    middle_ratio, _, spread = ratio(found["kagglekit"], found["bare"]).partition(" ")
    return [[what, f"{middle['kagglekit']:.0f}", middle_ratio, f"bare {middle['bare']:.0f} images/s; {spread[1:-1]}"]]


def workers(job: Job, folder: Path) -> list[Row]:
    """Measure kagglekit's loop with 0, 1, 2, 4, … augmenting processes against the bare loop."""
    from kagglekit.recipe import Recipe

    made, rows = warmed_up(job, folder), []
    bare = made.bare(job.precision)
    for count in [0, *(2**power for power in range(int(math.log2(devices.cores())) + 1))]:
        rate = made.kagglekit(Recipe.of(loader_workers=count))
        rows.append([f"{count} worker processes", f"{rate:.0f}", f"{rate / bare:.3f}", f"{job.model}, {job.precision}"])
    return rows


def memory(job: Job, folder: Path) -> list[Row]:
    """Train with a batch that needs at least 1.5 times the available memory."""
    import torch

    from kagglekit.recipe import Recipe

    peaks = []
    for batch in (8, 16):
        torch.cuda.reset_peak_memory_stats()
        contest(job, 1, folder, batch).bare(job.precision)
        peaks.append(torch.cuda.max_memory_allocated())
    each, there = (peaks[1] - peaks[0]) / 8, torch.cuda.get_device_properties(0).total_memory
    made = contest(job, 1, folder, 2 ** math.ceil(math.log2(1.5 * there / each)))
    trainer = made.trainer(Recipe.of(loader_workers=min(devices.cores(), 4)), folder)
    rate = made.timed(trainer)
    losses = [row["loss"] for row in trainer.progress.history if row["kind"] == "step"]
    fine = "all finite" if np.isfinite(losses).all() else "NOT FINITE"
    together = trainer.learner.micro_batch
    halved = f"{together} computed together" if together < made.batch else "IT FITTED"
    note = f"{halved}, {trainer.batch} a step; losses {', '.join(f'{loss:.3f}' for loss in losses)}: {fine}"
    return [[f"batch of {made.batch}, {there / 2**30:.0f} GiB", f"{rate:.0f}", "", note]]


def processes(job: Job, folder: Path) -> list[Row]:
    """Measure one of two processes. Only the row of the first is printed."""
    made = contest(job, 20, folder)
    made.kagglekit()
    rate = statistics.median(made.kagglekit() for _ in range(3))
    each = f"{job.batch // made.world.size} images each"
    return [[f"{made.world.size} processes, {job.model}, {job.precision}", f"{rate:.0f}", "", each]]


def inference(job: Job, folder: Path) -> list[Row]:
    """Measure prediction in half precision: kagglekit's bound sessions, bare session.run, torch, and decoding."""
    import onnx
    import torch
    from safetensors.torch import save_file

    from kagglekit.images import decoding
    from kagglekit.models import onnx_export, sessions

    torch.manual_seed(0)
    model = timm_models.create(job.model, job.size)
    save_file(model.state_dict(), folder / "weights.safetensors")
    backbone = onnx_export.export(
        job.model, weights.locate(job.model, str(folder / "weights.safetensors")), job.size, folder
    )
    half = onnx_export.halved(onnx.load(backbone.graph)).SerializeToString()
    bound, single = sessions.Session(half, job.device, 1), sessions.Session(Path(backbone.graph), job.device, 1)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (PIXELS, *job.size, 3), dtype=np.uint8)
    batches = [images[start : start + job.batch] for start in range(0, len(images), job.batch)]
    wrapped = onnx_export.wrap(model.eval(), backbone.preprocessing)
    wrapped.to(job.device).to(memory_format=torch.channels_last)
    compiled = torch.compile(wrapped)

    def threaded(run: Callable[[Any], Any], threads: int) -> float:
        def once(repeats: int) -> float:
            started = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run, batches * repeats))
            return repeats * len(images) / (time.perf_counter() - started)

        once(1)
        return once(max(int(once(1) * job.seconds / len(images)), 1))

    def by_torch(module: Any) -> Callable[[Any], Any]:
        def run(batch: Any) -> Any:
            narrow = torch.float16 if job.device == "cuda" else torch.bfloat16
            with torch.inference_mode(), torch.autocast(job.device, dtype=narrow):
                return [rows.float().cpu() for rows in module(torch.from_numpy(batch).to(job.device))]

        return run

    ways = {
        "kagglekit, fp16, bound memory": threaded(lambda b: bound.run(("pooled",), {"images": b}), 3),
        "bare session.run, fp16": threaded(lambda b: bound.onnx.run(["pooled"], {"images": b}), 3),
        "bare session.run, float32": threaded(lambda b: single.onnx.run(["pooled"], {"images": b}), 3),
        "torch, autocast, channels last": threaded(by_torch(wrapped), 3),
        "torch.compile, autocast": threaded(by_torch(compiled), 1),
    }
    small = random.integers(0, 256, (25, 30, 3), dtype=np.uint8)  # enlarged, it is as smooth as a photograph
    photo = cv2.imencode(".jpg", cv2.resize(small, (450, 375), interpolation=cv2.INTER_CUBIC))[1].tobytes()
    with ThreadPoolExecutor(devices.cores()) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: backbone.preprocessing.apply(decoding.decode(photo)), range(64 * devices.cores())))
        decoded = 64 * devices.cores() / (time.perf_counter() - started)
    ours = ways["kagglekit, fp16, bound memory"]
    rows = [[way, f"{rate:.0f}", f"{ours / rate:.3f}", f"{job.model} at {job.size[0]}"] for way, rate in ways.items()]
    limit = "decoding is the limit" if decoded < ours else "the GPU is the limit"
    return [*rows, [f"decoding on {devices.cores()} cores", f"{decoded:.0f}", f"{ours / decoded:.3f}", limit]]


KINDS = {
    "precision": precision, "inference": inference, "workers": workers, "memory": memory, "processes": processes,
}  # fmt: skip


# --- in the process that prints the table


def measured(job: Job) -> list[Row]:
    """Run a job. Return its rows, or one row with the reason why it failed."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--job", json.dumps(dataclasses.asdict(job))]
    worlds: list[dict[str, str]] = [{}]
    if job.kind == "processes":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        worlds = [world | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, env=os.environ | world, stdout=pipe, stderr=pipe, text=True) for world in worlds
    ]
    what = f"{job.kind}: {job.model}, {job.precision}"
    try:
        out, errors = running[0].communicate(timeout=job.limit)
    except subprocess.TimeoutExpired:
        return [[what, "", "", f"ended after {job.limit:.0f} s"]]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    if running[0].returncode:
        return [[what, "", "", f"FAILED: {(errors.strip().splitlines() or ['no word'])[-1]:.200}"]]
    rows: list[Row] = json.loads(out.splitlines()[-1])
    return rows


def table(todo: Sequence[Job]) -> list[Row]:
    """Run the jobs until the time is up."""
    started, rows = time.monotonic(), []
    for job in todo:
        left = LIMIT - (time.monotonic() - started)
        if left < 20:
            rows.append([f"{job.kind}: {job.model}, {job.precision}", "", "", "left out: the time is over"])
            continue
        found = measured(dataclasses.replace(job, limit=min(job.limit, left)))
        print("  " + "; ".join(" | ".join(row) for row in found), flush=True)
        rows += found
    return rows


def quick(job: Job) -> Job:
    """Return a job that only tests the code on a CPU."""
    return dataclasses.replace(job, model="test_resnet", size=(64, 64), device="cpu", batch=8, seconds=0.2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--job", help=argparse.SUPPRESS)
    options.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.job:
        asked = json.loads(chosen.job)
        job = Job(**asked | {"size": tuple(asked["size"])})
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(KINDS[job.kind](job, Path(folder))), flush=True)
        return
    gpus = devices.cuda_gpus()
    todo = jobs(gpus)
    if chosen.quick:
        tried = [job for job in jobs(2) if job.kind != "memory" and (job.kind, job.precision) != ("precision", "fp16")]
        todo = [quick(job) for job in tried]
        print("a trial of the code on a CPU: these are no measurements")
    elif not gpus:
        sys.exit("no CUDA GPU answers here: this is measured on one only")
    rows = table(todo)
    Console().table(f"{gpu_name()}; {machine()}", ("what", ">images/s", ">ratio", "note"), rows)


def gpu_name() -> str:
    """Return the names of the GPU and of torch."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
