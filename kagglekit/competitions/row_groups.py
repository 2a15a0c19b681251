"""Rows of a submission that are each of a group of images, and called as the group is.

In the column `row` of a table of test images, several groups of one image have `|` between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kagglekit.base.errors import PluginError, UserError
from kagglekit.tasks.targets import SEPARATOR, Labels, Target

if TYPE_CHECKING:
    import pandas as pd


def of_images(images: Iterable[str], groups: Iterable[str], source: str) -> dict[str, str]:
    """Return image -> its groups, joined. Raises UserError for an image without a group."""
    found: dict[str, dict[str, None]] = {}
    for image, text in zip(images, groups, strict=True):
        group = text.strip()
        if not group or SEPARATOR in group:
            what = f"the group {group!r}, which has {SEPARATOR!r} in it" if group else "no group"
            raise UserError(f"{source} gives {image!r} {what}: a row of the submission needs its name.")
        found.setdefault(image, {})[group] = None
    return {image: SEPARATOR.join(own) for image, own in found.items()}


def separate(joined: str) -> list[str]:
    """Return the rows that an image belongs to."""
    return joined.split(SEPARATOR)


def units(table: pd.DataFrame) -> pd.DataFrame:
    """Return `id` and `path` of what rows of the submission are of: images, or groups, whose paths are their names."""
    import pandas as pd

    if "row" not in table:
        return table[["id", "path"]]
    names = list(dict.fromkeys(name for joined in table["row"] for name in separate(joined)))
    return pd.DataFrame({"id": names, "path": names}, dtype="str")


def renamed(table: pd.DataFrame, names: Mapping[str, str | None]) -> pd.DataFrame:
    """Return the images that belong to a row with a new name, with these names; the others are left out."""
    new = [[names.get(name) for name in separate(joined)] for joined in table["row"]]
    joined = [SEPARATOR.join(filter(None, own)) for own in new]
    return table.assign(row=joined)[[bool(text) for text in joined]].reset_index(drop=True)


def of_training(table: pd.DataFrame, target: Target, source: str) -> pd.DataFrame:
    """Return the rows of a table of training images: `id`, `label` and `group`, in the order of their first images.

    Of labels, a row has those of all its images. Raises PluginError, which names `source`, for a row whose images have
    different classes or numbers, or groups, or a name that joins several.
    """
    found: dict[str, tuple[str, str]] = {}
    order = {name: place for place, name in enumerate(target.columns)}
    several = isinstance(target, Labels)
    for name, label, group in zip(table["row"], table["label"], table["group"], strict=True):
        before, fold = found.setdefault(name, (label, group))
        if fold != group:
            raise PluginError(
                f"{source}: row {name!r} has images of the groups {fold!r} and {group!r}, which folds would separate: "
                "its group must have all its images."
            )
        if label != before and not several:
            raise PluginError(
                f"{source}: row {name!r} of the submission has images of {before!r} and of {label!r}, and all must "
                "have what the row has: correct the data, or declare target=Labels(…) if it has what any of them has."
            )
        if label != before:
            own = {each for text in (before, label) for each in text.split(SEPARATOR) if each}
            found[name] = (SEPARATOR.join(sorted(own, key=lambda each: order.get(each, len(order)))), group)
    return _table(found)


def _table(found: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    import pandas as pd

    labels, groups = zip(*found.values(), strict=True)
    return pd.DataFrame({"id": list(found), "label": labels, "group": groups}, dtype="str")
