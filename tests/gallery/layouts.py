"""Data as a competition has them, drawn from what is known of it: names of files, columns, rows, archives in archives.

What an image has is filled into templates: `train/{label}/{id}.jpg`, `{id},{label}`.
"""

from __future__ import annotations

import colorsys
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import py7zr

from tests.gallery.answers import Amounts, Answer

Members = dict[str, bytes]
Templates = str | tuple[str, ...]
_SIDE = 32
_TESTED = 12
"""Number of test images."""


@dataclass(frozen=True)
class Image:
    """An image, and what tables say of it."""

    n: int
    id: str
    label: str
    g: int
    """Number of its patient, driver or place."""
    hot: str
    """1 for each name that it has, else 0."""
    path: str = ""

    def fill(self, template: str) -> str:
        """Return a template with what the image has."""
        return template.format(**vars(self))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a competition has its data."""

    answer: Answer
    labels: Sequence[str]
    """What training images show, in turn."""
    lone: Sequence[str] = ()
    """What only one training image each shows."""
    count: int = 30
    """Number of training images beside those."""
    train: Templates
    """Path of a training image; of several, they take turns."""
    test: Templates
    """The same of a test image."""
    id: Templates = "{n}"
    """What tables call a training image."""
    test_id: Templates = ""
    """What tables call a test image, if that is not the same."""
    first: int = 1
    """Number of the first training image."""
    first_test: int = 0
    """Number of the first test image; 0: they count on."""
    each: int = 1
    """Number of images that follow one another and are of one patient, driver or place."""
    alike: bool = False
    """Whether these show the same. Rows that are the same are one row in all tables."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """File with a row for each training image -> its first row, a line end, the template of a row."""
    test_tables: Mapping[str, str] = field(default_factory=dict)
    """The same for test images."""
    sample: str
    """The sample submission, in the same way."""
    sample_name: str = "sample_submission.csv"
    also: Mapping[str, str] = field(default_factory=dict)
    """File of these -> rows at its end that belong to no image, or to another."""
    more: Callable[[list[Image], list[Image]], Mapping[str, Any]] | None = None
    """Returns the other files, by their names: bytes, or text."""
    packed: Mapping[str, str] = field(default_factory=dict)
    """Archive in the archive -> the folder, or the file, in it; `train/*` is what the folder has, without its name."""

    def images(self) -> tuple[list[Image], list[Image]]:
        """Return training and test images."""
        shown = [self._label(n) for n in range(self.count)] + list(self.lone)
        start = self.first_test or self.first + len(shown)
        train = [self._image(self.first + n, label, self.train, self.id) for n, label in enumerate(shown)]
        ids = self.test_id or self.id
        return train, [self._image(start + n, self._label(n), self.test, ids) for n in range(_TESTED)]

    def _label(self, n: int) -> str:
        return self.labels[(n // self.each if self.alike else n) % len(self.labels)]

    def _image(self, n: int, label: str, paths: Templates, ids: Templates) -> Image:
        places = {place for place, _ in self.answer.amounts(label)}
        hot = ",".join(str(int(place in places)) for place in range(len(self.answer.names)))
        one = Image(n, "", label, (n - self.first) // self.each, hot)
        one = replace(one, id=one.fill(_turn(ids, n)))
        return replace(one, path=one.fill(_turn(paths, n)))

    def members(self) -> Members:
        """Return the files of the unpacked data."""
        train, test = self.images()
        files = {one.path: picture(self.answer.amounts(one.label), one.path) for one in [*train, *test]}
        more = self.more(train, test) if self.more else {}
        files |= {name: text.encode() if isinstance(text, str) else text for name, text in more.items()}
        asked = test[::-1]  # a sample need not have the order of the files
        for name, template, rows in self._tables(train, test, asked):
            first, row = template.split("\n")
            lines = [first, *dict.fromkeys(one.fill(row) for one in rows)]
            files[name] = ("\n".join(lines) + "\n" + self.also.get(name, "")).encode()
        return files

    def _tables(
        self, train: list[Image], test: list[Image], asked: list[Image]
    ) -> Iterable[tuple[str, str, list[Image]]]:
        yield from ((name, template, train) for name, template in self.tables.items())
        yield from ((name, template, test) for name, template in self.test_tables.items())
        yield self.sample_name, self.sample, asked

    @property
    def id_place(self) -> int:
        """Number of the sample's column with the ids."""
        return next(place for place, cell in enumerate(self._id_row()) if "{id}" in cell or cell == "{g}")

    def truth(self) -> dict[str, str]:
        """Return id of a test image, as the submission has it -> what the image shows."""
        cell = self._id_row()[self.id_place]
        return {one.fill(cell): one.label for one in self.images()[1]}

    def _id_row(self) -> list[str]:
        return self.sample.partition("\n")[2].split(",")

    def write(self, path: Path) -> Path:
        """Write the archive as Kaggle delivers it."""
        files = self.members()
        outer: Members = {}
        for name, what in self.packed.items():
            folder = what.removesuffix("*")
            inner = {each: files.pop(each) for each in sorted(files) if each.startswith(folder)}
            assert inner, f"{name} would be empty"
            left_out = "" if what == folder else folder
            outer[name] = packed(name, {each.removeprefix(left_out): inner[each] for each in inner})
        path.write_bytes(packed(path.name, files | outer))
        return path


