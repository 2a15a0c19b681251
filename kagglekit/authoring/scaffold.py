"""Write a new plugin from a few answers, for `kagglekit new`: a module and its pyproject.toml."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kagglekit import metrics
from kagglekit.base import image_names, storage
from kagglekit.base.errors import UserError
from kagglekit.competitions import csv_tables

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CHOICES = {
    "layout": ("folders", "filenames", "csv"),
    "submission": ("probability", "per-class", "label"),
    "flip": ("allowed", "forbidden"),
}
_TRAIN = {"folders": "train/{label}", "filenames": "train/{label}.{number}.jpg", "csv": "train/{id}.jpg"}
_DEFAULTS = {
    "layout": "folders",
    "kaggle": "",
    "classes": "first,second",
    "labels": "labels.csv:id:label",
    "groups": "none",
    "test": "test/{id}.jpg",
    "submission": "per-class",
    "id": "id",
    "metric": "log_loss",
    "flip": "allowed",
}
_QUESTIONS = {
    "layout": "Where are the labels of the training images (folders, filenames, csv)",
    "labels": "CSV with the labels, its id column and its label column (FILE:ID:LABEL)",
    "kaggle": "Slug of the competition at Kaggle (empty if it is not on Kaggle)",
    "classes": "Labels, separated by commas, or FILE:COLUMN of a CSV",
    "groups": "CSV with groups that folds must not split, its image and group column (FILE:IMAGE:GROUP, or none)",
    "submission": "What does a row of the submission hold (probability: of the last class, per-class, label)",
    "metric": "Metric (log_loss, accuracy, auc, …: the guide on plugins lists them)",
    "flip": "Does a mirrored image keep its class (allowed, forbidden)",
}
_WIDTH = 88
"""Default line length of formatters."""
_INDENT = len("        submission=,")

Ask = Callable[..., str]


def write(name: str, given: Mapping[str, str], into: Path, ask: Ask | None, warn: Callable[[str], None]) -> Path:
    """Write a plugin into a new folder below `into`, and return the folder.

    `given` has the known answers. `ask(question, default=…)` is called for the others; if it is None, they get their
    defaults. `warn` gets a line for what is probably not meant so. Raises UserError for invalid answers, and if the
    folder exists.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a valid name: use lower-case letters, digits and single hyphens, for example my-leaf."
        )
    folder = into / f"kagglekit-{name}"
    if folder.exists():
        raise UserError(f"{folder} exists already: choose another name, or move it away.")
    answers = _answers(given, ask)
    _warn_of_classes(answers["classes"], warn)
    module, text = _module(name), _plugin(name, answers)
    _try(text)
    with storage.replacing_folder(folder) as temporary:
        (temporary / f"{module}.py").write_text(text, encoding="utf-8", newline="\n")
        (temporary / "pyproject.toml").write_text(_project(name, module), encoding="utf-8", newline="\n")
    return folder


def next_steps(name: str, folder: Path) -> str:
    """Return a message with the written files and the next commands."""
    module = _module(name)
    return (
        f"wrote {folder / module}.py and {folder / 'pyproject.toml'}\n"
        f"next: kagglekit check ./{folder}              rehearse it on drawn images\n"
        f"      kagglekit run ./{folder} --data PATH    run it on the real archive or folder\n"
        f"      pip install ./{folder}                  install it under the name {name}"
    )


def _module(name: str) -> str:
    return f"kagglekit_{name.replace('-', '_')}"


def _try(text: str) -> None:
    """Build the description before it is written. Raises UserError if the answers give no valid one."""
    names: dict[str, Any] = {}
    exec(text, names)
    try:
        names["competition"]()
    except ValueError as error:
        raise UserError(f"{error}; nothing was written.") from error


def _answers(given: Mapping[str, str], ask: Ask | None) -> dict[str, str]:
    if "labels" in given:
        given = {"layout": "csv"} | dict(given)
        if given["layout"] != "csv":
            raise UserError(f"--labels {given['labels']!r} is for --layout csv, not {given['layout']}.")
    answers: dict[str, str] = {}
    for key, default in _DEFAULTS.items():
        if key in given:
            answers[key] = _checked(key, given[key])
        elif ask is None or key not in _QUESTIONS or (key == "labels" and answers["layout"] != "csv"):
            answers[key] = default
        else:
            answers[key] = _asked(key, ask, default)
    answers["train"] = given.get("train", _TRAIN[answers["layout"]])
    if "id" not in given and Path(answers["classes"]).is_file():  # a sample submission has the name of the id column
        answers["id"] = csv_tables.parse(Path(answers["classes"])).named()[0]
    return answers


def _warn_of_classes(text: str, warn: Callable[[str], None]) -> None:
    """Warn of what was assumed about the file with the classes, and of classes that look alike."""
    for file in (text, text.rpartition(":")[0]):
        assumed = csv_tables.parse(Path(file)).assumed if Path(file).is_file() else ""
        if assumed:
            warn(f"{file} is read as {assumed}")
    alike = image_names.lookalikes(_classes(text))
    if alike:
        one, other = alike[0]
        warn(
            f"{len(alike)} classes are called almost as another, for example {other!r} as {one!r}: if they are the "
            "same, give them one name in the data, and repeat the command"
        )


def _asked(key: str, ask: Ask, default: str) -> str:
    while True:
        try:
            return _checked(key, ask(_QUESTIONS[key], default=default))
        except UserError as error:
            print(error)


