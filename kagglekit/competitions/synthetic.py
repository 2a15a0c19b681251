"""Draw a small competition in a plugin's declared layout, for rehearsals without data, account or network.

Like an archive from Kaggle, the drawn one contains images, tables, the sample submission and, if folders allow it,
nested zips. A class is a colour and a shape; a group (driver, patient) is a background. Drawn images obey the flip
rule.
"""

from __future__ import annotations

import colorsys
import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kagglekit.base import image_names, patterns, storage
from kagglekit.base.errors import UserError
from kagglekit.competitions import submissions
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.locations import Alternatives, CocoLabels, CsvLabels, FolderLabels, TrainLayout
from kagglekit.recipe import DEFAULT_FOLDS

DRAWING_VERSION = 1
"""Increase this whenever the same description gives other images."""
_TRAIN_IMAGES = 120
_MOST_TEST_IMAGES = 200
_GROUPS = 6
_WIDTH, _HEIGHT = 160, 120
_WHEN = (2020, 1, 1, 0, 0, 0)
_MARK = "SYNTHETIC"


@dataclass(frozen=True)
class Drawn:
    """A drawn competition: its archive and the true labels."""

    archive: Path
    train: Mapping[str, str]
    """Path of each training image -> label, including the data's own validation set."""
    test: Mapping[str, str]
    """Test id -> label."""
    groups: Mapping[str, str]
    """Path of each training image -> group; empty if the competition has none."""
    test_ids: Mapping[str, str]
    """Path of each test image -> its id."""


@dataclass
class _Pictures:
    """Images to draw: path -> (class index, group)."""

    train: dict[str, tuple[int, int]] = field(default_factory=dict)
    test: dict[str, tuple[int, int]] = field(default_factory=dict)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(id, file name, label, group) of each training image; the validation set comes last."""
    labelled: int = 0
    """Number of rows before the validation set; only these are in a CSV of labels."""
    test_labels: dict[str, str] = field(default_factory=dict)
    """Test id -> label."""
    test_ids: dict[str, str] = field(default_factory=dict)
    """Path -> test id."""


def shapes(competition: Competition) -> int:
    """Return the number of archive layouts that the description declares."""
    parts = (competition.train.alternatives, competition.test_alternatives)
    return max(len(part) for part in (*parts, competition.valid.alternatives if competition.valid else ()))


def draw(competition: Competition, folder: Path, folds: int = DEFAULT_FOLDS, shape: int = 0) -> Drawn:
    """Draw a competition into an archive in `folder`, large enough for `folds` cross-validation folds.

    `shape` selects one of the declared archive layouts. The same description gives the same bytes.
    """
    _check(competition)
    planned = _plan(competition, folds, shape)
    described = [competition.describe(), folds, shape, DRAWING_VERSION]
    archive = folder / f"{competition.name}-synthetic-{storage.digest(described, 8)}.zip"
    if not archive.is_file():
        with storage.replacing(archive) as temporary:
            _write(temporary, competition, planned)
    return Drawn(
        archive=archive,
        train={path: competition.labels[place] for path, (place, _) in planned.train.items()},
        test=planned.test_labels,
        groups={path: _group_name(group) for path, (_, group) in planned.train.items()} if competition.groups else {},
        test_ids=planned.test_ids,
    )


def _check(competition: Competition) -> None:
    """Raise UserError for a competition that can't be drawn."""
    train, why = competition.train, ""
    if competition.target.source is not None:
        why = "its data says what is predicted"
    elif isinstance(train, CocoLabels) or (isinstance(train, CsvLabels) and not isinstance(train.label, str)):
        why = "its labels are not one column"
    if why:
        raise UserError(f"{competition.name} can't be drawn, because {why}: name its data with --data PATH.")


