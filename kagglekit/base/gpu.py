"""Whether the GPU that the driver shows can be used: torch and onnxruntime must both have computed on it.

A driver that counts GPUs may be too old for the CUDA of the wheels, and onnxruntime registers its CUDA provider before
it knows whether cuDNN starts. So both compute something, once per process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kagglekit.base import devices, gpu_errors, storage
from kagglekit.base.arrays import Floats32
from kagglekit.base.devices import Device
from kagglekit.base.environment import installed_version
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import home

PROVIDERS = ("auto", "cpu", "cuda")


def choose(provider: str, warn: Callable[[str], object] = lambda _: None) -> Device:
    """Return the device that a provider setting selects on this machine.

    `warn` is told of a GPU that `auto` can't use. Raises UserError for `cuda` if no GPU can be used.
    """
    if provider not in PROVIDERS:
        raise UserError(f"provider = {provider!r}: must be one of {', '.join(PROVIDERS)}.")
    if provider == "cpu":
        return "cpu"
    if not devices.cuda_gpus():
        if provider == "auto":
            return "cpu"
        raise UserError(
            f"provider = 'cuda': no CUDA GPU found (through {devices.DRIVER}, the driver's library); "
            "use --provider cpu, or auto to use a GPU only if there is one."
        )
    found = trouble()
    if found is None:
        return "cuda"
    if provider == "cuda":
        raise UserError(f"provider = 'cuda': {found.what}; {found.cure}, or use --provider cpu.")
    warn(f"there is a GPU, but {found.what}: computing on the CPU; to use it, {found.cure}")
    return "cpu"


class Trouble(NamedTuple):
    """Why the GPU can't be used."""

    what: str
    """Which half fails, and why, such as "torch 2.14 can't use the GPU: ..."."""
    cure: str
    """What to do."""


_UPDATE = "update the NVIDIA driver"
_AGAIN = "install kagglekit again"
_FULL = "end other programs that use the GPU"


@functools.cache
def trouble() -> Trouble | None:
    """Return why the GPU that the driver shows can't be used; None if it can.

    That it can is remembered on disk for these versions, since a look takes seconds.
    """
    known = home() / ".cache" / "gpu.json"
    here = {
        "driver": devices.cuda_driver(),
        "gpus": devices.cuda_gpus(),
        "torch": version("torch"),
        "onnxruntime": installed_version("onnxruntime-gpu") or installed_version("onnxruntime"),
        "python": sys.prefix,
    }
    with contextlib.suppress(ValueError):  # a damaged file costs another look
        if storage.read_json(known) == here:
            return None
    found = _of_torch() or _of_onnxruntime()
    if found is None:
        with contextlib.suppress(OSError):  # a folder that can't be written to costs seconds only
            storage.write_json(known, here)
    return found


def _of_torch() -> Trouble | None:
    import torch

    name = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return Trouble(f"{name} was built without CUDA", "install another torch")
    try:
        torch.zeros(1, device="cuda").cpu()
    except torch.OutOfMemoryError:
        return Trouble("the GPU's memory is full", _FULL)
    except RuntimeError as error:
        too_old = "too old" in str(error)
        reason = (
            "the driver is too old for its CUDA " + str(torch.version.cuda) if too_old else gpu_errors.in_a_line(error)
        )
        return Trouble(f"{name} can't use the GPU: {reason}", _UPDATE)
    return None


def _of_onnxruntime() -> Trouble | None:
    import onnxruntime

    name = f"onnxruntime {onnxruntime.__version__}"
    missing = _missing_library()
    if missing:
        return Trouble(f"{name} could not open the GPU ({missing})", _AGAIN)
    try:
        with quiet():
            onnxruntime.preload_dlls()
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            session = onnxruntime.InferenceSession(_graph(), options, providers=["CUDAExecutionProvider"])
            session.disable_fallback()
            session.run(None, {"x": _ones(1, 3, 8, 8)})
    except Exception as error:  # noqa: BLE001  onnxruntime has a class for each kind of failure
        reason = gpu_errors.in_a_line(error)
        cure = _FULL if "out of memory" in reason or "ALLOC_FAILED" in reason else _AGAIN
        return Trouble(f"{name} can't compute on the GPU: {reason}", cure)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return Trouble(f"{name} could not open the GPU", _UPDATE)
    return None


def _missing_library() -> str:
    """Return the system loader's error about a library that onnxruntime's CUDA provider needs; empty if all load."""
    import torch  # noqa: F401  its CUDA libraries are the ones that onnxruntime loads

    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0], "capi")
    ending, start = (".dll", "") if sys.platform == "win32" else (".so", "lib")
    if not (folder / f"{start}onnxruntime_providers_cuda{ending}").is_file():
        return "it was built without CUDA"
    try:
        ctypes.CDLL(str(folder / f"{start}onnxruntime_providers_shared{ending}"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / f"{start}onnxruntime_providers_cuda{ending}"))
    except OSError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence onnxruntime, which prints what fails, even to standard output."""
    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnxruntime.set_default_logger_severity(4)
        yield


def _graph() -> bytes:
    """Return a tiny graph that needs cuDNN: a convolution of x, (N, 3, 8, 8)."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(_ones(4, 3, 3, 3), "w")
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3, 8, 8]), ("y", ["N", 4, 6, 6]))
    )
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "convolution", [x], [y], [weights])
    # the oldest supported version of the format: the newest one may be too new for the runtime
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _ones(*shape: int) -> Floats32:
    return np.ones(shape, np.float32)
