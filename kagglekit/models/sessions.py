"""onnxruntime sessions: opening them on a device, and moving batches there without needless copies."""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices, distributed, gpu, gpu_errors, memory
from kagglekit.base.errors import UserError

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Say = Callable[[str], None]
Note = Callable[[int, float], None]


_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_SLOW = {
    "Attention",
    "Conv",
    "ConvTranspose",
    "Einsum",
    "FusedConv",
    "FusedMatMul",
    "Gemm",
    "MatMul",
    "MultiHeadAttention",
}
"""Operations that take most of the time of a network."""


class Session:
    """A graph that is ready to run, from any number of threads, on the CPU or on all GPUs of the process."""

    def __init__(self, graph: Path | bytes, device: devices.Device, threads: int) -> None:
        """Open a graph (a file or its bytes) on `device`. Raises onnxruntime's error if that fails."""
        with gpu.quiet():
            self._gpus = [_OnGpu(_opened(graph, threads, number), number) for number in _numbers(device)]
            self.onnx = self._gpus[0].onnx if self._gpus else _opened(graph, threads, None)
        self.device: devices.Device = "cuda" if self._gpus else "cpu"
        """Device that the session uses."""
        self.inputs: tuple[str, ...] = tuple(value.name for value in self.onnx.get_inputs())
        self._turns = itertools.count()

    def left_to_cpu(self) -> list[str]:
        """Return which operations that take time the CPU computes though the session uses a GPU."""
        if self.device == "cpu":
            return []
        parts = self.onnx.get_provider_graph_assignment_info()
        on_cpu = [node.op_type for part in parts if part.ep_name == _CPU for node in part.get_nodes()]
        return sorted(set(on_cpu) & _SLOW)

    @property
    def metadata(self) -> dict[str, str]:
        """Custom metadata of the file."""
        found: dict[str, str] = self.onnx.get_modelmeta().custom_metadata_map
        return found

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array], note: Note = lambda *_: None) -> list[Array]:
        """Compute a batch: `feeds` are inputs by name, N rows each; return the named outputs, N rows each.

        `note` gets the number of rows and the seconds that they took. Several GPUs take batches by turns. A batch that
        one fails on, as where memory is short, is computed in halves. Raises UserError if it can't compute an image.
        """
        if self._gpus:
            return _halving(self._gpus[next(self._turns) % len(self._gpus)], outputs, feeds, note)
        started = time.perf_counter()
        found: list[Array] = self.onnx.run(list(outputs), dict(feeds))
        note(len(found[0]), time.perf_counter() - started)
        return found


class Later:
    """A session that is opened when it is first needed, by one thread."""

    def __init__(self, open_: Callable[[], Session]) -> None:
        self._open, self._turn = open_, threading.Lock()
        self._session: Session | None = None

    def opened(self) -> Session:
        """Return the session."""
        with self._turn:
            if self._session is None:
                self._session = self._open()
            return self._session

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Compute a batch as the session does."""
        return self.opened().run(outputs, feeds)


def _numbers(device: devices.Device) -> Sequence[int]:
    """Return which GPUs this process uses: all, unless several processes have one each."""
    if device == "cpu":
        return ()
    import onnxruntime
    import torch  # its CUDA libraries are the ones that onnxruntime loads, and its memory takes batches

    onnxruntime.preload_dlls()
    return [torch.cuda.current_device()] if distributed.count() > 1 else range(torch.cuda.device_count())


def _opened(graph: Path | bytes, threads: int, number: int | None) -> Any:
    """Open a graph on a GPU, or on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers: list[Any] = [_CPU]
    if number is not None:
        providers.insert(0, (_CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "device_id": number}))
    # without its fallback, which would compute on the CPU and not say so
    session = onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    if number is not None and session.get_providers()[0] != _CUDA:
        raise RuntimeError("its CUDA provider can't be loaded")
    return session


def _halving(one: _OnGpu, outputs: Sequence[str], feeds: Mapping[str, Array], note: Note) -> list[Array]:
    count = len(next(iter(feeds.values())))

    def compute(size: int) -> list[Array]:
        parts = [
            one.run(outputs, {name: rows[start : start + size] for name, rows in feeds.items()}, note)
            for start in range(0, count, size)
        ]
        return [np.concatenate(found) for found in zip(*parts, strict=True)]

    try:
        return memory.halving(count, compute, lambda _: True, lambda *_: None)
    except Exception as error:
        raise UserError(
            f"the GPU can't compute ({gpu_errors.in_a_line(error)}): end other programs that use it, or use "
            "--provider cpu."
        ) from error


