"""Checks of the parameters of metrics. All raise ValueError, in one line."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence

from kagglekit.base.words import listed


def number(metric: str, name: str, value: object) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{metric}: {name} {value!r} is not a number")
    return float(value)


def among(metric: str, name: str, value: object, known: Sequence[str]) -> None:
    """Check that a parameter has one of the known values."""
    if value not in known:
        raise ValueError(f"{metric}: {name} {value!r} is not one of {', '.join(known)}")


def length(metric: str, k: object) -> int:
    """Return the length of a list, a whole number above 0."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"{metric}@{k}: the length of the lists must be a whole number above 0, as in {metric}@5")
    return k


def weights_by_label(metric: str, weights: object) -> dict[str, float]:
    """Return checked weights: label, or a pattern such as `vowel_*`, -> weight."""
    if not isinstance(weights, Mapping) or not weights or not all(isinstance(label, str) for label in weights):
        raise ValueError(f"{metric}: weights {weights!r} must map labels to numbers, as in {{'any': 2}}")
    found = {label: number(metric, f"the weight of {label!r}", weight) for label, weight in weights.items()}
    if min(found.values()) < 0 or max(found.values()) == 0:
        raise ValueError(f"{metric}: weights {weights!r} must not be negative, and not all 0")
    return found


def places(metric: str, names: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Return the indices of the labels that each name, or pattern such as `vowel_*`, means."""
    found = []
    for name in names:
        meant = [index for index, label in enumerate(labels) if label == name]
        meant = meant or [index for index, label in enumerate(labels) if fnmatch.fnmatchcase(label, name)]
        if not meant:
            raise ValueError(f"{metric}: weights name {name!r}, which is not one of {listed(labels)}")
        found.append(meant)
    return found


def positive_index(metric: str, positive: str, labels: Sequence[str]) -> int:
    """Return the index of the positive class; without a name it is the second of two."""
    if len(labels) != 2:
        raise ValueError(f"{metric} is for two classes, not {len(labels)}")
    if not positive:
        return 1
    if positive not in labels:
        raise ValueError(f"{metric}: positive {positive!r} is not one of {listed(labels)}")
    return list(labels).index(positive)


def shown(weights: Mapping[str, float] | Mapping[float, float]) -> str:
    """Return weights as text, for a metric's name."""
    return ", ".join(f"{name}: {weight:g}" for name, weight in weights.items())
