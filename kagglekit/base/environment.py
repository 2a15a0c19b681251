"""The machine and package versions behind a result."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kagglekit.base import devices
from kagglekit.base.plain import Plain

_PACKAGES = (
    "kagglekit",
    "accelerate",
    "albumentations",
    "huggingface-hub",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
)


@dataclass(frozen=True, kw_only=True)
class Machine(Plain):
    """A machine on which results were computed."""

    system: str = ""
    processor: str = ""
    """Empty if the system does not name it."""
    cores: int = 0
    gpus: int = 0
    """GPUs that CUDA can use."""


def machine() -> Machine:
    """Return this machine."""
    return Machine(system=platform.platform(), processor=_processor(), cores=devices.cores(), gpus=devices.cuda_gpus())


def versions() -> dict[str, str]:
    """Return package -> version of the installed packages that may affect results."""
    return {name: found for name in _PACKAGES if (found := installed_version(name))}


def installed_version(package: str) -> str:
    """Return a package's version, or an empty string if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def git_commit() -> str:
    """Return the commit of the working folder, with `-dirty` if it has changes; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
