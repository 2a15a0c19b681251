"""The machine and the versions that a result was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kagglekit.base import devices

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


def environment() -> dict[str, Any]:
    """Return versions, machine and, where there is one, the git commit of the working folder."""
    return {
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := installed_version(name))},
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": devices.cores(),
            "gpus": devices.cuda_gpus(),
        },
        "git_commit": _git_commit(),
    }


def installed_version(package: str) -> str:
    """Return a package's version, or nothing where it is not installed."""
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


def _git_commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
