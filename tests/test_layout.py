"""From a folder or an archive to tables: every shape that the plugins accept, and what does not fit."""

from __future__ import annotations

import io
import shutil
import tarfile
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.base.console import Console
from kagglekit.base.errors import PluginError, UserError
from kagglekit.base.image_names import composed
from kagglekit.base.walking import natural_key
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import contracts, layout, plugins, samples
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import CsvGroups, CsvLabels, FilenameLabels, FolderLabels
from kagglekit.data import sources
from kagglekit.formats import Probability, ProbabilityPerClass

Files = Mapping[str, str | bytes]

SAMPLE = "id,label\n1,0.5\n2,0.5\n10,0.5\n"
DOGS_TRAIN = {f"train/{name}.jpg": "" for name in ("dog.10", "cat.0", "dog.0", "dog.2")}
DOGS_TEST = {f"test/{name}.jpg": "" for name in ("10", "1", "2")}
DOGS = DOGS_TRAIN | DOGS_TEST | {"sample_submission.csv": SAMPLE}

CLASSES = [f"c{number}" for number in range(10)]
DRIVERS_CSV = "subject,classname,img\n" + "".join(f"p{n:03},c{n},img_{n}.jpg\n" for n in range(10))
DRIVERS_SAMPLE = f"img,{','.join(CLASSES)}\n" + "".join(f"img_{n}.jpg{',0.1' * 10}\n" for n in (100, 20))
DRIVERS_IMAGES = {f"train/c{n}/img_{n}.jpg": "" for n in range(10)} | {f"test/img_{n}.jpg": "" for n in (100, 20)}
DRIVERS_TABLES = {"driver_imgs_list.csv": DRIVERS_CSV, "sample_submission.csv": DRIVERS_SAMPLE}


