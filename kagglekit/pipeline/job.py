"""The inputs that all stages of a run share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kagglekit.base.console import Console
from kagglekit.base.workspace import Workspace
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.plugins import Plugin
from kagglekit.data.tables import Scanned
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.watching import Watcher
from kagglekit.recipe import Recipe
from kagglekit.runs.choices import Pace
from kagglekit.runs.store import Run


@dataclass(frozen=True, kw_only=True)
class Job:
    """A prepared run: all settings are fixed, nothing is computed yet."""

    run: Run
    plugin: Plugin
    competition: Competition
    recipe: Recipe
    tables: Scanned
    backbones: Sequence[Backbone]
    batch_size: int
    """Images per batch."""
    workspace: Workspace
    synthetic: bool
    """Whether the run is synthetic: its images are drawn."""
    console: Console
    pace: Pace | None = None
    """Expected times, if the run has to end within a budget."""
    watcher: Watcher = field(default_factory=Watcher)
