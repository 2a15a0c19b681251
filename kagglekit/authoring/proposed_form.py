"""Propose what a row of the submission is, and by what it is scored, from the sample submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kagglekit import metrics
from kagglekit.authoring import proposed_table
from kagglekit.authoring.evidence import Evidence
from kagglekit.authoring.findings import Choose, Train
from kagglekit.authoring.joined_ids import JoinedIds
from kagglekit.authoring.label_values import Values
from kagglekit.base.errors import UserError
from kagglekit.competitions import label_cells
from kagglekit.formats import (
    ClassAndScore,
    ClassLabel,
    JoinedLabels,
    Long,
    OwnFormat,
    Probability,
    ProbabilityPerClass,
    Submission,
    TopClasses,
    Value,
)
from kagglekit.formats import Values as NumberPerColumn
from kagglekit.tasks.targets import Classes, Grades, Labels, Numbers, Shares, Target

if TYPE_CHECKING:
    import pandas as pd

_NEW = ("new_whale", "new_individual", "new", "unknown")
"""Names of the class of images that belong to no other."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A submission's format and metric, and the target as the sample says more of it."""

    submission: Submission
    metric: str
    target: Target
    said: list[str] = field(default_factory=list)


def propose(evidence: Evidence, train: Train, choose: Choose, metric: str = "") -> Form:
    """Return the proposal. `metric` is what the user named, if anything.

    Raises UserError if the sample submission does not fit the labels.
    """
    sample = evidence.sample
    options = _options(evidence)
    if sample is None:
        form = _without_sample(train.target, options)
        return replace(form, said=["submission: the data has no sample: the usual format of the task"])
    columns = list(sample.columns[1:])
    if len(columns) == 0:
        raise UserError(f"{evidence.sample_name} has only the column {sample.columns[0]!r}: it says no format.")
    if evidence.joined is not None:
        form = _long(evidence.joined, columns, train, options)
    elif len(columns) == 1:
        form = _one_column(sample, train, options, choose, metric)
    else:
        form = _columns(columns, train, options)
    what = f"{form.submission.words(form.target)}, in {evidence.sample_name}"
    return replace(form, said=[f"submission: {what}", *form.said])


def _options(evidence: Evidence) -> dict[str, Any]:
    """Return the id column and the path of the sample, where they are not the usual ones."""
    if evidence.sample is None:
        return {}
    usual = {name.lower() for name in OwnFormat().sample}
    own = {} if evidence.sample_name.lower() in usual else {"sample": (evidence.sample_name,)}
    return {"id": evidence.sample.columns[0], **own}


def _without_sample(target: Target, options: dict[str, Any]) -> Form:
    usual: dict[type[Target], tuple[Submission, str]] = {
        Classes: (ProbabilityPerClass(**options), "log_loss"),
        Grades: (ClassLabel(**options), "qwk"),
        Labels: (ProbabilityPerClass(**options), "auc(mean)"),
        Numbers: (NumberPerColumn(**options), "rmse"),
        Shares: (ProbabilityPerClass(**options), "rmse"),
    }
    submission, metric = usual[type(target)]
    return Form(submission=submission, metric=metric, target=target)


def _long(joined: JoinedIds, columns: Sequence[str], train: Train, options: dict[str, Any]) -> Form:
    """Return the format of a sample with a row for each image and label."""
    known, target = set(train.labels), train.target
    if len(columns) > 1 or set(joined.labels) != known:
        strange = next((label for label in joined.labels if label not in known), columns[-1])
        raise UserError(
            f"the sample submission has a row for each image and label, {joined.pattern}, and {strange!r} in it is no "
            "label of the training images: write the plugin without --from."
        )
    target = Labels(target.names) if isinstance(target, Classes) else target
    form = Long(**options, row=joined.pattern, label=columns[0])
    return replace(_without_sample(target, options), submission=form)


def _columns(columns: Sequence[str], train: Train, options: dict[str, Any]) -> Form:
    """Return the format of a sample with several columns: those of the target, perhaps without an addition."""
    known = set(train.labels)
    added = proposed_table.with_additions(columns, train.labels)
    if added and len(added) == len(known):
        form = _without_sample(train.target, options | {"write": {own: name for name, own in added.items()}})
        renamed = f"assumed: {columns[0]!r} of the sample submission is {added[columns[0]]!r} of the training images"
        return replace(form, said=[f"{renamed}, and so on"])
    if known and set(columns) != known:
        strange = next((name for name in columns if name not in known), "")
        raise UserError(
            f"the sample submission has {len(columns)} columns after the id, and the labels are {len(known)}"
            + (f", for example no {strange!r}" if strange else "")
            + ": write the plugin without --from."
        )
    return _without_sample(train.target, options)


