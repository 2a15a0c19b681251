"""Implementation of `rehearse`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kagglekit.base.console import Console


def rehearse(name: str, data: Path | None, settings: Mapping[str, Any], seeds: int, split: str) -> None:
    """Rehearse a competition with several seeds."""
    from kagglekit.pipeline import rehearsal

    rehearsal.rehearse(name, data, settings, Console(), seeds=seeds, split=split)
