"""Build `report.html` from a finished run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.base.figures import as_svg
from kagglekit.deploy import fitted_run
from kagglekit.pages import page, pictures
from kagglekit.pipeline import raced, steps, summary
from kagglekit.report import cards, charts, facts, galleries, shown, stats
from kagglekit.runs import filenames, findings, record
from kagglekit.runs.findings import Findings
from kagglekit.runs.record import Sent, SweepRecord
from kagglekit.runs.stages import Stage, Stages
from kagglekit.runs.store import Run
from kagglekit.training import plots
from kagglekit.training.lr_finder import Sweep

REPORT_VERSION = 3
"""Increase this whenever the same run gives another report."""
WORST = 20
"""Number of rows with the largest loss."""
MOST_PAIRS = 20
"""Number of most confused pairs of classes."""
LARGEST_MATRIX = 20
"""Largest number of classes whose confusion matrix fits on the page."""
MOST_GROUPS = 100
_MOST_TRAININGS = 6
_MOST_STEPS = 1500
"""Largest number of points in a training plot."""
_WIDEST_SHEET = 1400
"""Largest width of the contact sheet, in pixels."""


def write(run: Run, console: Console, *, again: bool = False) -> Path:
    """Write the report of a finished run, and return its path. An up-to-date report is kept.

    With `again`, the report is always written. Raises UserError for an unfinished run.
    """
    path = run.folder / filenames.REPORT
    stage = Stage("report", (filenames.REPORT,), after=("finish", "result"))
    stages = Stages(run.folder, f"report {REPORT_VERSION}", (stage,), console.warn)
    found = findings.read(run)
    with run.locked(console):
        if again:
            stages.forget(stage.name)
        if not stages.is_made(stage.name):
            started = time.perf_counter()
            stages.make(stage.name, lambda: storage.write_text(path, render(found, console)))
            took = f"{path.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - started:.1f} s"
            console.say(f"{'SYNTHETIC ' if run.synthetic else ''}report, {took}: {path}")
    return path


def render(found: Findings, console: Console) -> str:
    """Render the page."""
    networks = cards.Networks(fitted_run.FittedRun(found.run, console), console)
    confusion = stats.confusion(found.cases)
    confidence = found.task.confidence(found.truth, found.probabilities, found.decided)
    bins = [] if confidence is None else stats.reliability(confidence)
    error = stats.calibration_error(bins) if bins else 0.0
    curves = facts.finishing_curves(found) if bins else []
    return page.render(
        "report.html.j2",
        found=found,
        score=summary.scored(found.result),
        scorer=summary.SCORERS[found.result.validation],
        seconds=summary.second(found.result),
        of_groups=facts.of_groups(found),
        standing=facts.standing(found),
        transductive=summary.transductive(found.result),
        lines=summary.leaderboard(found.record.leaderboard, found.result, facts.OWN),
        sent=found.run.sent or Sent(),
        facts=facts.facts(found),
        settings=facts.settings(found),
        galleries=cards.make(found, networks, console),
        inside=cards.look_inside(found, networks, console),
        problem=networks.unexplained,
        race=None if found.run.race is None else raced.rows(found.run.race),
        race_columns=raced.COLUMNS,
        steps=steps.rows(found.result),
        interval=steps.INTERVAL,
        shown=len(galleries.categories_shown(found.cases)),
        most_answers=cards.MOST_ANSWERS,
        matrix=confusion.matrix() if confusion.categories <= LARGEST_MATRIX and found.cases.covers_images else None,
        pairs=stats.most_confused(confusion, MOST_PAIRS),
        categories=stats.by_category(found.cases),
        groups=_groups(found),
        most_groups=MOST_GROUPS,
        worst=facts.worst(found, WORST),
        mean_loss=float(found.losses.mean()),
        curves=curves,
        finishing=charts.finishing(curves, found.task.loss) if curves else "",
        calibration_error=error,
        calibration=charts.calibration(bins, error) if bins else "",
        trainings=_trainings(found),
        num_trainings=len(_trained(found.run)),
        sheet=_sheet(found.run),
    )


def _groups(found: Findings) -> list[stats.Slice]:
    if found.groups is None:
        return []
    return stats.by_group(found.losses, found.task.correct(found.truth, found.decided), found.groups)


def _trainings(found: Findings) -> list[shown.Training]:
    """Return the curves of the first models. Those of the others are in the models' folders."""
    return [_training(folder) for folder in _trained(found.run)[:_MOST_TRAININGS]]


def _trained(run: Run) -> list[Path]:
    """Return the folders of all models with a history, fold by fold, then those of refitted ones."""
    folders = [path.parent for path in run.folder.glob(f"{filenames.MODELS}/*/{filenames.HISTORY}")]
    numbers = {folder: [int(number) for number in re.findall(r"\d+", folder.name)] for folder in folders}
    return sorted(folders, key=lambda folder: (not folder.name.startswith("fold"), numbers[folder]))


def _training(folder: Path) -> shown.Training:
    history = _thinned(storage.read_json(folder / filenames.HISTORY))
    phases = dict.fromkeys(row["phase"] for row in history)
    finders = []
    for phase in phases:
        swept = record.read(folder / filenames.FINDER.format(phase), SweepRecord)
        if swept is not None:
            finders.append((phase, _finder(swept, f"{folder.name} before {phase}")))
    text = f"Loss and learning rate of {folder.name} by step; phases: {', '.join(phases)}"
    return shown.Training(
        name=folder.name, history=as_svg(lambda figure: plots.draw_history(figure, history), text), finders=finders
    )


def _finder(swept: SweepRecord, where: str) -> str:
    """Return a plot of the sweep, as SVG."""
    curve = Sweep(swept.rates, swept.losses, swept.stopped, swept.smoothing)
    found = ", ".join(f"{name} {rate:.2g}" for name, rate in swept.suggestions.items()) or "none"
    text = f"Learning-rate finder of {where}: suggestions {found}"
    return as_svg(lambda figure: plots.draw_finder(figure, curve, swept.suggestions), text)


def _thinned(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return all epochs, but only some of the steps, to keep the plot small."""
    steps = [index for index, row in enumerate(history) if row["kind"] == "step"]
    kept = set(steps[:: -(-len(steps) // _MOST_STEPS) or 1])
    return [row for index, row in enumerate(history) if index in kept or row["kind"] != "step"]


def _sheet(run: Run) -> str:
    file = run.folder / filenames.AUGMENTATIONS
    return pictures.sheet(file, _WIDEST_SHEET) if file.is_file() else ""
