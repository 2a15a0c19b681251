"""The contents of the page: plain values for the template.

C classes.
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
    """A data URI; empty if the file is gone or has changed."""
    shape: tuple[int, int]
    """Width and height of the picture, in pixels."""
    overlay: str
    """The attention map of the predicted class: a data URI, or empty."""
    box: tuple[float, float, float, float]
    """The part of the picture that the network saw: left, top, width, height in per cent."""


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """One class's pictures."""

    name: str
    of: int
    cards: list[Card]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """One view's pictures."""

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
    """One model's curves."""

    name: str
    history: str
    """An SVG."""
    finders: list[tuple[str, str]]
    """Phase, and the finder's sweep before it as an SVG."""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What the networks see."""

    network: str
    filters: str | None
    answers: list[Answers]
