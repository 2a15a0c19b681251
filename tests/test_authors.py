"""Competitions of one's own: `new` and `check`, the contract as functions, packages, and folders without a plugin."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit.authoring import testing
from kagglekit.base.errors import PluginError, UserError
from kagglekit.competitions import installed, plugins, synthetic
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.locations import CsvGroups, CsvLabels, FilenameLabels, FolderLabels
from kagglekit.competitions.plugins import Plugin
from kagglekit.competitions.synthetic import pictures
from kagglekit.formats import (
    ClassLabel,
    JoinedLabels,
    Long,
    Probability,
    ProbabilityPerClass,
    TopClasses,
    Value,
    Values,
)
from tests import drawing
from tests.conftest import REPORT, Cli, failed, succeeded

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands are typed in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody looks at the drawn images: one small image a class."""

    def draw(_: object, subject: Any, *__: object) -> np.ndarray:
        return np.full((8, 8, 3), 20 * (subject.amounts[0][0] if subject.amounts else 0) % 256, np.uint8)

    monkeypatch.setattr(pictures, "draw", draw)


def quickly(tiny: str) -> tuple[str, ...]:
    """Return settings for `check` where nothing depends on how good heads are."""
    settings = (f"backbone={tiny}", "folds=2", "feature_views=plain", "regularisation_grid=0.3")
    return tuple(word for setting in settings for word in ("--set", setting))


def only_run(workspace: Path) -> Path:
    (folder,) = (workspace / "runs").iterdir()
    return folder


# new


def loaded(name: str) -> Plugin:
    return plugins.load(f"./kagglekit-{name}")


def test_new_with_no_more_than_a_name_is_a_plugin_that_runs_at_once(cli: Cli, here: Path) -> None:
    done = succeeded(cli("new", "my-leaf"))
    assert sorted(path.relative_to(here).as_posix() for path in here.rglob("*")) == [
        "kagglekit-my-leaf",
        "kagglekit-my-leaf/kagglekit_my_leaf.py",
        "kagglekit-my-leaf/pyproject.toml",
    ]
    for line in (
        "wrote kagglekit-my-leaf/kagglekit_my_leaf.py and kagglekit-my-leaf/pyproject.toml",
        "kagglekit check ./kagglekit-my-leaf ",
        "kagglekit run ./kagglekit-my-leaf --data PATH",
        "pip install ./kagglekit-my-leaf ",
    ):
        assert line in done.out
    assert loaded("my-leaf").competition() == Competition(
        name="my-leaf",
        kaggle="",
        classes={"first": "first", "second": "second"},
        train=FolderLabels("train/{label}"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=ProbabilityPerClass(id="id"),
        metric="log_loss",
    )
    assert loaded("my-leaf").recipe() == {}


def test_every_flag_of_new_stands_in_the_plugin(cli: Cli) -> None:
    flags = {
        "layout": "csv",
        "classes": "fine_leaf, blight,grey spot",
        "submission": "label",
        "metric": "accuracy",
        "groups": "plants.csv:photo:plant",
        "labels": "tables/train.csv:photo:kind",
        "train": "images/train/{id}.png",
        "test": "images/test/{id}",
        "flip": "forbidden",
        "id": "photo",
        "kaggle": "leaf-classification",
    }
    succeeded(cli("new", "leaf", *(word for key, value in flags.items() for word in (f"--{key}", value))))
    assert loaded("leaf").competition() == Competition(
        name="leaf",
        kaggle="leaf-classification",
        classes={"fine_leaf": "fine leaf", "blight": "blight", "grey spot": "grey spot"},
        train=CsvLabels("tables/train.csv", images="images/train/{id}.png", id="photo", label="kind"),
        test="images/test/{id}",
        groups=CsvGroups("plants.csv", image="photo", group="plant"),
        flip="forbidden",
        submission=ClassLabel(id="photo"),
        metric="accuracy",
    )


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--layout", "filenames"], "train", FilenameLabels("train/{label}.{number}.jpg")),
        (["--layout", "folders", "--train", "images/{label}"], "train", FolderLabels("images/{label}")),
        (["--layout", "csv"], "train", CsvLabels("labels.csv", images="train/{id}.jpg", id="id", label="label")),
        (["--submission", "probability"], "submission", Probability(of="second")),
        (["--submission", "probability", "--classes", "cat,dog"], "submission", Probability(of="dog")),
        (["--submission", "per-class"], "submission", ProbabilityPerClass()),
        (["--groups", "none"], "groups", None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_flag_of_new_means_this_field(cli: Cli, words: list[str], field: str, value: Any) -> None:
    succeeded(cli("new", "leaf", *words))
    assert getattr(loaded("leaf").competition(), field) == value


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Asked:
    """Stands in for typer.prompt: gives these answers to questions that have these words, else the default."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = {word: list(given) for word, given in answers.items()}
        self.questions: list[str] = []

    def __call__(self, question: str, default: str) -> str:
        self.questions.append(question)
        for word, left in self.answers.items():
            if word in question and left:
                return left.pop(0)
        return default


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, **answers: Sequence[str]) -> Asked:
    asked = Asked(**answers)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("typer.prompt", asked)
    return asked


def test_on_a_terminal_new_asks_and_asks_again_after_an_answer_that_makes_no_sense(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = at_a_terminal(
        monkeypatch,
        labels=["zip", "csv"],  # of training images: where are they
        Kaggle=["leaf-cup"],
        id=["train.csv", "train.csv:photo:kind"],
        Names=["oak", "oak,elm"],
        groups=["trees.csv:photo:tree"],
        submission=["label"],
        Metric=["logloss", "accuracy"],
        mirrored=["forbidden"],
    )
    done = succeeded(cli("new", "leaf"))
    assert loaded("leaf").competition() == Competition(
        name="leaf",
        kaggle="leaf-cup",
        classes={"oak": "oak", "elm": "elm"},
        train=CsvLabels("train.csv", images="train/{id}.jpg", id="photo", label="kind"),
        test="test/{id}.jpg",
        groups=CsvGroups("trees.csv", image="photo", group="tree"),
        flip="forbidden",
        submission=ClassLabel(),
        metric="accuracy",
    )
    assert len(asked.questions) == 10 + 4
    for reason in ("'zip' is not one of", "FILE:COLUMN:COLUMN", "two different labels", "'logloss' is not one of"):
        assert reason in done.out


def test_on_a_terminal_an_answer_of_nothing_is_the_default(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = at_a_terminal(monkeypatch)
    succeeded(cli("new", "asked"))
    assert len(asked.questions) == 8
    assert not any("CSV file with labels" in question for question in asked.questions), "only layout csv has one"


def test_on_a_terminal_new_does_not_ask_what_was_given(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = at_a_terminal(monkeypatch)
    words = ("--layout", "csv", "--labels", "a.csv:b:c", "--classes", "x,y", "--groups", "none", "--flip", "allowed")
    words += ("--task", "classes", "--column", "label")
    succeeded(cli("new", "leaf", *words, "--submission", "label", "--metric", "accuracy", "--kaggle", "leaf"))
    assert asked.questions == []


def test_on_a_terminal_a_flag_that_makes_no_sense_is_refused_and_not_asked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch)
    assert "'logloss' is not one of accuracy, auc" in failed(cli("new", "leaf", "--metric", "logloss"))


BREEDS = "id,breed\n007,pug\n002,boxer\n\n003,pug\n004,Irish wolfhound\n"
SAMPLE = "img,c0,c1,c10,c2\n1.jpg,0.25,0.25,0.25,0.25\n"


@pytest.mark.parametrize(
    ("content", "column", "labels"),
    [
        (BREEDS, ":breed", ["Irish wolfhound", "boxer", "pug"]),
        ("\ufeff" + BREEDS, ":id", ["002", "003", "004", "007"]),
        (SAMPLE, "", ["c0", "c1", "c10", "c2"]),
        ('id,"a, b","say ""c""",é\n1,0,0,1\n', "", ["a, b", 'say "c"', "é"]),
        ("id; breed\n1; pug\n2; pug \n3; boxer\n", ":breed", ["boxer", "pug"]),
    ],
    ids=["column", "column after a byte order mark", "wide sample submission", "quoted", "semicolons and spaces"],
)
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_classes_are_taken_from_a_file(
    cli: Cli, here: Path, content: str, column: str, labels: list[str], absolute: bool
) -> None:
    (here / "data").mkdir()
    (here / "data" / "table.csv").write_text(content, encoding="utf-8")
    path = here / "data" / "table.csv" if absolute else Path("data", "table.csv")
    succeeded(cli("new", "leaf", "--classes", f"{path}{column}"))
    assert list(loaded("leaf").competition().labels) == labels


