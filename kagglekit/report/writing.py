"""From a finished run to its `report.html`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit import storage, summary
from kagglekit.console import Console
from kagglekit.engines import portable
from kagglekit.engines.figures import as_svg
from kagglekit.engines.finetune import plots
from kagglekit.engines.finetune.finder import Curve as Sweep
from kagglekit.report import analysis, cards, drawing, facts, findings, page, pictures, shown
from kagglekit.report.findings import Findings
from kagglekit.runs import Run
from kagglekit.stages import Stage, Stages

REPORT_VERSION = 1
"""Raised whenever the same run would get another report."""
FILE = "report.html"
WORST = 20
"""Rows of the list of the most expensive images."""
MOST_PAIRS = 20
"""Pairs of classes that are confused."""
LARGEST_MATRIX = 20
"""Classes of a confusion matrix that a page has room for."""
_MOST_TRAININGS = 6
_MOST_STEPS = 1500
"""Points that a plot of a training is drawn from."""
_WIDEST_SHEET = 1400
"""Pixels."""


def write(run: Run, console: Console, *, again: bool = False) -> Path:
    """Write a finished run's report, unless it is written already; return its path.

    `again` writes it in any case. Raises UserError for a run that is not finished.
    """
    path = run.folder / FILE
    stage = Stage("report", (FILE,), after=("finish", "result"))
    stages = Stages(run.folder, f"report {REPORT_VERSION}", (stage,), console.warn)
    if again:
        stages.forget(stage.name)
    if not stages.is_made(stage.name):
        started = time.perf_counter()
        found = findings.read(run)
        stages.make(stage.name, lambda: storage.write_text(path, render(found, console)))
        console.say(f"report, {path.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - started:.1f} s: {path}")
    return path


def render(found: Findings, console: Console) -> str:
    """Return the page."""
    networks = cards.Networks(portable.Portable(found.run, console))
    matrix = analysis.confusion(found.truth, found.predicted, len(found.labels))
    bins = analysis.reliability(found.truth, found.probabilities)
    error = analysis.calibration_error(bins)
    curves = facts.finishing_curves(found)
    return page.render(
        "report.html.j2",
        found=found,
        score=summary.scored(found.result),
        scorer=summary.SCORERS[found.result["validation"]],
        standing=facts.standing(found),
        lines=facts.leaderboard(found),
        sent=storage.read_json(found.run.folder / "kaggle.json") or {},
        facts=facts.facts(found),
        settings=facts.settings(found),
        galleries=cards.make(found, networks, console),
        inside=cards.look_inside(found, networks, console),
        problem=networks.problem,
        matrix=matrix if len(found.labels) <= LARGEST_MATRIX else None,
        pairs=analysis.most_confused(matrix, MOST_PAIRS),
        classes=analysis.by_class(found.truth, found.probabilities, found.names),
        groups=[] if found.groups is None else analysis.by_group(found.truth, found.probabilities, found.groups),
        worst=_worst(found),
        mean_loss=float(found.losses.mean()),
        curves=curves,
        finishing=drawing.finishing(curves) if curves else "",
        calibration_error=error,
        calibration=drawing.calibration(bins, error),
        trainings=_trainings(found),
        sheet=_sheet(found.run),
    )


def _worst(found: Findings) -> list[Mapping[str, Any]]:
    ids, predicted = found.table["id"].tolist(), found.predicted
    return [
        {
            "id": ids[row.place],
            "truth": found.names[found.truth[row.place]],
            "predicted": found.names[predicted[row.place]],
            "probability": float(found.probabilities[row.place, found.truth[row.place]]),
            "loss": row.loss,
            "so_far": row.so_far,
        }
        for row in analysis.worst_rows(found.losses, WORST)
    ]


def _trainings(found: Findings) -> list[shown.Training]:
    """Return the curves of the first models; all others lie in their folders too."""
    folders = sorted(path.parent for path in found.run.folder.glob("models/*/history.json"))
    return [_training(folder) for folder in folders[:_MOST_TRAININGS]]


def _training(folder: Path) -> shown.Training:
    history = _thinned(storage.read_json(folder / "history.json"))
    finders = []
    for file in sorted(folder.glob("finder-*.json"), key=lambda file: file.stat().st_mtime):
        swept = storage.read_json(file)
        suggestions = swept.pop("suggestions")
        curve = Sweep(tuple(swept["rates"]), tuple(swept["losses"]), swept["stopped"], swept["smoothing"])
        found = ", ".join(f"{name} {rate:.2g}" for name, rate in suggestions.items()) or "none"
        text = f"Learning-rate finder of {folder.name} before {file.stem}: suggestions {found}"
        phase = file.stem.removeprefix("finder-")
        finders.append((phase, as_svg(lambda figure, c=curve, s=suggestions: plots.draw_finder(figure, c, s), text)))  # type: ignore[misc]
    phases = ", ".join(dict.fromkeys(record["phase"] for record in history))
    text = f"Loss and learning rate of {folder.name} by step; phases: {phases}"
    return shown.Training(
        name=folder.name, history=as_svg(lambda figure: plots.draw_history(figure, history), text), finders=finders
    )


def _thinned(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return all epochs, and so many steps that a plot of them stays small."""
    steps = [place for place, record in enumerate(history) if record["kind"] == "step"]
    kept = set(steps[:: -(-len(steps) // _MOST_STEPS) or 1])
    return [record for place, record in enumerate(history) if place in kept or record["kind"] != "step"]


def _sheet(run: Run) -> str:
    file = run.folder / "augmentations.png"
    return pictures.sheet(file, _WIDEST_SHEET) if file.is_file() else ""