def _plan(competition: Competition, folds: int, shape: int) -> _Pictures:
    """Choose the names, labels and groups of all images."""
    planned = _Pictures()
    classes = len(competition.labels)
    groups = max(_GROUPS, folds) if competition.groups is not None else 1
    each = max(math.ceil(_TRAIN_IMAGES / classes), groups, folds + 1)
    number = 0
    layouts: list[tuple[TrainLayout, int]] = [(competition.train, each)]
    if competition.valid is not None:
        layouts.append((competition.valid, max(each // 3, 2)))
    for layout, count in layouts:
        for place, label in enumerate(competition.labels):
            for turn in range(count):
                number += 1
                path, image_id = _train_path(layout, shape, label, number)
                group = turn % groups
                planned.train[path] = (place, group)
                planned.rows.append((image_id, path.rpartition("/")[2], label, _group_name(group)))
        planned.labelled = planned.labelled or number
    tested = min(max(classes, len(planned.train) // 3), _MOST_TEST_IMAGES) if competition.test_patterns else 0
    for turn in range(tested):
        path, test_id = _test_path(competition, shape, number + 1 + turn, turn + 1)
        place = turn * 7 % classes if classes % 7 else turn % classes
        # test images come from groups without training images
        planned.test[path] = (place, groups + turn % groups if competition.groups else 0)
        planned.test_labels[test_id] = competition.labels[place]
        planned.test_ids[path] = test_id
    return planned


def _group_name(group: int) -> str:
    return f"g{group:02}"


def _train_path(layout: TrainLayout, shape: int, label: str, number: int) -> tuple[str, str]:
    """Return (path, value of `{id}` in the CSV of labels)."""
    pattern = _pattern(layout.alternatives, shape, number)
    if isinstance(layout, FolderLabels):
        pattern += f"/img_{number}.jpg"
    path = _filled(pattern, {"label": label, "id": str(number)}, str(number))
    match = patterns.compile_pattern(pattern).fullmatch(path)
    values = match.groupdict() if match is not None else {}
    return path, values.get("id", path)


def _test_path(competition: Competition, shape: int, name: int, number: int) -> tuple[str, str]:
    """Return (path, test id)."""
    pattern = _pattern(competition.test_alternatives, shape, number)
    whole_name = not image_names.is_image(pattern.replace("{id}", "1"))
    path = _filled(pattern, {"id": f"img_{name}.jpg" if whole_name else str(number)}, "1")
    match = patterns.compile_pattern(pattern).fullmatch(path)
    assert match is not None
    return path, match["id"]


def _pattern(layouts: Alternatives, shape: int, number: int) -> str:
    """Return the pattern of an image: those of a layout take turns."""
    together = layouts[min(shape, len(layouts) - 1)]
    return together[number % len(together)]


def _filled(pattern: str, values: Mapping[str, str], other: str) -> str:
    """Fill in the placeholders, unknown ones with `other`. Add an image extension if the pattern has none."""
    path = pattern
    for name in patterns.placeholders(pattern):
        for written in (f"{{{name}}}", f"{{{name}/}}"):
            path = path.replace(written, values.get(name, other))
    return path if image_names.is_image(path) else f"{path}.jpg"


def _write(path: Path, competition: Competition, planned: _Pictures) -> None:
    """Write the archive; if training and test images have separate folders, one zip per folder."""
    members = dict(_tables(competition, planned))
    tops = [{name.partition("/")[0] for name in part if "/" in name} for part in (planned.train, planned.test)]
    nested = all(tops) and not tops[0] & tops[1]
    inner: dict[str, dict[str, bytes]] = {}
    for name, (place, group) in (planned.train | planned.test).items():
        image = _encoded(_image(competition, place, group, _seed(name)), name)
        if nested and "/" in name:
            inner.setdefault(name.partition("/")[0], {})[name] = image
        else:
            members[name] = image
    members |= {f"{top}.zip": _zip(files) for top, files in inner.items()}
    path.write_bytes(_zip(members))


def _zip(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive as bytes. The same members give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in sorted(members.items()):
            info = zipfile.ZipInfo(name, _WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, member)
    return content.getvalue()


def _tables(competition: Competition, planned: _Pictures) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the CSV files that the description names and of the sample submission."""
    columns: dict[str, dict[str, list[str]]] = {}
    if isinstance(competition.train, CsvLabels):
        table = columns.setdefault(competition.train.csv, {})
        labelled = planned.rows[: planned.labelled]
        table[competition.train.id] = [image_id for image_id, *_ in labelled]
        assert isinstance(competition.train.label, str), "others are not drawn"
        table[competition.train.label] = [label for _, _, label, _ in labelled]
    if competition.groups is not None:
        table = columns.setdefault(competition.groups.csv, {})
        grouped = planned.rows[: planned.labelled] if table else planned.rows
        # one CSV file may hold labels and groups: then the id column also names the images
        table.setdefault(competition.groups.image, [name for _, name, _, _ in grouped])
        table[competition.groups.group] = [group for *_, group in grouped]
    for name, values in columns.items():
        yield name, pd.DataFrame(values).to_csv(index=False, lineterminator="\n").encode()
    if competition.submission.sample and planned.test and not competition.submission.by_hook:
        yield competition.submission.sample[0], _sample(competition, planned).encode()


def _sample(competition: Competition, planned: _Pictures) -> str:
    """Return a sample submission with the same predictions in all rows."""
    ids = [submissions.written_id(competition, test_id) for test_id in planned.test_labels]
    columns = len(competition.labels)
    even = np.full((len(ids), columns), 1 / columns if competition.target.exclusive else 0.5)
    return submissions.lay_out(competition, ids, even, None).to_csv(index=False, lineterminator="\n")


def _seed(name: str) -> int:
    return int(storage.digest(name, 8), 16)


def _encoded(pixels: NDArray[np.uint8], name: str) -> bytes:
    kind = Image.registered_extensions()[Path(name).suffix.lower()]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=90)
    return content.getvalue()


def _image(competition: Competition, place: int, group: int, seed: int) -> NDArray[np.uint8]:
    """Draw one image of the class at `place`, (H, W, 3)."""
    random = np.random.default_rng(seed)
    mirror = competition.mirror_classes
    drawn = place if mirror is None else min(place, mirror[place])
    # the bar is drawn if the side matters: in all images if flips are forbidden, else in classes that a flip swaps
    sided = mirror is None or mirror[place] != place
    pixels = _scene(drawn, group, sided, random)
    turned = place != drawn or (mirror is None and place % 2 == 1)
    return np.ascontiguousarray(_marked(pixels[:, ::-1] if turned else pixels))


def _scene(place: int, group: int, sided: bool, random: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the class's shape in its colour on the group's background, with a bar on the left if `sided`."""
    backdrop = np.array(colorsys.hsv_to_rgb(group * 0.381966 % 1, 0.35, 0.55)) * 255
    image = Image.fromarray(np.full((_HEIGHT, _WIDTH, 3), backdrop, np.uint8))
    pen = ImageDraw.Draw(image)
    if sided:
        pen.rectangle((8, 10, 26, _HEIGHT - 30), fill=(250, 250, 250))
    copies = place // 60 % 3 + 1
    for copy in range(copies):
        hue = (place * 0.618034 + random.uniform(-0.02, 0.02)) % 1
        colour = colorsys.hsv_to_rgb(hue, random.uniform(0.75, 1), random.uniform(0.75, 1))
        middle = (_WIDTH / 2 + random.uniform(-22, 22), _HEIGHT * (copy + 0.9) / (copies + 0.8) + random.uniform(-5, 5))
        radius = random.uniform(20, 28) / copies**0.5
        _shape(pen, place % 5, middle, radius, tuple(round(part * 255) for part in colour))
    noise = random.normal(0, 12, (_HEIGHT, _WIDTH, 3)) + random.uniform(-20, 20)
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


def _marked(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    ImageDraw.Draw(image).text((_WIDTH / 2, _HEIGHT - 8), _MARK, fill=(235, 235, 235), anchor="mm")
    return np.asarray(image, dtype=np.uint8)
