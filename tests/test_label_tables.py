"""Where labels are: each way in which a plugin may declare it, and data that does not fit."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagglekit import (
    Classes,
    CocoIds,
    CocoLabels,
    Columns,
    Competition,
    CsvIds,
    CsvLabels,
    FolderLabels,
    FromCsv,
    FromSample,
    FromTrain,
    Grades,
    Labels,
    Number,
    Numbers,
    OneHot,
    OwnFormat,
    RowPerLabel,
    Shares,
    Tags,
    UserError,
)
from kagglekit.competitions import contracts, layout, resolving
from kagglekit.competitions.datafiles import DataFiles

Files = Mapping[str, str]


def competition(**changes: Any) -> Competition:
    described: dict[str, Any] = {
        "name": "leaves",
        "kaggle": "",
        "train": FolderLabels("train/{label}"),
        "test": (),
        "submission": OwnFormat(),
    }
    return Competition(**described | changes)


def labelled(label: Any, **more: Any) -> CsvLabels:
    return CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=label, **more)


def data(folder: Path, files: Files) -> DataFiles:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return DataFiles.from_folders([folder], "the test's data")


def images(*names: str, folder: str = "train") -> dict[str, str]:
    return {f"{folder}/{name}.jpg": "" for name in names}


def lines(table: str) -> str:
    """Return a table whose lines are separated by slashes here, for brevity."""
    return table.replace("/", "\n") + "\n"


def read(described: Competition, files: DataFiles) -> tuple[Competition, pd.DataFrame]:
    """Return the competition with what its data says of the target, and the checked table of training images."""
    described = resolving.resolve(described, files, lambda each: layout.read_train(each, files))
    return described, contracts.check_train(layout.read_train(described, files), described, "the test's data")


def refused(described: Competition, files: DataFiles) -> str:
    with pytest.raises(UserError) as caught:
        read(described, files)
    message = str(caught.value)
    assert "\n" not in message
    return message


ONE_HOT = "id,healthy,rust/a,1,0/b,0,1/c,1.0,False"


@pytest.mark.parametrize(
    ("target", "label", "table", "columns", "labels"),
    [
        (Classes(FromTrain()), OneHot(), ONE_HOT, ("healthy", "rust"), ["healthy", "rust", "healthy"]),
        (Classes(["rust", "healthy"]), OneHot(), ONE_HOT, ("rust", "healthy"), ["healthy", "rust", "healthy"]),
        (
            Labels(FromTrain()),
            OneHot(["B", "A"]),
            "id,A,B,C/a,1,1,7/b,0,0,8/c,1,0,9",
            ("B", "A"),
            ["B|A", "", "A"],
        ),
        (Labels(FromTrain()), Tags("tags"), "id,tags/a,x  y/b,/c,y x y", ("x", "y"), ["x|y", "", "x|y"]),
        (Labels(["y", "x"]), Tags("tags", ","), 'id,tags/a,"x, y"/b,x/c,y', ("y", "x"), ["y|x", "x", "y"]),
        (
            Numbers(["X4", "X11"]),
            Columns(),
            "id,X11,z,X4/a,1,9,2/b,3,9,4/c,5,9,6",
            ("X4", "X11"),
            ["2|1", "4|3", "6|5"],
        ),
        (Shares(FromTrain()), Columns(), "id,s,t/a,0.5,1/b,0,0/c,0,1", ("s", "t"), ["0.5|1", "0|0", "0|1"]),
        (Number(1, 100), "Score", "id,Score,x/a,63,0/b,1,0/c, 100,0", ("number",), ["63", "1", "100"]),
        (Grades(3), "level", "id,level/a,2/b,0/c,1", ("0", "1", "2"), ["2", "0", "1"]),
        (
            Classes(FromCsv("names.csv", "code", names="name")),
            "label",
            "id,label/a,1/b,2/c,1",
            ("1", "2"),
            ["1", "2", "1"],
        ),
        (
            Labels(FromTrain()),
            RowPerLabel("tag"),
            "id,tag/a,x/b,/a,y/c,y/a,x",
            ("x", "y"),
            ["x|y", "", "y"],
        ),
        (
            Labels(["any", "sub_dural"]),
            RowPerLabel("{id}_{label}", value="Label"),
            "id,Label/a_any,1/a_sub_dural,1/b_any,0/b_sub_dural,0/c_any,1/c_sub_dural,0/c_any,1",
            ("any", "sub_dural"),
            ["any|sub_dural", "", "any"],
        ),
        (
            Labels(FromTrain()),
            RowPerLabel("{id}_{label}", value="Label"),
            "id,Label/a_any,1/a_epidural,1/b_any,0/c_any,1",
            ("any", "epidural"),
            ["any|epidural", "", "any"],
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | tuple | list) else "",
)
def test_labels_are_read_as_declared(
    target: Any, label: Any, table: str, columns: tuple[str, ...], labels: list[str], tmp_path: Path
) -> None:
    files = data(
        tmp_path, images("a", "b", "c") | {"train.csv": lines(table), "names.csv": lines("code,name/2,two/1,one/,")}
    )
    described, train = read(competition(target=target, train=labelled(label)), files)
    assert described.labels == columns
    assert train["label"].tolist() == labels


@pytest.mark.parametrize(
    ("target", "label", "table", "words"),
    [
        (
            Classes(["A", "B"]),
            OneHot(),
            "id,A,B/a,1,1/b,0,1/c,1,1",
            "2 training images have a wrong label: 'A|B' has 2",
        ),
        (
            Classes(["A", "B"]),
            OneHot(),
            "id,A,B/a,1,0/b,0,0/c,0,1",
            "1 rows of train.csv have no label, for example that of 'b'",
        ),
        (
            Labels(["A", "B"]),
            OneHot(),
            "id,A,B/a,1,0/b,2,0/c,,1",
            "'2' in column 'A' of 'b', and in 2 rows neither 0 nor 1",
        ),
        (Labels(["A", "B"]), OneHot(), "id,A/a,1/b,0/c,1", "train.csv has no column 'B'; it has id, A"),
        (Labels(FromTrain()), OneHot(), "id,A,age/a,1,50/b,0,0/c,1,1", "'50' in column 'age' of 'a', and in 1 rows"),
        (Labels(["A", "B"]), Tags("tags"), "id,tags/a,A/b,Z/c,Z B", "2 training images have a wrong label: 'Z' in 'Z'"),
        (
            Labels(["A", "B"], at_least_one=True),
            Tags("tags"),
            "id,tags/a,A/b,/c,B",
            "1 rows of train.csv have no label, for example that of 'b'",
        ),
        (
            Labels(["A", "B"]),
            Tags("tags", ","),
            "id,tags/a,A/b,A B/c,B",
            "1 rows of train.csv have ' ' in column 'tags', for example 'A B'",
        ),
        (Labels(FromTrain()), Tags("tags"), 'id,tags/a,A/b,"A,B"/c,"B, A"', "set sep=','"),
        (Labels(FromTrain()), Tags("keywords"), "id,tags/a,A/b,A B/c,B", "train.csv has no column 'keywords'"),
        (
            Number(1, 100),
            "tags",
            "id,tags/a,1/b,101/c,0",
            "2 training images have a wrong label: '101' is outside 1 to 100",
        ),
        (Number(1, 100), "tags", "id,tags/a,1/b,/c,2", "1 rows of train.csv have no tags, for example that of 'b'"),
        (Shares(["s", "t"]), Columns(), "id,s,t/a,1,0/b,1,/c,0,0", "'' is not a number"),
        (
            Labels(["A"]),
            RowPerLabel("tag", value="has"),
            "id,tag,has/a,A,1/b,A,0/c,A,0/a,A,0",
            "two rows of 'a' and label 'A', with 0 and with 1",
        ),
        (
            Labels(["A"]),
            RowPerLabel("{id}_{label}", value="has"),
            "id,has/a_A,1/b_B,0/c_A,0",
            "1 rows of train.csv have an id that is not like '{id}_{label}'",
        ),
        (
            Classes(["A", "B"]),
            RowPerLabel("tag"),
            "id,tag/a,A/b,A/b,B/c,A",
            "1 images several labels, for example 'b' 'A' and 'B', and exactly one is declared",
        ),
        (Classes(FromCsv("gone.csv", "x")), "tags", "id,tags/a,A/b,A/c,B", "has no gone.csv"),
        (Classes(FromCsv("train.csv", "x")), "tags", "id,tags/a,A/b,A/c,B", "train.csv has no column 'x'"),
        (
            Classes(FromTrain()),
            "tags",
            "id,tags/a,A/b,A/c,A",
            "the data has 1 labels: classes must map at least two labels",
        ),
        (Classes(FromSample()), "tags", "id,tags/a,A/b,A/c,B", "has no sample submission, whose columns name"),
    ],
)
def test_what_does_not_fit_is_one_line_with_value_count_and_cure(
    target: Any, label: Any, table: str, words: str, tmp_path: Path
) -> None:
    files = data(tmp_path, images("a", "b", "c") | {"train.csv": lines(table)})
    assert words in refused(competition(target=target, train=labelled(label)), files)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": labelled(Tags("tags"))}, "Tags is for targets of labels, not of classes: declare target=Labels(…)"),
        ({"train": labelled(Columns()), "target": Labels(["a"])}, "Columns is for targets of numbers or shares"),
        ({"train": labelled(OneHot()), "target": Number()}, "OneHot is for targets of classes or grades or labels"),
    ],
)
def test_a_way_of_writing_that_no_such_target_has_is_refused_at_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        competition(**changes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Tags("tags", sep=""), "must have a separator"),
        (lambda: OneHot("healthy"), "must list columns, not 'healthy'"),
        (lambda: Columns(["a", "a"]), "names the column 'a' twice"),
        (lambda: RowPerLabel("{id}"), "must have the placeholders"),
        (lambda: CsvLabels("../train.csv", "train/{id}.jpg", "id", "label"), "below the data folder"),
        (lambda: CsvIds("test.csv", images="test/{name}.jpg", id="id"), "must have {id} exactly once"),
        (lambda: CocoLabels("train.json", "train/{id}.jpg"), "must have {file_name} exactly once"),
    ],
)
def test_an_impossible_declaration_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make()
    assert words in str(caught.value)


def test_texts_of_the_data_may_mean_another_label(tmp_path: Path) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": "id,has_cat\na, 1\nb,0\n"})
    train = labelled("has_cat", labels={"1": "cat", "0": "dog"})
    described, table = read(competition(train=train), files)
    assert described.labels == ("cat", "dog")
    assert table["label"].tolist() == ["cat", "dog"]


def test_folders_may_mean_one_label_and_a_test_folder_beside_them_none(tmp_path: Path) -> None:
    names = {f"{folder}/{n}.jpg": "" for folder in ("Cover", "JMiPOD", "UERD", "Test") for n in (1, 2)}
    described = competition(
        train=FolderLabels("{label}", labels={"Cover": "0", "JMiPOD": "1", "UERD": "1"}), test="Test/{id}"
    )
    files = data(tmp_path, names)
    described, table = read(described, files)
    assert described.labels == ("0", "1")
    assert table["label"].value_counts().to_dict() == {"1": 4, "0": 2}
    assert layout.read_test(described, files)["id"].tolist() == ["1.jpg", "2.jpg"]


def coco(**changes: Any) -> str:
    content: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "location": n % 2} for n in range(3)],
        "annotations": [{"id": 9 - n, "image_id": n, "category_id": 10 * n} for n in range(3)],
        "categories": [{"id": 10 * n, "name": name} for n, name in enumerate(["empty", "deer", "fox", "owl"])],
    }
    return json.dumps(content | changes)


COCO = CocoLabels("train.json", images="train/{file_name}", group="location")


def test_json_files_say_labels_names_and_groups(tmp_path: Path) -> None:
    files = data(tmp_path, images("0", "1", "2") | {"train.json": coco()})
    described, table = read(competition(train=COCO), files)
    assert dict(described.classes) == {"0": "empty", "10": "deer", "20": "fox"}
    assert table["label"].tolist() == ["0", "10", "20"]
    assert table["group"].tolist() == ["0", "1", "0"]
    by_name = CocoLabels("train.json", images="train/{file_name}", category="name")
    assert read(competition(train=by_name), files)[1]["label"].tolist() == ["empty", "deer", "fox"]


def test_json_files_of_labels_may_give_an_image_several_and_none(tmp_path: Path) -> None:
    pairs = [(0, 30), (0, 10), (1, 20)]
    annotations = [{"image_id": image, "category_id": category} for image, category in pairs]
    files = data(tmp_path, images("0", "1", "2") | {"train.json": coco(annotations=annotations)})
    described, table = read(competition(train=COCO, target=Labels(FromTrain())), files)
    assert described.labels == ("10", "20", "30")
    assert table["label"].tolist() == ["10|30", "20", ""]
    assert "1 images several labels, for example '0.jpg' '30' and '10', and exactly one is" in refused(
        competition(train=replace(COCO, only_listed=True)), files
    )


def test_file_names_in_json_files_may_have_folders(tmp_path: Path) -> None:
    named = [{"id": 0, "file_name": "images/0/0.jpg"}, {"id": 1, "file_name": "images/1/0.jpg"}]
    annotations = [{"image_id": n, "category_id": 10 * n} for n in range(2)]
    content = coco(images=named, annotations=annotations)
    files = data(tmp_path, {"train/images/0/0.jpg": "", "train/images/1/0.jpg": "", "train/metadata.json": content})
    train = CocoLabels("train/metadata.json", images="train/{file_name/}")
    assert read(competition(train=train), files)[1]["label"].tolist() == ["0", "10"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "train.json can't be read as JSON"),
        ("[]", "train.json holds no JSON object"),
        (coco(images=None), "train.json has no list 'images'; it has images, annotations, categories"),
        (coco(categories=[{"name": "x"}]), "an object in 'categories' without 'id' or 'category_id': {'name': 'x'}"),
        (
            coco(categories=[{"id": 0, "name": "x"}]),
            "an annotation in train.json is of category 10, which is not in it",
        ),
        (coco(annotations=[{"image_id": 7, "category_id": 0}]), "an annotation in train.json is of image 7"),
        (coco(images=[{"id": n, "file_name": f"{n}.jpg"} for n in range(3)]), "gives 3 images no location"),
        (coco(images=[{"id": n, "file_name": "0.jpg"} for n in range(3)]), "2 images whose file_name another has"),
    ],
)
def test_a_json_file_that_does_not_fit_is_one_line(content: str, words: str, tmp_path: Path) -> None:
    assert words in refused(competition(train=COCO), data(tmp_path, images("0", "1", "2") | {"train.json": content}))


def test_groups_may_be_in_the_same_file(tmp_path: Path) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": "patient,id,kind\np1,b,x\n p2,a,y\n"})
    described = competition(train=labelled("kind", group="patient"))
    assert read(described, files)[1]["group"].tolist() == ["p2", "p1"]
    assert not files.remarks
    (tmp_path / "train.csv").write_text("patient,id,kind\n,b,x\np2,a,y\n")
    assert "train.csv gives 'b' no group" in refused(described, files)


def test_groups_of_long_tables_are_the_images_own(tmp_path: Path) -> None:
    table = "id,Label,study\na_x,1,s1\na_y,0,s1\nb_x,0,s2\nb_y,1,s2\n"
    files = data(tmp_path, images("a", "b") | {"train.csv": table})
    train = labelled(RowPerLabel("{id}_{label}", value="Label"), group="study")
    assert read(competition(train=train, target=Labels(["x", "y"])), files)[1]["group"].tolist() == ["s1", "s2"]


@given(st.lists(st.sets(st.sampled_from("abcdef"))), st.sampled_from(["one-hot", "tags", "rows"]))
def test_all_ways_say_the_same(sets: list[set[str]], way: str) -> None:
    sets = [*sets, set("abcdef")]
    names = [str(number) for number in range(len(sets))]
    if way == "one-hot":
        rows = [[name, *("01"[each in own] for each in "fedcba")] for name, own in zip(names, sets, strict=True)]
        table = "id,f,e,d,c,b,a\n" + "".join(f"{','.join(row)}\n" for row in rows)
        label: Any = OneHot()
    elif way == "tags":
        table = "id,tags\n" + "".join(f"{name},{';'.join(own)}\n" for name, own in zip(names, sets, strict=True))
        label = Tags("tags", sep=";")
    else:
        pairs = [f"{name},{each}\n" for name, own in zip(names, sets, strict=True) for each in own or [""]]
        table, label = "id,tag\n" + "".join(reversed(pairs)), RowPerLabel("tag")
    with tempfile.TemporaryDirectory() as folder:
        files = data(Path(folder), images(*names) | {"train.csv": table})
        _, train = read(competition(target=Labels(list("abcdef")), train=labelled(label)), files)
    assert train["label"].tolist() == ["|".join(sorted(own)) for own in sets]


@pytest.mark.parametrize(
    ("names", "declared", "renamed"),
    [
        (["x", "y"], Columns(), {"y_mean": "y", "x_mean": "x"}),
        (["y_mean", "x_mean"], Columns(["y_mean", "x_mean"]), {}),
        (["x_mean", "y_mean"], Columns(["y_mean", "x_mean"]), {}),
    ],
)
def test_numbers_are_those_of_the_columns_of_their_names(
    names: list[str], declared: Columns, renamed: dict[str, str], tmp_path: Path
) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": lines("id,y_mean,x_mean/a,1,2/b,3,4")})
    _, table = read(competition(target=Numbers(names), train=labelled(declared, labels=renamed)), files)
    assert table["label"].tolist() == (["2|1", "4|3"] if names[0].startswith("x") else ["1|2", "3|4"])


def test_a_row_that_two_images_have_is_named(tmp_path: Path) -> None:
    files = data(tmp_path, images("1", folder="d/x") | images("1", folder="d/y") | {"train.csv": "id,tag\n1,oak\n"})
    train = CsvLabels("train.csv", images="d/{folder}/{id}.jpg", id="id", label="tag")
    words = "row '1' of train.csv is of two images, '1.jpg' and '1.jpg': rename one, or write {id/}"
    assert words in refused(competition(classes={"oak": "", "elm": ""}, train=train), files)


def test_words_have_no_order_of_grades(tmp_path: Path) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": lines("id,tag/a,No_DR/b,Mild")})
    described = competition(target=Grades(FromTrain()), train=labelled("tag"))
    assert "the data says no order of the grades Mild, No_DR: list them in the plugin" in refused(described, files)


def test_the_class_of_unseen_images_needs_none(tmp_path: Path) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": lines("id,tag/a,w1/b,w2")})
    described, _ = read(competition(target=Classes(FromTrain(), unseen="new"), train=labelled("tag")), files)
    assert described.labels == ("w1", "w2", "new")


def test_a_label_without_images_is_only_rare(tmp_path: Path) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": lines("id,tags/a,A/b,B")})
    read(competition(target=Labels(["A", "B", "C"]), train=labelled(Tags("tags"))), files)


def test_json_files_may_be_in_another_encoding_and_have_no_group_called_none(tmp_path: Path) -> None:
    files = data(tmp_path, images("0", "1", "2"))
    content = coco().replace("deer", "rén").encode("latin-1")
    (tmp_path / "train.json").write_bytes(content)
    files = DataFiles.from_folders([tmp_path], "the test's data")
    described, _ = read(competition(train=COCO), files)
    assert described.classes["10"] == "rén"
    assert "train.json is read as Windows-1252" in files.remarks
    without = coco(images=[{"id": n, "file_name": f"{n}.jpg", "location": None} for n in range(3)])
    (tmp_path / "train.json").write_text(without)
    assert "gives 3 images no location" in refused(competition(train=COCO), files)
    twice = coco(images=[{"id": 0, "file_name": f"{n}.jpg", "location": 1} for n in range(3)])
    (tmp_path / "train.json").write_text(twice)
    assert "2 images whose id another has" in refused(competition(train=COCO), files)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: competition(classes={0: "no", 1: "yes"}), "must name labels as text, '0' instead of 0"),
        (lambda: Grades([0, 1]), "must name labels as text"),
        (lambda: competition(target=["a", "b"]), "target must be Classes"),
        (lambda: competition(target=Labels(["a"]), train=labelled(["a", "b"])), "must be a column, OneHot()"),
    ],
)
def test_values_of_the_wrong_kind_are_named(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        make()


SPECIES = {"category_id": 7, "scientificName": "Salix alba", "family": "Salicaceae"}, {"category_id": 9, "name": "oak"}
HERBARIUM = coco(
    images=[{"image_id": f"00{n}", "file_name": f"00/{n}.jpg", "license": 0} for n in range(2)],
    annotations=[{"genus_id": 1, "category_id": 9 - 2 * n, "image_id": f"00{n}"} for n in range(2)],
    categories=SPECIES,
    distances=[],
)


def test_json_files_may_call_ids_as_annotations_do(tmp_path: Path) -> None:
    files = data(tmp_path, images("00/0", "00/1", folder="train_images") | {"train.json": HERBARIUM})
    train = CocoLabels("train.json", images="train_images/{file_name/}")
    described, table = read(competition(train=train), files)
    assert dict(described.classes) == {"7": "Salix alba", "9": "oak"}
    assert table["label"].tolist() == ["9", "7"]
    assert read(competition(train=replace(train, category="name")), files)[0].labels == ("Salix alba", "oak")
    assert "an object in 'categories' without 'family': {'category_id': 9" in refused(
        competition(train=replace(train, category="family")), files
    )


def test_json_files_list_test_images_with_ids_of_their_own(tmp_path: Path) -> None:
    listed = [{"id": 41, "file_name": "test2019/b.jpg"}, {"id": 5, "file_name": "test2019/a.jpg"}]
    files = data(tmp_path, images("a", "b", "c", folder="test2019") | {"test.json": json.dumps({"images": listed})})
    described = competition(test=CocoIds("test.json", images="test2019/{file_name}"))
    test = layout.read_test(described, files)
    assert test["id"].tolist() == ["5", "41"]
    assert [Path(path).name for path in test["path"]] == ["a.jpg", "b.jpg"]
    assert "1 images have no row in test.json: they are no test images" in files.remarks
    (tmp_path / "test.json").write_text(json.dumps([{"image_id": "x", "file_name": "c.jpg"}]))
    assert layout.read_test(described, files)["id"].tolist() == ["x"]
    for content, words in {
        "7": "test.json holds no JSON object with images",
        "{}": "test.json has no list 'images'",
        '[{"file_name": "c.jpg"}]': "an object in 'images' without 'id' or 'image_id'",
        '[{"id": 1, "file_name": "d.jpg"}]': "no image is in test.json",
    }.items():
        (tmp_path / "test.json").write_text(content)
        with pytest.raises(UserError) as caught:
            layout.read_test(described, files)
        assert words in str(caught.value)


def test_images_without_an_annotation_are_left_out_where_that_is_declared(tmp_path: Path) -> None:
    pairs = [{"image_id": 0, "category_id": 10}, {"image_id": 0, "category_id": 10}, {"image_id": 1, "category_id": 20}]
    files = data(tmp_path, images("0", "1", "2") | {"train.json": coco(annotations=pairs)})
    said = refused(competition(train=COCO), files)
    assert "1 of 3 images in train.json have no annotation, for example '2.jpg': set only_listed=True" in said
    _, table = read(competition(train=replace(COCO, only_listed=True)), files)
    assert table["label"].tolist() == ["10", "20"]
    assert "1 images have no row in train.json: they are no training images" in files.remarks


def test_images_whose_rows_disagree_may_be_left_out(tmp_path: Path) -> None:
    table = "id,kind\na,oak\nb,elm\na,elm\nc,oak\nd,elm\nd,elm\n"
    files = data(tmp_path, images("a", "b", "c", "d") | {"train.csv": table})
    said = refused(competition(train=labelled("kind")), files)
    words = (
        "train.csv has 'a' twice in column 'id', with 'oak' and 'elm': keep one row of each, or set only_agreed=True"
    )
    assert words in said
    _, found = read(competition(train=labelled("kind", only_agreed=True)), files)
    assert found["id"].tolist() == ["b", "c", "d"]
    assert files.remarks[-2:] == [
        "train.csv has 1 rows twice: each is used once",
        "train.csv gives 1 images different labels, and they are left out: a",
    ]


def test_images_of_which_annotations_disagree_may_be_left_out(tmp_path: Path) -> None:
    pairs = [{"image_id": image, "category_id": kind} for image, kind in ((0, 10), (0, 20), (1, 10), (2, 20))]
    files = data(tmp_path, images("0", "1", "2") | {"train.json": coco(annotations=pairs)})
    assert "gives 1 images several labels, for example '0.jpg' '10' and '20'" in refused(competition(train=COCO), files)
    _, table = read(competition(train=replace(COCO, only_agreed=True)), files)
    assert table["label"].tolist() == ["10", "20"]
    assert "train.json gives 1 images different labels, and they are left out: 0.jpg" in files.remarks


def test_several_columns_may_be_an_id_or_a_group(tmp_path: Path) -> None:
    table = "chain,image,kind,year\n1,a.jpg,oak,7\n2,a.jpg,elm,8\n"
    files = data(tmp_path, images("1/a", "2/a") | {"train.csv": table})
    train = CsvLabels("train.csv", "train/{id/}", "{chain}/{image}", "kind", group="{year}-{chain}")
    _, found = read(competition(train=train), files)
    assert found[["id", "label", "group"]].to_numpy().tolist() == [["1/a", "oak", "7-1"], ["2/a", "elm", "8-2"]]
    assert "train.csv has no column 'hotel'" in refused(competition(train=replace(train, id="{hotel}/{image}")), files)