def written(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def moved(files: Files, prefix: str) -> dict[str, str | bytes]:
    return {prefix + name: content for name, content in files.items()}


def without(files: Files, folder: str) -> dict[str, str | bytes]:
    """Return the files with their paths below `folder`."""
    return {name.removeprefix(folder): content for name, content in files.items()}


def found(name: str, option: Path | None) -> tuple[plugins.Plugin, Competition, DataFiles]:
    plugin = plugins.load(name)
    competition = plugin.competition()
    workspace = Workspace.of(competition.name)
    return plugin, competition, sources.find(competition, option, workspace, Console(io.StringIO()))


def listed(*names: str) -> DataFiles:
    """Return files that need not exist on disk."""
    return DataFiles({name: Path("/", name) for name in sorted(names)}, "the test's data")


def one_line(caught: pytest.ExceptionInfo[Any]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def image_names(ids: Iterable[str]) -> list[str]:
    return sorted(image_id.rpartition("/")[2] for image_id in ids)


DOGS_ZIPS = {
    "train.zip": zipped(DOGS_TRAIN),
    "test.zip": zipped(DOGS_TEST),
    "sample_submission.csv": SAMPLE,
}
DOGS_SHAPES: dict[str, Files] = {
    "flat": DOGS,
    "a folder a class": {
        name.replace("train/cat", "train/cat/cat").replace("train/dog", "train/dog/dog"): content
        for name, content in DOGS.items()
    },
    "zips with folders in them": DOGS_ZIPS,
    "zips that are bare heaps": DOGS_ZIPS
    | {"train.zip": zipped(without(DOGS_TRAIN, "train/")), "test.zip": zipped(without(DOGS_TEST, "test/"))},
    "each unpacked into a folder of its name": moved(DOGS_TRAIN, "train/")
    | moved(DOGS_TEST, "test/")
    | {"sample_submission.csv": SAMPLE},
    "the first edition's test folder": {name.replace("test/", "test1/"): content for name, content in DOGS.items()},
    "capital endings": {name.replace(".jpg", ".JPG"): content for name, content in DOGS.items()},
}

WRAPPERS: dict[str, Callable[[Path, Files], Path]] = {
    "folder": lambda place, files: written(place / "given", files),
    "archive": lambda place, files: written(place, {"given.zip": zipped(files)}) / "given.zip",
    "folder in a folder": lambda place, files: written(place / "given", moved(files, "pets/")),
    "archive of a folder in a folder": lambda place, files: (
        written(place, {"given.zip": zipped(moved(files, "a/b/"))}) / "given.zip"
    ),
}


def cases(shapes: Mapping[str, Files]) -> list[tuple[str, str]]:
    return [(shape, wrapper) for shape in shapes for wrapper in WRAPPERS]


@pytest.mark.parametrize(("shape", "wrapper"), cases(DOGS_SHAPES))
def test_dogs_vs_cats_is_read_from_every_shape(shape: str, wrapper: str, tmp_path: Path) -> None:
    plugin, competition, files = found("dogs-vs-cats", WRAPPERS[wrapper](tmp_path, DOGS_SHAPES[shape]))
    train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
    assert image_names(train["id"]) == ["cat.0", "dog.0", "dog.10", "dog.2"]
    assert [i.rpartition("/")[2].partition(".")[0] for i in train["id"]] == train["label"].tolist()
    assert test["id"].tolist() == ["1", "2", "10"]
    assert all(Path(path).is_file() for path in [*train["path"], *test["path"]])
    sample = samples.read(competition, files)
    assert sample is not None
    assert sample["id"].tolist() == ["1", "2", "10"]


DRIVERS_SHAPES: dict[str, Files] = {
    "today's bundle": moved(DRIVERS_IMAGES, "imgs/") | DRIVERS_TABLES,
    "the older archive": {
        "imgs.zip": zipped(DRIVERS_IMAGES),
        "driver_imgs_list.csv.zip": zipped({"driver_imgs_list.csv": DRIVERS_CSV}),
        "sample_submission.csv.zip": zipped({"sample_submission.csv": DRIVERS_SAMPLE}),
    },
    "the older archive, unpacked": DRIVERS_IMAGES | DRIVERS_TABLES,
    "images unpacked, tables zipped": moved(DRIVERS_IMAGES, "imgs/")
    | {name + ".zip": zipped({name: content}) for name, content in DRIVERS_TABLES.items()},
}


@pytest.mark.parametrize(("shape", "wrapper"), cases(DRIVERS_SHAPES))
def test_state_farm_is_read_from_every_shape(shape: str, wrapper: str, tmp_path: Path) -> None:
    plugin, competition, files = found("state-farm", WRAPPERS[wrapper](tmp_path, DRIVERS_SHAPES[shape]))
    train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
    assert train["id"].tolist() == [f"c{n}/img_{n}" for n in range(10)]
    assert train["label"].tolist() == CLASSES
    assert train["group"].tolist() == [f"p{n:03}" for n in range(10)]
    assert test["id"].tolist() == ["img_20.jpg", "img_100.jpg"]
    assert all(Path(path).is_file() for path in [*train["path"], *test["path"]])
    sample = samples.read(competition, files)
    assert sample is not None
    assert sample["img"].tolist() == ["img_100.jpg", "img_20.jpg"]


def test_a_training_id_is_the_path_below_the_train_folder_and_ids_are_in_natural_order(tmp_path: Path) -> None:
    plugin, competition, files = found("dogs-vs-cats", written(tmp_path, DOGS))
    assert plugin.train_table(competition, files)["id"].tolist() == ["cat.0", "dog.0", "dog.2", "dog.10"]


def test_two_classes_may_use_one_file_name() -> None:
    leaf = competition(train=FolderLabels("train/{label}"))
    table = layout.read_train(leaf, listed("train/cat/1.jpg", "train/dog/1.jpg", "train/dog/deep/1.jpg"))
    assert table[["id", "label"]].to_numpy().tolist() == [["cat/1", "cat"], ["dog/1", "dog"], ["dog/deep/1", "dog"]]


@pytest.mark.parametrize("archived", [False, True])
def test_what_notebooks_and_file_managers_leave_behind_is_ignored(archived: bool, tmp_path: Path) -> None:
    rubbish = {
        "train/.ipynb_checkpoints/cat.0-checkpoint.jpg": "",
        "train/.DS_Store": "",
        "train/._cat.0.jpg": "",
        "train/Thumbs.db": "",
        "test/.ipynb_checkpoints/1-checkpoint.jpg": "",
        "__MACOSX/train/._cat.0.jpg": "",
        "test/__MACOSX/3.jpg": "",
        ".git/train/cat.9.jpg": "",
    }
    given = WRAPPERS["archive" if archived else "folder"](tmp_path, DOGS | rubbish)
    plugin, competition, files = found("dogs-vs-cats", given)
    assert len(plugin.train_table(competition, files)) == 4
    assert plugin.test_table(competition, files)["id"].tolist() == ["1", "2", "10"]


# where the data is found


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_named_source_is_found_again_without_the_option(wrapper: str, tmp_path: Path) -> None:
    given = WRAPPERS[wrapper](tmp_path, DOGS)
    _, _, first = found("dogs-vs-cats", given)
    _, _, second = found("dogs-vs-cats", None)
    assert second.paths == first.paths


def test_what_was_unpacked_is_found_when_its_archive_is_gone(tmp_path: Path) -> None:
    given = WRAPPERS["archive"](tmp_path, DOGS_ZIPS)
    _, _, first = found("dogs-vs-cats", given)
    given.unlink()
    _, _, second = found("dogs-vs-cats", None)
    assert second.paths == first.paths


def test_the_last_source_that_was_named_counts(tmp_path: Path) -> None:
    found("dogs-vs-cats", written(tmp_path / "one", DOGS))
    found("dogs-vs-cats", written(tmp_path / "two", DOGS))
    with pytest.raises(UserError, match="no training image"):
        found("dogs-vs-cats", written(tmp_path / "none", {"readme.txt": ""}))
    _, _, files = found("dogs-vs-cats", None)
    assert files.origin == str(tmp_path / "two")


@pytest.mark.parametrize("files", [DOGS, DOGS_ZIPS, {"given.zip": zipped(DOGS_ZIPS)}, moved(DOGS, "pets/")])
def test_data_that_lies_in_the_workspace_needs_no_option(files: Files) -> None:
    folder = written(Workspace.of("dogs-vs-cats").data, files)
    for _ in range(2):
        plugin, competition, there = found("dogs-vs-cats", None)
        assert there.origin.startswith(str(folder))
        assert len(plugin.train_table(competition, there)) == 4
        assert len(plugin.test_table(competition, there)) == 3


@pytest.mark.parametrize("folder", ["", "downloads/", "a/b/"])
def test_of_several_whole_archives_one_is_taken_and_named(folder: str, tmp_path: Path) -> None:
    other = {name: b"other" for name in DOGS if name.endswith(".jpg")} | {"sample_submission.csv": SAMPLE}
    packed = {f"{folder}dogs.zip": zipped(DOGS), f"{folder}dogs-2.zip": zipped(other), f"{folder}notes.txt": ""}
    plugin, competition, files = found("dogs-vs-cats", written(tmp_path / "given", packed))
    assert files.origin == str(tmp_path / "given" / folder / "dogs-2.zip")
    assert files.remarks == [
        f"{tmp_path / 'given' / folder} has 2 archives: dogs-2.zip is taken, the others are not".replace(
            "/ has", " has"
        )
    ]
    paths = plugin.train_table(competition, files)["path"]
    assert {Path(path).read_bytes() for path in paths} == {b"other"}


def test_a_file_in_two_archives_is_named(tmp_path: Path) -> None:
    packed = {"a.zip": zipped(DOGS_TRAIN), "b.zip": zipped(DOGS_TRAIN | DOGS_TEST)}
    plugin, competition, files = found("dogs-vs-cats", written(tmp_path, packed))
    assert len(plugin.train_table(competition, files)) == 4
    (remark,) = files.remarks
    assert remark.startswith("4 files are in two archives, for example train/cat.0.jpg: that of a.zip is taken, not")


def test_an_archive_of_images_that_lie_unpacked_beside_it_is_not_unpacked(tmp_path: Path) -> None:
    given = written(tmp_path, moved(DOGS_TRAIN | DOGS_TEST, "pets/") | {"pets/train.zip": zipped(DOGS_TRAIN)})
    found("dogs-vs-cats", given)
    assert not any(Workspace.of("dogs-vs-cats").data.glob("train-*"))


def tarred(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a tar of one member, with a link if it is of that kind, and a CSV file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for each, as_ in ((name, kind), ("results.csv", tarfile.REGTYPE)):
            member = tarfile.TarInfo(each)
            member.type, member.linkname = as_, "../elsewhere" if as_ == tarfile.SYMTYPE else ""
            archive.addfile(member, io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("code.tar.gz", tarred("latest", tarfile.SYMTYPE)),
        ("a/b/old.tar.gz", tarred("notes.txt")[:-30]),
        ("notes/old.7z", b"7z\xbc\xaf\x27\x1c"),
        ("old.zip", b"PK"),
    ],
    ids=["a link", "cut", "no py7zr or damaged", "damaged"],
)
def test_an_archive_that_can_not_be_read_beside_the_images_is_left_out_and_named(
    name: str, content: bytes, tmp_path: Path
) -> None:
    given = written(tmp_path / "given", DOGS_TRAIN | DOGS_TEST | {name: content, "table.zip": zipped({"a.txt": ""})})
    plugin, competition, files = found("dogs-vs-cats", given)
    assert len(plugin.train_table(competition, files)) == 4
    (remark,) = files.remarks
    assert remark.startswith(f"{given / name} is not used: ")
    assert not list(Workspace.of("dogs-vs-cats").data.glob("table-*")), "only archives with a CSV file are unpacked"


def test_a_packed_sample_beside_the_images_is_used_and_its_archive_s_other_files_are_known(tmp_path: Path) -> None:
    packed = zipped({"sample_submission.csv": SAMPLE, "__MACOSX/note": ""})
    _, competition, files = found("dogs-vs-cats", written(tmp_path, DOGS_TRAIN | DOGS_TEST | {"sample.zip": packed}))
    assert samples.read(competition, files) is not None
    assert "__MACOSX/note" in files.ignored


def test_nothing_is_said_of_archives_that_are_not_used(tmp_path: Path) -> None:
    twice = {"a.zip": zipped({"results.csv": "1"}), "b.zip": zipped({"results.csv": "2"})}
    _, _, files = found("dogs-vs-cats", written(tmp_path, DOGS_TRAIN | DOGS_TEST | twice))
    assert files.remarks == []


@pytest.mark.parametrize("name", ["dogs.zip.001", "dogs.z01"])
def test_a_folder_with_a_split_archive_says_how_to_unpack_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        found("dogs-vs-cats", written(tmp_path, {name: zipped(DOGS)[:99]}))
    assert "part of a split archive" in one_line(caught)
    assert f"`7z x {name.replace('z01', 'zip')}`" in one_line(caught)


def test_a_json_file_of_the_competition_hides_no_folder_of_its_name() -> None:
    written(Workspace.of("dogs-vs-cats").data, DOGS | {"train.json": "{}", "test.json": "{}"})
    plugin, competition, files = found("dogs-vs-cats", None)
    assert len(plugin.train_table(competition, files)) == 4


def test_no_data_says_where_to_get_it_and_where_to_put_it() -> None:
    with pytest.raises(UserError) as caught:
        found("dogs-vs-cats", None)
    message = one_line(caught)
    assert "https://www.kaggle.com/competitions/dogs-vs-cats-redux-kernels-edition/data" in message
    assert str(Workspace.of("dogs-vs-cats").data) in message
    assert "--data PATH" in message


def test_a_source_that_was_removed_is_no_data(tmp_path: Path) -> None:
    found("dogs-vs-cats", written(tmp_path / "given", DOGS))
    shutil.rmtree(tmp_path / "given")
    with pytest.raises(UserError, match="no data for dogs-vs-cats"):
        found("dogs-vs-cats", None)


@pytest.mark.parametrize("wrapper", ["", "pets/"])
def test_doubled_folders_are_read_as_one(wrapper: str, tmp_path: Path) -> None:
    pets = competition(train=FolderLabels("train/{label}"), test=("test/{id}.jpg", "test/{folder}/{id}.jpg"))
    images = ["train/Train/cat/1.jpg", "train/Train/dog/2.jpg", "test/test/1.jpg"]
    written(tmp_path, {wrapper + name: "" for name in images})
    files = sources.find(pets, tmp_path, Workspace.of("pets"), Console(io.StringIO()))
    table = layout.read_train(pets, files)
    assert table[["id", "label"]].to_numpy().tolist() == [["cat/1", "cat"], ["dog/2", "dog"]]
    assert layout.read_test(pets, files)["id"].tolist() == ["1"]
    assert all(Path(path).is_file() for path in table["path"])


@pytest.mark.parametrize(
    ("files", "words"),
    [(None, "no such file or folder"), ({"readme.txt": ""}, r"looked for train/{label}.{number}.jpg or train/")],
)
def test_an_option_without_the_competition_says_what_was_looked_for(
    files: Files | None, words: str, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    if files is not None:
        written(given, files)
    with pytest.raises(UserError) as caught:
        found("dogs-vs-cats", given)
    assert words in one_line(caught)
    assert f"--data {given}" in one_line(caught)


def test_an_option_without_the_competition_says_what_is_there(tmp_path: Path) -> None:
    images = {f"{folder}/{n}.jpg": "" for folder in ("bird", "fish/red") for n in range(3)}
    with pytest.raises(UserError) as caught:
        found("dogs-vs-cats", written(tmp_path, images))
    assert "it has bird (3 images), fish/red (3 images)" in one_line(caught)


def test_a_place_with_test_images_is_taken_before_one_without(tmp_path: Path) -> None:
    given = written(tmp_path, DOGS_TRAIN | moved(DOGS, "whole/"))
    plugin, competition, files = found("dogs-vs-cats", given)
    assert all(f"{tmp_path.name}/whole/" in Path(p).as_posix() for p in plugin.train_table(competition, files)["path"])


def test_missing_test_images_are_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    plugin, competition, files = found("dogs-vs-cats", written(tmp_path, DOGS_TRAIN))
    with pytest.raises(UserError) as caught:
        plugin.test_table(competition, files)
    assert "no test images: looked for test/{id}.jpg or" in one_line(caught)


# what fits no layout


def competition(**changes: Any) -> Competition:
    settings: dict[str, Any] = {
        "name": "pets",
        "kaggle": "pets",
        "classes": {"cat": "cat", "dog": "dog"},
        "train": FilenameLabels("train/{label}.{number}.jpg"),
        "test": "test/{id}.jpg",
        "submission": Probability(of="dog"),
    }
    return Competition(**settings | changes)


@pytest.mark.parametrize(
    ("train", "fine", "stray"),
    [
        (FilenameLabels("train/{label}.{number}.jpg"), "train/cat.0.jpg", "train/cat.jpg"),
        (FilenameLabels("train/{label}.{number}.jpg"), "train/cat.0.jpg", "train/cat.1.png"),
        (FilenameLabels("train/{label}.jpg", also=("train/{f}/{label}.jpg",)), "train/cat.jpg", "train/x/dog.jpg"),
        (FolderLabels("train/{label}"), "train/cat/1.jpg", "train/2.jpg"),
    ],
)
def test_a_stray_training_image_is_refused_and_named(
    train: FilenameLabels | FolderLabels, fine: str, stray: str
) -> None:
    with pytest.raises(UserError) as caught:
        layout.read_train(competition(train=train), listed(fine, stray))
    assert "1 images under train/ do not fit" in one_line(caught)
    assert repr(stray) in one_line(caught)


@pytest.mark.parametrize("stray", ["test/3.png", "test/deep/3.jpg"])
def test_a_stray_test_image_is_refused_and_named(stray: str) -> None:
    with pytest.raises(UserError) as caught:
        layout.read_test(competition(), listed("test/1.jpg", "test/2.jpg", stray))
    assert repr(stray) in one_line(caught)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat.0.jpg", "dog.0.jpg", "horse.0.jpg"], "label 'horse' is not one of the classes ['cat', 'dog']"),
        (["cat.0.jpg", "cat.1.jpg"], "no training image of class 'dog'"),
        (["cat.0.jpg", "cat.0.JPG", "dog.0.jpg"], "two images have the id 'cat.0'"),
    ],
)
def test_unknown_and_missing_classes_and_two_images_of_one_id_are_refused(
    names: list[str], words: str, tmp_path: Path
) -> None:
    given = written(tmp_path, {f"train/{name}": "" for name in names} | DOGS_TEST)
    plugin, description, files = found("dogs-vs-cats", given)
    with pytest.raises(PluginError) as caught:
        plugin.train_table(description, files)
    assert words in one_line(caught)
    assert str(tmp_path) in one_line(caught)


def test_two_test_images_of_one_id_are_refused(tmp_path: Path) -> None:
    plugin, description, files = found("dogs-vs-cats", written(tmp_path, DOGS | {"test/1.JPG": ""}))
    with pytest.raises(PluginError, match=r"two images have the id '1': .*1\.JPG and .*1\.jpg"):
        plugin.test_table(description, files)


def test_labels_of_many_images_and_classes_are_normalised_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"caf\u00e9 {number}" for number in range(300)]
    names = [f"train/{unicodedata.normalize('NFD', label)}/{number}.jpg" for label in labels for number in range(3)]
    many = competition(
        classes=dict(zip(labels, labels, strict=True)),
        train=FolderLabels("train/{label}"),
        submission=ProbabilityPerClass(id="img"),
    )
    normalised: list[str] = []
    monkeypatch.setattr(
        "kagglekit.base.image_names.composed", lambda text: composed((normalised.append(text), text)[1])
    )
    table = layout.read_train(many, listed(*names))
    assert sorted(table["label"]) == sorted(labels * 3)
    assert len(normalised) <= 2 * (len(names) + len(labels))


