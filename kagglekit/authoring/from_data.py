"""Make a plugin from the data of its competition, and read the data with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kagglekit.authoring import answers, proposing
from kagglekit.authoring.proposal import Proposal
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import samples
from kagglekit.competitions.plugins import Plugin
from kagglekit.data import archives
from kagglekit.data.project import Project


def propose(name: str, data: Path, given: Mapping[str, str], ask: answers.Ask | None, console: Console) -> Proposal:
    """Return the plugin for a folder or an archive, which is unpacked into the workspace.

    Raises UserError if the data does not show what it must, and for `given` answers that the data gives.
    """
    wrong = [key for key in given if key not in proposing.OPTIONS]
    if wrong:
        raise UserError(f"--{wrong[0]} is what --from finds in the data: leave out one of the two.")
    if not data.exists():
        raise UserError(f"--from {data}: no such file or folder.")
    if "metric" in given:
        answers.check_metric(given["metric"])
    try:
        return proposing.propose(name, _folder(name, data, console), data, given, ask)
    except ValueError as error:
        raise UserError(f"{error}; nothing was written: write the plugin without --from.") from error


def _folder(name: str, data: Path, console: Console) -> Path:
    if data.is_dir():
        return data
    with console.progress(f"unpacking {data.name}", archives.total_bytes(data), "B") as advance:
        return archives.extract(data, Workspace.of(name).data, advance).folder


def read(plugin: Plugin, data: Path, console: Console) -> str:
    """Read the tables of the data with a new plugin, and return how many images they have.

    Raises UserError if they do not fit.
    """
    project = Project.of(plugin)
    try:
        files = project.find_data(data, console, remember=False)
        competition = project.on(files).competition
        train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
        sample = samples.read(competition, files)
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; nothing was written: write the plugin without --from.") from error
    rows = "no sample submission" if sample is None else f"a sample of {len(sample)} rows"
    return f"read with it: {len(train)} training and {len(test)} test images, {rows}"
