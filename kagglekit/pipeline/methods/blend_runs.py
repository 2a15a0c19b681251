"""Which runs can be blended: finished ones of a competition, with the same images and folds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data.project import Project
from kagglekit.pipeline.job import Job
from kagglekit.runs import filenames, store
from kagglekit.runs.store import Run


def chosen(project: Project, references: Sequence[str], console: Console) -> list[Run]:
    """Return the runs that are named, or else all that fit together, by id. Say which do not, and why.

    Raises UserError for a named run that does not fit, and for fewer than two runs.
    """
    runs = {run.id: run for run in map(store.find, references)} if references else {}
    found = _named(project, list(runs.values())) if references else _fitting(project, console)
    if len(found) < 2:
        which = f"only {found[0].id} fits" if found else "none fits"
        raise UserError(f"a blend takes two runs or more with the same images and folds, and {which}.")
    return sorted(found, key=lambda run: run.id)


def members(names: Sequence[str], folder: Path) -> list[Run]:
    """Return the runs of these ids in a folder of runs. Raises UserError if one is not there."""
    found = [Run(folder / name) for name in names]
    for run in found:
        if not (run.folder / filenames.RECORD).is_file():
            raise UserError(f"no run {run.id!r} in {folder}, which the blend has as a member: restore it.")
    return found


def digest(run: Run) -> str:
    """Return a hash of what a run has found out. Raises UserError if it is not finished."""
    run.finished()
    made = run.manifest("finish")
    return storage.digest(None if made is None else made.hashes, 32)


def check(runs: Sequence[Run], job: Job) -> None:
    """Raise UserError if the runs have other images, or other folds, than one another or the job."""
    tables, first = job.tables, runs[0]
    for run in runs:
        why = _unlike_tables(run, tables.train, tables.requested) or _unlike(run, first)
        if run.recipe.data.validation != job.recipe.data.validation:
            why = f"is validated by {run.recipe.data.validation}, and the blend by {job.recipe.data.validation}"
        if why:
            raise UserError(f"run {run.id} can't be blended: it {why}.")


def _named(project: Project, runs: Sequence[Run]) -> list[Run]:
    for run in runs:
        why = _unfit(project, run) or (_unlike(run, runs[0]) if run is not runs[0] else "")
        if why:
            raise UserError(f"run {run.id} can't be blended: it {why}.")
    return list(runs)


def _fitting(project: Project, console: Console) -> list[Run]:
    """Return the largest number of runs that fit together; of as many, those with the best score."""
    alike: dict[str, list[Run]] = defaultdict(list)
    left_out: dict[str, str] = {}
    for run in store.all_runs(project.workspace):
        why = _unfit(project, run) or ("is of a sample" if run.finished().sample else "")
        if why:
            left_out[run.id] = why
        else:
            alike[_scene(run)].append(run)
    found = max(alike.values(), key=lambda runs: (len(runs), -_best(runs)), default=[])
    for run in (run for runs in alike.values() if runs is not found for run in runs):
        left_out[run.id] = _unlike(run, found[0])
    for name, why in left_out.items():
        console.say(f"left out: run {name} {why}")
    return found


def _best(runs: Sequence[Run]) -> float:
    return min(run.finished().loss for run in runs)


def _unfit(project: Project, run: Run) -> str:
    """Return why a run can't be blended with any other of its competition; empty if it can."""
    name, runs = run.record.competition.name, project.workspace.runs
    reasons = {
        f"is of {name}, not of {project.competition.name}": name != project.competition.name,
        "is synthetic, on drawn images": run.synthetic,
        "is not finished: rerun its command to resume": run.result is None,
        "was made by an older kagglekit: run its command again": run.alone is None,
        "is a blend itself: name its members": bool(run.settings.get("members")),
        f"is not in {runs}": run.folder.parent.resolve() != runs.resolve(),
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _unlike(run: Run, first: Run) -> str:
    """Return in what a run differs from another; empty if both can be blended."""
    if run.record.competition.labels != first.record.competition.labels:
        return f"has other labels than {first.id}"
    why = _unlike_tables(run, first.images("train"), first.images("test"), first.id)
    if why:
        return why
    both = pd.concat([run.planned_folds(), first.planned_folds()], axis=1, keys=["own", "other"])
    moved = both.index[both["own"] != both["other"]]
    if len(moved):
        return f"has other folds than {first.id}: {len(moved)} of {len(both)} images are in another, as {moved[0]!r}"
    return ""


def _unlike_tables(run: Run, train: pd.DataFrame, test: pd.DataFrame, other: str = "the data") -> str:
    """Return in what the images of a run differ from those of tables with `id`, `content` and `label`."""
    for part, table, columns in (("train", train, ["label", "content"]), ("test", test, ["content"])):
        own, kind = run.images(part).set_index("id"), "training" if part == "train" else "test"  # type: ignore[arg-type]
        known = table.set_index("id")
        strange = own.index.symmetric_difference(known.index)
        if len(strange):
            return f"has other images than {other}: {len(strange)} {kind} ids differ, as {strange[0]!r}"
        changed = own.index[(own[columns] != known.loc[own.index, columns]).any(axis=1)]
        if len(changed):
            return f"has other labels or contents than {other}: {len(changed)} {kind} images, as {changed[0]!r}"
    return ""


def _scene(run: Run) -> str:
    """Return a hash of the images and folds of a run."""
    images = pd.concat([run.images("train"), run.images("test")])[["id", "label", "content"]].sort_values("id")
    fold = run.planned_folds().sort_index()
    return storage.digest([run.record.competition.labels, images.to_csv(index=False), fold.to_csv()])
