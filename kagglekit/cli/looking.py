"""Implementation of `report`, `audit` and `compare`."""

from __future__ import annotations

import dataclasses
import shlex
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data import tables
from kagglekit.data.project import Project
from kagglekit.recipe import DataSettings
from kagglekit.runs import store as run_folders


def report(reference: str, *, show: bool, text: bool) -> None:
    """Write the report of a run, or print a summary."""
    from kagglekit.report import build, terminal
    from kagglekit.runs import findings

    console = Console()
    run = run_folders.find(reference)
    if text:
        terminal.tell(findings.read(run), console)
        return
    path = build.write(run, console, again=True)
    if show:
        open_page(path, console)


@contextmanager
def report_after(run: run_folders.Run | None) -> Iterator[None]:
    """Write the report of `run`, if any, after the `with` block, even if Kaggle refuses what the block sends.

    A failed report does not fail the command, because the run is finished and its submission written.
    """
    try:
        yield
    except Exception:
        _try_report(run)
        raise
    _try_report(run)


def _try_report(run: run_folders.Run | None) -> None:
    if run is None:
        return
    from kagglekit.report import build

    console = Console()
    try:
        build.write(run, console)
    except Exception as error:  # noqa: BLE001  `kagglekit report` shows the whole error
        reason = f"{type(error).__name__}: {error!s:.200}"
        console.warn(f"the report could not be written ({reason}): `kagglekit report {run.id}` tries again")


def open_page(path: Path, console: Console) -> None:
    """Open a page in the user's browser."""
    if not webbrowser.open(path.as_uri()):
        console.warn(f"no browser found: open {path} yourself")


def compare(references: Sequence[str]) -> None:
    """Print runs side by side."""
    from kagglekit.report import compare

    compare.compare([run_folders.find(reference) for reference in references], Console())


def audit(
    name: str, data_path: Path | None, settings: Mapping[str, Any], run: str | None, apply: Path | None, *, show: bool
) -> None:
    """Audit a competition's data, or exclude the images listed in the file `apply` from later runs."""
    from kagglekit.audit import inspection, page, terminal
    from kagglekit.data import exclusions
    from kagglekit.pipeline.methods import table

    console = Console()
    project = Project.load(name)
    workspace = project.workspace
    chosen = table.resolve(project, settings, console.say)
    if apply is not None:
        if run is not None or show:
            raise UserError("--apply does no audit: leave out --run and --open.")
        everything = dataclasses.replace(chosen.data, sample=0)
        project, found = _tables(project, data_path, everything, console)
        listed = exclusions.apply(apply, workspace, found.train, project.competition.task, console)
        console.say(f"{len(listed)} training images are excluded from later runs: {workspace.drops}")
        console.say("nothing was deleted: to include them again, edit or remove that file")
        console.say(f"next: kagglekit run {shlex.quote(project.name)}")
        return
    judged = inspection.judge(project, run)
    with inspection.exporting(console) as export:
        project, found = _tables(project, data_path, chosen.data, console)
        result = inspection.inspect(project, found, chosen.data, chosen.compute, console, run=judged, export=export)
    page.write(result, workspace.audit, name, console)
    terminal.tell(result, console)
    written = workspace.audit / "audit.html"
    console.say(f"audit: {written}")
    candidates = workspace.audit / page.CANDIDATES
    console.say(
        f"next: open it; to exclude images, write yes in the drop column of {candidates}, "
        f"then run kagglekit audit {shlex.quote(name)} --apply {shlex.quote(str(candidates))}"
    )
    if show:
        open_page(written, console)


def _tables(
    project: Project, data_path: Path | None, data: DataSettings, console: Console
) -> tuple[Project, tables.Tables]:
    """Return the project with what its data says, and all images, including excluded ones."""
    files = project.find_data(data_path, console)
    project = project.on(files)
    return project, tables.read(project, files, data, console)
