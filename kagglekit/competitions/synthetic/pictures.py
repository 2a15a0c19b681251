"""Draw one image. It shows what is to be predicted, on the background of its group, and obeys the flip rule."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kagglekit.base import storage
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.synthetic import scenes
from kagglekit.competitions.synthetic.scenes import HEIGHT, WIDTH, Pixels, Thing
from kagglekit.competitions.synthetic.subjects import Subject
from kagglekit.tasks.targets import Grades

_MARK = "SYNTHETIC"


def seed_of(path: str) -> int:
    """Return the seed of the image at a path."""
    return int(storage.digest(path, 8), 16)


def encoded(pixels: Pixels, name: str) -> bytes:
    """Return the bytes of an image file of this name."""
    kind = Image.registered_extensions()[Path(name).suffix.lower()]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=90)
    return content.getvalue()


def draw(competition: Competition, subject: Subject, group: int, seed: int) -> Pixels:
    """Draw one image of a subject, (H, W, 3)."""
    random = np.random.default_rng(seed)
    if competition.target.exclusive:
        return _marked(_one(competition, subject, group, random))
    return _marked(scenes.of_things([_thing(competition, *each) for each in subject.amounts], group, random))


def _one(competition: Competition, subject: Subject, group: int, random: np.random.Generator) -> Pixels:
    """Draw the class or grade of an image. The bar stands on the side that tells it from its mirror."""
    ((place, _),) = subject.amounts
    mirror = competition.mirror_classes
    drawn = place if mirror is None else min(place, mirror[place])
    # the bar is drawn if the side matters: in all images if flips are forbidden, else in classes that a flip swaps
    sided = mirror is None or mirror[place] != place
    if isinstance(competition.target, Grades):
        pixels = scenes.of_grade(drawn / (len(competition.labels) - 1), group, sided, random)
    else:
        pixels = scenes.of_class(drawn, group, sided, random)
    turned = place != drawn or (mirror is None and place % 2 == 1)
    return pixels[:, ::-1] if turned else pixels


def _thing(competition: Competition, place: int, amount: float) -> Thing:
    """Return the shape of a label, or of a number, whose size it is. Two that a mirror swaps differ in their side."""
    mirror = competition.mirror_classes
    size = 0.3 + 0.7 * amount
    if mirror is None:
        return Thing(place, size, 1 if place % 2 else -1)
    drawn = min(place, mirror[place])
    return Thing(drawn, size, 0 if mirror[place] == place else -1 if place == drawn else 1)


def _marked(pixels: Pixels) -> Pixels:
    canvas = Image.fromarray(np.ascontiguousarray(pixels))
    ImageDraw.Draw(canvas).text((WIDTH / 2, HEIGHT - 8), _MARK, fill=(235, 235, 235), anchor="mm")
    return np.asarray(canvas, dtype=np.uint8)
