"""Implementation of `blend`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit import recipe
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.cli import running
from kagglekit.data.project import Project


def blend(
    name: str, references: Sequence[str], data: Path | None, settings: Mapping[str, Any], *, report: bool
) -> None:
    """Blend runs, with the data settings of the first."""
    from kagglekit.pipeline.methods import blend_runs
    from kagglekit.pipeline.methods.blend import Blending

    project = Project.load(name)
    if project.lacks_data(data):
        raise UserError(f"no data for {name}: say where the data of the runs is with --data PATH.")
    runs = blend_runs.chosen(project, references, Console())
    same = dataclasses.asdict(runs[0].recipe.data)
    chosen = recipe.laid_over(same, settings, "the command line")
    chosen |= {"method": Blending.name, "members": [run.id for run in runs]}
    running.run(name, data, chosen, fold=None, processes=1, sending=None, report=report)
