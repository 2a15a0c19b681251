"""Ask what a new plugin is to say, and check the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kagglekit import metrics
from kagglekit.authoring import answered
from kagglekit.authoring.proposal import Proposal
from kagglekit.base import image_names
from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions import csv_tables

Ask = Callable[..., str]

_CHOICES = {
    "layout": ("folders", "filenames", "csv"),
    "task": tuple(answered.TASKS),
    "submission": answered.SUBMISSIONS,
    "flip": ("allowed", "forbidden"),
}
_TRAIN = {"folders": "train/{label}", "filenames": "train/{label}.{number}.jpg", "csv": "train/{id}.jpg"}
_DEFAULTS = {
    "layout": "folders",
    "labels": "labels.csv:id:label",
    "kaggle": "",
    "task": "classes",
    "classes": "",
    "groups": "none",
    "test": "test/{id}.jpg",
    "submission": "",
    "column": "label",
    "of": "",
    "id": "id",
    "metric": "",
    "flip": "allowed",
}
"""An empty default is that of the task."""
_QUESTIONS = {
    "layout": "Where are the labels of the training images (folders, filenames, csv)",
    "labels": "CSV with the labels, its id column and its label column (FILE:ID:LABEL, or FILE:ID:* for a column each)",
    "kaggle": "Slug of the competition at Kaggle (empty if it is not on Kaggle)",
    "task": "What is predicted (classes: one of them, labels: any of them, grades: ordered, numbers, shares)",
    "classes": "Names of what is predicted, separated by commas, or FILE:COLUMN of a CSV",
    "groups": "CSV with groups that folds must not split, its image and group column (FILE:IMAGE:GROUP, or none)",
    "submission": "What does a row of the submission hold (probability: of one class, per-class: a column each, "
    "label: the class, the labels or the number, top: guesses, long: one label's)",
    "column": "Column of the submission with that value",
    "metric": "Metric (log_loss, accuracy, auc, …: the guide on plugins lists them)",
    "flip": "Does a mirrored image keep its label (allowed, forbidden)",
}


def propose(name: str, given: Mapping[str, str], ask: Ask | None, warn: Callable[[str], None]) -> Proposal:
    """Return the plugin that `given` answers describe, and others that are asked for.

    `ask(question, default=…)` is called for them; if it is None, they get their defaults. `warn` gets a line for what
    is probably not meant so. Raises UserError for invalid answers.
    """
    answers = _answers(given, ask)
    _warn_of_classes(answers["classes"], warn)
    try:
        return answered.proposal(name, answers, labels_of(answers["classes"], answers["task"]))
    except ValueError as error:
        raise UserError(f"{error}; nothing was written.") from error


def _answers(given: Mapping[str, str], ask: Ask | None) -> dict[str, str]:
    if "labels" in given:
        given = {"layout": "csv"} | dict(given)
        if given["layout"] != "csv":
            raise UserError(f"--labels {given['labels']!r} is for --layout csv, not {given['layout']}.")
    answers: dict[str, str] = {}
    for key, usual in _DEFAULTS.items():
        default = usual or answered.default(key, answers)
        if key in given:
            answers[key] = _checked(key, given[key], answers)
        elif ask is None or not _is_asked(key, answers):
            answers[key] = default
        else:
            answers[key] = _asked(key, ask, default, answers)
    answers["train"] = given.get("train", _TRAIN[answers["layout"]])
    if "id" not in given and Path(answers["classes"]).is_file():  # a sample submission has the name of the id column
        answers["id"] = csv_tables.parse(Path(answers["classes"])).named()[0]
    return answers


def _is_asked(key: str, answers: Mapping[str, str]) -> bool:
    """Return whether there is a question, and it has a meaning after these answers."""
    needless = (key == "labels" and answers["layout"] != "csv") or (
        key == "column" and answers["submission"] == "per-class"
    )
    return key in _QUESTIONS and not needless


def _warn_of_classes(text: str, warn: Callable[[str], None]) -> None:
    """Warn of what was assumed about the file with the classes, and of classes that look alike."""
    for file in (text, text.rpartition(":")[0]):
        assumed = csv_tables.parse(Path(file)).assumed if Path(file).is_file() else ""
        if assumed:
            warn(f"{file} is read as {assumed}")
    alike = image_names.lookalikes(_named(text))
    if alike:
        one, other = alike[0]
        warn(
            f"{len(alike)} classes are called almost as another, for example {other!r} as {one!r}: if they are the "
            "same, give them one name in the data, and repeat the command"
        )


def _asked(key: str, ask: Ask, default: str, answers: Mapping[str, str]) -> str:
    while True:
        try:
            return _checked(key, ask(_QUESTIONS[key], default=default), answers)
        except UserError as error:
            print(error)


def _checked(key: str, value: str, answers: Mapping[str, str]) -> str:
    value = value.strip()
    if key in _CHOICES and value not in _CHOICES[key]:
        raise UserError(f"{key} {value!r} is not one of {', '.join(_CHOICES[key])}.")
    if key in ("labels", "groups") and value.count(":") < 2 and (key, value) != ("groups", "none"):
        raise UserError(f"--{key} {value!r}: write it as FILE:COLUMN:COLUMN.")
    if key == "classes":
        labels_of(value, answers["task"])
    if key == "metric":
        check_metric(value)
    return value


def check_metric(name: str) -> None:
    """Raise UserError if there is no metric of this name."""
    try:
        metrics.resolve(name)
    except ValueError as error:
        raise UserError(f"--{error}.") from error


def labels_of(text: str, task: str) -> Sequence[str]:
    """Return the names in an answer: a list, a column of a CSV file, the columns of a sample, or a number of grades."""
    if task == "grades" and re.fullmatch("[0-9]{1,3}", text):
        return [str(grade) for grade in range(int(text))]
    found = _named(text)
    fewest = answered.TASKS[task].fewest
    if len(set(found)) < fewest or len(set(found)) < len(found):
        many = "one label" if fewest == 1 else "two different labels"
        raise UserError(f"--classes {text!r}: needs at least {many}, not {', '.join(found) or 'none'}.")
    return found


def _named(text: str) -> Sequence[str]:
    file, _, column = text.rpartition(":")
    if file and Path(file).is_file():
        return sorted(set(_column(Path(file), column)))
    if Path(text).is_file():
        header = csv_tables.parse(Path(text)).named()
        if len(header) < 3:
            raise UserError(f"{text} has the columns {listed(header)}: name that of labels, {text}:{header[-1]}.")
        return header[1:]
    if text.lower().endswith(".csv") or file.lower().endswith(".csv"):
        raise UserError(f"--classes {text!r}: no such file.")
    return [label.strip() for label in text.split(",") if label.strip()]


def _column(file: Path, column: str) -> list[str]:
    """Return the labels in a column of a CSV file, row by row. Raises UserError if any is empty."""
    table = csv_tables.parse(file)
    if column not in table.named():
        raise UserError(f"{file} has no column {column!r}; it has {', '.join(table.named())}.")
    labels = [row[table.named().index(column)].strip() for row in table.rows]
    if "" in labels:
        raise UserError(
            f"{labels.count('')} of {len(labels)} rows of {file} have no {column}: fill it in, or remove them."
        )
    return labels
