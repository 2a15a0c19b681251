"""The rows of a submission, from predictions. Bundles contain this file unchanged: it needs only numpy.

N images, C columns of the target. A format is what `Submission.plain` describes. Predictions are (N, C): probabilities,
shares or numbers. What is decided of each image is, for classes and grades (N,), and for lists of k guesses (N, k),
column indices, where -1 is none; for labels (N, C) booleans; for numbers and shares (N, C) numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Form = Mapping[str, Any]
Array = NDArray[Any]
Cells = dict[str, Sequence[Any] | Array]
"""Column -> its cells, the ids first."""


def lay_out(form: Form, ids: Sequence[str], predictions: Array, decided: Array) -> Cells:
    """Return the rows of images with these ids, as the submission writes them."""
    return {form["id"]: ids} | _KINDS[form["kind"]](form, ids, predictions, decided)


def names(form: Form) -> list[str]:
    """Return the columns of the target as the submission writes them."""
    write = form.get("write", {})
    return [write.get(label, label) for label in form["labels"]]


def row_ids(form: Form, ids: Iterable[str]) -> list[str]:
    """Return the ids of the rows of images, in the order of `lay_out`."""
    if "row" not in form:
        return list(ids)
    rows = [form["row"].replace("{label}", name) for name in names(form)]
    return [row.replace("{id}", image) for image in ids for row in rows]


def image_ids(form: Form, listed: Iterable[str]) -> list[str]:
    """Return the ids of the images whose rows are `listed`, without those of no image."""
    if "row" not in form:
        return list(listed)
    ways = "|".join(map(re.escape, sorted(names(form), key=len, reverse=True)))
    parts = {re.escape("{id}"): "(?P<image>.+)", re.escape("{label}"): f"(?:{ways})"}
    expression = re.escape(form["row"])
    for part, pattern in parts.items():
        expression = expression.replace(part, pattern)
    matches = map(re.compile(expression, re.DOTALL).fullmatch, listed)
    return list(dict.fromkeys(match["image"] for match in matches if match))


def _values(form: Form, predictions: Array, decided: Array) -> Array:
    """Return numbers within their range, (N, C): the decided ones if numbers are decided, else probabilities."""
    low, high = form.get("bounds", (None, None))
    values = decided if decided.dtype.kind == "f" else np.asarray(predictions)
    return values if low is None and high is None else np.clip(values, low, high)


def _probability(form: Form, _: Sequence[str], predictions: Array, decided: Array) -> Cells:
    return {form["label"]: _values(form, predictions, decided)[:, form["labels"].index(form["of"])]}


def _per_column(form: Form, _: Sequence[str], predictions: Array, decided: Array) -> Cells:
    values = _rounded(form, _values(form, predictions, decided))
    return {name: values[:, place] for place, name in enumerate(names(form))}


def _value(form: Form, _: Sequence[str], predictions: Array, decided: Array) -> Cells:
    return {form["label"]: _rounded(form, _values(form, predictions, decided))[:, 0]}


def _rounded(form: Form, values: Array) -> Array:
    digits = form.get("round")
    if digits is None:
        return values
    rounded = np.round(values, digits)
    whole = digits == 0 and np.isfinite(rounded).all()
    return rounded.astype(np.int64) if whole else rounded


def _long(form: Form, ids: Sequence[str], predictions: Array, decided: Array) -> Cells:
    return {form["id"]: row_ids(form, ids), form["label"]: _values(form, predictions, decided).reshape(-1)}


def _class_label(form: Form, _: Sequence[str], __: Array, decided: Array) -> Cells:
    written = names(form)
    return {form["label"]: [written[place] for place in decided.tolist()]}


def _class_and_score(form: Form, _: Sequence[str], predictions: Array, decided: Array) -> Cells:
    written = names(form)
    scores = predictions[np.arange(len(decided)), decided].tolist()
    pairs = zip(decided.tolist(), scores, strict=True)
    return {form["label"]: [f"{written[place]}{form['sep']}{score!r}" if place >= 0 else "" for place, score in pairs]}


def _top_classes(form: Form, _: Sequence[str], __: Array, decided: Array) -> Cells:
    written = names(form)
    guesses = ([written[place] for place in row if place >= 0] for row in decided.tolist())
    return {form["label"]: [form["sep"].join(row) for row in guesses]}


def _tags(form: Form, _: Sequence[str], predictions: Array, decided: Array) -> Cells:
    written = names(form)
    cells = []
    for row, own in zip(predictions, decided, strict=True):
        places = np.flatnonzero(own)
        if form["order"] == "probability":
            places = places[np.argsort(-row[places], kind="stable")]
        cells.append(form["sep"].join(written[place] for place in places) if len(places) else form["none"])
    return {form["label"]: cells}


_KINDS: dict[str, Callable[[Form, Sequence[str], Array, Array], Cells]] = {
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