def test_a_wide_sample_submission_names_the_id_column_too(cli: Cli, here: Path) -> None:
    (here / "sample_submission.csv").write_text(SAMPLE)
    succeeded(cli("new", "leaf", "--classes", "sample_submission.csv"))
    assert loaded("leaf").competition().submission == ProbabilityPerClass(id="img")


def test_classes_that_cannot_be_meant_are_said(cli: Cli, here: Path) -> None:
    words = ("new", "leaf", "--classes", "labels.csv:breed")
    (here / "labels.csv").write_bytes("id,breed\n1,Cão\n2,cão\n3,\n4, \n".encode("utf-16"))
    assert "2 of 4 rows of labels.csv have no breed: fill it in" in failed(cli(*words))
    (here / "labels.csv").write_bytes("id,breed\n1,Cão\n2,cão \n3,Cão \n".encode("cp1252"))
    first, second = succeeded(cli(*words)).err.splitlines()
    assert first == "WARNING: labels.csv is read as Windows-1252"
    assert second.startswith("WARNING: 1 classes are called almost as another, for example 'cão' as 'Cão': if they")
    assert list(loaded("leaf").competition().labels) == ["Cão", "cão"]


@pytest.mark.parametrize("name", ["Leaf", "leaf_one", "leaf--one", "-leaf", "leaf-", "../leaf", "a/b", "blätter"])
def test_a_name_that_can_not_be_one_is_refused_and_nothing_is_written(cli: Cli, here: Path, name: str) -> None:
    message = failed(cli("new", "--", name))
    assert repr(name) in message
    assert "lower-case letters, digits and single hyphens" in message
    assert list(here.parent.rglob("*")) == [here]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_new_overwrites_nothing(cli: Cli, here: Path, kind: str) -> None:
    there = here / "kagglekit-leaf"
    if kind == "folder":
        there.mkdir()
        (there / "kagglekit_leaf.py").write_text("my own work\n")
    else:
        there.write_text("my own work\n")
    before = {path: path.is_file() and path.read_text() for path in here.rglob("*")}
    message = failed(cli("new", "leaf"))
    assert "kagglekit-leaf exists already" in message
    assert {path: path.is_file() and path.read_text() for path in here.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layout", "zip"], "layout 'zip' is not one of folders, filenames, csv"),
        (["--submission", "rank"], "submission 'rank' is not one of probability, per-class, label, top, long"),
        (["--metric", "logloss"], "--metric 'logloss' is not one of accuracy, auc, "),
        (["--flip", "maybe"], "flip 'maybe' is not one of allowed, forbidden"),
        (["--classes", "cat"], "needs at least two different labels, not cat"),
        (["--classes", "cat,cat"], "needs at least two different labels, not cat, cat"),
        (["--classes", ","], "needs at least two different labels, not none"),
        (["--classes", "nowhere.csv"], "--classes 'nowhere.csv': no such file"),
        (["--classes", "nowhere.csv:breed"], "--classes 'nowhere.csv:breed': no such file"),
        (["--classes", "table.csv:bread"], "table.csv has no column 'bread'; it has id, breed"),
        (["--classes", "empty.csv:breed"], "empty.csv can't be read as CSV: it is empty"),
        (["--layout", "csv", "--labels", "labels.csv:id"], "'labels.csv:id': write it as FILE:COLUMN:COLUMN"),
        (["--groups", "groups.csv"], "--groups 'groups.csv': write it as FILE:COLUMN:COLUMN"),
        # what a description refuses is known before it is written
        (["--submission", "probability", "--classes", "a,b,c"], "two classes"),
        (["--test", "test/{image}.jpg"], "'test/{image}.jpg'"),
        (["--train", "train/images"], "'train/images'"),
        (["--layout", "csv", "--train", "train/{label}.jpg"], "'train/{label}.jpg'"),
        (["--id", "first"], "'first'"),
        (["--id", ""], "id"),
        # the column is what is missing, and the file has only one that can be meant
        (["--classes", "table.csv"], "table.csv:breed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_answer_that_makes_no_sense_is_refused_in_a_line_and_nothing_is_written(
    cli: Cli, here: Path, words: list[str], message: str
) -> None:
    (here / "table.csv").write_text(BREEDS)
    (here / "empty.csv").write_text("")
    assert message in failed(cli("new", "leaf", *words))
    assert sorted(path.name for path in here.iterdir()) == ["empty.csv", "table.csv"]


def test_a_label_table_is_not_left_out_because_the_layout_was_not_named(cli: Cli) -> None:
    succeeded(cli("new", "leaf", "--labels", "tables/train.csv:photo:kind"))
    assert isinstance(loaded("leaf").competition().train, CsvLabels)


def is_clean(folder: Path) -> None:
    """Check plugins by the settings that ruff finds beside them, and by this repository's rules."""
    for words in (["check"], ["format", "--check"], ["check", "--config", str(ROOT / "pyproject.toml")]):
        command = [sys.executable, "-m", "ruff", *words, str(folder)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def keeps_cheap_parts(plugin: Plugin, folder: Path) -> None:
    """Check all of the contract but the run."""
    competition = testing.check_description(plugin)
    testing.check_recipe(plugin)
    drawn = list(testing.draw_all(competition, folder))
    assert len(drawn) == synthetic.shapes(competition)
    for one in drawn:
        testing.check_tables(plugin, one)


TASKS = [
    (task, layout, *words)
    for task in ("labels", "grades", "numbers", "shares")
    for layout, *words in (("folders",), ("filenames",), ("csv",), ("csv", "--labels", "t.csv:image:*"))
    if not (task == "numbers" and words)
]


@pytest.mark.parametrize("words", TASKS, ids=" ".join)
def test_whatever_new_writes_for_a_task_keeps_its_contract(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(pictures, "draw", lambda *_: np.zeros((8, 8, 3), np.uint8))
    task, layout, *more = words
    succeeded(cli("new", "leaf", "--task", task, "--layout", layout, *more))
    competition = loaded("leaf").competition()
    assert competition.target.kind == task
    keeps_cheap_parts(loaded("leaf"), home)


def test_what_new_writes_for_each_task_is_clean(cli: Cli, here: Path) -> None:
    for number, (task, layout, *words) in enumerate(TASKS):
        succeeded(cli("new", f"leaf-{number}", "--task", task, "--layout", layout, *words))
    is_clean(here)


@pytest.mark.parametrize(
    ("words", "submission", "metric"),
    [
        (["--task", "labels"], ProbabilityPerClass(), "auc(mean)"),
        (["--task", "labels", "--submission", "label", "--column", "tags"], JoinedLabels(label="tags"), "auc(mean)"),
        (["--task", "labels", "--submission", "long"], Long(), "auc(mean)"),
        (["--task", "labels", "--classes", "cactus", "--submission", "probability", "--column", "has"],
         Probability(label="has", of="cactus"), "auc(mean)"),
        (["--task", "grades", "--column", "diagnosis"], ClassLabel(label="diagnosis"), "qwk"),
        (["--task", "numbers", "--column", "Pawpularity"], Value(label="Pawpularity"), "rmse"),
        (["--task", "numbers", "--classes", "x,y", "--submission", "per-class"], Values(), "rmse"),
        (["--task", "shares"], ProbabilityPerClass(), "rmse"),
        (["--submission", "top", "--column", "Id"], TopClasses(label="Id"), "map@5"),
        (["--submission", "probability", "--of", "first", "--metric", "auc"], Probability(of="first"), "auc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_task_column_and_metric_stand_in_the_plugin(cli: Cli, words: list[str], submission: Any, metric: str) -> None:
    succeeded(cli("new", "leaf", *words))
    found = loaded("leaf").competition()
    assert found.submission == submission
    assert found.metric == metric


def test_one_value_a_row_is_no_submission_of_several_numbers(cli: Cli) -> None:
    assert "there are 2 numbers" in failed(cli("new", "leaf", "--task", "numbers", "--classes", "x,y"))
    assert "scores" in failed(cli("new", "leaf", "--metric", "rmse"))


LAYOUTS = ("folders", "filenames", "csv")
OWN_TABLE = "groups.csv:image:patient"
COMBINATIONS = [
    (layout, submission, groups)
    for layout in LAYOUTS
    for submission in ("probability", "per-class", "label")
    for groups in ("none", OWN_TABLE, *(["labels.csv:id:patient"] if layout == "csv" else []))
]


def flags(layout: str, submission: str, groups: str) -> tuple[str, ...]:
    return ("--layout", layout, "--submission", submission, "--groups", groups)


def test_whatever_new_writes_is_clean(cli: Cli, here: Path) -> None:
    for number, combination in enumerate(COMBINATIONS):
        succeeded(cli("new", f"leaf-{number}", *flags(*combination)))
    is_clean(here)


@pytest.mark.parametrize(("layout", "submission", "groups"), COMBINATIONS)
def test_whatever_new_writes_keeps_its_contract(
    cli: Cli, home: Path, cheap: None, layout: str, submission: str, groups: str
) -> None:
    succeeded(cli("new", "leaf", *flags(layout, submission, groups)))
    keeps_cheap_parts(loaded("leaf"), home)


@pytest.mark.parametrize(
    "words",
    [
        ["--classes", "résumé,日本, a b ,c\\d,e.f,007,{x}"],
        ["--classes", 'it\'s,say "no",\'both\' "quotes"'],
        ["--layout", "csv", "--labels", "training_labels.csv:the image identifier:the label of the whole image"],
        ["--groups", "a_table_of_all_the_patients.csv:the image identifier:the number of the patient in the clinic"],
    ],
    ids=["awkward labels", "quotes in labels", "long columns", "long groups"],
)
def test_awkward_answers_are_written_cleanly_too(cli: Cli, here: Path, words: list[str]) -> None:
    succeeded(cli("new", "leaf", *words))
    assert loaded("leaf").competition().name == "leaf"
    is_clean(here)


@pytest.mark.parametrize(
    "words",
    [
        ["--layout", "filenames", "--submission", "probability"],
        ["--layout", "csv", "--submission", "label", "--groups", OWN_TABLE, "--classes", "oak,elm,ash"],
    ],
    ids=["filenames", "csv"],
)
def test_what_new_writes_passes_check(cli: Cli, tiny: str, home: Path, words: list[str]) -> None:
    succeeded(cli("new", "leaf", *words))
    done = succeeded(cli("check", "./kagglekit-leaf", "--set", f"backbone={tiny}"))
    for part in ("its hooks exist", "description is valid", "settings are valid", "found again", "matched by id"):
        assert part in done.out
    assert done.out.rstrip().endswith("./kagglekit-leaf: all checks passed")
    assert (only_run(home / "leaf" / "synthetic") / "submission.synthetic.csv").is_file()


def test_a_competition_of_120_breeds_passes_check(cli: Cli, tiny: str, here: Path, home: Path) -> None:
    rows = "".join(f"{number * 7919:032x},breed_{number % 120:03}\n" for number in range(360))
    (here / "labels.csv").write_text(f"id,breed\n{rows}")
    words = ("--layout", "csv", "--labels", "labels.csv:id:breed", "--classes", "labels.csv:breed")
    succeeded(cli("new", "dog-breed", *words))
    assert loaded("dog-breed").competition().labels == tuple(f"breed_{number:03}" for number in range(120))
    done = succeeded(cli("check", "./kagglekit-dog-breed", *quickly(tiny)))
    assert "120 classes" in done.out
    assert "./kagglekit-dog-breed: all checks passed" in done.out
    written = pd.read_csv(only_run(home / "dog-breed" / "synthetic") / "submission.synthetic.csv")
    assert list(written.columns) == ["id", *(f"breed_{number:03}" for number in range(120))]
    assert np.allclose(written.drop(columns="id").sum(axis=1), 1)


# check

HEAD = """
import itertools
import random

import numpy as np
import pandas as pd
from kagglekit import Competition, FolderLabels, ProbabilityPerClass, hookimpl
from kagglekit.competitions.layout import read_test, read_train

TIMES = itertools.count()


@hookimpl
def competition():
    return Competition(
        name="leaf", kaggle="", classes={"oak": "Oak", "elm": "Elm"}, train=FolderLabels("train/{label}"),
        test="test/{id}.jpg", submission=ProbabilityPerClass(), flip="allowed",
    )

"""


def plugin_file(folder: Path, hook: str = "", head: str = HEAD) -> str:
    (folder / "leaf.py").write_text(f"{head}\n@hookimpl\n{hook}" if hook else head)
    return "./leaf.py"


BROKEN = {
    "labels shuffled": (
        "def train_table(competition, files):\n"
        "    table = read_train(competition, files)\n"
        "    return table.assign(label=table['label'].to_numpy()[::-1])\n",
        ["'./leaf.py', hook 'train_table'", "120 of 120 images have the wrong label", "says 'elm'"],
    ),
    "training images dropped": (
        "def train_table(competition, files):\n    return read_train(competition, files).iloc[::2]\n",
        ["'./leaf.py', hook 'train_table'", "60 of 120 drawn images are not in the table", "'train/elm/img_"],
    ),
    "test ids dropped": (
        "def test_table(competition, files):\n    return read_test(competition, files).iloc[3:]\n",
        ["'./leaf.py', hook 'test_table'", "3 of 40 drawn images are not in the table", "'test/1.jpg'"],
    ),
    "test ids of other images": (
        "def test_table(competition, files):\n"
        "    table = read_test(competition, files)\n"
        "    return table.assign(path=table['path'].to_numpy()[::-1])\n",
        ["'./leaf.py', hook 'test_table'"],
    ),
    "rows by the sample's position": (
        "def submission(ids, probabilities, sample):\n"
        "    return sample.assign(oak=probabilities[:, 0], elm=probabilities[:, 1])\n",
        ["'./leaf.py', hook 'submission'", "rows are matched by position"],
    ),
    "rows by sorted ids": (
        "def submission(ids, probabilities):\n"
        "    ids = sorted(ids, key=int)\n"
        "    return pd.DataFrame({'id': ids, 'oak': probabilities[:, 0], 'elm': probabilities[:, 1]})\n",
        ["'./leaf.py', hook 'submission'", "rows are matched by position"],
    ),
    "lots in the submission": (
        "def submission(ids):\n"
        "    drawn = np.random.default_rng().random(len(ids))\n"
        "    return pd.DataFrame({'id': ids, 'oak': drawn, 'elm': 1 - drawn})\n",
        ["'./leaf.py'", "is random"],
    ),
    "lots in the training table": (
        "def train_table(competition, files):\n"
        "    table = read_train(competition, files)\n"
        "    return table.assign(group=[str(random.randrange(40)) for _ in table.index])\n",
        ["'./leaf.py'", "does a hook use random numbers?"],
    ),
    "lots in the recipe": (
        "def recipe():\n    return {'seed': next(TIMES)}\n",
        ["'./leaf.py'", "does a hook use random numbers?"],
    ),
    "an unknown setting": (
        "def recipe():\n    return {'fold': 3}\n",
        ["'./leaf.py', hook 'recipe'", "no setting called 'fold'", "did you mean 'folds'?"],
    ),
    "a setting of another type": (
        "def recipe():\n    return {'folds': 'many'}\n",
        ["'./leaf.py', hook 'recipe'", "folds = 'many'", "must be an integer"],
    ),
    "a table hook that needs more than is drawn": (
        "def train_table(competition, files):\n"
        "    return read_train(competition, files).assign(age=lambda table: table['birthday'])\n",
        ["'./leaf.py', hook 'train_table': KeyError: 'birthday'", "only what the description declares", "--data PATH"],
    ),
    "a submission hook that needs more than is drawn": (
        "def submission(ids, sample):\n    return sample[['id', 'oak', 'elm', 'place']]\n",
        ["'./leaf.py', hook 'submission': KeyError: ", "only what the description declares", "--data PATH"],
    ),
    "no id column": (
        "def submission(ids):\n    return pd.DataFrame({'image': ids, 'oak': 0.5, 'elm': 0.5})\n",
        ["'image'", "'id'"],
    ),
    "an unknown hook": (
        "def train_tables():\n    return None\n",
        ["'./leaf.py'", "hook 'train_tables' does not exist", "did you mean 'train_table'?"],
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_check_says_in_one_line_what_is_wrong(cli: Cli, tiny: str, here: Path, cheap: None, fault: str) -> None:
    hook, words = BROKEN[fault]
    done = cli("check", plugin_file(here, hook), *quickly(tiny))
    message = failed(done)
    for part in words:
        assert part in message
    assert "all checks passed" not in done.out
    if "lots" in fault:
        assert "position" not in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"Oak"', 'f"Oak {next(TIMES)}"', ["'./leaf.py', hook 'competition'", "a different competition each time"]),
        ("test/{id}.jpg", "test/{id}.jgp", ["test/{id}.jgp"]),
        ('FolderLabels("train/{label}")', 'FolderLabels("train")', ["hook 'competition'", "'train' must have {label}"]),
        (
            '"Elm"}',
            '"Elm"}, metric=lambda truth, rows: float((rows.argmax(axis=1) == truth).mean())',
            ["hook 'competition'", "metric 'own metric'", "higher is better", "lower_is_better=False"],
        ),
        ('"Elm"}', '"Elm"}, metric="logloss"', ["hook 'competition'", "metric 'logloss' is not one of accuracy, auc"]),
    ],
)
def test_check_says_in_one_line_what_is_wrong_with_a_description(
    cli: Cli, here: Path, cheap: None, old: str, new: str, words: list[str]
) -> None:
    assert old in HEAD
    done = cli("check", plugin_file(here, head=HEAD.replace(old, new)))
    message = failed(done)
    for part in words:
        assert part in message
    assert "all checks passed" not in done.out


@pytest.mark.parametrize(
    "hook",
    [
        "def submission(ids, probabilities):\n"
        "    return pd.DataFrame({'elm': probabilities[:, 1], 'oak': probabilities[:, 0], 'id': ids})[::-1]\n",
        "def submission(ids, probabilities):\n"
        "    probabilities **= 2\n"
        "    probabilities /= probabilities.sum(axis=1, keepdims=True)\n"
        "    return pd.DataFrame({'id': ids, 'oak': probabilities[:, 0], 'elm': probabilities[:, 1]})\n",
    ],
    ids=["rows and columns in another order", "in place"],
)
def test_check_has_nothing_against_a_submission_hook_that_goes_by_id(
    cli: Cli, tiny: str, here: Path, cheap: None, hook: str
) -> None:
    done = succeeded(cli("check", plugin_file(here, hook), *quickly(tiny)))
    assert "./leaf.py: all checks passed" in done.out


def test_check_on_real_data_takes_a_sample_of_it(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    archive = drawing.dogs(tmp_path)
    done = succeeded(cli("check", "dogs-vs-cats", "--data", archive, "--set", f"backbone={tiny}"))
    assert "dogs-vs-cats: all checks passed" in done.out
    assert "SYNTHETIC" not in done.out
    result = json.loads((only_run(home / "dogs-vs-cats") / "result.json").read_text())
    assert result["sample"] == 200
    assert not (home / "dogs-vs-cats" / "synthetic").exists()


# the contract as functions


def test_a_plugin_s_own_test_is_one_call(tiny: str, here: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    run = testing.check_plugin(Path(plugin_file(here)), home, settings={"backbone": tiny}, say=heard.append)
    assert run.synthetic
    assert run.submission.is_relative_to(home)
    assert pd.read_csv(run.submission).columns.tolist() == ["id", "oak", "elm"]
    assert len(heard) == 7
    assert "2 classes" in heard[1]
    assert str(run.submission) in heard[-2]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_a_plugin_s_own_test_leaves_the_environment_as_it_was(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cheap: None, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv("KAGGLEKIT_HOME")
    else:
        monkeypatch.setenv("KAGGLEKIT_HOME", before)
    path = plugin_file(here, BROKEN["test ids dropped"][0])
    with pytest.raises(PluginError, match="3 of 40 drawn images are not in the table"):
        testing.check_plugin(path, tmp_path / "own")
    assert os.environ.get("KAGGLEKIT_HOME") == before
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["leaf"]
    assert [path.name for path in here.iterdir() if path.name != "__pycache__"] == ["leaf.py"]


@pytest.mark.parametrize("listing", installed.listings(), ids=lambda listing: listing.name)
def test_every_built_in_plugin_keeps_the_cheap_parts_of_the_contract(
    listing: installed.Listing, home: Path, cheap: None
) -> None:
    keeps_cheap_parts(plugins.load(listing.name), home)


# packages


def run(*command: str | Path, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | (more or {})
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)


def test_a_package_of_new_is_installed_and_run_by_name_beside_a_broken_one(
    cli: Cli, tiny: str, here: Path, tmp_path: Path, home: Path
) -> None:
    for name in ("own-leaf", "own-thorn"):
        succeeded(cli("new", name, "--classes", "oak,elm"))
    with (here / "kagglekit-own-thorn" / "kagglekit_own_thorn.py").open("a") as file:
        file.write("\nraise RuntimeError('out of leaves\\nand of twigs')\n")
    pip = (sys.executable, "-m", "pip")
    quiet = ("--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check")
    folders = ("./kagglekit-own-leaf", "./kagglekit-own-thorn")
    built = run(*pip, "wheel", *quiet, "--no-build-isolation", "-w", tmp_path / "wheels", *folders)
    assert built.returncode == 0, built.stdout + built.stderr
    wheels = sorted((tmp_path / "wheels").iterdir())
    assert [wheel.name.split("-")[0] for wheel in wheels] == ["kagglekit_own_leaf", "kagglekit_own_thorn"]
    put = run(*pip, "install", *quiet, "--target", tmp_path / "site", *wheels)
    assert put.returncode == 0, put.stdout + put.stderr

    for folder in folders:  # what is found is what was installed
        (here / folder).rename(tmp_path / folder)

    def kagglekit(*words: str) -> subprocess.CompletedProcess[str]:
        return run(sys.executable, "-m", "kagglekit", *words, more={"PYTHONPATH": str(tmp_path / "site")})

    listed = kagglekit("list")
    assert listed.returncode == 0, listed.stderr
    assert {"dogs-vs-cats", "own-leaf", "own-thorn", "state-farm"} <= set(listed.stdout.split())

    done = kagglekit("run", "own-leaf", "--backbone", tiny, "--folds", "2", "--no-report")
    assert done.returncode == 0, done.stderr
    assert (only_run(home / "own-leaf" / "synthetic") / "submission.synthetic.csv").is_file()
    assert "next: kagglekit run own-leaf --data ARCHIVE" in done.stdout

    broken = kagglekit("run", "own-thorn")
    assert broken.returncode == 1
    assert broken.stderr == (
        "kagglekit: plugin 'own-thorn' can't be imported: RuntimeError: out of leaves and of twigs\n"
    )


# any folder

CLASSES = ("cat", "dog", "emu")


def folder(
    root: Path, classes: int = 2, train: int = 12, valid: int = 0, tests: str = "test", sample: str | None = None
) -> Path:
    """Draw a folder in the course's layout; test image n is of class n - 1, counted round."""

    def put(path: Path, number: int, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing.image(number % classes, seed))

    for number in range(train):
        put(root / "train" / CLASSES[number % classes] / f"{number}.jpg", number, number)
    for number in range(valid):
        put(root / "valid" / CLASSES[number % classes] / f"{number}.jpg", number, 500 + number)
    for number in range(7):
        put(root / tests / f"{number + 1}.jpg", number, 900 + number)
    if sample is not None:
        (root / "sample_submission.csv").write_text(sample, encoding="utf-8")
    return root


def submission_of(home: Path, name: str) -> list[list[str]]:
    with (only_run(home / name) / "submission.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("tests", ["test", "test1", "test/unknown"])
def test_a_folder_in_the_course_s_layout_needs_no_plugin(
    cli: Cli, tiny: str, here: Path, home: Path, tests: str
) -> None:
    folder(here / "My Pets", tests=tests)
    done = succeeded(cli("run", "./My Pets", "--backbone", tiny, "--folds", "2"))
    assert "12 training images of 2 classes, 7 test images" in done.out
    assert "SYNTHETIC" not in done.out
    assert "kagglekit submit" not in done.out
    header, *rows = submission_of(home, "my-pets")
    assert header == ["id", "cat", "dog"]
    assert [row[0] for row in rows] == [f"{number}.jpg" for number in range(1, 8)]
    assert [CLASSES[float(row[2]) > float(row[1])] for row in rows] == [CLASSES[n % 2] for n in range(7)]
    assert done.out.rstrip().endswith(f"submission: {only_run(home / 'my-pets') / 'submission.csv'}")


def test_a_validation_set_that_a_folder_brings_is_what_scores(cli: Cli, tiny: str, here: Path, home: Path) -> None:
    folder(here / "pets", valid=6)
    done = succeeded(cli("run", "pets", "--backbone", tiny))
    assert "validation set log loss" in done.out
    oof = pd.read_parquet(only_run(home / "pets") / "oof.parquet")
    assert sorted(oof["id"]) == [f"valid/{CLASSES[number % 2]}/{number}" for number in (0, 2, 4, 1, 3, 5)]
    result = json.loads((only_run(home / "pets") / "result.json").read_text())
    assert (result["validation"], result["scored_images"]) == ("valid", 6)
    assert "already finished" in succeeded(cli("run", "./pets/", "--backbone", tiny)).out


def test_a_class_with_one_image_is_trained_predicted_and_not_scored(
    cli: Cli, tiny: str, here: Path, home: Path
) -> None:
    (folder(here / "pets") / "train" / "emu").mkdir()
    (here / "pets" / "train" / "emu" / "0.jpg").write_bytes(drawing.image(2, 0))
    done = succeeded(cli("run", "pets", "--backbone", tiny, "--folds", "2", REPORT))
    assert "WARNING: no image of 1 classes is scored, for example of 'emu'" in done.out
    oof = pd.read_parquet(only_run(home / "pets") / "oof.parquet")
    assert len(oof) == 12
    assert "emu" in oof.columns
    header, *rows = submission_of(home, "pets")
    assert header == ["id", "cat", "dog", "emu"]
    assert len(rows) == 7
    assert "emu" in (only_run(home / "pets") / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["valid", "val", "validation"])
def test_a_validation_set_has_one_of_three_names(here: Path, name: str) -> None:
    (folder(here / "pets", valid=6) / "valid").rename(here / "pets" / name)
    plugin = plugins.load("./pets")
    assert plugin.competition().valid == FolderLabels(f"{name}/{{label}}")
    assert plugin.recipe() == {"validation": "valid"}


def sample_of(header: str, row: str, ending: str) -> str:
    """Write a sample submission for the seven test images, the last first."""
    return f"{header}\n" + "".join(f"{number}{ending},{row}\n" for number in range(7, 0, -1))


@pytest.mark.parametrize("ending", ["", ".jpg"], ids=["bare ids", "ids with endings"])
@pytest.mark.parametrize(
    ("classes", "header", "row"),
    [(3, "img,emu,cat,dog", "0.3,0.3,0.4"), (2, "file,is_dog", "0.5"), (3, "the image,kind", "dog")],
    ids=["per class", "one probability", "labels"],
)
def test_a_sample_submission_in_a_folder_says_what_a_row_is(
    cli: Cli, tiny: str, here: Path, home: Path, classes: int, header: str, row: str, ending: str
) -> None:
    folder(here / "pets", classes, train=6 * classes, sample=sample_of(header, row, ending))
    succeeded(cli("run", "pets", "--backbone", tiny, "--folds", "2"))
    columns, *rows = submission_of(home, "pets")
    assert columns == header.split(",")
    assert [row[0] for row in rows] == [f"{number}{ending}" for number in range(7, 0, -1)]
    truth = [CLASSES[(number - 1) % classes] for number in range(7, 0, -1)]
    if columns[1:] == ["kind"]:
        assert [row[1] for row in rows] == truth
    elif columns[1:] == ["is_dog"]:
        assert [CLASSES[float(row[1]) > 0.5] for row in rows] == truth
    else:
        assert [columns[1 + int(np.argmax([float(cell) for cell in row[1:]]))] for row in rows] == truth


@pytest.mark.parametrize(
    ("name", "sample", "submission"),
    [
        ("sample_submission.csv", sample_of("id,cat,dog", "0,1", ""), ProbabilityPerClass(id="id")),
        ("sampleSubmission.csv", sample_of("file,p", "1", ""), Probability(id="file", label="p", of="dog")),
        ("Sample_Submission.csv", sample_of("\ufeffid,p", "0", ""), Probability(id="id", label="p", of="dog")),
        ("sample_submission.csv", sample_of("id,p", "cat", ""), ClassLabel(id="id", label="p")),
        ("notes.csv", sample_of("a,b", "c", ""), ProbabilityPerClass()),
    ],
)
def test_a_sample_submission_is_understood(here: Path, name: str, sample: str, submission: Any) -> None:
    folder(here / "pets")
    (here / "pets" / name).write_text(sample, encoding="utf-8")
    assert plugins.load("./pets").competition().submission == submission


def test_a_class_may_be_called_as_the_id_column_is(here: Path) -> None:
    folder(here / "pets")
    for before, after in (("cat", "id"), ("dog", "label")):
        (here / "pets" / "train" / before).rename(here / "pets" / "train" / after)
    pets = plugins.load("./pets").competition()
    pets = plugins.load("./pets").competition()
    assert pets.submission.columns(pets.target) == ["id_", "id", "label"]


def test_a_folder_with_a_sample_submission_that_fits_no_class_is_no_guess(here: Path) -> None:
    folder(here / "pets", sample=sample_of("id,kind", "lion", ""))
    with pytest.raises(UserError, match="lion|kind"):
        plugins.load("./pets").competition()


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (
            sample_of("id,fish,cow", "0,1", ""),
            ["columns id, fish, cow", "classes are cat, dog", "`kagglekit new NAME`"],
        ),
        (sample_of("id,cat,dog,emu", "0,1,0", ""), ["columns id, cat, dog, emu", "`kagglekit new NAME`"]),
        (sample_of("id", "", "").replace(",", ""), ["columns id,", "`kagglekit new NAME`"]),
        ("id,label\n1,0.5\n2,0.5\n1,1\n", ["has id '1' twice"]),
        (sample_of("id,label", "0.5", "x"), ["for example '1x'", "only 0 of them have a test image"]),
        ("id,label\n", ["sample_submission.csv"]),
        ("", ["sample_submission.csv"]),
    ],
    ids=["other columns", "another class", "one column", "an id twice", "other ids", "no rows", "empty"],
)
def test_a_sample_submission_that_does_not_fit_the_folder_is_one_line(
    cli: Cli, tiny: str, here: Path, sample: str, words: list[str]
) -> None:
    folder(here / "pets", sample=sample)
    message = failed(cli("run", "pets", "--backbone", tiny))
    for part in words:
        assert part in message


def test_one_column_of_a_sample_submission_says_nothing_about_three_classes(cli: Cli, here: Path) -> None:
    folder(here / "pets", classes=3, sample=sample_of("id,label", "0.5", ""))
    message = failed(cli("run", "pets"))
    assert "columns id, label" in message
    assert "classes are cat, dog, emu" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train/dog": None}, ["pets is not a competition", "train/<class>/", "two classes", "`kagglekit new NAME`"]),
        ({"train": None}, ["pets is not a competition", "train/<class>/"]),
        ({"train/loose.jpg": drawing.image(0, 1)}, ["1 images under train/", "'train/loose.jpg'"]),
        ({"test": None, "sample_submission.csv": b"id,label\n1,0.5\n"}, ["no test images", "test/{id}"]),
        ({"test/a/b/c.jpg": drawing.image(0, 1)}, ["1 images under test/", "'test/a/b/c.jpg'"]),
        ({"valid/fish/1.jpg": drawing.image(0, 1)}, ["'fish'", "is not one of the classes"]),
    ],
    ids=["one class", "no training images", "loose", "no test, sample", "deep", "a class of its own"],
)
def test_a_folder_in_another_layout_is_one_line(
    cli: Cli, here: Path, change: dict[str, bytes | None], words: list[str]
) -> None:
    folder(here / "pets", valid=4)
    for name, content in change.items():
        if content is None:
            shutil.rmtree(here / "pets" / name)
        else:
            (here / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
            (here / "pets" / name).write_bytes(content)
    message = failed(cli("run", "./pets"))
    for part in words:
        assert part in message


def test_a_folder_that_is_not_there_is_one_line(cli: Cli) -> None:
    assert "no plugin file or folder './nowhere'" in failed(cli("run", "./nowhere"))
    assert "no competition called 'nowhere'" in failed(cli("run", "nowhere"))
