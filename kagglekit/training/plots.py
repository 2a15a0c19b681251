"""Plots of fine-tuning: the learning-rate finder's curve, and the losses and rates of the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.base.arrays import Floats
from kagglekit.base.figures import BLUE, GREEN, GREY, INK, ORANGE, PINK, SKY, as_png, legend, plain
from kagglekit.training.lr_finder import Sweep, why_none

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ((ORANGE, "o"), (GREEN, "s"), (PINK, "D"), (SKY, "^"), (INK, "v"))
_SPAN = 8.0
"""Ratio of the largest loss to the smallest above which a linear axis would hide the end of the training."""


def finder_plot(curve: Sweep, suggestions: Mapping[str, float], path: Path, title: str) -> None:
    """Write the sweep as a PNG; the same input gives the same bytes."""
    with as_png(path, title) as figure:
        draw_finder(figure, curve, suggestions)


def draw_finder(figure: Figure, curve: Sweep, suggestions: Mapping[str, float]) -> None:
    """Draw a sweep: the raw losses, their average, and each suggestion on it."""
    axes = figure.add_subplot()
    rates, losses = np.array(curve.rates), np.array(curve.losses, np.float64)
    centres, smoothed = np.array(curve.centres), np.array(curve.smoothed)
    losses[~np.isfinite(losses)] = np.nan
    axes.plot(rates, losses, color=BLUE, alpha=0.3, linewidth=1, label="loss of each step")
    axes.plot(centres, smoothed, color=BLUE, linewidth=2.5, label="smoothed")
    seen = np.isfinite(smoothed)
    for number, (name, rate) in enumerate(suggestions.items()):
        if not seen.any():
            break
        colour, shape = _MARKS[number % len(_MARKS)]
        height = np.interp(math.log(rate), np.log(centres[seen]), smoothed[seen])
        axes.axvline(rate, color=colour, linewidth=1, linestyle=":")
        label = f"{plain(name)}: {rate:.2g}"
        axes.plot(rate, height, shape, color=colour, markersize=9, markeredgecolor="white", label=label)
    axes.set_xscale("log")
    if seen.any():
        axes.set_ylim(*_limits(losses[seen], smoothed[seen]))
    else:
        axes.set_yticks([])
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    if not suggestions:
        reason = plain(why_none(curve) or "no suggestion", 120)
        axes.set_title(f"no suggestion: {reason}", fontsize=9, color=ORANGE, parse_math=False)
    if seen.any():
        legend(axes)


def history_plot(history: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Write the training history as a PNG; the same input gives the same bytes."""
    with as_png(path, title) as figure:
        draw_history(figure, history)


