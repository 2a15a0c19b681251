"""Ids that join an image and a label, such as `ID_7_any`: a table with them has a row for each image and label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SEPARATORS = ("_", "-", " ", ":", "/")
_MOST_LABELS = 300


@dataclass(frozen=True)
class JoinedIds:
    """What joined ids say."""

    pattern: str
    """How an id is written: `{id}_{label}`."""
    images: Sequence[str]
    """The different images, in their order."""
    labels: Sequence[str]
    """The different labels, in their order."""


def split(ids: Sequence[str], is_image: Callable[[str], bool]) -> JoinedIds | None:
    """Return the images and labels in ids; None if they join none: each image must have all labels.

    A separator may be in the names of images and of labels too. Ids of images that are not there are left out.
    """
    for separator in _SEPARATORS:
        pairs = list(filter(None, (_parts(text, separator, is_image) for text in ids)))
        images, labels = (list(dict.fromkeys(pair[part] for pair in pairs)) for part in (0, 1))
        whole = len(set(pairs)) == len(images) * len(labels)
        if whole and 2 <= len(labels) <= _MOST_LABELS and len(pairs) * 2 >= len(ids):
            return JoinedIds(f"{{id}}{separator}{{label}}", images, labels)
    return None


def _parts(text: str, separator: str, is_image: Callable[[str], bool]) -> tuple[str, str] | None:
    """Return the longest beginning of an id that is an image, and the label behind it; None if there is none."""
    end = text.rfind(separator)
    while end > 0:
        if text[end + 1 :] and is_image(text[:end]):
            return text[:end], text[end + 1 :]
        end = text.rfind(separator, 0, end)
    return None
