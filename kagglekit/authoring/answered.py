"""From answers to the description of a competition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kagglekit.authoring.proposal import Proposal
from kagglekit.base.errors import UserError
from kagglekit.competitions.label_columns import Columns, LabelColumns, OneHot, Tags
from kagglekit.competitions.locations import CsvGroups, CsvLabels, FilenameLabels, FolderLabels, TrainLayout
from kagglekit.formats import (
    ClassLabel,
    JoinedLabels,
    Long,
    Probability,
    ProbabilityPerClass,
    Submission,
    TopClasses,
    Value,
    Values,
)
from kagglekit.tasks.targets import Classes, Grades, Labels, Number, Numbers, Shares, Target

_EACH = "*"
"""Label column of an answer that means a column each."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a kind of target means for answers."""

    target: Callable[[Sequence[str]], Target]
    classes: str
    """The usual names."""
    submission: str
    metric: str
    label: type[Submission]
    """The format of a row with one value."""
    columns: type[Submission] = ProbabilityPerClass
    fewest: int = 1
    """Least number of names."""


def _numbers(names: Sequence[str]) -> Numbers:
    return Number() if list(names) == ["number"] else Numbers(names)


TASKS = {
    "classes": Task(
        target=Classes, classes="first,second", submission="per-class", metric="log_loss", label=ClassLabel, fewest=2
    ),
    "labels": Task(
        target=Labels, classes="first,second", submission="per-class", metric="auc(mean)", label=JoinedLabels
    ),
    "grades": Task(target=Grades, classes="5", submission="label", metric="qwk", label=ClassLabel, fewest=2),
    "numbers": Task(target=_numbers, classes="number", submission="label", metric="rmse", label=Value, columns=Values),
    "shares": Task(target=Shares, classes="first,second", submission="per-class", metric="rmse", label=Value),
}
SUBMISSIONS = ("probability", "per-class", "label", "top", "long")


def default(key: str, answers: Mapping[str, str]) -> str:
    """Return the usual answer of the task; empty if it has none."""
    if key == "metric" and answers["submission"] == "top":
        return "map@5"
    return str(getattr(TASKS[answers["task"]], key, "")) if key in ("classes", "submission", "metric") else ""


def proposal(name: str, answers: Mapping[str, str], labels: Sequence[str]) -> Proposal:
    """Return the description that complete answers give."""
    task = TASKS[answers["task"]]
    fields: dict[str, Any] = {"name": name, "kaggle": answers["kaggle"]}
    if answers["task"] == "classes":
        fields["classes"] = {label: _readable(label) for label in labels}
    else:
        fields["target"] = task.target(labels)
    fields |= {"train": _train(answers), "test": answers["test"]}
    if answers["groups"] != "none":
        file, image, group = answers["groups"].rsplit(":", 2)
        fields["groups"] = CsvGroups(file, image=image, group=group)
    return Proposal(
        fields=fields
        | {
            "flip": answers["flip"],
            "submission": _submission(task, answers, labels),
            "metric": answers["metric"],
        }
    )


def _readable(label: str) -> str:
    return label.replace("_", " ").strip() or label


def _train(answers: Mapping[str, str]) -> TrainLayout:
    if answers["layout"] == "folders":
        return FolderLabels(answers["train"])
    if answers["layout"] == "filenames":
        return FilenameLabels(answers["train"])
    file, image, column = answers["labels"].rsplit(":", 2)
    return CsvLabels(file, images=answers["train"], id=image, label=_label(answers["task"], column))


def _label(task: str, column: str) -> LabelColumns:
    """Return how a file of labels has them."""
    if column == _EACH:
        return Columns() if task in Columns.kinds else OneHot()
    return Tags(column) if task == "labels" else column


def _submission(task: Task, answers: Mapping[str, str], labels: Sequence[str]) -> Submission:
    kind = answers["submission"]
    if kind == "per-class":
        return task.columns(id=answers["id"])
    of_value: dict[str, Any] = {"id": answers["id"], "label": answers["column"]}
    if kind == "probability":
        return Probability(**of_value, of=answers["of"] or labels[-1])
    if kind == "label" and task.label is Value and len(labels) > 1:
        raise UserError(f"--submission label: a row has one value, and there are {len(labels)} numbers: use per-class.")
    formats: dict[str, type[Submission]] = {"label": task.label, "top": TopClasses, "long": Long}
    return formats[kind](**of_value)
