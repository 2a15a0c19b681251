"""CPU cores and CUDA GPUs of this machine."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Literal

Device = Literal["cpu", "cuda"]


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def cuda_gpus() -> int:
    """Count CUDA GPUs through the driver, in milliseconds and without torch; 0 if there is no driver."""
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cuda_driver() -> int:
    """Return the newest version of CUDA that the driver can run, 13000 for 13.0; 0 if there is no driver."""
    driver = _driver()
    found = ctypes.c_int(0)
    return 0 if driver is None or driver.cuDriverGetVersion(ctypes.byref(found)) != 0 else found.value


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(DRIVER)
    except OSError:
        return None


def keep_memory() -> None:
    """Make glibc keep the memory of large tensors instead of returning it to the kernel after each step.

    On two cores this trains tf_efficientnet_lite0 1.2 to 1.4 times as fast at 224 x 224, 1.1 times at 96 x 96.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
