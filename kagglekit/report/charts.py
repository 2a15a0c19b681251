"""Plots of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base.figures import BLUE, GREEN, GREY, ORANGE, as_svg, legend
from kagglekit.report.stats import Bin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def calibration(bins: Sequence[Bin], error: float) -> str:
    """Return a reliability diagram above a histogram of the bins, as SVG."""
    total = sum(entry.images for entry in bins)
    text = f"Reliability diagram of {total} images; expected calibration error {error:.4f}. " + "; ".join(
        f"confidence {b.confidence:.0%}: accuracy {b.accuracy:.0%} ({b.images} images)" for b in bins
    )

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        sure = [entry.confidence for entry in bins]
        right = np.array([entry.accuracy for entry in bins])
        reach = [right - [entry.least for entry in bins], [entry.most for entry in bins] - right]
        low = bins[0].low if bins else 0.0
        upper.plot([low, 1], [low, 1], color=GREY, linestyle="--", label="perfect calibration")
        upper.errorbar(
            sure, right, yerr=reach, fmt="o", color=BLUE, capsize=3, markersize=6, label="images, with 95% interval"
        )
        upper.set_ylabel("accuracy")
        upper.set_ylim(-0.02, 1.02)
        legend(upper)
        lower.bar(
            [entry.low for entry in bins],
            [entry.images for entry in bins],
            width=[entry.high - entry.low for entry in bins],
            align="edge",
            color=GREEN,
            edgecolor="white",
        )
        lower.set_yscale("log")
        lower.set_ylim(bottom=0.7)
        lower.set_ylabel("images")
        lower.set_xlabel("probability of the prediction")

    return as_svg(draw, text, (8, 5.6))


@dataclass(frozen=True)
class Curve:
    """The losses of a finishing step by value."""

    step: str
    losses: Mapping[float, float]
    """Candidate value -> loss of all scored rows."""
    without: float
    """Loss without the step."""
    chosen: float | None
    """Chosen value; None if the step was not requested."""
    kept: bool


def finishing(curves: Sequence[Curve], loss: str) -> str:
    """Return a plot of the `loss` by value of each step, with the chosen value marked, as SVG."""
    text = "; ".join(f"{curve.step}: {curve.without:.5f} without, {_said(curve)}" for curve in curves)

    def draw(figure: Figure) -> None:
        for axes, curve in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves, strict=True):
            _draw_curve(axes, curve, loss)

    return as_svg(draw, f"{loss.capitalize()} of all scored rows by finishing step. {text}", (9, 3.6))


def _said(curve: Curve) -> str:
    if curve.chosen is None:
        return "not requested"
    return f"chosen: {curve.chosen:g}, {'kept' if curve.kept else 'not kept'}"


def _draw_curve(axes: Axes, curve: Curve, loss: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.plot(list(curve.losses), list(curve.losses.values()), "o-", color=BLUE, markersize=3)
    axes.axhline(curve.without, color=GREY, linestyle="--", linewidth=1, label="without the step")
    if curve.chosen is not None:
        height = np.interp(curve.chosen, list(curve.losses), list(curve.losses.values()))
        axes.plot(curve.chosen, height, "D", color=ORANGE, markersize=9, label=_said(curve))
    axes.set_xscale("log", base=2 if curve.step == "temperature" else 10)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    shown = np.array([*curve.losses.values()])
    low = min(float(shown.min()), curve.without)
    axes.set_ylim(low * 0.98, min(float(shown.max()), max(low * 2, curve.without * 1.5)) * 1.02)
    axes.set_xlabel(curve.step)
    axes.set_ylabel(loss)
    legend(axes)