def _one_column(sample: pd.DataFrame, train: Train, options: dict[str, Any], choose: Choose, metric: str) -> Form:
    """Return the format of a sample with one column after the id."""
    name = str(sample.columns[1])
    cells = Values(name, sample[name].str.strip().tolist())
    target, options = train.target, options | {"label": name}
    if isinstance(target, Numbers):
        return Form(submission=Value(**options), metric="rmse", target=target)
    if isinstance(target, Grades):
        return Form(submission=ClassLabel(**options), metric="qwk", target=target)
    if isinstance(target, Labels):
        separator = _separator(train, cells)
        own: dict[str, Any] = {} if separator == " " else {"sep": separator}
        return Form(submission=JoinedLabels(**options, **own), metric="f1(samples)", target=target)
    return _classes(cells, train, options, choose, metric)


def _separator(train: Train, cells: Values) -> str:
    """Return what separates labels in the sample: what gives labels of the training table, else what does there."""
    own = train.values[0].separator() or " " if train.values else " "
    known = set(train.labels)
    first = next((cell for cell in cells.texts if cell), "")
    for separator in (own, " ", ",", ";", "|"):
        if {part.strip() for part in first.split(separator)} <= known:
            return separator
    return own


def _classes(cells: Values, train: Train, options: dict[str, Any], choose: Choose, metric: str) -> Form:
    """Return the format of one class, of that and its score, of a list, or of the probability of one of two."""
    target, labels = train.target, list(train.labels)
    first = next((cell for cell in cells.texts if cell), "")
    for separator in (" ", ","):
        guesses = [part.strip() for part in first.split(separator)]
        if first not in labels and len(guesses) > 1 and set(guesses) & set(labels):
            unseen = next((name for name in _NEW if name in guesses), "")
            target = replace(target, unseen=unseen) if unseen and isinstance(target, Classes) else target
            own: dict[str, Any] = {} if separator == " " else {"sep": separator}
            if len(guesses) == 2 and guesses[1] not in labels:
                return Form(submission=ClassAndScore(**options, **own), metric="gap", target=target)
            lists = TopClasses(**options, k=len(guesses), **own)
            return Form(submission=lists, metric=f"map@{len(guesses)}", target=target)
    if cells.numbers is not None and len(labels) == 2:
        return _of_two(cells, train, options, choose, metric)
    return Form(submission=ClassLabel(**options), metric="accuracy", target=target)


def _of_two(cells: Values, train: Train, options: dict[str, Any], choose: Choose, metric: str) -> Form:
    """Return the format of the probability of one of two classes, or of 0 and 1 that stand for the classes."""
    labels = sorted(train.labels)
    of, plain = _positive(labels, options["label"], choose), set(labels) <= {"0", "1"}
    target = train.target if plain else Classes(labels)
    whole = set(cells.texts) <= {"0", "1"}
    decided = metrics.resolve(metric).needs == "decisions" if metric else len(set(cells.texts)) > 1
    if whole and decided:
        write: dict[str, Any] = {} if plain else {"write": {label: str(int(label == of)) for label in labels}}
        return Form(submission=ClassLabel(**options, **write), metric="accuracy", target=target)
    of_label = label_cells.marks(labels)
    form = Form(submission=Probability(**options, of=of), metric="auc" if of_label else "log_loss", target=target)
    doubt = f"assumed: {options['label']!r} holds probabilities; if it must hold 0 or 1, name a metric of decisions"
    return replace(form, said=[f"{doubt}, such as --metric accuracy"] if whole and not metric else [])


def _positive(labels: Sequence[str], column: str, choose: Choose) -> str:
    """Return whose probability a column holds: that of yes, of the label that it is called after, or of the answer."""
    marks = label_cells.marks(labels) or {}
    yes = [label for label in labels if marks.get(label) or label.lower() == column.lower()]
    if len(yes) == 1:
        return yes[0]
    called = [label for label in labels if label.lower() in column.lower()]
    default = called[0] if len(called) == 1 else labels[-1]
    return choose("of", f"Whose probability does the column {column!r} hold", labels, default)
