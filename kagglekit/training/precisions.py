"""Numeric precision of training."""

from __future__ import annotations

from kagglekit.base import devices
from kagglekit.base.errors import UserError


def choose(requested: str, device: devices.Device) -> str:
    """Return float32, bf16 or fp16 for the setting `precision`; raise UserError if the device lacks it."""
    if requested == "fp16" and device == "cpu":
        raise UserError("precision = 'fp16' needs a GPU: use --set precision=float32, or bf16.")
    if requested != "auto":
        return requested
    if device == "cpu":
        return "float32"
    import torch

    # GPUs before Ampere emulate bf16, which is slower than float32
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