def _turn(templates: Templates, n: int) -> str:
    return templates if isinstance(templates, str) else templates[n % len(templates)]


def packed(name: str, members: Mapping[str, bytes]) -> bytes:
    """Return an archive of the kind that its name says."""
    content = io.BytesIO()
    if name.endswith(".tar.7z"):
        inner = name.removesuffix(".7z")
        return packed("inner.7z", {inner: packed(inner, members)})
    if name.endswith(".zip"):
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, member in members.items():
                archive.writestr(each, member)
    elif name.endswith(".7z"):
        with py7zr.SevenZipFile(content, "w", filters=[{"id": py7zr.FILTER_COPY}]) as seven:
            for each, member in members.items():
                seven.writestr(member, each)
    else:
        with tarfile.open(fileobj=content, mode="w:gz" if name.endswith("gz") else "w") as tar:
            for each, member in members.items():
                info = tarfile.TarInfo(each)
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
    return content.getvalue()


def picture(amounts: Amounts, path: str) -> bytes:
    """Return an image file with a band for each thing, in its colour; the more there is of it, the brighter."""
    pixels = np.full((_SIDE, _SIDE, 3), 90.0)
    for band, (place, amount) in enumerate(amounts):
        columns = slice(_SIDE * band // len(amounts), _SIDE * (band + 1) // len(amounts))
        colour = colorsys.hsv_to_rgb(place * 0.381966 % 1, 0.9, 0.15 + 0.85 * amount)
        pixels[:, columns] = 255 * np.array(colour[::-1])
    pixels += np.random.default_rng(crc32(path.encode())).normal(0, 12, pixels.shape)
    ending = "." + path.rpartition(".")[2].lower()
    return bytes(cv2.imencode(ending, pixels.clip(0, 255).astype(np.uint8))[1])


def others(*paths: str) -> Members:
    """Return images on which nothing can be seen."""
    return {path: picture([], path) for path in paths}


def coco(
    images: Iterable[Image], names: Sequence[str], file_name: str, *, key: str = "", **fields: str
) -> dict[str, Any]:
    """Return annotations as COCO has them. An image's id is its number, or `key`; it has more fields."""
    ids = {one.n: one.fill(key) if key else one.n for one in images}
    return {
        "info": {"year": 2020},
        "images": [
            {"id": ids[one.n], "file_name": one.fill(file_name)} | {name: one.fill(row) for name, row in fields.items()}
            for one in images
        ],
        "annotations": [
            {"id": place, "image_id": ids[one.n], "category_id": int(one.label)} for place, one in enumerate(images)
        ],
        "categories": [{"id": int(name), "name": f"species {name}", "family": "Asteraceae"} for name in names],
        "licenses": [{"id": 0, "name": "CC BY 4.0", "url": ""}],
    }
