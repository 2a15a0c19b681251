"""The model of a bundle: computed on a GPU if there is one that can, else on the CPU. Part of every bundle."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING or __package__:
    from kagglekit.base import gpu_errors
else:  # in a bundle, whose modules lie side by side
    import gpu_errors

_CUDA = "CUDAExecutionProvider"


class Model:
    """A model that is ready to run, from any number of threads. It says where it computes, and when that changes."""

    def __init__(self, path: Path) -> None:
        """Open an exported file."""
        self._path = path
        self._turn = threading.Lock()  # a GPU computes one batch at a time
        self.on_gpu = False
        """Whether a GPU computes now."""
        if has_gpu():
            self._open_on_gpu()
        if not self.on_gpu:
            self._session = self._opened("CPUExecutionProvider")

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the probabilities (N, C) of N preprocessed images. If the GPU fails, the CPU computes from then on."""
        if self.on_gpu:
            with self._turn:
                if self.on_gpu:  # no other thread has seen it fail
                    try:
                        return self._computed(feeds)
                    except Exception as error:  # noqa: BLE001  onnxruntime has a class for each kind of failure
                        _tell(error)
                    self.on_gpu = False
                    self._session = self._opened("CPUExecutionProvider")
        return self._computed(feeds)

    def _computed(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        (found,) = self._session.run(["probabilities"], dict(feeds))
        return np.asarray(found, np.float64)

    def _open_on_gpu(self) -> None:
        import onnxruntime

        if _CUDA not in onnxruntime.get_available_providers():
            return _tell("onnxruntime was built without CUDA")
        onnxruntime.set_default_logger_severity(4)  # what fails is said here
        getattr(onnxruntime, "preload_dlls", lambda: None)()  # older versions don't have it
        try:
            self._session = self._opened((_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), "CPUExecutionProvider")
        except Exception as error:  # noqa: BLE001  onnxruntime has a class for each kind of failure
            return _tell(error)
        self.on_gpu = self._session.get_providers()[0] == _CUDA
        return None if self.on_gpu else _tell("onnxruntime could not open it")

    def _opened(self, *providers: Any) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        # without its fallback, which would compute on the CPU and not say so
        return onnxruntime.InferenceSession(self._path, options, providers=list(providers), enable_fallback=0)


def has_gpu() -> bool:
    """Return whether the driver of a CUDA GPU is installed, and shows one."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _tell(reason: object) -> None:
    said = gpu_errors.in_a_line(reason)
    print(f"WARNING: there is a GPU, but it can't compute ({said}): the CPU does, which takes longer", flush=True)
