"""The race that chose a run's frozen backbones, as a table."""

from __future__ import annotations

from kagglekit.base.console import Console
from kagglekit.base.scores import shown
from kagglekit.runs.choices import Race

TITLE = "race of backbones"
COLUMNS = ("", "per image", "images", "loss", "behind", "verdict")


def rows(race: Race) -> list[tuple[str, ...]]:
    """Return a row for each candidate, the best first."""
    return [
        (
            one.backbone,
            "" if one.seconds is None else f"{1000 * one.seconds:.0f} ms",
            str(one.images or ""),
            "" if one.loss is None else shown(one.loss),
            "" if one.behind is None or one.error is None else f"{one.behind:+.4f} ± {one.error:.4f}",
            one.verdict,
        )
        for one in race.entrants
    ]


def show(race: Race | None, console: Console) -> None:
    """Print the table, if there was a race."""
    if race is not None:
        name, *numbers, verdict = COLUMNS
        console.table(TITLE, (name, *(f">{number}" for number in numbers), verdict), rows(race))
