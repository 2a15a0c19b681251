"""Implementation of `run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from kagglekit.base import distributed
from kagglekit.base.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Sending:
    """Options for submitting a run to Kaggle."""

    message: str | None
    wait: bool
    """Whether to wait for the score."""


def refuse_without_submit(message: str | None, *, wait: bool) -> None:
    """Raise UserError for options that only matter with --submit."""
    if message is not None or wait:
        raise UserError("--message and --wait need --submit.")


def run(
    name: str,
    data: Path | None,
    settings: Mapping[str, Any],
    *,
    fold: int | None,
    processes: int,
    sending: Sending | None,
    report: bool,
) -> None:
    """Run in this process, or in several ones, then submit the run and write its report."""
    if sending is not None:
        from kagglekit.cli import kaggle

        kaggle.check_before_run(name, data, fold=fold, sample=bool(settings.get("sample")))
    if processes > 1 and distributed.count() == 1:
        raise typer.Exit(distributed.launch(processes, str(settings.get("provider", "auto"))))
    distributed.end_with_launcher()
    from kagglekit.pipeline.command import run as make

    made = make(name, data, settings, distributed.console(), fold)
    distributed.leave()
    if distributed.is_first():
        from kagglekit.cli import looking

        with looking.report_after(made if report and fold is None else None):
            if sending is not None:
                kaggle.submit(name, None, str(made.folder), sending.message, wait=sending.wait, force=False)