# labels and groups from CSV files

CSV_LABELS = CsvLabels("labels.csv", "train/{id}.jpg", id="image", label="kind")


def csv_files(folder: Path, table: str, **more: str) -> DataFiles:
    files = {"train/1.jpg": "", "train/2.jpg": "", "labels.csv": table, "test/1.jpg": ""} | more
    return DataFiles.from_folders([written(folder, files)], "the test's data")


@pytest.mark.parametrize("ending", ["", ".jpg"])
def test_csv_labels_are_matched_by_id_whatever_the_order(ending: str, tmp_path: Path) -> None:
    files = csv_files(tmp_path, f"other,kind,image\nx,dog,2{ending}\ny,cat,1{ending}\n")
    table = layout.read_train(competition(train=CSV_LABELS), files)
    assert table[["id", "label"]].to_numpy().tolist() == [["1", "cat"], ["2", "dog"]]


def test_csv_ids_and_labels_stay_text(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "image,kind\n1,NA\n2,02\n", **{"train/007.jpg": ""})
    with pytest.raises(UserError, match="'007'"):
        layout.read_train(competition(train=CSV_LABELS), files)
    files = csv_files(tmp_path, "image,kind\n1,NA\n2,02\n007,NA\n")
    table = layout.read_train(competition(train=CSV_LABELS), files)
    assert table[["id", "label"]].to_numpy().tolist() == [["1", "NA"], ["2", "02"], ["007", "NA"]]


