"""Competitions of every task are drawn in every declared layout, are found again, and can be learnt."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit import (
    Classes,
    ClassLabel,
    CocoIds,
    CocoLabels,
    Columns,
    Competition,
    CsvGroups,
    CsvIds,
    CsvLabels,
    FilenameLabels,
    FolderLabels,
    FromCsv,
    FromSample,
    FromTrain,
    Grades,
    JoinedLabels,
    Labels,
    Long,
    Number,
    Numbers,
    OneHot,
    Probability,
    ProbabilityPerClass,
    RowPerLabel,
    Shares,
    Tags,
    Together,
    TopClasses,
    UserError,
    Value,
    Values,
)
from kagglekit.authoring import testing
from kagglekit.competitions import synthetic
from kagglekit.competitions.synthetic import pictures, subjects
from kagglekit.recipe import DEFAULT_FOLDS
from tests.test_synthetic import plugin_of

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
SKY = ["haze", "clear", "road", "water", "slash"]
WEATHER = ["haze", "clear"]


USUAL: dict[str, Any] = {
    "classes": ProbabilityPerClass(),
    "labels": JoinedLabels(),
    "grades": ClassLabel(),
    "numbers": Values(),
    "shares": ProbabilityPerClass(),
}


def described(target: Any, submission: Any = None, **changes: Any) -> Competition:
    fields: dict[str, Any] = {
        "name": "drawn",
        "kaggle": "",
        "target": target,
        "train": listed(),
        "test": "test/{id}.jpg",
        "submission": submission or USUAL[target.kind],
    }
    return Competition(**fields | changes)


def listed(label: Any = "label", images: Any = "train/{id}.jpg", **more: Any) -> CsvLabels:
    return CsvLabels("train.csv", images=images, id="image", label=label, **more)


def dull(competition: Competition, subject: subjects.Subject, group: int, seed: int) -> Pixels:
    """Stand in for an image."""
    return np.full((8, 8, 3), seed % 256, np.uint8)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "draw", dull)


def members(drawn: synthetic.Drawn) -> dict[str, bytes]:
    with zipfile.ZipFile(drawn.archive) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def table(drawn: synthetic.Drawn, name: str = "train.csv") -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(members(drawn)[name]), dtype="str", keep_default_na=False)


ANY = Labels(SKY)
LAYOUTS: dict[str, Competition] = {
    "one-hot classes": described(Classes(["a", "b"]), ClassLabel(), train=listed(OneHot())),
    "one-hot columns, renamed": described(
        Classes(["a", "b"]), train=listed(OneHot(["is_b", "is_a"]), labels={"is_a": "a", "is_b": "b"})
    ),
    "one-hot classes of the data": described(Classes(FromTrain()), train=listed(OneHot(["b", "a"]))),
    "one-hot grades": described(Grades(4), ClassLabel(), train=listed(OneHot())),
    "one-hot labels": described(ANY, ProbabilityPerClass(), train=listed(OneHot())),
    "tags": described(Labels(SKY, one_of=[WEATHER]), JoinedLabels(label="tags"), train=listed(Tags("tags"))),
    "tags of the data": described(Labels(FromTrain()), JoinedLabels(), train=listed(Tags("tags", sep=", "))),
    "tags of a column": described(Labels(FromCsv("train.csv", "tags", sep=" ")), train=listed(Tags("tags"))),
    "tags with other names": described(ANY, train=listed(Tags("tags"), labels={"0": "haze", "1": "clear"})),
    "tags, one at least": described(Labels(SKY, at_least_one=True), JoinedLabels(), train=listed(Tags("tags"))),
    "labels as files have them": described(ANY, train=listed()),
    "labels in folders": described(ANY, train=FolderLabels("train/{label}")),
    "labels in file names": described(Labels(FromTrain()), train=FilenameLabels("train/{label}_{n}.jpg")),
    "a row a label": described(ANY, train=listed(RowPerLabel("tag"))),
    "a row a class": described(Classes(FromTrain()), train=listed(RowPerLabel("kind"))),
    "a row a label and value": described(ANY, ProbabilityPerClass(), train=listed(RowPerLabel("tag", value="is"))),
    "ids with labels": described(ANY, Long(id="ID"), train=listed(RowPerLabel("{id}_{label}", value="Label"))),
    "labels of ids": described(Labels(FromTrain()), Long(), train=listed(RowPerLabel("{id}_{label}", value="Label"))),
    "a binary label": described(Labels(["cactus"]), Probability(of="cactus")),
    "a column a number": described(Numbers(["X4", "X11"]), Values(), train=listed(Columns())),
    "columns with other names": described(Numbers(["x", "y"], low=0), Long(), train=listed(Columns(["X4", "X11"]))),
    "columns of the data": described(Numbers(FromTrain()), Values(), train=listed(Columns(["X11", "X4"]))),
    "numbers that may be missing": described(Numbers(["x", "y"], missing=True), Long(), train=listed(Columns())),
    "shares": described(Shares(["Class1.1", "Class1.2"]), ProbabilityPerClass(), train=listed(Columns())),
    "shares of the sample": described(Shares(FromSample()), ProbabilityPerClass(), train=listed(Columns())),
    "a number": described(Number(1, 100), Value(label="Pawpularity")),
    "a number in file names": described(Number(0.5, 2.5), Value(), train=FilenameLabels("train/{label}_{n}.jpg")),
    "a number above": described(Number(low=10), Value(round=2)),
    "a number below": described(Number(high=-3.5), Value()),
    "grades": described(Grades(5), ClassLabel(label="diagnosis")),
    "grades in words": described(Grades({"low": "few", "mid": "some", "high": "many"}), ProbabilityPerClass()),
    "grades of the data": described(Grades(FromTrain()), ClassLabel()),
    "grades in folders": described(Grades(3), train=FolderLabels("train/{label}")),
    "classes of the data": described(Classes(FromTrain()), ClassLabel()),
    "classes of folders": described(Classes(FromTrain()), ClassLabel(), train=FolderLabels("train/{label}")),
    "classes of file names": described(
        Classes(FromTrain()), Probability(of="dog"), train=FilenameLabels("train/{label}.{n}.jpg")
    ),
    "classes of the sample": described(Classes(FromSample()), ProbabilityPerClass()),
    "classes of the column": described(Classes(FromCsv("train.csv", "label")), TopClasses(k=3)),
    "classes of a table": described(Classes(FromCsv("breeds.csv", "code", names="breed")), ClassLabel()),
    "names beside labels": described(Classes(FromCsv("train.csv", "label", names="name")), ClassLabel()),
    "new whales": described(Classes(FromTrain(), unseen="new_whale"), TopClasses(label="Id")),
    "flips of names that only the data lists": described(
        Classes(FromTrain()), flip={"left": "right", "right": "left"}, metric="accuracy"
    ),
    "classes with other names": described(
        Classes(["cat", "dog"]), ClassLabel(write={"cat": "0", "dog": "1"}), train=listed(labels={"0": "cat"})
    ),
    "annotations": described(ANY, train=CocoLabels("train.json", images="train/{file_name}", group="location")),
    "annotations by name": described(
        Classes(FromTrain()), train=CocoLabels("a/train.json", images="train/{file_name}.jpg", category="name")
    ),
    "annotations by number": described(
        Classes(FromTrain()), ClassLabel(), train=CocoLabels("train.json", images="train/{file_name/}")
    ),
    "groups in a column": described(Classes(["a", "b"]), train=listed(group="patient")),
    "groups in rows of labels": described(ANY, train=listed(RowPerLabel("tag"), group="patient")),
    "groups in names": described(Number(0, 9), train=listed(images="train/{group}_{id}.jpg")),
    "ids that are names with groups": described(Number(0, 9), train=listed(images="train/{group}_{eye}.jpg")),
    "groups in folders": described(
        Classes(["a", "b"]), train=FolderLabels("train/{group}/{label}"), test="test/{group}/{id}.jpg"
    ),
    "groups in another table": described(ANY, train=listed(Tags("tags")), groups=CsvGroups("who.csv", "file", "who")),
    "groups of rows of labels": described(
        ANY, train=listed(RowPerLabel("tag")), groups=CsvGroups("train.csv", image="image", group="who")
    ),
    "a shared folder": described(
        Classes(["a", "b"]),
        ProbabilityPerClass(),
        train=listed(images="images/{id}.jpg", only_listed=True),
        test="images/{id}.jpg",
    ),
    "a shared folder and two tables": described(
        Number(0, 1),
        Value(),
        train=listed(images="images/{id}.png", only_listed=True),
        test=CsvIds("test.csv", images="images/{id}.png", id="image"),
    ),
    "test images that the sample lists": described(
        Number(0, 1),
        Value(id="image"),
        train=listed(images="images/{id}", only_listed=True),
        test=CsvIds("sample_submission.csv", images="images/{id}", id="image"),
    ),
    "test ids in a JSON file": described(
        Classes(FromTrain()), ClassLabel(), test=CocoIds("test.json", images="test/{file_name}")
    ),
    "annotations by another name": described(
        Classes(FromTrain()), train=CocoLabels("t.json", images="train/{file_name/}", category="scientificName")
    ),
    "ids of two columns": described(Number(0, 9), train=CsvLabels("t.csv", "train/{id/}", "{chain}/{image}", "label")),
    "rows of several groups a patient": described(
        Classes(["0", "1"]), Probability(of="1", per_group="max"),
        train=listed(group="patient", row="{patient}_{side}"),
        test=CsvIds("test.csv", images="test/{id}.jpg", id="image", group="{patient}_{side}"),
    ),
    "rows of a column": described(
        Grades(3), ClassLabel(per_group="mean"), train=listed(row="plant"),
        test=CocoIds("test.json", images="test/{file_name}", group="plant"),
    ),
    "rows of groups in folders, with a validation set": described(
        Number(0, 9), Value(per_group="max"), train=FilenameLabels("train/{group}/{label}_{n}.jpg"),
        valid=FilenameLabels("valid/{group}/{label}_{n}.jpg"), test="test/{group}/{slice}.jpg",
    ),
    "labels of groups": described(
        ANY, Long(per_group="noisy-or"), train=listed(OneHot(), "train/{group}/{slice}.jpg", per_group=True),
        test="test/{group}/{slice}.jpg",
    ),
    "labels of groups of another table": described(
        ANY, train=listed(RowPerLabel("tag"), per_group=True), groups=CsvGroups("who.csv", "file", "who")
    ),
    "several trees": described(
        Classes(["a", "b"]), train=listed(images=Together("one/{id}.jpg", "two/{id}.jpg")),
        test=Together("test/{id}.jpg", "holdout/{id}.jpg"),
    ),
    "a validation set": described(
        Number(1, 10), train=FilenameLabels("train/{label}_{n}.jpg"), valid=FilenameLabels("valid/{label}_{n}.jpg")
    ),
    "no test set": described(ANY, test=()),
    "ids with an ending": described(Number(0, 1), Value(id_format="{id}.jpg")),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_drawn_and_found_again(name: str, tmp_path: Path, cheap: None) -> None:
    drawn = synthetic.draw(LAYOUTS[name], tmp_path)
    testing.check_tables(plugin_of(LAYOUTS[name]), drawn)
    assert bool(drawn.groups) == LAYOUTS[name].has_groups
    if LAYOUTS[name].has_groups:
        assert len(set(drawn.groups.values())) > DEFAULT_FOLDS
    assert len(drawn.test) == len(drawn.test_ids) == (0 if name == "no test set" else len(drawn.test))


def test_a_table_has_the_declared_columns(tmp_path: Path, cheap: None) -> None:
    def columns(name: str) -> list[str]:
        return list(table(synthetic.draw(LAYOUTS[name], tmp_path)).columns)

    assert columns("one-hot labels") == ["image", *SKY]
    assert columns("one-hot columns, renamed") == ["image", "is_b", "is_a"]
    assert columns("columns with other names") == ["image", "X4", "X11"]
    assert columns("ids with labels") == ["image", "Label"]
    assert columns("groups in rows of labels") == ["image", "patient", "tag"]
    assert columns("names beside labels") == ["image", "label", "name"]


def test_names_that_only_the_data_lists_are_invented_and_those_that_are_mentioned_are_among_them(
    tmp_path: Path, cheap: None
) -> None:
    def names(name: str) -> set[str]:
        return set(synthetic.draw(LAYOUTS[name], tmp_path).train.values())

    assert names("classes of the data") == {"kind1", "kind2", "kind3", "kind4"}
    assert names("classes of file names") == {"dog", "kind1"}
    assert names("new whales") == {"new_whale", "kind1", "kind2", "kind3"}
    assert names("flips of names that only the data lists") == {"left", "right", "kind1", "kind2"}
    assert names("grades of the data") == {"0", "1", "2", "3"}
    assert names("annotations by number") == {"1", "2", "3", "4"}


@pytest.mark.parametrize(
    ("target", "metric", "names"),
    [
        (Classes(FromTrain()), "auc", {"kind1", "kind2"}),
        (Classes(FromTrain()), "average_precision", {"kind1", "kind2"}),
        (Classes(FromTrain()), "f1(binary, positive=yes)", {"yes", "kind1"}),
        (Labels(FromTrain()), "auc", {"kind1"}),
        (Labels(FromTrain()), "log_loss(weights={'any': 2, 'sub_*': 1})", {"any", "sub_1", "kind1", "kind2"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invented_names_are_so_many_as_the_metric_takes_and_those_that_it_names(
    target: Any, metric: str, names: set[str]
) -> None:
    known = synthetic.invented(described(target, ProbabilityPerClass(), metric=metric))
    assert set(known.labels) == names
    testing.check_metric(plugin_of(known), known)


def test_a_description_that_no_invented_names_fit_is_one_line(tmp_path: Path) -> None:
    many = described(Classes(FromTrain()), Probability(of="a"), flip={"b": "c", "c": "b"})
    with pytest.raises(UserError, match=r"only its data lists what is predicted: Probability needs two .*--data PATH"):
        synthetic.draw(many, tmp_path)


def test_annotations_are_as_coco_has_them(tmp_path: Path, cheap: None) -> None:
    drawn = synthetic.draw(LAYOUTS["annotations"], tmp_path)
    content = json.loads(members(drawn)["train.json"])
    assert [each["name"] for each in content["categories"]] == SKY
    assert set(content["images"][0]) == {"id", "file_name", "location"}
    assert {each["image_id"] for each in content["annotations"]} < {each["id"] for each in content["images"]}


def labels_of(target: Labels, **more: Any) -> list[set[str]]:
    described_ = described(target, **more)
    turns = subjects.of(described_).train(6, 5)
    return [set(filter(None, subject.label.split("|"))) for subject, _ in turns]


def test_sets_of_labels_keep_what_the_target_demands() -> None:
    for own in labels_of(Labels(SKY, one_of=[WEATHER], at_least_one=True)):
        assert len(own & set(WEATHER)) == 1
    assert min(map(len, labels_of(Labels(SKY, at_least_one=True)))) == 1
    assert min(map(len, labels_of(Labels(SKY)))) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 17, 200])
def test_every_label_is_there_and_missing_and_the_last_of_several_is_rare(count: int) -> None:
    names = [f"l{number}" for number in range(count)]
    sets = labels_of(Labels(names))
    shares = [np.mean([name in own for own in sets]) for name in names]
    assert 0 < min(shares) <= max(shares) < 0.8
    assert (shares[-1] < 0.05) == (count > 2)


def test_groups_tell_nothing_of_labels() -> None:
    turns = subjects.of(described(Labels(SKY, one_of=[WEATHER]), groups=CsvGroups("g.csv", "i", "g"))).train(6, 5)
    hazy = [[subject.label.startswith("haze") for subject, turn in turns if turn % 6 == group] for group in range(6)]
    assert all(0.2 < np.mean(group) < 0.8 for group in hazy)


@pytest.mark.parametrize(("low", "high"), [(1, 100), (0, 1), (-2.5, 7), (None, None), (5, None), (None, 5)])
def test_numbers_lie_in_their_range_and_fill_it(low: float | None, high: float | None) -> None:
    target = Number(low, high)
    texts = [subject.label for subject, _ in subjects.of(described(target)).train(1, 5)]
    numbers = np.array(list(map(float, texts)))
    assert low is None or numbers.min() >= low
    assert high is None or numbers.max() <= high
    assert len(set(texts)) > 60
    assert all("." not in text for text in texts) == ((low, high) == (1, 100) or None in (low, high))


# what is drawn can be learnt


def features(described_: Competition, turns: list[subjects.Turn], start: int) -> Pixels:
    """Return how much of each of some colours each image has, wherever it is, (N, F)."""
    rows = []
    for number, (subject, turn) in enumerate(turns):
        pixels = pictures.draw(described_, subject, turn % 6, start + number)[:104] // 52
        codes = pixels[..., 0] * 25 + pixels[..., 1] * 5 + pixels[..., 2]
        rows.append(np.sqrt(np.bincount(codes.ravel(), minlength=125)))
    return np.array(rows)


@pytest.mark.parametrize(
    "target",
    [Labels(SKY, one_of=[WEATHER]), Grades(5), Number(1, 100), Numbers(["x", "y"]), Shares(["a", "b", "c"])],
    ids=lambda target: type(target).__name__,
)
def test_a_linear_model_of_colours_learns_what_is_drawn(target: Any) -> None:
    from sklearn.linear_model import Ridge

    described_ = described(target, flip="allowed")
    series, task = subjects.of(described_), described_.task
    train, test = series.train(6, 5), series.test(360)
    truth, wanted = (task.truth([subject.label for subject, _ in turns]) for turns in (train, test))
    model = Ridge(10.0).fit(features(described_, train, 0), truth)
    predicted = model.predict(features(described_, test, 1000)).reshape(wanted.shape)
    explained = 1 - np.var(predicted - wanted, axis=0) / np.var(wanted, axis=0)
    rare = isinstance(target, Labels)
    assert np.all((explained[:-1] if rare else explained) > 0.6), explained


# mirrors


@pytest.mark.parametrize("flip", ["allowed", "forbidden", {"haze": "clear", "clear": "haze"}], ids=str)
def test_labels_that_a_mirror_swaps_have_sides(flip: Any) -> None:
    described_ = described(ANY, flip=flip)

    def side(name: str) -> int:
        return pictures._thing(described_, SKY.index(name), 1.0).side

    if flip == "allowed":
        assert [side(name) for name in SKY] == [0] * 5
    elif flip == "forbidden":
        assert [side(name) for name in SKY] == [-1, 1, -1, 1, -1]
    else:
        assert [side(name) for name in SKY] == [-1, 1, 0, 0, 0]
        haze, clear = (pictures._thing(described_, place, 1.0) for place in (0, 1))
        assert haze._replace(side=1) == clear


def test_the_bar_of_a_shape_is_on_its_side() -> None:
    described_ = described(Labels(["left", "right"]), flip={"left": "right", "right": "left"})
    for place, expected in ((0, -1), (1, 1)):
        subject = subjects.Subject("", ((place, 1.0),))
        pixels = pictures.draw(described_, subject, 0, 5)[:104].astype(int)
        white = np.argwhere(pixels.min(axis=2) > 190)[:, 1].mean()
        spread = pixels.max(axis=2) - pixels.min(axis=2)
        shape = np.argwhere(spread > 130)[:, 1].mean()
        assert np.sign(white - shape) == expected


def test_images_of_a_group_show_the_same_and_some_are_alone() -> None:
    series = subjects.of(LAYOUTS["labels of groups"])
    groups: dict[int, list[str]] = {}
    for subject, turn in series.train(6, DEFAULT_FOLDS):
        groups.setdefault(turn, []).append(subject.label)
    assert all(len(set(own)) == 1 for own in groups.values())
    assert {len(own) for own in groups.values()} == {1, 2}
