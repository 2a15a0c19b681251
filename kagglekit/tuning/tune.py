"""Tune a competition's settings: search, estimate the winner honestly, and write its recipe."""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kagglekit import recipe
from kagglekit.base import gpu, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.interrupts import Interrupted
from kagglekit.base.scores import shown
from kagglekit.data.project import Project
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.prepare import Known, decide, read, ready, scan_images
from kagglekit.pipeline.run import go
from kagglekit.recipe import ComputeSettings, Recipe
from kagglekit.runs.filenames import LOG
from kagglekit.runs.store import Run
from kagglekit.tuning import outcome, summary, trials
from kagglekit.tuning import space as spaces
from kagglekit.tuning.record import TuneRecord
from kagglekit.tuning.space import Space
from kagglekit.tuning.study import Claim, Study
from kagglekit.tuning.trials import Clock, OutOfTimeError, PrunedError, TimeWatcher, TrialWatcher

_POLL = 0.5
"""Seconds between looks at the trials of other processes."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What all trials of a command share."""

    data: Known
    settings: Mapping[str, Any]
    """Settings of the command line, and the method and the number of folds of the default run."""
    job: Job
    """The default run."""
    study: Study
    clock: Clock
    console: Console

    def with_typed(self, typed: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings of a trial."""
        return recipe.laid_over(self.settings, spaces.settings(typed), "the search space")


def tune(
    name: str,
    data_path: Path | None,
    settings: Mapping[str, Any],
    console: Console,
    *,
    most: int,
    budget: str | None,
    search: Sequence[str],
    write: bool,
) -> TuneRecord:
    """Run trials until the study has `most`, or the budget ends; print and return what came out.

    A killed command resumes, and several commands share the work. Raises UserError for settings that can't be
    searched, before anything is computed.
    """
    clock = _clock(budget)
    project = Project.load(name)
    settings = _with_method(project, settings, console)
    _check(project, data_path, settings, search, write=write)
    data = scan_images(read(project, data_path, settings, console), console)
    tuning = _opened(data, settings, search, clock, console)
    default = _default(tuning)
    _search(tuning, default, most)
    found = outcome.of(tuning.study, default, tuning.job, settings)
    winner = None if found.best is None else tuning.with_typed(found.trial(found.best).settings)
    outcome.write(found, tuning.study.folder, winner)
    summary.show(found, winner, name, tuning.study.folder, console)
    if write:
        outcome.install(found, tuning.study.folder, project.workspace.recipe_file, console)
    return found


def _clock(budget: str | None) -> Clock:
    seconds = math.inf if budget is None else ComputeSettings(budget=budget).budget_seconds("cuda")
    return Clock(time.monotonic() + seconds)


def _with_method(project: Project, settings: Mapping[str, Any], console: Console) -> Mapping[str, Any]:
    """Return the settings of the command line, with one method instead of `auto`."""
    if table.resolve(project, settings, console.say).training.method != table.AUTO:
        return settings
    console.say(f"method {table.QUICKEST} is tuned, since its trials take little time; --method chooses another")
    return dict(settings) | {"method": table.QUICKEST}


def _check(
    project: Project, data_path: Path | None, settings: Mapping[str, Any], search: Sequence[str], *, write: bool
) -> None:
    """Raise UserError for what can't be done, before any data is read."""
    chosen = table.resolve(project, settings, lambda _: None)
    table.check(chosen, project.competition.task)
    for name in spaces.searched(search, _checker(project, settings)):
        if name in recipe.flat(settings, "the command line"):
            raise UserError(f"{name} is both set and searched: leave out --set {name} or --search {name}.")
    if write and project.workspace.recipe_file.exists():
        raise UserError(
            f"--write: {project.workspace.recipe_file} is yours and stays as it is: move it away, or leave out --write "
            "and copy what is gained."
        )
    if project.lacks_data(data_path):
        raise UserError(
            f"there is no data for {project.competition.name} to tune on: name the archive or folder with --data PATH. "
            f"`kagglekit run {shlex.quote(project.name)}` says how to get it."
        )


def _checker(project: Project, settings: Mapping[str, Any]) -> spaces.Check:
    """Return what checks settings beside those of the command line."""

    def check(own: Mapping[str, Any]) -> None:
        chosen = table.resolve(project, recipe.laid_over(settings, own, "the search space"), lambda _: None)
        table.check(chosen, project.competition.task)

    return check


def _opened(data: Known, settings: Mapping[str, Any], search: Sequence[str], clock: Clock, console: Console) -> Tuning:
    """Prepare the default run, and open the study around it."""
    job = ready(data, decide(data, console), console)
    fixed: dict[str, Any] = {"method": job.recipe.training.method}
    if job.recipe.data.validation == "folds":
        fixed["folds"] = job.recipe.data.folds or job.recipe.data.num_folds
    settings = recipe.laid_over(settings, fixed, "the default run")
    space = _space(data, job, settings, search)
    written = {name: str(values) for name, values in space.items()}
    study = Study(
        data.project.workspace.folder / "tune",
        f"{job.run.key[:8]}-{storage.digest(sorted(written.items()), 8)}",
        space,
        lower_is_better=data.project.competition.scored_by.lower_is_better,
        seed=job.recipe.data.seed,
    )
    console.table("search space", ("setting", "values", "default"), _space_rows(written, job.recipe))
    return Tuning(data=data, settings=settings, job=job, study=study, clock=clock, console=console)


def _space_rows(written: Mapping[str, str], default: Recipe) -> list[tuple[str, str, str]]:
    given = default.as_dict()
    return [(name, values, recipe.shown(given[name]) or "unset") for name, values in written.items()]


def _space(data: Known, job: Job, settings: Mapping[str, Any], search: Sequence[str]) -> Space:
    """Return the space of the command line, else of the plugin, else of the method."""
    project = data.project
    check = _checker(project, settings)
    if search:
        return spaces.searched(search, check)
    fixed = set(recipe.flat(settings, "the command line"))
    if data.recipe.features.backbone != Recipe().features.backbone:
        fixed.add("backbone")  # somebody has chosen it
    usual = table.get(job.recipe.training.method).search_space(
        project.competition, gpu.choose(job.recipe.compute.provider)
    )
    usual = {name: values for name, values in usual.items() if name not in fixed}
    default = job.recipe.as_dict()
    usual = {name: values for name, values in usual.items() if spaces.may_matter(name, usual, default)}
    if project.plugin.has("search_space"):
        own = project.plugin.search_space(usual)
        source = f"plugin {project.plugin.name!r}, hook 'search_space':"
        space = spaces.parsed({name: text for name, text in own.items() if name not in fixed}, source, check)
    else:
        space = spaces.possible(usual, check)
    if not space:
        raise UserError("nothing is left to search: name a setting with --search, or leave out some --set.")
    return space


def _default(tuning: Tuning) -> Run:
    """Run the default settings, which the trials have to beat."""
    run = tuning.job.run
    if run.result is None:
        tuning.console.say(f"the default settings run first; what each run says is in its log: {run.folder / LOG}")
    try:
        with trials.quiet() as console:
            job = dataclasses.replace(tuning.job, console=console, watcher=TimeWatcher(tuning.clock))
            made = trials.whole(go(job))
    except OutOfTimeError:
        raise UserError("--budget ended before the default run did: the same command goes on from there.") from None
    result = made.finished()
    tuning.console.say(f"default settings: {result.metric} {shown(result.out_of_fold)} (run {made.id})")
    return made


def _search(tuning: Tuning, default: Run, most: int) -> None:
    """Run trials until the study has `most`, also those of other processes, or the time does not suffice."""
    study, console = tuning.study, tuning.console
    while True:
        left, longest = tuning.clock.left, max([default.finished().all_seconds, *_seconds(study)])
        if longest > left:
            console.say(f"--budget: {max(left, 0):.0f} s are left, and a trial may take {longest:.0f} s")
            return
        claim = study.claim(most)
        if claim is not None:
            _trial(tuning, claim)
        elif study.others_run():
            time.sleep(_POLL)
        else:
            break
    if study.exhausted:
        console.say("every combination has been tried")


def _seconds(study: Study) -> list[float]:
    return [trial.seconds for trial in study.trials() if trial.seconds is not None]


def _trial(tuning: Tuning, claim: Claim) -> None:
    """Run one trial. What the user can't mend is recorded too, and ends the command."""
    study, started = tuning.study, time.monotonic()
    ended = ""
    try:
        made = trials.run(tuning.data, tuning.with_typed(claim.typed), _watcher(tuning, claim))
        score = made.finished().out_of_fold
        study.complete(claim, score, made.id, time.monotonic() - started)
        ended = shown(score)
    except PrunedError:
        study.prune(claim, time.monotonic() - started)
        ended = "pruned"
    except UserError as error:
        study.fail(claim, str(error), time.monotonic() - started)
        ended = f"failed: {error}"
    except (OutOfTimeError, Interrupted) as error:
        study.put_back(claim)
        if isinstance(error, Interrupted):
            raise
        ended = "stopped to end in time; the same command goes on from there"
    except Exception as error:
        study.fail(claim, f"{type(error).__name__}: {error}", time.monotonic() - started)
        raise
    settings = ", ".join(f"{name}={value}" for name, value in claim.typed.items())
    tuning.console.say(f"trial {claim.trial.number}: {settings}: {ended} ({time.monotonic() - started:.0f} s)")


def _watcher(tuning: Tuning, claim: Claim) -> TrialWatcher:
    job = tuning.job
    return TrialWatcher(
        tuning.clock,
        tuning.study,
        claim,
        task=job.competition.task,
        metric=job.competition.scored_by,
        folds=job.recipe.data.num_folds if job.recipe.data.validation == "folds" else 1,
    )
