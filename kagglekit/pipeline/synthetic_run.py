"""Runs without data: explain how to get it, and run on drawn images."""

from __future__ import annotations

from pathlib import Path

from kagglekit.base.console import Console
from kagglekit.data.project import Project
from kagglekit.recipe import Recipe


def draw(project: Project, recipe: Recipe, console: Console) -> tuple[Path, Recipe]:
    """Draw a competition into its workspace. Return the archive, and the recipe with a hold-out and epochs to match."""
    from kagglekit.competitions import synthetic

    drawn = synthetic.draw(project.competition, project.workspace.data, recipe.data.num_folds)
    most = len(drawn.train) // 3
    if recipe.data.validation == "holdout" and recipe.data.holdout > most:
        recipe = recipe.changed(holdout=most)
        console.say(f"holdout = {most}, of {len(drawn.train)} synthetic training images")
    # drawn images are easy: one epoch per model shows that all steps work
    return drawn.archive, recipe.changed(phases=(*recipe.schedule.phases, "all epochs=1"))


def how_to_get_data(project: Project) -> str:
    """Return a paragraph that explains how to get the real data."""
    competition, data = project.competition, project.workspace.data
    ways = f"name the archive or folder (`kagglekit run {project.name} --data PATH`), or put it in {data}"
    if competition.kaggle:
        ways = (
            f"accept the rules at {competition.url}/rules and run `kagglekit download {project.name}`; or download "
            f"the archive from {competition.url}/data, and {ways}"
        )
    return (
        f"there is no data for {competition.name} yet. To get it, {ways}. Until then, this is a run on a SYNTHETIC "
        "competition: images drawn in the declared layout, in an archive with a sample submission. All "
        "steps are real; the score means nothing, and the submission can't be submitted."
    )