@pytest.mark.parametrize("name", ["3.heic", "3.photo", "3"])
def test_a_row_whose_image_fits_no_pattern_says_which(name: str, tmp_path: Path) -> None:
    table = "image,kind\n1,cat\n2,dog\n3,dog\n"
    files = csv_files(tmp_path, table, **{f"train/{name}": "P6 1 1 255 abc", "train/33.heic": "", "test/3.png": ""})
    with pytest.raises(UserError) as caught:
        layout.read_train(competition(train=CSV_LABELS), files)
    assert f"for example '3' ('train/{name}' does not fit 'train/{{id}}.jpg')" in one_line(caught)


def test_a_name_with_two_endings_has_the_row_of_its_own(tmp_path: Path) -> None:
    given = {"train/1.jpg": "", "train/2.png.jpg": "", "labels.csv": "image,kind\n1,cat\n2.png,dog\n"}
    files = DataFiles.from_folders([written(tmp_path, given)], "the test's data")
    table = layout.read_train(competition(train=CSV_LABELS), files)
    assert table[["id", "label"]].to_numpy().tolist() == [["1", "cat"], ["2.png", "dog"]]


def test_a_name_with_two_endings_never_takes_the_row_of_another(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "image,kind\n1,cat\n2,dog\n", **{"train/1.png.jpg": ""})
    with pytest.raises(UserError, match=r"1 training images have no row in labels.csv, for example '1.png'"):
        layout.read_train(competition(train=CSV_LABELS), files)


