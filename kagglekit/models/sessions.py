"""onnxruntime sessions: opening them on a device, and moving batches there without needless copies."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import math
import queue
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import devices
from kagglekit.base.errors import UserError

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Say = Callable[[str], None]
Note = Callable[[int, float], None]


class Session:
    """A graph that is ready to run, from any number of threads."""

    def __init__(self, graph: Path | bytes, device: devices.Device, threads: int) -> None:
        """Open a graph (a file or its bytes) on `device`, or on the CPU if that fails."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        providers: list[Any] = ["CPUExecutionProvider"]
        self._gpu = 0
        # it prints missing libraries, even to standard output; `open_on` reports them in one line
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if device == "cuda":
                onnxruntime.set_default_logger_severity(4)
                import torch  # its CUDA libraries are the ones that onnxruntime loads

                if torch.cuda.is_available():  # batches go through torch's memory
                    self._gpu = torch.cuda.current_device()
                    onnxruntime.preload_dlls()
                    cuda = {"cudnn_conv_algo_search": "HEURISTIC", "device_id": self._gpu}
                    providers.insert(0, ("CUDAExecutionProvider", cuda))
            self.onnx = onnxruntime.InferenceSession(graph, options, providers=providers)
        self.device: devices.Device = "cuda" if self.onnx.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
        """Device that the session reports to use."""
        self.inputs: tuple[str, ...] = tuple(value.name for value in self.onnx.get_inputs())
        self._turn = threading.Lock()  # a GPU computes one batch at a time, a CPU as many as it has cores
        self._on_the_way = threading.BoundedSemaphore(_ON_THE_WAY)
        self._free: dict[int, queue.SimpleQueue[_Slot]] = defaultdict(queue.SimpleQueue)

    @property
    def metadata(self) -> dict[str, str]:
        """Custom metadata of the file."""
        found: dict[str, str] = self.onnx.get_modelmeta().custom_metadata_map
        return found

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array], note: Note = lambda *_: None) -> list[Array]:
        """Compute a batch: `feeds` are inputs by name, N rows each; return the named outputs, N rows each.

        `note` gets the number of rows and the seconds that they took.
        """
        if self.device == "cuda":
            return self._run_bound(outputs, feeds, note)
        started = time.perf_counter()
        found: list[Array] = self.onnx.run(list(outputs), dict(feeds))
        note(len(found[0]), time.perf_counter() - started)
        return found

    def _run_bound(self, outputs: Sequence[str], feeds: Mapping[str, Array], note: Note) -> list[Array]:
        """Run in device memory: a batch is copied there while the previous one is computed.

        Batches are padded to powers of two, each with its own memory: a new shape is slow at first.
        """
        count = len(next(iter(feeds.values())))
        with self._on_the_way:
            free = self._free[2 ** math.ceil(math.log2(count))]
            try:
                slot = free.get_nowait()
            except queue.Empty:
                slot = _Slot(self.device, self._gpu)
            slot.fill(feeds)
            with self._turn:
                started = time.perf_counter()
                found = slot.run(self.onnx, outputs)
                note(count, time.perf_counter() - started)
            free.put(slot)  # a slot that failed is dropped, with its memory
        return [rows[:count] for rows in found]


_ON_THE_WAY = 3
"""Maximum number of batches in device memory: one is computed while the others are copied."""


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
            given = torch.from_numpy(np.ascontiguousarray(rows))
            if name not in self._host:
                on_gpu = self._device == "cuda"
                shape = (2 ** math.ceil(math.log2(len(rows))), *given.shape[1:])
                self._host[name] = torch.zeros(shape, dtype=given.dtype, pin_memory=on_gpu)
                self._there[name] = self._host[name].to(f"cuda:{self._gpu}") if on_gpu else self._host[name]
            host, there = self._host[name], self._there[name]
            host[: len(rows)] = given
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
    """Open a graph on the device of a recipe's provider; `auto` falls back to the CPU with a warning.

    Raises UserError, naming what is missing, if `cuda` is requested but not available.
    """
    device = devices.choose(provider)
    session = Session(graph, device, threads)
    if session.device == device:
        return session
    if provider == "cuda":
        raise UserError(
            f"provider = 'cuda': onnxruntime could not open the GPU ({why_no_cuda()}); "
            "install kagglekit again, or use --provider cpu."
        )
    warn(f"there is a GPU, but onnxruntime could not open it ({why_no_cuda()}): computing on the CPU")
    return session


def why_no_cuda() -> str:
    """Return why onnxruntime can't use CUDA, such as the system loader's error about a missing library."""
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0], "capi")
    ending, start = (".dll", "") if sys.platform == "win32" else (".so", "lib")
    if not (folder / f"{start}onnxruntime_providers_cuda{ending}").is_file():
        return "the onnxruntime that is installed was built without CUDA"
    try:
        ctypes.CDLL(str(folder / f"{start}onnxruntime_providers_shared{ending}"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / f"{start}onnxruntime_providers_cuda{ending}"))
    except OSError as error:
        return str(error)
    import torch

    if not torch.cuda.is_available():
        return (
            f"torch {torch.__version__} can't use the GPU: it was built without CUDA, or the driver is too old for it"
        )
    return "all its libraries are installed; the driver may be too old for them"
