"""The contents of the page, as plain values for the template.

C: classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from kagglekit.report.channels import StageChannels


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture and its prediction."""

    id: str
    truth: str
    predicted: str
    right: bool
    probability: float
    """Probability of the predicted class."""
    of_truth: float
    """Probability of the true class."""
    loss: float
    group: str
    source: str
    """Data URI of the picture; empty if the file is missing or has changed."""
    shape: tuple[int, int]
    """Width and height of the picture, in pixels."""
    overlay: str
    """Data URI of the attention map of the predicted class; may be empty."""
    box: tuple[float, float, float, float]
    """Part of the picture that the network saw: left, top, width, height in per cent."""


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """The pictures of one class."""

    name: str
    of: int
    cards: list[Card]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The pictures of one view."""

    key: str
    title: str
    meaning: str
    rows: list[GalleryRow]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The strongest channels of a network for one picture."""

    name: str
    source: str
    stages: list[StageChannels]


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training curves of one model."""

    name: str
    history: str
    """Plot of loss and learning rate, as SVG."""
    finders: list[tuple[str, str]]
    """Phase, and a plot of the finder's sweep before it, as SVG."""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Filters and channels of a network."""

    network: str
    filters: str | None
    answers: list[Answers]
