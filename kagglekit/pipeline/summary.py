"""The final tables of a run on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from kagglekit.base.console import Console
from kagglekit.base.scores import shown
from kagglekit.competitions.plugins import Plugin
from kagglekit.pipeline import honesty, steps
from kagglekit.runs import store
from kagglekit.runs.record import Result
from kagglekit.tasks import seconds


def show(this: store.Run, plugin: Plugin, result: Result, console: Console) -> None:
    """Print the final numbers, the leaderboard, the path of the submission and the next command."""
    competition = plugin.competition()
    if result.synthetic:
        _show_synthetic(this, plugin, result, console)
        return
    steps.show(result, console)
    console.table(f"run {this.id}", ("", ">"), facts(result))
    if transductive(result):
        console.say(transductive(result))
    _show_expected(this, result, console)
    lines = leaderboard(competition.leaderboard, result, "this run, on the training images")
    if lines:
        rows = [(line.name, f"{line.score:.5f}") for line in lines]
        console.table(f"{result.metric} and the leaderboard", ("line", ">score"), rows)
        console.say("The leaderboard uses another test set, so the comparison is only a hint.")
    if not (competition.test_patterns or result.submission_sha256):
        console.say(f"no submission: there are no test images; next: kagglekit predict {this.id} IMAGES")
        return
    console.say(f"submission: {this.submission}")
    if result.sample:
        console.warn("this run used a sample: do not submit it")
        console.say(f"next: kagglekit run {plugin.name}")
        return
    if not competition.kaggle:
        return
    console.say(f"next: kagglekit submit {shlex.quote(plugin.name)} --run {this.id} --wait")


def _show_expected(this: store.Run, result: Result, console: Console) -> None:
    """Print where the score of the test set should be, if it is known; its groups are as large as those scored."""
    if not result.submission_sha256:
        return
    made_from = this.record
    clusters = result.clusters * made_from.test_images / result.scored_images
    interval = honesty.expected(result, clusters, named=made_from.metric is not None)
    if interval is not None:
        low, high = map(shown, interval)
        images = f"{made_from.test_images} test images, if they are like the training images"
        console.say(f"expected: {low} to {high} on the {images} (`kagglekit guide rehearsal`)")


def _show_synthetic(this: store.Run, plugin: Plugin, result: Result, console: Console) -> None:
    steps.show(result, console)
    console.table(f"SYNTHETIC run {this.id}", ("", ">"), facts(result))
    console.say(f"submission, synthetic: {this.submission}")
    console.say(f"next: kagglekit run {plugin.name} --data ARCHIVE")
    console.warn("the images are synthetic: the score means nothing, and the submission can't be submitted")


def transductive(result: Result) -> str:
    """Return a remark on predictions that learn from the images that are predicted; empty if they do not."""
    if result.transductive is None:
        return ""
    return (
        f"transductive: by {result.transductive} the predictions depend on the test images together, which some "
        "competitions forbid: read the rules before you submit"
    )


SCORERS = {"folds": "out-of-fold", "holdout": "hold-out", "valid": "validation set"}
"""Setting `validation` -> name of the score."""


def scored(result: Result) -> str:
    """Format the score with its standard error, which is unknown for a single group."""
    error, unknown = result.standard_error, "unknown, one group" if result.clusters == 1 else "unknown"
    return f"{shown(result.out_of_fold)} ± {unknown if error is None else shown(error)}"


def facts(result: Result) -> list[tuple[str, str]]:
    """Return the final numbers as (name, value) pairs for a table."""
    error = scored(result)
    facts = [
        (f"{SCORERS[result.validation]} {result.metric} ± standard error", error),
        *second(result),
        ("before finishing", shown(result.before_finish)),
        ("scored", _scored(result)),
        ("method", result.method),
        ("backbone", ", ".join(result.backbones)),
        ("computed on", result.device),
        ("predicted on", ", ".join(result.predicted_on)),
    ]
    facts += [(f"stage {name}", f"{seconds:.1f} s") for name, seconds in result.seconds.items()]
    return [*facts, ("all stages", f"{result.all_seconds:.1f} s")]


def second(result: Result) -> list[tuple[str, str]]:
    """Return the accuracy, or what says as much where something else is predicted, as (name, value)."""
    accuracy = {} if result.accuracy is None else {seconds.ACCURACY: result.accuracy}
    return [(name, seconds.shown(name, value)) for name, value in (accuracy | dict(result.also or {})).items()]


def _scored(result: Result) -> str:
    images, clusters = result.scored_images, result.clusters
    rows = f"{images} images" if result.scored_groups is None else f"{result.scored_groups} rows of {images} images"
    apart = clusters in (images, result.scored_groups)
    scored = rows if apart else f"{rows} in {clusters} groups"
    left_out = ", ".join(map(str, result.folds_left_out or ()))
    return f"{scored}; left out to end in time: folds {left_out}" if left_out else scored


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the leaderboard."""

    name: str
    score: float
    own: bool
    """Whether the row is the run itself."""


def leaderboard(known: Mapping[str, float], result: Result, own: str) -> list[Line]:
    """Return the known scores and that of the run, named `own`, best first; empty if none are known."""
    if not known:
        return []
    lines = [Line(name=name, score=score, own=False) for name, score in known.items()]
    lines.append(Line(name=own, score=result.out_of_fold, own=True))
    return sorted(lines, key=lambda line: line.score if result.lower_is_better else -line.score)
