"""Scenes: shapes in colours on a background. Each shape looks the same in a mirror; a white bar gives it a side."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 160, 120
_MARGIN = 16
"""Rows at the bottom that have the mark."""
_FEWEST_CELLS = 4
_WHITE = (250, 250, 250)

Pixels = NDArray[np.uint8]


class Thing(NamedTuple):
    """A shape of a scene with several."""

    place: int
    """Its colour and its kind."""
    size: float
    """From 0 to 1."""
    side: int
    """Where its bar is: -1 left, 1 right, 0 nowhere."""


def of_class(place: int, group: int, sided: bool, random: np.random.Generator) -> Pixels:
    """Draw the class's shape in its colour on the group's background, with a bar on the left if `sided`."""
    image, pen = _canvas(group, sided)
    copies = place // 60 % 3 + 1
    for copy in range(copies):
        colour = _colour(place, random)
        middle = (WIDTH / 2 + random.uniform(-22, 22), HEIGHT * (copy + 0.9) / (copies + 0.8) + random.uniform(-5, 5))
        radius = random.uniform(20, 28) / copies**0.5
        _shape(pen, place % 5, middle, radius, colour)
    return _noisy(image, random)


def of_grade(amount: float, group: int, sided: bool, random: np.random.Generator) -> Pixels:
    """Draw a disc that grows with the amount, from 0 to 1."""
    image, pen = _canvas(group, sided)
    middle = (WIDTH / 2 + random.uniform(-12, 12), (HEIGHT - _MARGIN) / 2 + random.uniform(-3, 3))
    _shape(pen, 0, middle, 8 + 38 * amount, _colour(0, random))
    return _noisy(image, random)


def of_things(things: Sequence[Thing], group: int, random: np.random.Generator) -> Pixels:
    """Draw shapes anywhere, each in a cell of its own."""
    image, pen = _canvas(group, sided=False)
    cells = max(len(things), _FEWEST_CELLS)
    across = math.ceil(math.sqrt(cells * WIDTH / (HEIGHT - _MARGIN)))
    width, height = WIDTH / across, (HEIGHT - _MARGIN) / math.ceil(cells / across)
    for thing, cell in zip(things, random.permutation(cells).tolist(), strict=False):
        middle = ((cell % across + 0.5) * width, (cell // across + 0.5) * height)
        most = 0.4 * min(width, height)
        _shape(pen, thing.place % 5, middle, most * thing.size, _colour(thing.place, random))
        if thing.side:
            x = middle[0] + thing.side * 0.45 * width
            pen.rectangle((x - 1, middle[1] - most, x + 1, middle[1] + most), fill=_WHITE)
    return _noisy(image, random)


def _canvas(group: int, sided: bool) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    backdrop = np.array(colorsys.hsv_to_rgb(group * 0.381966 % 1, 0.35, 0.55)) * 255
    image = Image.fromarray(np.full((HEIGHT, WIDTH, 3), backdrop, np.uint8))
    pen = ImageDraw.Draw(image)
    if sided:
        pen.rectangle((8, 10, 26, HEIGHT - 30), fill=_WHITE)
    return image, pen


def _colour(place: int, random: np.random.Generator) -> tuple[int, ...]:
    hue = (place * 0.618034 + random.uniform(-0.02, 0.02)) % 1
    colour = colorsys.hsv_to_rgb(hue, random.uniform(0.75, 1), random.uniform(0.75, 1))
    return tuple(round(part * 255) for part in colour)


def _noisy(image: Image.Image, random: np.random.Generator) -> Pixels:
    noise = random.normal(0, 12, (HEIGHT, WIDTH, 3)) + random.uniform(-20, 20)
    return (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)


def _shape(
    pen: ImageDraw.ImageDraw, kind: int, middle: tuple[float, float], radius: float, colour: tuple[int, ...]
) -> None:
    """Draw a disc, square, triangle, diamond or cross: each looks the same in a mirror."""
    x, y = middle
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == 0:
        pen.ellipse(box, fill=colour)
    elif kind == 1:
        pen.rectangle(box, fill=colour)
    elif kind == 2:
        pen.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=colour)
    elif kind == 3:
        pen.polygon([(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)], fill=colour)
    else:
        arm = radius / 3
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=colour)
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
