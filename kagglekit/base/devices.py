"""What onnxruntime can compute on, and what it really does compute on."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Literal

from kagglekit.base.errors import UserError

Device = Literal["cpu", "cuda"]


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


PROVIDERS = ("auto", "cpu", "cuda")
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def cuda_gpus() -> int:
    """Count CUDA GPUs by asking the driver: milliseconds, with no torch. 0 where there is no driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def choose(provider: str) -> Device:
    """Return the device that a provider setting means here.

    Raises UserError for `cuda` where the driver shows no GPU. Whether a session really gets it is seen
    when it is made (`sessions.open_on`).
    """
    if provider not in PROVIDERS:
        raise UserError(f"provider = {provider!r}: must be one of {', '.join(PROVIDERS)}.")
    if provider == "cpu":
        return "cpu"
    if cuda_gpus() > 0:
        return "cuda"
    if provider == "cuda":
        raise UserError(
            f"provider = 'cuda': no CUDA GPU answers here (through {_DRIVER}, the driver's library); "
            "use --provider cpu, or auto to take what is there."
        )
    return "cpu"


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
