"""A contact sheet of augmented training images."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kagglekit.base import storage
from kagglekit.competitions.competition import Competition
from kagglekit.images.decoding import Pixels
from kagglekit.training.augmenter import Augmenter, Label

_WIDEST, _TALLEST = 200, 280
"""Maximum width and height of a picture in pixels; most class names fit below."""
_MARGIN, _GAP, _LINE = 24, 10, 24
_INK, _PALE, _ACCENT = (34, 34, 34), (120, 120, 120), (178, 60, 20)


def draw_sheet(
    augmenter: Augmenter,
    images: Iterable[tuple[Pixels, Label, bytes]],
    caption: Callable[[Label], str],
    num_views: int,
    path: Path,
) -> None:
    """Write a PNG of images as augmented in the first `num_views` epochs of training.

    `images` are (the pixels that the backbone would see, label, content hash); `caption` names a label.
    """
    rows, captions, notes = [], [], []
    for plain, label, content in images:
        made = [augmenter(plain, label, epoch=epoch, content=content) for epoch in range(num_views)]
        rows.append([plain, *(pixels for pixels, _ in made)])
        captions.append(caption(label))
        said = [caption(new) for _, new in made]
        notes.append(["", *(f"→ {new}" if new != captions[-1] else "" for new in said)])
    contact_sheet(rows, captions, path, notes=notes)


def captions(competition: Competition) -> Callable[[Label], str]:
    """Return a function from a label to its caption."""

    def caption(label: Label) -> str:
        if isinstance(label, np.ndarray):
            return competition.task.words(label[None])[0]
        return competition.caption(label)

    return caption


def contact_sheet(
    rows: Sequence[Sequence[Pixels]],
    captions: Sequence[str],
    path: Path,
    *,
    notes: Sequence[Sequence[str]] = (),
) -> None:
    """Write a PNG with one row per image: first the plain one, then augmented ones; all of one size, (H, W, 3).

    `captions` stand above the rows; `notes` are optional texts below each picture, such as its new class.
    """
    height, width = rows[0][0].shape[:2]
    scale = min(_WIDEST / width, _TALLEST / height)
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    notes = notes or [[""] * len(row) for row in rows]
    columns = [_MARGIN + column * (width + _GAP) + (_GAP if column else 0) for column in range(max(map(len, rows)))]
    tall = [_LINE + height + (_LINE if any(under) else _GAP) + _GAP for under in notes]
    sheet = Image.new("RGB", (columns[-1] + width + _MARGIN, 2 * _MARGIN + _LINE + sum(tall)), "white")
    draw = ImageDraw.Draw(sheet)
    small, large = _font(13), _font(15, bold=True)
    for column, left in enumerate(columns):
        draw.text((left + width / 2, _MARGIN), str(column or "plain"), _PALE, small, anchor="ma")
    top = _MARGIN + _LINE
    for row, caption, under, line in zip(rows, captions, notes, tall, strict=True):
        draw.text((_MARGIN, top), _fitting(caption, sheet.width - 2 * _MARGIN, large), _INK, large)
        for left, pixels, note in zip(columns, row, under, strict=False):
            picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
            sheet.paste(picture, (left, top + _LINE))
            draw.text((left, top + _LINE + height + 4), _fitting(note, width, small), _ACCENT, small)
        top += line
    with storage.replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def _font(size: int, *, bold: bool = False) -> Any:
    """Return matplotlib's font, which covers far more alphabets than Pillow's, without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
        file = fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)


def _fitting(text: str, width: float, font: Any) -> str:
    """Return the text in one line, shortened to `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
