"""The outcome of a study: the record of its trials, the nested estimate, and the winner's recipe."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from kagglekit import recipe
from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.pipeline.job import Job
from kagglekit.recipe.names import convert
from kagglekit.runs import findings, record
from kagglekit.runs.store import Run
from kagglekit.tuning import nested
from kagglekit.tuning import space as spaces
from kagglekit.tuning.record import FILE, RECIPE, TRIALS, NestedRecord, TrialRecord, TuneRecord
from kagglekit.tuning.study import Study, Told

_DEFAULT = "default"


def of(study: Study, default: Run, job: Job, settings: Mapping[str, Any]) -> TuneRecord:
    """Return the outcome. `job` is that of the default run, `settings` those of the command line."""
    told, result, metric = study.trials(), default.finished(), job.competition.scored_by
    runs = {each.number: Run(job.workspace.runs / each.run) for each in told if each.state == "complete"}
    runs = {number: run for number, run in runs.items() if run.result is not None}  # others were removed since
    scores: dict[int | None, float] = {None: result.out_of_fold}
    scores |= {number: run.finished().out_of_fold for number, run in runs.items()}
    sign = 1.0 if metric.lower_is_better else -1.0
    best = min(scores, key=lambda number: sign * scores[number])  # of equal ones the first
    return TuneRecord(
        competition=job.competition.name,
        metric=metric.name,
        lower_is_better=metric.lower_is_better,
        space={name: str(values) for name, values in study.space.items()},
        settings={name: recipe.shown(value) for name, value in settings.items()},
        default_run=default.id,
        default_score=result.out_of_fold,
        default_error=result.standard_error,
        default_values={name: recipe.shown(job.recipe.as_dict()[name]) for name in study.space},
        best=best,
        best_score=scores[best],
        nested=_nested(default, runs, job),
        importances=study.importances(),
        trials=tuple(map(_trial, told)),
    )


def _nested(default: Run, runs: Mapping[int, Run], job: Job) -> NestedRecord:
    found = findings.of_rows(default)
    scored, metric = nested.scored_rows(found), job.competition.scored_by
    loaders = [nested.loader(run, found.table["id"].tolist(), metric) for run in (default, *runs.values())]
    judged = nested.estimate(scored, loaders, metric, job.recipe.data.seed)
    names = [_DEFAULT, *map(str, runs)]
    return NestedRecord(
        score=judged.score,
        standard_error=judged.standard_error,
        gain=judged.judgement.gain,
        low=judged.judgement.low,
        high=judged.judgement.high,
        proven=judged.judgement.kept,
        chosen={str(part): names[place] for part, place in judged.chosen.items()},
    )


def _trial(told: Told) -> TrialRecord:
    return TrialRecord(
        number=told.number,
        state=told.state,
        settings=spaces.settings(told.typed),
        score=told.score,
        run=told.run,
        seconds=None if told.seconds is None else round(told.seconds, 1),
        error=told.error,
    )


def write(found: TuneRecord, folder: Path, winner: Mapping[str, Any] | None) -> None:
    """Write the record, the trials as a table, and the settings of the winner, if it is not the default."""
    record.write(folder / FILE, found)
    storage.write_text(folder / TRIALS, _csv(found))
    if winner is None:
        (folder / RECIPE).unlink(missing_ok=True)
    else:
        storage.write_text(folder / RECIPE, toml(winner))


def _csv(found: TuneRecord) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", "score", "seconds", "run", *found.space, "error"])
    for one in found.trials:
        own = [one.settings.get(name, "") for name in found.space]
        rows.writerow([one.number, one.state, one.score, one.seconds, one.run, *own, one.error])
    return text.getvalue()


def toml(settings: Mapping[str, Any]) -> str:
    """Return settings as a `recipe.toml`."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in recipe.flat(settings, "the winner").items():
        own = convert(name, value, "the winner")
        sections.setdefault(recipe.SECTION_OF[name], {})[name] = list(own) if isinstance(own, tuple) else own
    return tomli_w.dumps(sections)


def install(found: TuneRecord, folder: Path, own: Path, console: Console) -> None:
    """Write the winner's settings to the workspace's recipe if its gain is proven. Raises UserError if there is one."""
    if found.best is None or not found.nested.proven:
        console.say(f"--write: {own} is not written: the gain is not proven")
        return
    text = (folder / RECIPE).read_text(encoding="utf-8")
    if own.exists() and own.read_text(encoding="utf-8") != text:
        raise UserError(f"--write: {own} was written meanwhile and stays as it is; the winner is in {folder / RECIPE}.")
    storage.write_text(own, text)
    console.say(f"written: {own}; runs of this competition use it from now on")
