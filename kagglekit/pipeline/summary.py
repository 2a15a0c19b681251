"""The closing table of a run."""

from __future__ import annotations

import shlex
from typing import Any

from kagglekit.base.console import Console
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.plugins import Plugin
from kagglekit.runs import store


def show(this: store.Run, plugin: Plugin, result: dict[str, Any], console: Console) -> None:
    """Print score, stages, leaderboard lines, the file and the next command."""
    competition = plugin.competition()
    if result["synthetic"]:
        _show_rehearsal(this, plugin, result, console)
        return
    console.table(f"run {this.id}", ("", ">"), facts(result))
    if competition.leaderboard:
        console.table(
            f"{result['metric']} beside the leaderboard",
            ("line", ">score"),
            _leaderboard(competition, result),
        )
        console.say(
            "The leaderboard is scored on another test set than this: a neighbouring line is a hint, no promise."
        )
    console.say(f"submission: {this.submission}")
    if result["sample"]:
        console.warn("this was a run on a sample: do not submit it")
        console.say(f"next: kagglekit run {plugin.name}")
        return
    if not competition.kaggle:
        return
    console.say(f"next: kagglekit submit {shlex.quote(plugin.name)} --run {this.id} --wait")


def _show_rehearsal(this: store.Run, plugin: Plugin, result: dict[str, Any], console: Console) -> None:
    console.table(f"SYNTHETIC run {this.id}", ("", ">"), facts(result))
    console.say(f"submission, synthetic: {this.submission}")
    console.say(f"next: kagglekit run {plugin.name} --data ARCHIVE")
    console.warn("the images are synthetic: the score says nothing about the competition, and nothing can be submitted")


SCORERS = {"folds": "out-of-fold", "holdout": "hold-out", "valid": "validation set"}
"""Setting `validation` -> what the score is called."""


def scored(result: dict[str, Any]) -> str:
    """Return the score with its standard error, which one group alone can't give."""
    error = result["standard_error"]
    return f"{result['out_of_fold']:.5f} ± {'unknown, one group' if error is None else f'{error:.5f}'}"


def facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the closing numbers as (name, value) for a table."""
    error = scored(result)
    facts = [
        (f"{SCORERS[result['validation']]} {result['metric']} ± standard error", error),
        ("accuracy", f"{result['accuracy']:.2%}"),
        ("before finishing", f"{result['before_finish']:.5f}"),
        ("scored", _scored(result)),
        ("method", result["method"]),
        ("backbone", ", ".join(result["backbones"])),
        ("computed on", result["device"]),
        ("predicted on", ", ".join(result["predicted_on"])),
    ]
    facts += [(f"stage {name}", f"{seconds:.1f} s") for name, seconds in result["seconds"].items()]
    return [*facts, ("all stages", f"{sum(result['seconds'].values()):.1f} s")]


def _scored(result: dict[str, Any]) -> str:
    images, clusters = result["scored_images"], result["clusters"]
    return f"{images} images" if clusters == images else f"{images} images in {clusters} groups"


def _leaderboard(competition: Competition, result: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [(name, score) for name, score in competition.leaderboard.items()]
    lines.append(("this run, on its own training images", result["out_of_fold"]))
    lines.sort(key=lambda line: line[1] if result["lower_is_better"] else -line[1])
    return [(name, f"{score:.5f}") for name, score in lines]
