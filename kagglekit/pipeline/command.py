"""What `kagglekit run` makes: one run or, if method `auto` finds time to train, three in turn.

Frozen features come first, so that there soon is a submission. Then a backbone is trained on the same folds, in the
rest of the budget, and a blend of both is the final run. All three are runs like any other, so what is finished stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kagglekit.base import distributed, interrupts
from kagglekit.base.console import Console
from kagglekit.data.project import Project
from kagglekit.pipeline import summary, synthetic_run
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods.blend import Blending
from kagglekit.pipeline.prepare import Known, decide, read, ready, scan_images
from kagglekit.pipeline.run import go, make, warn_of_quarantine
from kagglekit.runs.choices import Decision
from kagglekit.runs.store import Run


def run(
    name: str, data_path: Path | None, settings: Mapping[str, Any], console: Console, fold: int | None = None
) -> Run:
    """Run a competition from its data to a submission, and return the run; of several, the last.

    `settings` come from the command line. Without data, the run is synthetic. A finished run is shown again; a
    killed one resumes. With `fold`, only the models of that fold are trained.
    """
    project = Project.load(name)
    with distributed.first_goes_first():  # the first process may be downloading the data
        absent = project.lacks_data(data_path)
        if absent:
            console.warn(synthetic_run.how_to_get_data(project))
        data = scan_images(read(project, data_path, settings, console, synthetic=absent), console)
    return carry_out(data, console, fold)


def carry_out(data: Known, console: Console, fold: int | None = None) -> Run:
    """Make the run, or the runs in turn, that are decided on; return the last."""
    with distributed.first_goes_first():
        decided = decide(data, console)
    if decided.first is None or fold is not None:
        return go(_ready(data, decided, console), fold)
    return _in_turn(data, decided.first, decided, console)


def _in_turn(data: Known, first: Decision, then: Decision, console: Console) -> Run:
    """Make a run, one that takes longer, and a blend of both."""
    quick = _ready(data, first, console)
    warn_of_quarantine(quick)
    _make(quick)
    if not quick.run.rehearsal:
        console.say("next: a backbone is trained on the same folds, and both are blended; Ctrl-C keeps the submission")
        interrupts.also_say(f"a first submission is {quick.run.submission}")
    slow = _ready(_after(data, quick), then, console)
    _make(slow)
    settings = {"method": Blending.name, "folds": then.settings["folds"], "members": (quick.run.id, slow.run.id)}
    blend = replace(_after(data, quick, slow), recipe=data.recipe.changed(**settings))
    with distributed.first_goes_first():
        decided = decide(blend, console)
    final = go(_ready(blend, decided, console))
    interrupts.also_say()
    return final


def _ready(data: Known, decided: Decision, console: Console) -> Job:
    with distributed.first_goes_first():
        return ready(data, decided, console)


def _make(job: Job) -> None:
    """Make a run that is not the last; of a finished one, print the score."""
    if not make(job):
        result = job.run.finished()
        job.console.say(f"run {job.run.id} is already finished: {result.metric} {summary.scored(result)}")


def _after(data: Known, *before: Job) -> Known:
    """Return the data of a run that begins when others have ended, whose time counts."""
    seconds = dict(data.seconds)
    for job in before:
        result = job.run.result
        if result is not None:  # in a process that does not write there may be none yet
            name = f"{job.recipe.training.method} run"
            seconds[name] = max(result.all_seconds - sum(seconds.values()), 0.0)
    return replace(data, seconds=seconds)
