"""Formats of submissions: what is written of each kind of target, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kagglekit import (
    ClassAndScore,
    Classes,
    ClassLabel,
    Competition,
    FolderLabels,
    Grades,
    JoinedLabels,
    Labels,
    Long,
    Number,
    Numbers,
    Probability,
    ProbabilityPerClass,
    Shares,
    TopClasses,
    UserError,
    Value,
    Values,
)
from kagglekit.base.console import Console
from kagglekit.competitions import samples, submissions
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data.project import Project
from kagglekit.deploy import standalone
from kagglekit.formats import Submission
from kagglekit.kaggle import select
from kagglekit.tasks.targets import Target
from tests import drawing

PETS, WHALES = Classes(["cat", "dog"]), Classes(["w1", "w2", "w3", "new_whale"])
GRADES, PAWS = Grades(5), Number(1, 100)
SKY, ANSWERS = Labels(["clear", "primary", "road"]), Shares(["a", "b"])
TRAITS = Numbers(["X4_mean", "X11_mean"])
IDS = ["7", "8"]


def competition(target: Target, form: Submission) -> Competition:
    return Competition(
        name="leaf", kaggle="leaf", target=target, train=FolderLabels("train/{label}"), test="test/{id}.jpg",
        submission=form,
    )  # fmt: skip


def table(
    target: Target, form: Submission, predictions: Any, decided: Any = None, sample: pd.DataFrame | None = None
) -> dict[str, list[Any]]:
    """Lay out two rows, check them, and return the table."""
    described = competition(target, form)
    chosen = None if decided is None else np.array(decided)
    frame = submissions.lay_out(described, IDS, np.array(predictions, dtype=float), sample, chosen)
    submissions.check(frame, described, IDS, sample=sample)
    found: dict[str, list[Any]] = frame.to_dict("list")
    return found


# what is written

ONE = [[0.6, 0.1, 0.2, 0.1], [0.1, 0.25, 0.25, 0.4]]
ANY = [[0.9, 0.95, 0.1], [0.2, 0.3, 0.1]]


@pytest.mark.parametrize(
    ("target", "form", "predictions", "decided", "expected"),
    [
        (PETS, Probability(of="dog"), [[0.4, 0.6], [1, 0]], None, {"label": [0.6, 0.0]}),
        (SKY, Probability(of="road", label="p"), ANY, None, {"p": [0.1, 0.1]}),
        (SKY, ProbabilityPerClass(), ANY, None, {"clear": [0.9, 0.2], "primary": [0.95, 0.3], "road": [0.1, 0.1]}),
        (PETS, ProbabilityPerClass(write={"cat": "p0"}), [[0.4, 0.6], [1, 0]], None, {"p0": [0.4, 1], "dog": [0.6, 0]}),
        (ANSWERS, ProbabilityPerClass(), [[0.5, 1], [0.25, 1]], None, {"a": [0.5, 0.25], "b": [1.0, 1.0]}),
        (PETS, ClassLabel(write={"cat": "0", "dog": "1"}), [[0.4, 0.6], [1, 0]], None, {"label": ["1", "0"]}),
        (WHALES, ClassLabel(label="Id"), ONE, [2, 3], {"Id": ["w3", "new_whale"]}),
        (GRADES, ClassLabel(label="diagnosis"), [[0.5, 0, 0, 0, 0.5], [0, 0, 0, 0.5, 0.5]], None,
         {"diagnosis": ["2", "4"]}),
        (SKY, JoinedLabels(label="tags"), ANY, None, {"tags": ["clear primary", ""]}),
        (SKY, JoinedLabels(none="nothing", sep="; "), ANY, None, {"label": ["clear; primary", "nothing"]}),
        (SKY, JoinedLabels(order="probability", write={"clear": "12"}), ANY, [[1, 1, 0], [1, 0, 1]],
         {"label": ["primary 12", "12 road"]}),
        (WHALES, TopClasses(k=2), ONE, None, {"label": ["w1 w3", "new_whale w2"]}),
        (WHALES, TopClasses(sep=","), ONE, None, {"label": ["w1,w3,w2,new_whale", "new_whale,w2,w3,w1"]}),
        (WHALES, TopClasses(k=3), ONE, [[3, 0, -1], [1, -1, -1]], {"label": ["new_whale w1", "w2"]}),
        (SKY, TopClasses(k=1), ANY, None, {"label": ["primary", "primary"]}),
        (WHALES, ClassAndScore(), ONE, None, {"label": ["w1 0.6", "new_whale 0.4"]}),
        (WHALES, ClassAndScore(), ONE, [2, -1], {"label": ["w3 0.2", ""]}),
        (PAWS, Value(label="Pawpularity"), [[0.3], [38.25]], None, {"Pawpularity": [1.0, 38.25]}),
        (PAWS, Value(round=0), [[140.0], [38.6]], None, {"label": [100, 39]}),
        (PAWS, Value(round=1), [[140.0], [38.66]], None, {"label": [100.0, 38.7]}),
        (TRAITS, Values(write={"X4_mean": "X4"}), [[-3, 1e6], [0.5, 2]], None, {"X4": [-3, 0.5], "X11_mean": [1e6, 2]}),
        (TRAITS, Values(round=0), [[-3.2, 1e6], [0.6, 2]], None, {"X4_mean": [-3, 1], "X11_mean": [1000000, 2]}),
        (SKY, Long(label="Label", write={"primary": "any"}), ANY, None,
         {"id": [f"{image}_{label}" for image in "78" for label in ("clear", "any", "road")],
          "Label": [*ANY[0], *ANY[1]]}),
        (TRAITS, Long(row="{label}/{id}"), [[-3, 1e6], [0.5, 2]], None,
         {"id": ["X4_mean/7", "X11_mean/7", "X4_mean/8", "X11_mean/8"], "label": [-3.0, 1e6, 0.5, 2.0]}),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_row_is(target: Target, form: Submission, predictions: Any, decided: Any, expected: Any) -> None:
    found = table(target, form, predictions, decided)
    assert found == {"id": IDS} | expected
    assert [type(cells[0]) for cells in found.values()] == [
        float if type(cells[0]) is int and form.round is None else type(cells[0])  # type: ignore[attr-defined]
        for cells in ({"id": IDS} | expected).values()
    ]


def test_long_rows_are_in_the_order_of_the_sample() -> None:
    order = ["8_road", "7_clear", "7_road", "7_primary", "8_clear", "8_primary"]
    asked = pd.DataFrame({"Label": ["0.5"] * 6, "ID": order}, dtype="str")
    found = table(SKY, Long(id="ID", label="Label"), ANY, sample=asked)
    assert list(found) == ["Label", "ID"]
    assert found == {"ID": order, "Label": [0.1, 0.9, 0.1, 0.95, 0.2, 0.3]}


# declarations


@pytest.mark.parametrize(
    ("target", "form", "words"),
    [
        (SKY, ClassLabel, "ClassLabel can't be the submission of labels, but of classes or grades"),
        (PETS, JoinedLabels, "JoinedLabels can't be the submission of classes, but of labels"),
        (PAWS, ProbabilityPerClass, "ProbabilityPerClass can't be the submission of numbers"),
        (TRAITS, Value, "Value needs one number, not 2: use Values"),
        (WHALES, lambda: Probability(of="w1"), "Probability needs two classes, not 4: use ProbabilityPerClass"),
        (SKY, lambda: Probability(of="rain"), "submission.of 'rain' is not one of the labels"),
        (PETS, lambda: ClassLabel(write={"cow": "1"}), "submission.write names 'cow', which is not one of the classes"),
        (PETS, lambda: ClassLabel(write={"cat": "dog"}), "submission.write gives two classes the name 'dog'"),
        (Classes(["a b", "c"]), TopClasses, "'a b' has the separator ' ' in it"),
        (WHALES, lambda: TopClasses(k=0), "submission.k must be 1 or more, not 0"),
        (SKY, lambda: JoinedLabels(sep=""), "submission.sep must not be empty"),
        (SKY, lambda: JoinedLabels(order="alphabet"), "submission.order 'alphabet' is not 'declared' or 'probability'"),
        (SKY, lambda: Long(row="{id}"), "row '{id}' must have the placeholders {id} and {label} once"),
        (SKY, lambda: Long(label="id"), "submission.id 'id' is the name of another column too"),
        (Number(0, 0.5), lambda: Value(round=0), "submission.round 0 would round 0.5, an end of the numbers' range"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(target: Target, form: Any, words: str) -> None:
    with pytest.raises(ValueError, match="submission|row|needs|separator") as caught:
        competition(target, form())
    assert words in str(caught.value)


# what Kaggle would refuse


def refused(target: Target, form: Submission, **columns: Sequence[Any]) -> str:
    frame = pd.DataFrame({"id": IDS} | columns)
    with pytest.raises(submissions.RefusedError) as caught:
        submissions.check(frame, competition(target, form), IDS)
    return caught.value.reason


@pytest.mark.parametrize(
    ("target", "form", "cells", "words"),
    [
        (SKY, JoinedLabels(), ["clear", "clear rain"], "have no label of the competition"),
        (SKY, JoinedLabels(), ["clear", "road clear road"], "have a label twice"),
        (SKY, JoinedLabels(), ["clear", None], "have no value"),
        (SKY, JoinedLabels(none="nothing"), ["clear", "nothing clear"], "have no label of the competition"),
        (GRADES, ClassLabel(), ["4", "5"], "have no grade of the competition"),
        (PETS, ClassLabel(write={"cat": "0", "dog": "1"}), ["1", "dog"], "have no class of the competition"),
        (WHALES, TopClasses(k=2), ["w1", "w1 w2 w3"], "have more than 2 guesses"),
        (WHALES, TopClasses(k=2), ["w1", "w1 w1"], "have a class twice"),
        (WHALES, TopClasses(k=2), ["w1", "w9"], "have no class of the competition"),
        (WHALES, TopClasses(k=2), ["w1", ""], "have no guess"),
        (WHALES, ClassAndScore(), ["", "w9 0.5"], "have no class of the competition"),
        (WHALES, ClassAndScore(), ["", "w1"], "have no class with one number from 0 to 1"),
        (WHALES, ClassAndScore(), ["w1 1", "w1 1.5"], "have no class with one number from 0 to 1"),
        (WHALES, ClassAndScore(), ["w1 1", "w1 0.5 w2 0.4"], "have no class with one number from 0 to 1"),
        (WHALES, ClassAndScore(), ["w1 1", "w1 high"], "have no class with one number from 0 to 1"),
        (PAWS, Value(), [100, 100.5], "are outside 1 to 100"),
        (PAWS, Value(), [1, float("nan")], "hold no number"),
        (Number(low=0), Value(), [1e9, -1], "are outside 0 to inf"),
        (SKY, Probability(of="road"), [0, 1.1], "are outside 0 to 1"),
    ],
)  # fmt: skip
def test_the_rows_that_kaggle_would_refuse_are_named(
    target: Target, form: Submission, cells: Sequence[Any], words: str
) -> None:
    assert refused(target, form, label=cells) == f"rows of 1 ids ('8') {words}"


def test_labels_need_not_sum_to_one_and_classes_must() -> None:
    both = {"cat": [0.5, 0.9], "dog": [0.5, 0.9]}
    described = competition(Labels(["cat", "dog"]), ProbabilityPerClass())
    submissions.check(pd.DataFrame({"id": IDS} | both), described, IDS)
    assert refused(PETS, ProbabilityPerClass(), **both) == "rows of 1 ids ('8') do not sum to 1"


def test_each_label_of_a_long_submission_needs_its_row() -> None:
    ids = ["7_clear", "7_primary", "7_road", "8_clear", "8_primary"]
    described = competition(SKY, Long())
    with pytest.raises(submissions.RefusedError, match=r"1 ids \('8_road'\) missing"):
        submissions.check(pd.DataFrame({"id": ids, "label": 0.5}), described, IDS)
    with pytest.raises(submissions.RefusedError, match=r"1 ids \('8_rain'\) not in the test set"):
        submissions.check(pd.DataFrame({"id": [*ids, "8_road", "8_rain"], "label": 0.5}), described, IDS)


def test_numbers_of_a_long_submission_are_within_their_range() -> None:
    rows = pd.DataFrame({"id": ["7_number", "8_number"], "label": [1, 0.5]})
    with pytest.raises(submissions.RefusedError, match=r"'8_number'\) are outside 1 to 100"):
        submissions.check(rows, competition(PAWS, Long()), IDS)


# sample submissions


def read(folder: Path, target: Target, form: Submission, content: str) -> tuple[pd.DataFrame, list[str]]:
    """Return a sample and the remarks that it makes."""
    (folder / "sample_submission.csv").write_text(content)
    files = DataFiles.from_folders([folder], "the data")
    found = samples.read(competition(target, form), files)
    assert found is not None
    return found, files.remarks


@pytest.mark.parametrize(
    ("target", "form", "content", "words"),
    [
        (PETS, ClassLabel(), "id,label\n7,0\n8,0\n", "rows of 2 ids ('7', '8') have no class of the competition: '0'"),
        (PETS, Probability(of="dog"), "id,label\n7,dog\n8,0\n", "rows of 1 ids ('7') hold no number: 'dog'"),
        (PETS, Probability(of="dog"), "id,label\n7,38\n8,0\n", "rows of 1 ids ('7') are outside 0 to 1: '38'"),
        (PETS, ProbabilityPerClass(), "id,dog,cat\n7,a,0\n", "rows of 1 ids ('7') hold no number: 'a 0'"),
        (SKY, JoinedLabels(), "id,label\n7,clear rain\n", "have no label of the competition: 'clear rain'"),
        (WHALES, TopClasses(k=3), "id,label\n7,w1 w2 w3 new_whale\n", "have more than 3 guesses"),
        (WHALES, ClassAndScore(), "id,label\n7,w1\n", "have no class with one number from 0 to 1: 'w1'"),
        (SKY, Long(), "id,label\n7_clear,0\n7_road,0\n", "1 ids ('7_primary') missing"),
        (SKY, Long(), "id,label\n7_clear,0\n7_road,0\n7_primary,0\n7_x,0\n", "('7_x') that are not {id}_{label}"),
    ],
)  # fmt: skip
def test_a_sample_whose_values_can_not_be_of_the_format_is_one_line(
    target: Target, form: Submission, content: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, target, form, content)
    assert words in str(caught.value)
    assert "sample_submission.csv is not in the plugin's submission format" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "form", "content"),
    [
        (WHALES, ClassLabel(), "id,label\n7,\n8, \n9, w1 \n"),
        (PAWS, Value(), "id,label\n7,0\n8,1000\n"),
        (PAWS, Long(), "id,label\n7_number,0\n8_number,0\n"),
        (SKY, JoinedLabels(), "id,label\n7,\n8,clear\n"),
        (SKY, JoinedLabels(none="nothing"), "id,label\n7,nothing\n"),
        (WHALES, TopClasses(), "id,label\n7,w1\n"),
        (WHALES, ClassAndScore(), "id,label\n7,\n8,w1 0.00897\n"),
        (SKY, ProbabilityPerClass(), "id,road,clear,primary\n7,1,1,1\n"),
        (SKY, Long(), "id,label\n7_clear,0\n7_road,0\n7_primary,0\n"),
    ],
)  # fmt: skip
def test_a_sample_may_have_empty_cells_and_placeholders(
    target: Target, form: Submission, content: str, tmp_path: Path
) -> None:
    sample, remarks = read(tmp_path, target, form, content)
    assert remarks == []
    assert submissions.images_of(competition(target, form), sample)[0] == "7"


def test_a_sample_with_classes_that_nobody_has_is_remarked(tmp_path: Path) -> None:
    _, remarks = read(tmp_path, PETS, ClassLabel(), "id,label\n7,cat\n8,676\n")
    assert remarks == [
        "the sample submission has placeholders: rows of 1 ids ('8') have no class of the competition: '676'"
    ]


def test_classes_whose_sample_looks_like_labels_are_remarked(tmp_path: Path) -> None:
    _, remarks = read(tmp_path, PETS, ProbabilityPerClass(), "id,cat,dog\n7,0,0\n8,0.5,0.5\n")
    assert remarks == [
        "1 rows of the sample submission do not sum to 1, for example to 0: if an image may have several labels, the "
        "plugin's target is Labels"
    ]


def test_the_index_that_pandas_wrote_into_a_sample_is_left_out(tmp_path: Path) -> None:
    sample, remarks = read(tmp_path, PETS, ClassLabel(), ",id,label\n17,7,cat\n3,8,cat\n")
    assert sample.to_dict("list") == {"id": ["7", "8"], "label": ["cat", "cat"]}
    assert remarks == ["sample_submission.csv is read as a table whose first column numbers its rows"]
    with pytest.raises(UserError, match="has the columns , id, label"):
        read(tmp_path, PETS, ClassLabel(), ",id,label\nx,7,cat\n")


# all formats

NAMES = st.lists(st.text("abcé019_-.", min_size=1, max_size=4), min_size=2, max_size=5, unique=True)
FORMS = (
    "probability", "per class", "class", "grade", "label", "per label", "tags", "top", "score", "value", "values",
    "shares", "long",
)  # fmt: skip


def drawn_form(kind: str, names: list[str]) -> tuple[Target, Submission]:
    """Return a target and a format of a kind, with ids that no name is."""
    given: dict[str, Any] = {"id": "the id"}
    write = {"write": {names[0]: "the first", names[-1]: names[0]}}
    sep = {"sep": ", ", "label": "the label"}
    made: dict[str, tuple[Any, Any]] = {
        "probability": (Classes(names[:2]), lambda: Probability(**given, of=names[1])),
        "per class": (Classes(names), lambda: ProbabilityPerClass(**given, **write)),
        "class": (Classes(names), lambda: ClassLabel(**given, **write)),
        "grade": (Grades(names), lambda: ClassLabel(**given, **write)),
        "label": (Labels(names), lambda: Probability(**given, of=names[-1])),
        "per label": (Labels(names), lambda: ProbabilityPerClass(**given, **write)),
        "tags": (Labels(names), lambda: JoinedLabels(**given, **write, **sep, order="probability", none="none at all")),
        "top": (Classes(names), lambda: TopClasses(**given, **write, **sep, k=3)),
        "score": (Classes(names), lambda: ClassAndScore(**given, **write, **sep)),
        "value": (Number(0, 0.75), lambda: Value(**given, round=2)),
        "values": (Numbers(names), lambda: Values(**given, **write)),
        "shares": (Shares(names), lambda: ProbabilityPerClass(**given, **write)),
        "long": (Labels(names), lambda: Long(**given, **write, row="{id}: {label}")),
    }
    target, form = made[kind]
    return target, form()


@settings(max_examples=10)
@pytest.mark.parametrize("kind", FORMS)
@given(data=st.data())
def test_runs_and_bundles_write_the_same_rows_which_are_accepted_and_belong_to_their_ids(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target, form = drawn_form(kind, data.draw(NAMES))
    described = competition(target, form)
    ids = data.draw(st.lists(st.text("xyz019 ,'\"é-", min_size=1, max_size=5), min_size=1, max_size=9, unique=True))
    shape = (len(ids), len(target.columns))
    weights = data.draw(arrays.arrays(np.float64, shape, elements=st.floats(0.0625, 1, width=32)))
    predictions = weights / weights.sum(axis=1, keepdims=True) if target.exclusive else weights

    frame = submissions.lay_out(described, ids, predictions, None)
    submissions.check(frame, described, ids)
    about = json.loads(json.dumps(submissions.describe(described, [])))
    folder = tmp_path_factory.getbasetemp()
    submissions.write(frame, folder / "run.csv")
    standalone.write(folder / "bundle.csv", about, about["columns"], ids, predictions)
    assert (folder / "bundle.csv").read_bytes() == (folder / "run.csv").read_bytes()

    back = submissions.parse((folder / "run.csv").read_bytes())
    submissions.check(form.typed(back), described, ids)
    assert form.sample_fault(back, target) == ""
    assert submissions.images_of(described, back) == ids
    assert json.loads(json.dumps(form.words(target)))

    order = data.draw(st.permutations(range(len(ids))))
    shuffled = submissions.lay_out(described, [ids[place] for place in order], predictions[order], back)
    pd.testing.assert_frame_equal(shuffled, frame)


def test_a_submission_of_five_thousand_rows_is_one_of_the_bundle_too(tmp_path: Path) -> None:
    described = competition(PETS, Probability(of="dog"))
    ids = [str(number) for number in range(5000)]
    predictions = np.random.default_rng(0).dirichlet([1, 1], 5000)
    about = submissions.describe(described, [])
    path = tmp_path / "submission.csv"
    standalone.write(path, about, ["label", "id"], ids, predictions)
    with path.open(encoding="utf-8", newline="") as file:
        back = [(row["id"], float(row["label"])) for row in csv.DictReader(file)]
    assert back == list(zip(ids, predictions[:, 1].tolist(), strict=True))


# files from elsewhere

PLUGIN = """
from kagglekit import *