def test_a_row_that_only_looks_like_the_name_is_shown_beside_it(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "image,kind\n1\u200b,cat\n2,dog\n")
    with pytest.raises(UserError, match=r"\('1' looks like '1\\u200b', but is another name\)"):
        layout.read_train(competition(train=CSV_LABELS), files)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("image,kind\n1,cat\n", "1 training images have no row in labels.csv, for example '2'"),
        ("image,kind\n1,cat\n2,dog\n3,dog\n", "1 rows of labels.csv have no image, for example '3'"),
        ("image,kind\n1,cat\n2,dog\n1,dog\n", "labels.csv has '1' twice in column 'image'"),
        ("image,kind\n1.jpg,cat\n2,dog\n1,dog\n", "labels.csv has '1"),
        ("image,label\n1,cat\n2,dog\n", "labels.csv has no column 'kind'; it has image, label"),
        ("", "can't be read as CSV"),
        ('image,kind\n1,"cat\n2,dog\n', "can't be read as CSV"),
    ],
)
def test_a_label_table_that_does_not_fit_the_images_is_refused(table: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        layout.read_train(competition(train=CSV_LABELS), csv_files(tmp_path, table))
    assert words in one_line(caught)


@pytest.mark.parametrize(
    ("table", "remark"),
    [
        ("image;kind\n1;cat\n2;dog\n".encode("utf-16"), "labels.csv is read as UTF-16, separated by semicolons"),
        (
            "image, kind, who\n1, cat, José\n2, dog, Zoë\n".encode("cp1252"),
            "labels.csv is read as Windows-1252; labels.csv has other columns, which are not used: who",
        ),
        (b"image,kind\n1,cat\n2, dog \n1,cat\n1,cat \n", "labels.csv has 2 rows twice: each is used once"),
        (
            b"image,kind\n./train/1.jpg,cat\ntrain\\2.JPG,dog\n",
            "labels.csv names 2 images differently: './train/1.jpg'",
        ),
    ],
)
def test_a_label_table_in_another_dialect_is_read_and_the_assumption_is_remarked(
    table: bytes, remark: str, tmp_path: Path
) -> None:
    files = csv_files(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes(table)
    read = layout.read_train(competition(train=CSV_LABELS), files)
    assert read[["id", "label"]].to_numpy().tolist() == [["1", "cat"], ["2", "dog"]]
    assert len(files.remarks) == len(remark.split("; "))
    assert "; ".join(files.remarks).startswith(remark)
    assert files.below("train").remarks is files.remarks


def test_a_plain_table_needs_no_remark(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "image,kind\n1,cat\n2.jpg,dog\n")
    layout.read_train(competition(train=CSV_LABELS), files)
    assert files.remarks == []


def test_empty_labels_are_counted_and_white_space_means_nothing_unless_a_class_has_it(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "image,kind\n1,cat\n2, \n")
    with pytest.raises(UserError, match="1 rows of labels.csv have no kind, for example that of '2': fill it in"):
        layout.read_train(competition(train=CSV_LABELS), files)
    spaced = competition(train=CSV_LABELS, classes={"cat": "cat", " ": "none"}, submission=Probability(of="cat"))
    assert layout.read_train(spaced, files)["label"].tolist() == ["cat", " "]
    folders = competition(train=FolderLabels("train/{label}"))
    read = layout.read_train(folders, listed("train/cat /1.jpg", "train/cat/2.jpg", "train/dog/3.jpg"))
    assert read["label"].tolist() == ["cat", "cat", "dog"]


def test_what_does_not_match_shows_a_name_of_each_side(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "image,kind\n1,cat\nscan-2,dog\n")
    with pytest.raises(UserError) as caught:
        layout.read_train(competition(train=CSV_LABELS), files)
    assert "no row in labels.csv, for example '2' (rows of labels.csv without an image look like 'scan-2')" in one_line(
        caught
    )


def test_a_missing_label_table_is_named() -> None:
    with pytest.raises(UserError, match=r"the test's data has no labels\.csv"):
        layout.read_train(competition(train=CSV_LABELS), listed("train/1.jpg"))


GROUPED = {"groups": CsvGroups("groups.csv", image="img", group="subject")}


@pytest.mark.parametrize("image", ["{}", "{}.jpg"])
def test_groups_are_matched_by_id_whatever_the_order(image: str, tmp_path: Path) -> None:
    table = f"subject,img\np2,{image.format('dog.0')}\np1,{image.format('cat.0')}\np9,unused.jpg\n"
    files = DataFiles.from_folders(
        [written(tmp_path, {"train/cat.0.jpg": "", "train/dog.0.jpg": "", "groups.csv": table})], "the test's data"
    )
    assert layout.read_train(competition(**GROUPED), files)["group"].tolist() == ["p1", "p2"]


def test_groups_name_images_without_their_folders(tmp_path: Path) -> None:
    images = {"train/cat/0.jpg": "", "train/dog/1.jpg": ""}
    files = DataFiles.from_folders(
        [written(tmp_path, images | {"groups.csv": "subject,img\np2,1.jpg\np1,0.jpg\n"})], "the test's data"
    )
    described = competition(train=FolderLabels("train/{label}"), **GROUPED)
    assert layout.read_train(described, files)["group"].tolist() == ["p1", "p2"]
    assert files.remarks == []


def test_groups_are_matched_whatever_folder_and_case_they_are_written_with(tmp_path: Path) -> None:
    table = "subject;img\np2 ;.\\train\\Dog.0.JPG\np1;./train/CAT.0.jpg\n"
    files = DataFiles.from_folders(
        [written(tmp_path, {"train/cat.0.jpg": "", "train/dog.0.jpg": "", "groups.csv": table})], "the test's data"
    )
    assert layout.read_train(competition(**GROUPED), files)["group"].tolist() == ["p1", "p2"]
    assert files.remarks == [
        "groups.csv is read as separated by semicolons",
        "groups.csv names 2 images differently: './train/CAT.0.jpg' is taken to be 'cat.0.jpg'",
    ]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("subject,img\np1,cat.0.jpg\n", "1 training images have no group in groups.csv, for example 'dog.0'"),
        ("driver,img\np1,cat.0.jpg\n", "groups.csv has no column 'subject'; it has driver, img"),
        ("subject,img\np1,cat.0.jpg\np2,dog.0.jpg\np3,cat.0.jpg\n", "cat.0"),
        ("subject,img\np1,cat.0.jpg\n,dog.0.jpg\n", "group"),
    ],
)
def test_groups_that_are_missing_empty_or_contradict_each_other_are_refused(
    table: str, words: str, tmp_path: Path
) -> None:
    pets = competition(**GROUPED)
    files = DataFiles.from_folders(
        [written(tmp_path, {"train/cat.0.jpg": "", "train/dog.0.jpg": "", "groups.csv": table})], "the test's data"
    )
    with pytest.raises(UserError) as caught:
        contracts.check_train(layout.read_train(pets, files), pets, "the layout")
    assert words in one_line(caught)


