"""Images of several trees, and training and test images in one folder, told apart by tables."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kagglekit import (
    CsvGroups,
    CsvIds,
    CsvLabels,
    FilenameLabels,
    FolderLabels,
    Together,
    UserError,
)
from kagglekit.base.console import Console
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import layout, submissions
from kagglekit.data import file_counts, sources
from tests.test_label_tables import competition, data, images, read, refused

SHARED = images("1", "2", "3", "4", folder="images") | {"train.csv": "id,kind\n1,oak\n3,elm\n"}
TRAIN = CsvLabels("train.csv", images="images/{id}.jpg", id="id", label="kind", only_listed=True)
IN_ONE: dict[str, Any] = {"train": TRAIN, "test": "images/{id}.jpg"}


def test_tables_tell_training_and_test_images_of_one_folder_apart(tmp_path: Path) -> None:
    files = data(tmp_path, SHARED)
    described, train = read(competition(**IN_ONE), files)
    assert train["id"].tolist() == ["1", "3"]
    assert layout.read_test(described, files)["id"].tolist() == ["2", "4"]
    assert set(files.remarks) == {"2 images have no row in train.csv: they are no training images"}


def test_a_table_may_list_the_test_images(tmp_path: Path) -> None:
    files = data(tmp_path, SHARED | {"test.csv": "id,size\n4,7\n"})
    described = competition(train=TRAIN, test=CsvIds("test.csv", images="images/{id}.jpg", id="id"))
    described, train = read(described, files)
    test = layout.read_test(described, files)
    assert test["id"].tolist() == ["4"]
    assert "3 images have no row in test.csv: they are no test images" in files.remarks
    line = file_counts.count(described, files, [*train["path"], *test["path"]]).line([])
    assert line == "files below images/: 3 used, 1 in no table"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("id\n4\n5\n", "1 rows of test.csv have no image, for example '5'"),
        (
            "id\n8\n9\n",
            "no image is in test.csv: images look like '1' (rows of test.csv without an image look like '8')",
        ),
        ("name\n4\n", "test.csv has no column 'id'; it has name"),
    ],
)
def test_a_list_of_test_images_that_does_not_fit_is_one_line(table: str, words: str, tmp_path: Path) -> None:
    described = competition(train=TRAIN, test=CsvIds("test.csv", images="images/{id}.jpg", id="id"))
    files = data(tmp_path, SHARED | {"test.csv": table})
    with pytest.raises(UserError) as caught:
        layout.read_test(described, files)
    assert words in str(caught.value)


def test_a_tables_rows_without_an_image_are_left_out_where_that_is_declared(tmp_path: Path) -> None:
    files = data(tmp_path, images("1", "2") | {"train.csv": "id,kind\n1,oak\n2,elm\n.DS_Store,oak\n"})
    train: dict[str, Any] = {"source": "train.csv", "images": "train/{id}.jpg", "id": "id", "label": "kind"}
    assert "1 rows of train.csv have no image, for example '.DS_Store'" in refused(
        competition(train=CsvLabels(**train)), files
    )
    _, table = read(competition(train=CsvLabels(**train, only_present=True)), files)
    assert table["id"].tolist() == ["1", "2"]
    assert "1 rows of train.csv have no image, for example '.DS_Store': left out" in files.remarks


def test_nothing_listed_is_an_error_even_where_others_may_be_left_out(tmp_path: Path) -> None:
    files = data(tmp_path, SHARED | {"train.csv": "id,kind\nx1,oak\nx3,elm\n"})
    assert "no image is in train.csv: images look like '1'" in refused(competition(**IN_ONE), files)


def test_labels_in_names_tell_training_images_from_test_images_of_one_folder(tmp_path: Path) -> None:
    files = data(tmp_path, images("oak_1", "elm_2", "7", folder="all"))
    described, train = read(competition(train=FilenameLabels("all/{label}_{number}.jpg"), test="all/{id}.jpg"), files)
    assert train["label"].tolist() == ["elm", "oak"]
    assert layout.read_test(described, files)["id"].tolist() == ["7"]


def test_images_of_all_trees_are_used_and_their_ids_are_their_own(tmp_path: Path) -> None:
    trees = [images("1", folder=f"{tree}/{kind}") for tree in ("train", "more") for kind in ("oak", "elm")]
    tests = images("8", folder="test_a") | images("9", folder="test_b")
    files = data(tmp_path, trees[0] | trees[1] | trees[2] | trees[3] | tests)
    described = competition(
        train=FolderLabels(Together("train/{label}", "more/{label}")),
        test=("test/{id}", Together("test_a/{id}", "test_b/{id}")),
    )
    described, train = read(described, files)
    assert train["id"].tolist() == ["more/elm/1", "more/oak/1", "train/elm/1", "train/oak/1"]
    assert train["label"].tolist() == ["elm", "oak"] * 2
    assert layout.read_test(described, files)["id"].tolist() == ["8.jpg", "9.jpg"]
    assert layout.folders(described, files) == ["train", "more", "test_a", "test_b"]
    again = competition(train=FolderLabels("train/{label}", also=("more/{label}",)))
    assert read(again, files)[1]["id"].tolist() == ["elm/1", "oak/1"]


def test_a_stray_image_in_any_of_the_trees_is_named(tmp_path: Path) -> None:
    files = data(tmp_path, images("a.1", "b.2") | images("a.3", "4", folder="more"))
    described = competition(train=FilenameLabels(Together("train/{label}.{number}.jpg", "more/{label}.{number}.jpg")))
    assert "1 images under more/ do not fit 'more/{label}.{number}.jpg', for example 'more/4.jpg'" in refused(
        described, files
    )


def test_a_group_may_be_in_the_path(tmp_path: Path) -> None:
    files = data(tmp_path, images("7_left", "7_right", "10_left") | {"train.csv": "id,level\n7,0\n10,1\n"})
    by_name = competition(train=FilenameLabels("train/{group}_{label}.jpg"))
    assert read(by_name, files)[1]["group"].tolist() == ["7", "7", "10"]
    files = data(tmp_path, images("1", "2", folder="cars/p1/oak") | images("3", folder="cars/p2/elm"))
    by_folder = competition(train=FolderLabels("cars/{group}/{label}"))
    assert read(by_folder, files)[1]["group"].tolist() == ["p1", "p1", "p2"]


def test_a_group_may_be_in_the_path_of_images_with_labels_in_a_table(tmp_path: Path) -> None:
    table = "image,level\np1/a,0\np1/b,1\np2/a,1\n"
    files = data(tmp_path, images("p1/a", "p1/b", "p2/a") | {"train.csv": table})
    train = CsvLabels("train.csv", images="train/{group}/{name}.jpg", id="image", label="level")
    assert read(competition(train=train), files)[1]["group"].tolist() == ["p1", "p1", "p2"]
    alone = CsvLabels("alone.csv", images="cars/{group}/{id}.jpg", id="image", label="level")
    files = data(tmp_path, images("p1/a", "p2/b", folder="cars") | {"alone.csv": "image,level\na,0\nb,1\n"})
    assert read(competition(train=alone), files)[1]["group"].tolist() == ["p1", "p2"]
    eyes = CsvLabels("eyes.csv", images="eyes/{group}_{eye}.jpg", id="image", label="level")
    files = data(
        tmp_path, images("10_left", "10_right", folder="eyes") | {"eyes.csv": "image,level\n10_right,0\n10_left,1\n"}
    )
    assert read(competition(train=eyes), files)[1][["label", "group"]].to_numpy().tolist() == [["1", "10"], ["0", "10"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": FolderLabels("train/{group}/{label}"), "groups": CsvGroups("g.csv", "a", "b")}, "declared twice"),
        ({"train": FolderLabels("train/{group}/{label}"), "valid": FolderLabels("valid/{label}")}, "needs {group}"),
        ({"test": Together("test/{id}", "more/*.jpg")}, "must have {id} exactly once"),
    ],
)
def test_an_impossible_place_is_refused_at_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        competition(**changes)
    assert words in str(caught.value)


def test_the_record_of_a_description_is_what_it_was_and_tells_new_ones_apart() -> None:
    plain = competition(train=FolderLabels("train/{label}"), test="test/{id}.jpg").describe()
    assert plain["train"] == "FolderLabels(pattern='train/{label}', also=())"
    assert "test_images" not in plain
    both = competition(test=Together("a/{id}.jpg", "b/{id}.jpg")).describe()
    assert both["test_images"] == "Together('a/{id}.jpg', 'b/{id}.jpg')"
    assert "only_listed=True" in repr(TRAIN)
    several = competition(test=("c/{id}.jpg", Together("a/{id}.jpg", "b/{id}.jpg")))
    one, two = submissions.describe(several, [])["test_expressions"]
    assert isinstance(one, str)
    assert len(two) == 2


def test_folders_in_folders_of_the_same_name_are_read_as_one_if_the_description_names_them(tmp_path: Path) -> None:
    trees = [f"board_{part}_data/board_{part}_data" for part in ("test", "holdout")]
    tests = images("8", folder=trees[0]) | images("9", folder=trees[1])
    (tmp_path / "given").mkdir()
    data(tmp_path / "given", images("1", folder="train/train/oak") | images("2", folder="train/train/elm") | tests)
    described = competition(
        train=FolderLabels("train/{label}"), test=Together("board_test_data/{id}", "board_holdout_data/{id}")
    )
    files = sources.find(described, tmp_path / "given", Workspace(tmp_path / "home"), Console(io.StringIO()))
    described, _ = read(described, files)
    assert layout.read_test(described, files)["id"].tolist() == ["8.jpg", "9.jpg"]


def test_an_archive_beside_one_of_two_trees_is_unpacked(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    data(given, images("1", folder="train/oak") | images("2", folder="train/elm") | images("8", folder="test_a"))
    with zipfile.ZipFile(given / "test_b.zip", "w") as archive:
        archive.writestr("test_b/9.jpg", b"\xff\xd8\xff")
    described = competition(train=FolderLabels("train/{label}"), test=Together("test_a/{id}", "test_b/{id}"))
    files = sources.find(described, given, Workspace(tmp_path / "home"), Console(io.StringIO()))
    assert layout.read_test(described, files)["id"].tolist() == ["8.jpg", "9.jpg"]
    (given / "test_b.zip").unlink()
    files = sources.find(described, given, Workspace(tmp_path / "other"), Console(io.StringIO()))
    assert layout.read_test(described, files)["id"].tolist() == ["8.jpg"]