@hookimpl
def competition():
    return Competition(name="leaf", kaggle="leaf", target=TARGET, train=FolderLabels("train/{label}"),
        test="test/{id}.jpg", submission=FORM)
"""


@pytest.mark.parametrize(
    ("target", "form", "sample", "good", "bad", "words"),
    [
        ("Labels(FromCsv('tags.csv', 'tags', sep=' '))", "JoinedLabels()", "7,clear\n8,\n",
         "8,road clear\n7,\n", "8,rain\n7,\n",
         "rows of 1 ids ('8') have no label of the competition"),
        ("Classes(FromCsv('tags.csv', 'id'))", "TopClasses(k=2)", "7,1\n8,1\n", "7,1 2\n8,3\n", "7,1 2 3\n8,3\n",
         "rows of 1 ids ('7') have more than 2 guesses"),
        ("Number(1, 100)", "Value()", "7,0\n8,0\n", "7,55.5\n8,1\n", "7,55.5\n8,0\n",
         "rows of 1 ids ('8') are outside 1 to 100"),
        ("Labels(['a', 'b'])", "Long()", "7_a,0\n7_b,0\n", "7_b,0.5\n7_a,1\n", "7_a,0\n",
         "1 ids ('7_b') missing"),
        ("Classes(['a', 'b'])", "ClassLabel(write={'a': '0', 'b': '1'})", "7,0\n", "7,1\n", "7,a\n",
         "rows of 1 ids ('7') have no class of the competition"),
    ],
)  # fmt: skip
def test_a_file_of_any_format_is_checked_against_the_data(
    target: str, form: str, sample: str, good: str, bad: str, words: str, tmp_path: Path, home: Path
) -> None:
    data = home / "leaf" / "data"
    (data / "test").mkdir(parents=True)
    (data / "test" / "7.jpg").write_bytes(drawing.image(0, 7))
    for place in range(6):
        folder = data / "train" / str(place % 3 + 1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.jpg").write_bytes(drawing.image(place % 3, place))
    (data / "tags.csv").write_text("id,tags\n1,clear road\n2,clear\n3,\n")
    (data / "sample_submission.csv").write_text(f"id,label\n{sample}")
    (tmp_path / "leaf.py").write_text(PLUGIN.replace("TARGET", target).replace("FORM", form))
    project, said = Project.load(str(tmp_path / "leaf.py")), io.StringIO()
    mine = tmp_path / "mine.csv"
    mine.write_text(f"id,label\n{good}")
    select.check(select.Choice(mine, None), project, Console(said))
    assert "mine.csv is valid: " in said.getvalue()
    mine.write_text(f"id,label\n{bad}")
    with pytest.raises(UserError, match="mine.csv was not sent, Kaggle would refuse it: ") as caught:
        select.check(select.Choice(mine, None), project, Console(said))
    assert words in str(caught.value)


def test_white_space_of_a_sample_submission_has_no_meaning_unless_a_class_has_it() -> None:
    form, target = ClassLabel(label="kind"), Classes(["1 ", "0"])

    def fault(*cells: str) -> str:
        return form.sample_fault(pd.DataFrame({"id": ["a", "b"], "kind": cells}, dtype="str"), target)

    assert fault("1 ", "1 ") == fault("0 ", " 0") == ""
    assert "have no class of the competition" in fault("1", "1")