def test_the_data_s_own_valid_folder_is_marked_and_its_ids_are_its_own() -> None:
    pets = competition(train=FolderLabels("train/{label}"), valid=FolderLabels("valid/{label}"))
    files = listed("train/cat/1.jpg", "train/dog/2.jpg", "valid/cat/1.jpg", "valid/dog/10.jpg", "valid/dog/9.jpg")
    table = contracts.check_train(layout.read_train(pets, files), pets, "the layout")
    assert table[["id", "label", "valid"]].to_numpy().tolist() == [
        ["cat/1", "cat", False],
        ["dog/2", "dog", False],
        ["valid/cat/1", "cat", True],
        ["valid/dog/9", "dog", True],
        ["valid/dog/10", "dog", True],
    ]


def test_a_missing_valid_folder_is_named() -> None:
    pets = competition(train=FolderLabels("train/{label}"), valid=FolderLabels("valid/{label}"))
    with pytest.raises(UserError, match=r"no images like valid/\{label\}"):
        layout.read_train(pets, listed("train/cat/1.jpg", "train/dog/2.jpg"))


# the parts


@pytest.mark.parametrize(
    ("unordered", "ordered"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["img_100", "img_20", "img_3"], ["img_3", "img_20", "img_100"]),
        (["b1", "a10", "a9", "a"], ["a", "a9", "a10", "b1"]),
        (["v1.10", "v1.9", "v1"], ["v1", "v1.9", "v1.10"]),
    ],
)
def test_numbers_inside_text_are_ordered_by_value(unordered: list[str], ordered: list[str]) -> None:
    assert sorted(unordered, key=natural_key) == ordered


