"""What the rows of a submission say: the inverse of `rows`.

N images, C columns of the target, k: length of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.formats import rows
from kagglekit.formats.submission import Submission
from kagglekit.tasks.targets import Target

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.formats.rows import Array, Form


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a submission says of its images; what it does not say is None."""

    predictions: Array | None = None
    """Probabilities, shares or numbers, (N, C); NaN where a row does not say them."""
    decided: Array | None = None
    """Classes and grades (N,), and lists (N, k), are column indices, where -1 is none; labels are (N, C) booleans."""


def read(form: Submission, target: Target, frame: pd.DataFrame, ids: Sequence[str]) -> Said:
    """Return what a valid submission, read as text, says of the images with these ids, (N,).

    Raises ValueError for a format of the plugin's own.
    """
    if form.by_hook:
        raise ValueError("only the plugin knows its own format")
    plain = form.plain(target)
    by_row = form.typed(frame).drop_duplicates(form.id).set_index(form.id)
    return _KINDS[plain["kind"]](form, plain, by_row.loc[rows.row_ids(plain, ids)])


def _probability(_: Any, form: Form, cells: pd.DataFrame) -> Said:
    place = form["labels"].index(form["of"])
    found = np.full((len(cells), len(form["labels"])), np.nan)
    found[:, place] = cells[form["label"]]
    if form["exclusive"]:
        found[:, 1 - place] = 1 - found[:, place]
    return Said(predictions=found)


def _per_column(_: Any, form: Form, cells: pd.DataFrame) -> Said:
    return Said(predictions=cells[rows.names(form)].to_numpy(np.float64))


def _value(_: Any, form: Form, cells: pd.DataFrame) -> Said:
    return Said(predictions=cells[[form["label"]]].to_numpy(np.float64))


def _long(_: Any, form: Form, cells: pd.DataFrame) -> Said:
    return Said(predictions=cells[form["label"]].to_numpy(np.float64).reshape(-1, len(form["labels"])))


def _class_label(_: Any, form: Form, cells: pd.DataFrame) -> Said:
    places = _places(form)
    return Said(decided=np.array([places[cell] for cell in map(str, cells[form["label"]])], np.int64))


def _class_and_score(own: Any, form: Form, cells: pd.DataFrame) -> Said:
    """Return the class, and its probability beside nothing else, of cells that may be empty."""
    places = _places(form)
    decided = np.full(len(cells), -1, np.int64)
    predictions = np.zeros((len(cells), len(places)))
    for row, parts in enumerate(map(own.split, cells[form["label"]])):
        if parts:
            decided[row] = places[parts[0]]
            predictions[row, decided[row]] = float(parts[1])
    return Said(predictions=predictions, decided=decided)


def _top_classes(own: Any, form: Form, cells: pd.DataFrame) -> Said:
    places = _places(form)
    decided = np.full((len(cells), form["k"]), -1, np.int64)
    for row, parts in enumerate(map(own.split, cells[form["label"]])):
        decided[row, : len(parts)] = list(map(places.__getitem__, parts))
    return Said(decided=decided)


def _tags(own: Any, form: Form, cells: pd.DataFrame) -> Said:
    places = _places(form)
    decided = np.zeros((len(cells), len(places)), bool)
    for row, parts in enumerate(map(own.split, cells[form["label"]])):
        decided[row, [places[name] for name in parts]] = True
    return Said(decided=decided)


def _places(form: Form) -> dict[str, int]:
    return {name: place for place, name in enumerate(rows.names(form))}


_KINDS: dict[str, Callable[[Any, Form, pd.DataFrame], Said]] = {
    "Probability": _probability,
    "ProbabilityPerClass": _per_column,
    "Value": _value,
    "Values": _per_column,
    "Long": _long,
    "ClassLabel": _class_label,
    "ClassAndScore": _class_and_score,
    "TopClasses": _top_classes,
    "JoinedLabels": _tags,
}
