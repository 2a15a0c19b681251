"""Rehearse: hide training images, run the whole line down to the submission, and grade it as Kaggle would."""

from __future__ import annotations

import dataclasses
import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data import hiding
from kagglekit.data.benchmark_split import benchmark_part
from kagglekit.data.hiding import Hidden
from kagglekit.data.project import Project
from kagglekit.pipeline import finalize, grading, honesty, rehearsal_summary
from kagglekit.pipeline.command import carry_out
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.prepare import Known, Read, decide, read, ready, scan_images
from kagglekit.runs import record, rehearsed
from kagglekit.runs.rehearsed import RehearsalRecord, SeedRecord
from kagglekit.runs.store import Run

Split = Literal["random", "mle-bench"]
"""Which training images are hidden: others with each seed, or those that the benchmark MLE-bench hides."""


def rehearse(
    name: str, data_path: Path | None, settings: Mapping[str, Any], console: Console, *, seeds: int, split: str
) -> RehearsalRecord:
    """Rehearse a competition with several seeds, and print how its estimates compare with the scores.

    A killed rehearsal resumes: runs that are finished are not repeated. Raises UserError without real data.
    """
    project = Project.load(name)
    if split not in get_args(Split):
        raise UserError(f"--split {split!r}: must be one of {', '.join(get_args(Split))}.")
    if project.lacks_data(data_path):
        raise UserError(
            f"there is no data for {project.competition.name} to hide a part of: name the archive or folder with "
            f"--data PATH. `kagglekit run {shlex.quote(name)}` says how to get it."
        )
    data = read(project, data_path, settings, console)
    if data.project.competition.submission.by_hook:
        console.say("only the plugin can read its submissions: what they are made from is graded")
    competition = data.project.competition
    found = RehearsalRecord(
        competition=competition.name,
        split=split,
        metric=competition.scored_by.name,
        lower_is_better=competition.scored_by.lower_is_better,
        settings=dict(settings),
        leaderboard=competition.leaderboard,
    )
    file = data.project.workspace.rehearsal.folder / rehearsed.FILE
    for number in range(seeds):
        seed = data.recipe.data.seed + number
        console.say(f"rehearsal {number + 1} of {seeds}: seed {seed}")
        found = dataclasses.replace(found, seeds=(*found.seeds, _one(data, split, seed, console)))
        record.write(file, found)
    rehearsal_summary.show(found, console)
    console.say(f"rehearsal: {file}")
    return found


def _one(data: Read, split: str, seed: int, console: Console) -> SeedRecord:
    """Hide, run and grade once."""
    hidden = _hide(data, split, seed)
    known = scan_images(_with_hidden(data, hidden, seed, console), console)
    run = carry_out(known, console)
    return dataclasses.replace(_record(run, hidden, seed), ways=_ways(known, hidden))


def _ways(data: Known, hidden: Hidden) -> dict[str, float]:
    """Return the score of each way in which a finished run could predict the test set, if it has several."""
    quiet = Console(io.StringIO())
    decided = decide(data, quiet)
    if decided.first is not None:  # a blend
        return {}
    job = ready(data, decided, quiet)
    ways = table.get(job.recipe.training.method).ways(job)
    place = {name: number for number, name in enumerate(job.tables.predicted)}
    rows = np.array([place[name] for name in hidden.truth["id"]])
    return {
        name: grading.score(job.run, hidden.competition, hidden.truth, finalize.predicted(job, predictions)[rows])
        for name, predictions in ways.items()
    }


def _hide(data: Read, split: str, seed: int) -> Hidden:
    competition, tables = data.project.competition, data.tables
    if split == "mle-bench":
        return hiding.hide(competition, tables, benchmark_part(competition, data.files, tables.train), 0)
    part = hiding.random_part(competition, tables, data.recipe.data, seed)
    return hiding.hide(competition, tables, part, seed)


def _with_hidden(data: Read, hidden: Hidden, seed: int, console: Console) -> Read:
    """Return what a run gets: no label of a hidden image is in it."""
    recipe = data.recipe.changed(seed=seed)
    most = hiding.most_folds(hidden)
    if recipe.data.validation == "folds" and most < recipe.data.num_folds:
        recipe = recipe.changed(folds=most)
        console.say(f"folds = {most}: the images that are left allow no more")
    project = dataclasses.replace(data.project.rehearsal, competition=hidden.competition)
    return dataclasses.replace(data, project=project, recipe=recipe, tables=hidden.tables, mark="rehearsal")


def _record(run: Run, hidden: Hidden, seed: int) -> SeedRecord:
    result, made_from = run.finished(), run.record
    grade = grading.grade(run, hidden.competition, hidden.truth, seed)
    clusters = hidden.truth["group"].nunique()
    interval = honesty.expected(result, clusters, named=made_from.metric is not None)
    low, high = interval or (None, None)
    return SeedRecord(
        seed=seed,
        run=run.id,
        train_images=made_from.train_images,
        hidden_images=len(hidden.tables.test),
        hidden_rows=len(hidden.truth),
        out_of_fold=result.out_of_fold,
        standard_error=result.standard_error,
        low=low,
        high=high,
        score=grade.score,
        score_error=grade.error,
        line=_line(hidden.competition.leaderboard, grade.score, lower_is_better=result.lower_is_better),
        seconds=result.all_seconds,
        device=result.device,
        machine=made_from.machine,
    )


def _line(leaderboard: Mapping[str, float], score: float, *, lower_is_better: bool) -> str:
    """Return the best line that a score reaches; empty if it reaches none, or none is known."""
    sign = 1 if lower_is_better else -1
    reached = {name: sign * line for name, line in leaderboard.items() if sign * score <= sign * line}
    return min(reached, key=reached.__getitem__) if reached else ""