@settings(max_examples=100)
@given(st.lists(st.text("a1²٣_ ") | st.text()))
def test_any_text_can_be_ordered(texts: list[str]) -> None:
    assert sorted(sorted(texts, key=natural_key)) == sorted(texts)


def test_the_first_of_several_folders_wins_and_paths_are_sorted(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {"b.txt": "one", "d/e.txt": "one"})
    two = written(tmp_path / "two", {"a.txt": "two", "b.txt": "two"})
    files = DataFiles.from_folders([one, two], "both")
    assert {name: path.read_text() for name, path in files.paths.items()} == {
        "a.txt": "two",
        "b.txt": "one",
        "d/e.txt": "one",
    }
    assert list(files.paths) == sorted(files.paths)


def test_files_below_a_folder_are_relative_to_it() -> None:
    files = listed("a/b/1.jpg", "a/2.jpg", "ab/3.jpg", "4.jpg")
    assert list(files.below("a").paths) == ["2.jpg", "b/1.jpg"]
    assert [list(below.paths) for below in files.below_each(1)] == [["2.jpg", "b/1.jpg"], ["3.jpg"]]
    assert [list(below.paths) for below in files.below_each(2)] == [["2.jpg", "b/1.jpg"], ["3.jpg"], ["1.jpg"]]


def test_a_path_on_windows_has_forward_slashes_in_tables() -> None:
    files: Any = {"cat/1.jpg": PureWindowsPath(r"C:\data\x41\cat\1.jpg")}
    assert DataFiles(files, "data").absolute("cat/1.jpg") == "C:/data/x41/cat/1.jpg"


