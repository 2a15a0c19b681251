"""Pseudo-labels of fine-tuned models: each trains on, also towards what its fold's models guess of unseen images.

Those are the test images and the held-out images of the fold, which stand in the place of the test set: the score is of
images of which models have learnt their own guesses, as they have of the test images in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kagglekit.base.shortlists import Wide
from kagglekit.pipeline import tta
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.predictions import Candidate
from kagglekit.pipeline.views import PLAIN
from kagglekit.recipe import FinishSettings
from kagglekit.runs.record import TRANSDUCTIVE
from kagglekit.training import second_cycle

STEP = second_cycle.NAME


def are_wanted(job: Job) -> bool:
    """Return whether a run makes pseudo-labels: there are test images, and one of not very many classes or grades."""
    able = second_cycle.can_learn(job.competition.task) and not job.tables.test.empty
    return job.recipe.finish.pseudo_labels and able


def are_made(job: Job) -> bool:
    """Return whether the models of a fine-tuned run learn pseudo-labels: they are wanted, and there is time."""
    return are_wanted(job) and not job.run.all_left_out.pseudo_labels


def warn_without_effect(job: Job) -> None:
    """Warn if the setting has no effect."""
    if job.recipe.finish.pseudo_labels and not are_wanted(job):
        job.console.warn(
            "pseudo_labels has no effect: they are classes or grades, at most 1,000 of them, of test images"
        )


def step(way: str = "", number: int = 1) -> str:
    """Return the name of the step that is a round of pseudo-labels; `way` is what predictions it is made on, if any."""
    return STEP + (f" on {way}" if way else "") + (f", round {number}" if number > 1 else "")


def candidates(by_view: Mapping[str, tuple[Wide, Wide]], finish: FinishSettings) -> tuple[Candidate, ...]:
    """Return what models predict after their second cycle; each is tried on the same views from before it.

    `by_view` has the out-of-fold probabilities (mean over a fold's models) and those of the test set (over all models).
    """
    plain = Candidate("", *by_view[PLAIN])
    return tuple(
        replace(
            after,
            name=step(after.name),
            changes=after.name,
            alone=False,
            note=TRANSDUCTIVE,
            recalibrates=True,
        )
        for after in (plain, *tta.candidates(by_view, finish))
    )
