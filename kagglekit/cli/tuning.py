"""Implementation of `tune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit.base.console import Console


def tune(
    name: str,
    data: Path | None,
    settings: Mapping[str, Any],
    *,
    trials: int,
    budget: str | None,
    search: Sequence[str],
    write: bool,
) -> None:
    """Tune the settings of a competition."""
    from kagglekit.tuning import tune as tuning

    tuning.tune(name, data, settings, Console(), most=trials, budget=budget, search=search, write=write)