def test_a_table_is_found_whatever_its_letters_case() -> None:
    files = listed("Sample_Submission.csv", "deep/labels.csv")
    assert files.first(["missing.csv", "sample_submission.CSV"]) == Path("/Sample_Submission.csv")
    assert files.first(["deep/labels.csv"]) == Path("/deep/labels.csv")
    assert files.first(["labels.csv"]) is None


def test_a_link_that_leads_back_up_ends(tmp_path: Path) -> None:
    folder = written(tmp_path / "given", {"train/cat.0.jpg": ""})
    (folder / "train" / "again").symlink_to(folder, target_is_directory=True)
    assert list(DataFiles.from_folders([folder], "given").paths) == ["train/cat.0.jpg"]


# contracts

FINE = {"id": ["a", "b"], "path": ["/a.jpg", "/b.jpg"], "label": ["cat", "dog"]}


def test_a_fine_table_keeps_its_known_columns_in_order() -> None:
    table = pd.DataFrame({"note": [1, 2], "group": ["p", "q"]} | FINE, index=[7, 7])
    checked = contracts.check_train(table, competition(), "the hook")
    assert list(checked.columns) == ["id", "path", "label", "group"]
    assert list(checked.index) == [0, 1]
    assert list(contracts.check_test(table, competition(), "the hook").columns) == ["id", "path"]


@pytest.mark.parametrize(("on_windows", "path"), [(True, "C:/data/x80/1.jpg"), (False, "C:\\data\\x80\\1.jpg")])
def test_a_hook_s_own_paths_are_as_those_of_files(on_windows: bool, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "_ON_WINDOWS", on_windows)
    paths = [str(PureWindowsPath("C:/data/x80/1.jpg")), "C:/data/2.jpg"]
    table = pd.DataFrame(FINE | {"path": paths})
    assert contracts.check_test(table, competition(), "the hook")["path"].tolist() == [path, "C:/data/2.jpg"]
    assert contracts.check_train(table, competition(), "the hook")["path"].tolist() == [path, "C:/data/2.jpg"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": None}, "the table has no column 'id'; it has ['path', 'label']"),
        ({"label": None}, "the table has no column 'label'"),
        ({"id": [1, 2]}, "column 'id' must hold strings"),
        ({"path": [Path("/a.jpg"), Path("/b.jpg")]}, "column 'path' must hold strings"),
        ({"label": ["cat", None]}, "column 'label' must hold strings, with none missing"),
        ({"id": ["a", "a"]}, "two images have the id 'a': /a.jpg and /b.jpg"),
        ({"label": ["cat", "cow"]}, "label 'cow' is not one of the classes"),
        ({"label": ["cat", "cat"]}, "no training image of class 'dog'"),
        ({"group": ["p", None]}, "column 'group' has empty values"),
        ({"id": [], "path": [], "label": []}, "the table has no rows"),
    ],
)
def test_a_table_that_breaks_the_contract_is_refused_and_its_source_named(changes: dict[str, Any], words: str) -> None:
    columns = {name: values for name, values in (FINE | changes).items() if values is not None}
    with pytest.raises(PluginError) as caught:
        contracts.check_train(pd.DataFrame(columns), competition(), "plugin 'pets', hook 'train_table'")
    assert one_line(caught).startswith("plugin 'pets', hook 'train_table': ")
    assert words in one_line(caught)


def test_many_rows_of_many_classes_are_checked_in_a_pass() -> None:
    labels = [f"plant {number}" for number in range(5000)]
    names = [str(number) for number in range(200_000)]
    table = pd.DataFrame({"id": names, "path": names, "label": labels * 40})
    many = competition(classes=dict(zip(labels, labels, strict=True)), submission=ProbabilityPerClass(id="img"))
    started = time.process_time()
    assert len(contracts.check_train(table, many, "the hook")) == 200_000
    with pytest.raises(PluginError, match="label 'weed' is not one of the classes .* for example 199999"):
        contracts.check_train(table.assign(label=[*table["label"][:-1], "weed"]), many, "the hook")
    with pytest.raises(PluginError, match="two images have the id '0': 0 and 199999"):
        contracts.check_train(table.assign(id=[*names[:-1], "0"]), many, "the hook")
    assert time.process_time() - started < 20, "rows times classes would take minutes"


def test_declared_groups_must_be_in_the_table() -> None:
    with pytest.raises(PluginError, match="declares groups, and the table has no column 'group'"):
        contracts.check_train(pd.DataFrame(FINE), competition(**GROUPED), "the hook")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": ["a", "a"], "path": ["x", "y"]}, "two images have the id 'a': x and y"),
        ({"id": ["a"]}, "no column 'path'"),
    ],
)
def test_a_test_table_that_breaks_the_contract_is_refused(columns: dict[str, list[str]], words: str) -> None:
    with pytest.raises(PluginError, match=words):
        contracts.check_test(pd.DataFrame(columns), competition(), "the hook")