class _OnGpu:
    """A session on one GPU. Batches are bound to its memory, which is used again."""

    def __init__(self, onnx: Any, number: int, device: devices.Device = "cuda") -> None:
        self.onnx, self._number, self._device = onnx, number, device
        self._turn = threading.Lock()  # a GPU computes one batch at a time
        self._on_the_way = threading.BoundedSemaphore(_ON_THE_WAY)
        self.free: dict[int, queue.SimpleQueue[_Slot]] = defaultdict(queue.SimpleQueue)

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array], note: Note) -> list[Array]:
        """Run in device memory: a batch is copied there while the previous one is computed.

        Batches are padded to powers of two, each with its own memory: a new shape is slow at first.
        """
        count = len(next(iter(feeds.values())))
        with self._on_the_way:
            free = self.free[2 ** math.ceil(math.log2(count))]
            try:
                slot = free.get_nowait()
            except queue.Empty:
                slot = _Slot(self._device, self._number)
            slot.fill(feeds)
            with self._turn:
                started = time.perf_counter()
                found = slot.run(self.onnx, outputs)
                note(count, time.perf_counter() - started)
            free.put(slot)  # a slot that failed is dropped, with its memory
        return [rows[:count] for rows in found]


_ON_THE_WAY = 3
"""Maximum number of batches in a GPU's memory: one is computed while the others are copied."""


class _Slot:
    """Buffers of one batch: pinned host memory and device memory."""

    def __init__(self, device: devices.Device, gpu: int) -> None:
        self._device, self._gpu = device, gpu
        self._host: dict[str, torch.Tensor] = {}
        self._there: dict[str, torch.Tensor] = {}

    def fill(self, feeds: Mapping[str, Array]) -> None:
        """Copy a batch to the device, padded to a power of two."""
        import torch

        for name, rows in feeds.items():
            if name not in self._host:
                on_gpu = self._device == "cuda"
                shape = (2 ** math.ceil(math.log2(len(rows))), *rows.shape[1:])
                kind = torch.from_numpy(np.empty(0, rows.dtype)).dtype
                self._host[name] = torch.zeros(shape, dtype=kind, pin_memory=on_gpu)
                self._there[name] = self._host[name].to(f"cuda:{self._gpu}") if on_gpu else self._host[name]
            host, there = self._host[name], self._there[name]
            host.numpy()[: len(rows)] = rows  # torch would start threads of its own in each of the workers
            if there is not host:
                there.copy_(host, non_blocking=True)
        if self._device == "cuda":
            torch.cuda.current_stream(self._gpu).synchronize()  # onnxruntime computes on a stream of its own

    def run(self, session: Any, outputs: Sequence[str]) -> list[Array]:
        """Compute the batch that is on the device."""
        binding = session.io_binding()
        for name, tensor in self._there.items():
            kind = _NUMPY_TYPES[str(tensor.dtype)]
            binding.bind_input(name, self._device, self._gpu, kind, tuple(tensor.shape), tensor.data_ptr())
        for name in outputs:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        found: list[Array] = binding.copy_outputs_to_cpu()
        return found


_NUMPY_TYPES: dict[str, Any] = {"torch.uint8": np.uint8, "torch.float32": np.float32}


def open_on(graph: Path | bytes, provider: str, threads: int, warn: Say) -> Session:
    """Open a graph on the device of a recipe's provider; `auto` falls back to the CPU, with a warning if that is new.

    Raises UserError, naming what is missing, if `cuda` is requested but not available.
    """
    reason = ""
    if gpu.choose(provider) == "cuda":
        try:
            session = Session(graph, "cuda", threads)
        except Exception as error:  # noqa: BLE001  onnxruntime has a class for each kind of failure
            reason = gpu_errors.in_a_line(error)
        else:
            if slow := session.left_to_cpu():
                warn(f"onnxruntime computes {', '.join(slow)} on the CPU, since it has no CUDA for them: this is slow")
            return session
    # outside the handler, in which the exception keeps the GPU's memory
    session = Session(graph, "cpu", threads)  # a file that is broken fails here too
    if not reason:
        return session
    if provider == "cuda":
        raise UserError(
            f"provider = 'cuda': onnxruntime could not open the GPU ({reason}); end other programs that use it, or use "
            "--provider cpu."
        )
    warn(f"there is a GPU, but onnxruntime could not open it ({reason}): computing on the CPU")
    return session
