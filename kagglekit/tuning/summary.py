"""What `tune` prints at its end: the best trials, what mattered, and how much of the gain is real."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kagglekit import recipe
from kagglekit.base.console import Console
from kagglekit.base.scores import shown, signed
from kagglekit.tuning.record import RECIPE, TrialRecord, TuneRecord

_TOP = 5


def show(found: TuneRecord, winner: Mapping[str, Any] | None, name: str, folder: Path, console: Console) -> None:
    """Print the outcome of a study. `winner` has the settings of the best trial."""
    _show_trials(found, console)
    _show_settings(found, console)
    _show_estimates(found, console)
    console.say(verdict(found))
    if winner is not None:
        words = [word for key, value in winner.items() for word in ("--set", f"{key}={recipe.shown(value)}")]
        command = shlex.join(["kagglekit", "run", name, *words])
        console.say(f"the best trial's settings: {folder / RECIPE}; its run: {command}")
    console.say(f"all trials: {folder}")


def _show_trials(found: TuneRecord, console: Console) -> None:
    counts = Counter(one.state for one in found.trials)
    counted = ", ".join(f"{count} {state}" for state, count in counts.items())
    complete = [one for one in found.trials if one.score is not None]
    sign = 1.0 if found.lower_is_better else -1.0
    best = sorted(complete, key=lambda one: sign * (one.score or 0.0))[:_TOP]
    rows = [_cells(one) for one in best]
    if rows:
        console.table(f"trials: {counted}; the best", (">trial", f">{found.metric}", "settings", ">seconds"), rows)
    else:
        console.say(f"trials: {counted or 'none'}")
    errors = Counter(one.error for one in found.trials if one.error)
    for error, count in errors.items():
        console.warn(f"{count} {'trial' if count == 1 else 'trials'} failed: {error}")


def _cells(one: TrialRecord) -> tuple[str, ...]:
    settings = ", ".join(f"{name}={value}" for name, value in one.settings.items())
    return str(one.number), shown(one.score or 0.0), settings, f"{one.seconds or 0:.0f}"


def _show_settings(found: TuneRecord, console: Console) -> None:
    if not found.importances:
        console.say("what mattered can't be told: too few trials are complete, or all score the same")
        return
    own = {} if found.best is None else found.trial(found.best).settings
    rows = [
        (name, f"{share:.0%}", own.get(name, ""), found.default_values[name])
        for name, share in found.importances.items()
    ]
    console.table("what mattered", ("setting", ">share of variance", "best trial", "default"), rows)
    rest = [name for name in found.space if name not in found.importances]
    if rest:
        console.say(f"not in every trial, so without a share: {', '.join(rest)}")


def _show_estimates(found: TuneRecord, console: Console) -> None:
    nested = found.nested
    best = "the default" if found.best is None else f"trial {found.best}"
    rows = [
        ("default settings", _with_error(found.default_score, found.default_error), ""),
        (f"best: {best}", shown(found.best_score), "flatters: it was chosen by this score"),
        ("nested", _with_error(nested.score, nested.standard_error), "each fold scored with what the others chose"),
    ]
    console.table("", ("", f">>{found.metric}", ""), rows)


def _with_error(score: float, error: float | None) -> str:
    return shown(score) if error is None else f"{shown(score)} ± {shown(error)}"


def verdict(found: TuneRecord) -> str:
    """Return in words whether tuning has gained anything."""
    nested = found.nested
    gain = (
        f"nested gain over the default settings {signed(nested.gain)} ({signed(nested.low)} to {signed(nested.high)})"
    )
    if found.best is None:
        return f"{gain}: the default settings are the best"
    return f"{gain}: {'proven' if nested.proven else 'not proven, so the default settings stay'}"
