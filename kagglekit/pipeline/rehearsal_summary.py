"""What a rehearsal prints at its end: a row for each seed, and whether the estimates are honest."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from kagglekit.base.console import Console
from kagglekit.base.scores import shown, signed
from kagglekit.pipeline import honesty
from kagglekit.runs.rehearsed import RehearsalRecord, SeedRecord

_COLUMNS = (">seed", ">out-of-fold ± error", ">expected", ">rehearsed ± error", "inside", ">z", "reaches", ">seconds")
_INSIDE = {True: "yes", False: "no", None: "unknown"}


def show(found: RehearsalRecord, console: Console) -> None:
    """Print a row for each seed, the leaderboard, the machines, and how honest the estimates are."""
    first = found.seeds[0]
    rows = f"{first.hidden_images} of {first.hidden_images + first.train_images} training images hidden"
    console.table(f"{found.metric}, {rows}, split {found.split}", _COLUMNS, [_cells(one, found) for one in found.seeds])
    _show_ways(found, console)
    if found.leaderboard:
        lines = ", ".join(f"{name} {score:.5f}" for name, score in found.leaderboard.items())
        console.say(f"leaderboard: {lines}; it uses another test set")
    for machine in dict.fromkeys(map(_machine, found.seeds)):
        console.say(f"machine: {machine}")
    console.say(verdict(found))


def _show_ways(found: RehearsalRecord, console: Console) -> None:
    """Print what each way to predict the test set scores, if the runs have several: by seed, and in the mean."""
    graded = [one for one in found.seeds if one.ways]
    if not graded:
        return
    names = list(graded[0].ways)
    rows = [(str(one.seed), *(shown(one.ways[name]) for name in names)) for one in graded]
    if len(graded) > 1:
        rows.append(("mean", *(shown(fmean(one.ways[name] for one in graded)) for name in names)))
    rows.append(("gain", "", *(_gain(found, graded, name, names[0]) for name in names[1:])))
    title = f"{found.metric} of the hidden images by what predicts them; gain over {names[0]}"
    console.table(title, (">seed", *(f">{name}" for name in names)), rows)


def _gain(found: RehearsalRecord, graded: Sequence[SeedRecord], name: str, usual: str) -> str:
    """Return by how much better a way is than the usual one, with an interval if several splits tell."""
    sign = 1.0 if found.lower_is_better else -1.0
    gains = [sign * (one.ways[usual] - one.ways[name]) for one in graded]
    if found.split != "random" or len(gains) == 1:
        return signed(fmean(gains))
    mean, low, high = honesty.mean_interval(gains, graded[0].hidden_images / graded[0].train_images)
    return f"{signed(mean)} ({signed(low)} to {signed(high)})"


def verdict(found: RehearsalRecord) -> str:
    """Return in words how often the intervals cover the scores, and whether the estimates flatter."""
    known = [one.covered for one in found.seeds if one.covered is not None]
    covered = f"the expected interval covers {sum(known)} of {len(known)} scores" if known else "no interval is known"
    interval = _interval(found)
    if interval is None:
        return covered
    mean, low, high = interval
    where = f"{_apart(mean)} than estimated, with an interval from {_apart(low)} to {_apart(high)}"
    if low > 0:
        judged = "the estimate flatters"
    elif high < 0:
        judged = "the estimate is pessimistic"
    else:
        judged = "the estimate is honest, as far as this shows"
    return f"{covered}; on average the hidden images score {where}: {judged}"


def _apart(difference: float) -> str:
    return f"{shown(abs(difference))} {'worse' if difference > 0 else 'better'}"


def _interval(found: RehearsalRecord) -> tuple[float, float, float] | None:
    """Return by how much the score is worse than the estimate, in the mean, and the interval; None if unknown."""
    sign = 1.0 if found.lower_is_better else -1.0
    differences = [sign * (one.score - one.out_of_fold) for one in found.seeds]
    if found.split == "random" and len(differences) > 1:
        return honesty.mean_interval(differences, found.seeds[0].hidden_images / found.seeds[0].train_images)
    errors = [one.difference_error for one in found.seeds if one.difference_error is not None]
    return honesty.together(differences, errors) if errors else None


def _cells(one: SeedRecord, found: RehearsalRecord) -> tuple[str, ...]:
    expected = "unknown" if one.low is None or one.high is None else f"{shown(one.low)} to {shown(one.high)}"
    return (
        str(one.seed),
        _with_error(one.out_of_fold, one.standard_error),
        expected,
        _with_error(one.score, one.score_error),
        _INSIDE[one.covered],
        "unknown" if one.z is None else f"{one.z:+.1f}",
        one.line or ("none" if found.leaderboard else ""),
        f"{one.seconds:.0f}",
    )


def _with_error(score: float, error: float | None) -> str:
    return f"{shown(score)} ± {'unknown' if error is None else shown(error)}"


def _machine(one: SeedRecord) -> str:
    machine = one.machine
    gpus = f", {machine.gpus} GPUs" if machine.gpus else ""
    return f"{machine.processor or machine.system}, {machine.cores} cores{gpus}, computed on {one.device}"
