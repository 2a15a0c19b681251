"""The steps that a run was offered, as rows of a table: what each gains, and whether it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kagglekit.base.console import Console
from kagglekit.base.scores import DIGITS, shown, signed
from kagglekit.runs.record import TRANSDUCTIVE, FinishingStep, Result

INTERVAL = "90% interval"
"""Its lower end is the bound of the gain that is exceeded with 95% confidence: a step is kept if that is above zero."""
_MOST_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Row:
    """A step in words."""

    name: str
    value: str
    """Its value, and what else is to be known of it."""
    before: str
    after: str
    gain: str
    interval: str
    kept: bool


def rows(result: Result) -> list[Row]:
    """Return a row for each step, in the order in which they were tried."""
    return [_row(step, alone=result.clusters == 1) for step in result.finish]


def kept(result: Result) -> str:
    """Return the names of the kept steps, and whether they learn from the images that are predicted."""
    names = ", ".join(row.name for row in rows(result) if row.kept)
    return names if result.transductive is None else f"{names} ({TRANSDUCTIVE})".lstrip()


def show(result: Result, console: Console) -> None:
    """Print the table, if any step was offered."""
    cells = [(row.name, row.value, row.gain, row.interval, "yes" if row.kept else "no") for row in rows(result)]
    if cells:
        title = f"steps, by {result.metric}: each is compared with those kept before it"
        console.table(title, ("", ">value", ">>gain", f">>{INTERVAL}", "kept"), cells)


def beside(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return the steps of several runs, one column per run."""
    columns = [{row.name: f"{row.gain}, {'kept' if row.kept else 'not kept'}" for row in rows(one)} for one in results]
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, *(column.get(name, "") for column in columns)) for name in names]


def _row(step: FinishingStep, *, alone: bool) -> Row:
    digits = _digits(step)
    if alone:
        interval = "unknown, one group"
    elif step.high is None:
        interval = f"from {shown(step.low, digits)}"
    else:
        interval = f"{shown(step.low, digits)} to {shown(step.high, digits)}"
    value = step.text if step.value is None else f"{step.value:g}"
    return Row(
        name=step.step,
        value=", ".join(filter(None, (value, step.note))),
        before=shown(step.before, digits),
        after=shown(step.after, digits),
        gain=signed(step.gain, digits),
        interval=interval,
        kept=step.kept,
    )


def _digits(step: FinishingStep) -> int:
    """Return the number of decimals: enough to see why a step was kept."""
    enough = (digits for digits in range(DIGITS, _MOST_DIGITS) if round(min(step.gain, step.low), digits) > 0)
    return next(enough, _MOST_DIGITS) if step.kept else DIGITS