def _checked(key: str, value: str) -> str:
    value = value.strip()
    if key in _CHOICES and value not in _CHOICES[key]:
        raise UserError(f"{key} {value!r} is not one of {', '.join(_CHOICES[key])}.")
    if key in ("labels", "groups") and value.count(":") < 2 and (key, value) != ("groups", "none"):
        raise UserError(f"--{key} {value!r}: write it as FILE:COLUMN:COLUMN.")
    if key == "classes":
        _classes(value)
    if key == "metric":
        _check_metric(value)
    return value


def _check_metric(name: str) -> None:
    try:
        metrics.resolve(name)
    except ValueError as error:
        raise UserError(f"--{error}.") from error


def _classes(text: str) -> Sequence[str]:
    """Return the labels of an answer: a list, a column of a CSV file, or the columns of a sample submission."""
    file, _, column = text.rpartition(":")
    if file and Path(file).is_file():
        found = sorted(set(_labels(Path(file), column)))
    elif Path(text).is_file():
        header = csv_tables.parse(Path(text)).named()
        if len(header) < 3:
            raise UserError(f"{text} has the columns {', '.join(header)}: name that of labels, {text}:{header[-1]}.")
        found = header[1:]
    elif text.lower().endswith(".csv") or file.lower().endswith(".csv"):
        raise UserError(f"--classes {text!r}: no such file.")
    else:
        found = [label.strip() for label in text.split(",") if label.strip()]
    if len(set(found)) < 2 or len(set(found)) < len(found):
        raise UserError(f"--classes {text!r}: needs at least two different labels, not {', '.join(found) or 'none'}.")
    return found


def _labels(file: Path, column: str) -> list[str]:
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


def _plugin(name: str, answers: Mapping[str, str]) -> str:
    """Return the source of the module."""
    labels = _classes(answers["classes"])
    train, train_class = _train(answers)
    submission, submission_class = _submission(answers, labels)
    arguments = {
        "name": _quoted(name),
        "kaggle": _quoted(answers["kaggle"]),
        "classes": "CLASSES",
        "train": train,
        "test": _quoted(answers["test"]),
        "flip": _quoted(answers["flip"]),
        "submission": submission,
        "metric": _quoted(answers["metric"]),
    }
    imported = {"Competition", "hookimpl", train_class, submission_class}
    if answers["groups"] != "none":
        csv_, image, group = answers["groups"].rsplit(":", 2)
        arguments["groups"] = _call("CsvGroups", _quoted(csv_), f"image={_quoted(image)}", f"group={_quoted(group)}")
        imported.add("CsvGroups")
    classes = "".join(f"    {_quoted(label)}: {_quoted(_readable(label))},\n" for label in labels)
    body = "".join(f"        {key}={value},\n" for key, value in arguments.items())
    return (
        f'"""{name}: its images, its classes and its submission.\n\n'
        f'`kagglekit guide plugins` explains every field and every hook.\n"""\n\n'
        f"{_import(sorted(imported))}\n\n"
        f"# label in the data -> readable name; probabilities are in this order\n"
        f"CLASSES = {{\n{classes}}}\n\n\n"
        f"@hookimpl\ndef competition() -> Competition:\n"
        f'    """Describe the competition."""\n'
        f"    return Competition(\n{body}    )\n"
    )


def _readable(label: str) -> str:
    return label.replace("_", " ").strip() or label


def _train(answers: Mapping[str, str]) -> tuple[str, str]:
    """Return the expression of the training layout, and the class to import."""
    pattern = _quoted(answers["train"])
    if answers["layout"] == "folders":
        return _call("FolderLabels", pattern), "FolderLabels"
    if answers["layout"] == "filenames":
        return _call("FilenameLabels", pattern), "FilenameLabels"
    csv_, image_id, label = answers["labels"].rsplit(":", 2)
    columns = (f"id={_quoted(image_id)}", f"label={_quoted(label)}")
    return _call("CsvLabels", _quoted(csv_), f"images={pattern}", *columns), "CsvLabels"


def _submission(answers: Mapping[str, str], labels: Sequence[str]) -> tuple[str, str]:
    """Return the expression of the submission format, and the class to import."""
    column = f"id={_quoted(answers['id'])}"
    if answers["submission"] == "probability":
        return _call("Probability", column, f"of={_quoted(labels[-1])}"), "Probability"
    kind = "ProbabilityPerClass" if answers["submission"] == "per-class" else "ClassLabel"
    return _call(kind, column), kind


def _call(name: str, *arguments: str) -> str:
    """Return a call as an argument of `Competition(…)`, on several lines if it is too long for one."""
    line = f"{name}({', '.join(arguments)})"
    if len(line) + _INDENT <= _WIDTH:
        return line
    return f"{name}(\n" + "".join(f"            {argument},\n" for argument in arguments) + "        )"


def _import(names: Sequence[str]) -> str:
    # in ruff's order: constants, classes, functions
    line = f"from kagglekit import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return "from kagglekit import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _quoted(text: str) -> str:
    if '"' in text and "'" not in text and text.isprintable():
        return "'" + text.replace("\\", "\\\\") + "'"
    return json.dumps(text, ensure_ascii=False)


def _project(name: str, module: str) -> str:
    """Return the text of the pyproject.toml."""
    return (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        f'[project]\nname = "kagglekit-{name}"\nversion = "0.1.0"\n'
        f'description = "{name} for kagglekit"\nrequires-python = ">=3.11"\ndependencies = ["kagglekit"]\n\n'
        f'[project.entry-points."kagglekit.competitions"]\n{name} = "{module}"\n\n'
        f'[tool.hatch.build.targets.wheel]\nonly-include = ["{module}.py"]\n'
    )
