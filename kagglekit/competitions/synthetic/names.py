"""Invent the names of what is predicted, where only the data lists them."""

from __future__ import annotations

from collections.abc import Iterator

from kagglekit import metrics
from kagglekit.base.errors import UserError
from kagglekit.base.walking import natural_key
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.label_columns import Columns, OneHot
from kagglekit.competitions.locations import CocoLabels
from kagglekit.competitions.spelling import speller
from kagglekit.tasks.targets import Classes, Grades, Labels

_FEWEST = 4
"""Number of names, if the description has no other."""


def invented(competition: Competition) -> Competition:
    """Return the competition with names for what it predicts: those that the description mentions, and others.

    Raises UserError if the description does not fit any such names.
    """
    if competition.target.source is None:
        return competition
    errors = []
    for fewest in (max(_FEWEST, _longest_list(competition) + 2), 1, 2):  # a list of all names would always be right
        names = _names(competition, fewest)
        try:
            return competition.with_target(competition.target.named({name: name for name in names}))
        except ValueError as error:  # a metric or a format may be for one label, or two classes
            errors.append(error)
    raise UserError(
        f"{competition.name} can't be drawn, because only its data lists what is predicted: {errors[0]}: name the data "
        "with --data PATH."
    ) from errors[0]


def _names(competition: Competition, fewest: int) -> list[str]:
    """Return names, at least `fewest`, in the order in which the drawn data will list them."""
    declared = getattr(competition.train, "label", "")
    if isinstance(declared, OneHot | Columns) and declared.columns:
        return list(map(speller(competition.train.labels, competition), declared.columns))
    mentioned = list(dict.fromkeys(filter(None, _mentioned(competition))))
    others = [name for name in _others(competition, fewest) if name not in mentioned]
    return sorted([*mentioned, *others[: max(fewest - len(mentioned), 0)]], key=natural_key)


def _mentioned(competition: Competition) -> Iterator[str]:
    """Yield the names that the description mentions, and empty texts."""
    target = competition.target
    yield competition.submission.positive
    yield from metrics.labels_in(competition.metric)
    yield from competition.train.labels.values()
    yield from getattr(competition.submission, "write", {})
    yield from {} if isinstance(competition.flip, str) else competition.flip
    if isinstance(target, Classes):
        yield target.unseen
    if isinstance(target, Labels):
        for some in target.one_of:
            yield from some


def _others(competition: Competition, fewest: int) -> list[str]:
    """Return names that fit any layout."""
    numbered = isinstance(competition.target, Grades)
    if isinstance(competition.train, CocoLabels) and competition.train.category == "id":
        return [str(number) for number in range(1, fewest + 1)]
    return [str(number) if numbered else f"kind{number}" for number in range(0 if numbered else 1, fewest + 1)]


def _longest_list(competition: Competition) -> int:
    """Return the length of the lists that the metric needs; 0 for a metric that can't be named yet."""
    try:
        return metrics.resolve(competition.metric or competition.task.metric).k
    except ValueError:
        return 0
