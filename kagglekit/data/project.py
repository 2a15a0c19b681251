"""The competition a command works on: its plugin and its workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kagglekit import recipe
from kagglekit.base.console import Console
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import folder_workspaces, plugins
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.plugins import Plugin
from kagglekit.data import sources
from kagglekit.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Project:
    """A plugin, the competition that it describes, and the competition's workspace."""

    plugin: Plugin
    competition: Competition
    workspace: Workspace

    @classmethod
    def load(cls, name: str) -> Project:
        """Load the competition called `name`. Raises UserError for an unknown name or a broken plugin."""
        return cls.of(plugins.load(name))

    @classmethod
    def of(cls, plugin: Plugin) -> Project:
        """Return the project of a loaded plugin."""
        competition = plugin.competition()
        return cls(plugin=plugin, competition=competition, workspace=Workspace.of(competition.name))

    @property
    def name(self) -> str:
        """Name of the competition as the user typed it: a name, an alias or a path."""
        return self.plugin.name

    @property
    def synthetic(self) -> Project:
        """The same project in the workspace of synthetic runs."""
        return replace(self, workspace=self.workspace.synthetic)

    @property
    def rehearsal(self) -> Project:
        """The same project in the workspace of rehearsals."""
        return replace(self, workspace=self.workspace.rehearsal)

    def settings(self, command_line: Mapping[str, Any], say: Callable[[str], None]) -> Recipe:
        """Return the recipe. The command line overrides `recipe.toml`, which overrides the plugin and the defaults.

        Deprecated setting names are reported through `say`. Raises UserError for unknown or invalid settings.
        """
        return recipe.resolve(self.plugin.recipe(), self.name, self.workspace.recipe_file, command_line, say)

    def on(self, files: DataFiles) -> Project:
        """Return the project with what these files say of the target, such as the names of the classes."""
        return replace(self, competition=self.plugin.resolve(self.competition, files))

    def lacks_data(self, option: Path | None) -> bool:
        """Return whether there is no data yet: no `option` (of `--data`), none in the plugin or the workspace."""
        return option is None and self.plugin.data is None and sources.is_absent(self.workspace)

    def find_data(self, option: Path | None, console: Console, *, remember: bool = True) -> DataFiles:
        """Return the data's files, from `option` (of `--data`), else from the plugin, else from the workspace.

        If `remember`, later commands without `--data` look in `option` too. Raises UserError if there is no data.
        """
        path = option or self.plugin.data
        if remember and self.plugin.data is not None:
            folder_workspaces.claim(self.workspace, self.plugin.data)
        return sources.find(self.competition, path, self.workspace, console, remember and self.plugin.data is None)
