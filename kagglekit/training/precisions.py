"""What numbers training computes with."""

from __future__ import annotations

from kagglekit.base import devices
from kagglekit.base.errors import UserError


def choose(requested: str, device: devices.Device) -> str:
    """Return float32, bf16 or fp16 for the setting `precision`; raise UserError for what the device can't do."""
    if requested == "fp16" and device == "cpu":
        raise UserError("precision = 'fp16' needs a GPU: use --set precision=float32, or bf16.")
    if requested != "auto":
        return requested
    if device == "cpu":
        return "float32"
    import torch

    # emulated, it is slower than float32: so on every card before Ampere
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
