"""What onnxruntime can compute on, and what it really does compute on."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

from kagglekit.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

Device = Literal["cpu", "cuda"]


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cuda_gpus() -> int:
    """Count CUDA GPUs by asking the driver: milliseconds, with no torch. 0 where there is no driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def choose(provider: str) -> Device:
    """Return the device that a provider setting means here.

    Raises UserError for `cuda` where the driver shows no GPU. Whether a session really gets it is seen
    when it is made (`open_session`).
    """
    if provider == "cpu":
        return "cpu"
    if cuda_gpus() > 0:
        return "cuda"
    if provider == "cuda":
        raise UserError(
            "provider = 'cuda': no CUDA GPU answers here; use --provider cpu, or auto to take what is there."
        )
    return "cpu"


def open_session(path: Path, device: Device, threads: int) -> tuple[Any, Device]:
    """Open an onnxruntime session; return it with the device that it really uses, read from the session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if device == "cuda":
        import torch  # noqa: F401  its CUDA libraries are the ones that onnxruntime loads

        onnxruntime.preload_dlls()
        cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
        session = onnxruntime.InferenceSession(path, options, providers=[cuda, "CPUExecutionProvider"])
    else:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    used: Device = "cuda" if session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
    return session, used


def keep_memory() -> None:
    """Let glibc keep large tensors' memory instead of giving it back to the kernel after each step.

    Training tf_efficientnet_lite0 at 224 x 224 on two cores became 1.2 to 1.4 times as fast, at 96 x 96 1.1 times.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