def draw_history(figure: Figure, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw the training history: losses by step and epoch, the learning rate below, phase names on top.

    Rows of kind "step" hold step, phase, loss and rate; those of kind "epoch" step, phase, valid_loss, which may
    be None, and taken_back, which may be missing. Steps are numbered across phases.
    """
    from matplotlib.ticker import MaxNLocator

    steps = [row for row in history if row["kind"] == "step"]
    epochs = [row for row in history if row["kind"] == "epoch"]
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    shown = _draw_losses(upper, steps, epochs)
    _draw_rates(lower, steps)
    _draw_phases((upper, lower), history)
    if len(shown):
        _scale(upper, shown)
    upper.set_ylabel("loss")
    lower.set_ylabel("learning rate")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.set_xlabel("step" if steps or epochs else "no steps yet")
    legend(upper)


def _draw_losses(axes: Axes, steps: Sequence[Mapping[str, Any]], epochs: Sequence[Mapping[str, Any]]) -> Floats:
    """Draw training and validation losses; return the losses that the axis must show."""
    shown: list[float] = []
    for number, (_, group) in enumerate(groupby(steps, key=lambda row: row["phase"])):
        rows = list(group)
        where = [row["step"] for row in rows]
        losses = _finite([row["loss"] for row in rows])
        smoothed = _smoothed(losses)
        axes.plot(where, losses, color=BLUE, alpha=0.2, linewidth=1)
        settled = slice(min(len(where) // 4, 5), None)  # an average's first values are single batches
        label = None if number else "training (smoothed)"
        axes.plot(where[settled], smoothed[settled], color=BLUE, linewidth=2, label=label)
        shown += smoothed[settled].tolist()
    measured = [row for row in epochs if row["valid_loss"] is not None]
    where = [row["step"] for row in measured]
    validation = _finite([row["valid_loss"] for row in measured])
    back = np.array([bool(row.get("taken_back", False)) for row in measured], bool)
    if measured:
        axes.plot(where, validation, "o-", color=ORANGE, linewidth=1.5, markersize=6, label="validation")
    if back.any():
        (circles,) = axes.plot(np.array(where)[back], validation[back], "o", color=ORANGE, label="rolled back")
        circles.set(markerfacecolor="white", markeredgewidth=1.5, markersize=8)
    values: Floats = np.array([*shown, *validation])
    return values[np.isfinite(values)]


def _draw_rates(axes: Axes, steps: Sequence[Mapping[str, Any]]) -> None:
    for _, group in groupby(steps, key=lambda row: row["phase"]):
        rows = list(group)
        rates = _finite([row["rate"] for row in rows])
        axes.plot([row["step"] for row in rows], np.where(rates > 0, rates, np.nan), color=GREEN, linewidth=2)
    highest = max((row["rate"] for row in steps if math.isfinite(row["rate"])), default=0.0)
    if highest > 0:
        axes.set_yscale("log")
        lowest = min(row["rate"] for row in steps if row["rate"] > 0)
        # annealing ends near zero: the last step must not squeeze all others
        axes.set_ylim(max(lowest, highest / 1e4) / 1.5, highest * 1.5)


def _draw_phases(both: Sequence[Axes], history: Sequence[Mapping[str, Any]]) -> None:
    """Shade every second phase and write its name above."""
    begin = min((row["step"] for row in history), default=0)
    names = [name for name, _ in groupby(history, key=lambda row: row["phase"])]
    for number, (name, group) in enumerate(groupby(history, key=lambda row: row["phase"])):
        end = max(row["step"] for row in group)
        for axes in both:
            axes.axvspan(begin, end, color=GREY, alpha=0.12 if number % 2 else 0.0, linewidth=0)
        # many short phases: their names alternate between two rows
        height = 1.015 + 0.055 * (number % 2 if len(names) > 4 else 0)
        both[0].text(
            (begin + end) / 2,
            height,
            plain(str(name), 24),
            transform=both[0].get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=9,
            parse_math=False,
        )
        begin = end


def _scale(axes: Axes, shown: Floats) -> None:
    """Fit the axis to the losses; the highest 1% may be cut off."""
    low, high = float(shown.min()), float(np.quantile(shown, 0.99))
    if low > 0 and high / low > _SPAN:
        _plain_logarithmic(axes)
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        margin = (high - low) * 0.08 or 0.1
        axes.set_ylim(low - margin, high + margin)


def _plain_logarithmic(axes: Axes) -> None:
    """Make the axis logarithmic, with 0.1, 0.2 and 0.5 on it instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _limits(losses: Floats, smoothed: Floats) -> tuple[float, float]:
    """Return the axis limits of a sweep: show all up to the lowest point, cut off a divergence."""
    top = float(smoothed[: int(smoothed.argmin()) + 1].max())
    low = float(np.nanmin(losses))
    high = max(top, min(float(np.nanquantile(losses, 0.95)), top + 0.5 * abs(top)))
    margin = (high - low) * 0.1 or 0.1
    return low - margin, high + 2 * margin


def _smoothed(losses: Floats) -> Floats:
    """Return a phase's smoothed losses, averaged over about a tenth of its steps."""
    keep = 1 - 1 / max(min(len(losses) / 10, 50), 2)
    steps = Sweep(tuple(range(1, len(losses) + 1)), tuple(losses.tolist()), smoothing=keep)
    return np.array(steps.smoothed)


def _finite(values: Sequence[float]) -> Floats:
    numbers = np.array(values, np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)
