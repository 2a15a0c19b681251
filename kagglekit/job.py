"""What all stages of one run share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kagglekit.competition import Competition
from kagglekit.console import Console
from kagglekit.engines.backbones import Backbone
from kagglekit.plugins import Plugin
from kagglekit.recipe import Recipe
from kagglekit.runs import Run
from kagglekit.tables import Audited
from kagglekit.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run about to be made: everything is decided, nothing is computed."""

    run: Run
    plugin: Plugin
    competition: Competition
    recipe: Recipe
    tables: Audited
    backbones: Sequence[Backbone]
    batch_size: int
    """Images that are computed together."""
    workspace: Workspace
    synthetic: bool
    """Whether the images are drawn: a rehearsal."""
    console: Console
