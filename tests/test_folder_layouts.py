"""Folders of images as people download them: what is understood, and what is said of the others."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import folder_layout, plugins, samples
from kagglekit.data import sources
from kagglekit.formats import ProbabilityPerClass
from tests import damage, drawing
from tests.conftest import REPORT, Cli, failed, succeeded


def images(*folders: str, each: int = 2) -> list[str]:
    """Return `each` images in each folder, with the same names in all of them."""
    return [f"{folder}/{number}.jpg" for folder in folders for number in range(each)]


def written(root: Path, paths: Iterable[str]) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@dataclass(frozen=True)
class Understood:
    """What kagglekit makes of a folder."""

    train: dict[str, int]
    valid: dict[str, int]
    tests: list[str]


def understood(folder: Path) -> Understood:
    plugin = plugins.load(str(folder))
    competition = plugin.competition()
    files = sources.find(competition, plugin.data, Workspace.of(competition.name), Console(io.StringIO()))
    train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
    assert all(Path(path).is_file() for path in [*train["path"], *test["path"]])
    valid = train["valid"] if "valid" in train else train["id"].eq("")
    assert (plugin.recipe() == {"validation": "valid"}) == valid.any()
    return Understood(
        train=dict(Counter(train["label"][~valid])), valid=dict(Counter(train["label"][valid])), tests=list(test["id"])
    )


PETS = {"cat": 2, "dog": 2}
ONE_FOLDER = ["0.jpg", "1.jpg"]
CLASS_FOLDERS = ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]
KNOWN: dict[str, tuple[list[str], Understood]] = {
    "cats and dogs": (
        images("training_set/training_set/cat", "training_set/training_set/dog", "test_set/test_set/cat")
        + images("test_set/test_set/dog"),
        Understood(PETS, {}, CLASS_FOLDERS),
    ),
    "Intel's scenes": (
        images("seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat", "seg_test/seg_test/dog")
        + images("seg_pred/seg_pred"),
        Understood(PETS, PETS, ONE_FOLDER),
    ),
    "chest X-rays": (
        images(*(f"chest/{part}/{name}" for part in ("train", "val", "test") for name in ("cat", "dog")))
        + images(*(f"chest/chest/{part}/{name}" for part in ("train", "val", "test") for name in ("cat", "dog"))),
        Understood(PETS, PETS, CLASS_FOLDERS),
    ),
    "brain tumours": (
        images("Training/cat", "Training/dog", "Testing/cat", "Testing/dog"),
        Understood(PETS, {}, CLASS_FOLDERS),
    ),
    "capitals": (
        images("TRAIN/cat", "TRAIN/dog", "Validation/cat", "Validation/dog", "TEST"),
        Understood(PETS, PETS, ONE_FOLDER),
    ),
    "doubled folders": (
        images("train/train/cat", "train/train/dog", "valid/valid/dog", "test/test"),
        Understood(PETS, {"dog": 2}, ONE_FOLDER),
    ),
    "wrapped": (images("pets/train/cat", "pets/train/dog", "pets/test"), Understood(PETS, {}, ONE_FOLDER)),
    "fastai's": (
        images("train/cat", "train/dog", "valid/cat", "valid/dog", "sample/train/cat", "sample/valid/cat", "test"),
        Understood(PETS, PETS, ONE_FOLDER),
    ),
    "Keras's test folder": (images("train/cat", "train/dog", "test/all"), Understood(PETS, {}, ONE_FOLDER)),
    "test images named by class": (
        [*images("train/cat", "train/dog"), "test/cat/cat.0.jpg", "test/dog/dog.0.jpg"],
        Understood(PETS, {}, ["cat.0.jpg", "dog.0.jpg"]),
    ),
    "deeper test images": (
        images("train/cat", "train/dog", "test/a/b", "test/c/d/e"),
        Understood(PETS, {}, ["a/b/0.jpg", "a/b/1.jpg", "c/d/e/0.jpg", "c/d/e/1.jpg"]),
    ),
    "classes named like a split": (
        images("train/cat", "train/train", "train/val", "valid/cat", "valid/val", "test/cat", "test/train"),
        Understood(
            {"cat": 2, "train": 2, "val": 2},
            {"cat": 2, "val": 2},
            ["cat/0.jpg", "cat/1.jpg", "train/0.jpg", "train/1.jpg"],
        ),
    ),
    "loose images beside doubled folders": (
        [*images("train/train/cat", "train/train/dog", "test/test"), "train/cover.jpg"],
        Understood(PETS, {}, ONE_FOLDER),
    ),
    "train beside another": (
        images("train/cat", "train/dog", "train_images/fox", "train_images/owl", "test"),
        Understood(PETS, {}, ONE_FOLDER),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("wrapper", ["", "archive/"])
def test_a_layout_that_people_have_is_understood(name: str, wrapper: str, tmp_path: Path) -> None:
    paths, wanted = KNOWN[name]
    assert understood(written(tmp_path / "pets", [wrapper + path for path in paths])) == wanted
    assert plugins.load(str(tmp_path / "pets")).competition().name == "pets"


def test_labelled_test_images_keep_their_folders_in_a_submission_and_in_class_folders(
    cli: Cli, tiny: str, home: Path, tmp_path: Path
) -> None:
    paths = [f"{part}/{name}/{n}.jpg" for part in ("Training", "Testing") for name in ("cat", "dog") for n in range(4)]
    for seed, path in enumerate(paths):
        written(tmp_path / "pets", [path])
        (tmp_path / "pets" / path).write_bytes(drawing.image("dog" in path, seed))
    succeeded(cli("run", tmp_path / "pets", "--backbone", tiny, *damage.QUICK))
    frame = pd.read_csv(damage.only_run(home / "pets") / "submission.csv")
    assert frame["id"].tolist() == [f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(4)]
    assert (frame["dog"] > 0.5).tolist() == [False] * 4 + [True] * 4
    succeeded(cli("folders", tmp_path / "pets", tmp_path / "out", "--valid", "2", "--sample", "0,0"))
    names = sorted(path.name for path in (tmp_path / "out" / "test" / "unknown").iterdir())
    assert names == [f"{name}_{n}.jpg" for name in ("cat", "dog") for n in range(4)]


@pytest.mark.parametrize("name", ["subject_information.csv", "submission_format.csv"])
def test_a_table_of_other_things_is_no_sample_submission(name: str, tmp_path: Path) -> None:
    pets = written(tmp_path / "pets", images("train/cat", "train/dog", "test"))
    (pets / name).write_text("subject,age,sex\np1,7,f\n", encoding="utf-8")
    competition = plugins.load(str(pets)).competition()
    assert isinstance(competition.submission, ProbabilityPerClass)
    assert competition.submission.id == "id"
    (pets / "sample_submission.csv").write_text("subject,age,sex\np1,7,f\n", encoding="utf-8")
    with pytest.raises(UserError, match="has the columns subject, age, sex"):
        plugins.load(str(pets)).competition()


def test_a_sample_submission_may_lie_beside_the_folder_of_all_images(tmp_path: Path) -> None:
    pets = written(tmp_path / "pets", images("imgs/train/cat", "imgs/train/dog", "imgs/val/dog", "imgs/test"))
    (pets / "sample_submission.csv").write_text("img,cat,dog\n1.jpg,0.5,0.5\n0.jpg,0.5,0.5\n", encoding="utf-8")
    competition = plugins.load(str(pets)).competition()
    assert competition.submission == ProbabilityPerClass(id="img")
    assert understood(pets) == Understood(PETS, {"dog": 2}, ONE_FOLDER)
    found = sources.find(competition, pets, Workspace.of("pets"), Console(io.StringIO()))
    sample = samples.read(competition, found)
    assert sample is not None
    assert sample["img"].tolist() == ["1.jpg", "0.jpg"]


CLASSES_ALONE = {
    "flower photos": images("cat", "dog"),
    "wrapped": images("pets/cat", "pets/dog"),
    "a vehicle": images("cat", "dog", "train"),
    "deeper images": [*images("cat", "dog"), "cat/more/2.jpg"],
    "no test folder": images("train/cat", "train/dog"),
    "split, no test folder": images("train/cat", "train/dog", "val/cat"),
}


@pytest.mark.parametrize("name", CLASSES_ALONE)
def test_classes_without_a_test_set_are_a_training_set(name: str, tmp_path: Path) -> None:
    paths = CLASSES_ALONE[name]
    found = understood(written(tmp_path / "pets", [*paths, "LICENSE.txt"]))
    assert found.tests == []
    assert {label: found.train.get(label, 0) + found.valid.get(label, 0) for label in found.train} == Counter(
        path.replace("/more", "").split("/")[-2] for path in paths
    )


def test_deeper_test_images_have_ids_as_the_sample_submission_has_them(tmp_path: Path) -> None:
    pets = written(tmp_path / "pets", [*images("train/cat", "train/dog"), "test/a/b/0.jpg", "test/a/c/1.jpg"])
    (pets / "sample_submission.csv").write_text("id,cat,dog\n1,0.5,0.5\n0,0.5,0.5\n", encoding="utf-8")
    assert understood(pets).tests == ["a/b/0", "a/c/1"]


def test_a_test_image_deeper_than_the_others_is_not_left_out_silently(tmp_path: Path) -> None:
    paths = [*images("train/cat", "train/dog", "test/a"), "test/a/b/2.jpg"]
    with pytest.raises(UserError, match=r"1 images under test/ do not fit .*, for example 'test/a/b/2.jpg'"):
        understood(written(tmp_path / "pets", paths))


def test_a_run_without_test_images_ends_with_a_score(cli: Cli, tiny: str, home: Path, tmp_path: Path) -> None:
    pets = tmp_path / "pets"
    for number in range(12):
        written(pets, [f"{('cat', 'dog')[number % 2]}/{number}.jpg"])
        (pets / ("cat", "dog")[number % 2] / f"{number}.jpg").write_bytes(drawing.image(number % 2, number))
    words = ("run", pets, "--backbone", tiny, *damage.QUICK)
    done = succeeded(cli(*words, REPORT))
    run = damage.only_run(home / "pets")
    assert "12 training images of 2 classes, 0 test images" in done.out
    assert done.out.count("no submission") == 1
    assert f"next: kagglekit predict {run.name} IMAGES" in done.out
    assert not (run / "submission.csv").exists()
    assert (run / "report.html").is_file()
    assert len(pd.read_parquet(run / "oof.parquet")) == 12
    assert "already finished" in succeeded(cli(*words)).out
    assert "no submission" in succeeded(cli("info", run.name)).out
    assert "has no test images" in failed(cli("bundle", run.name, tmp_path / "out"))
    assert (home / "pets" / "runs").exists()
    succeeded(cli("folders", pets, tmp_path / "split", "--valid", "2", "--sample", "0,0"))
    assert understood(tmp_path / "split").valid == {"cat": 1, "dog": 1}


def test_a_plugin_without_a_test_set_passes_its_check(cli: Cli, tiny: str, home: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "pets.py"
    plugin.write_text(damage.HEAD + damage.PETS.replace("test/{id}.jpg", "").replace('test=""', "test=()"))
    done = succeeded(cli("check", plugin, "--set", f"backbone={tiny}"))
    assert "a whole run ends with a score, and without a submission" in done.out


UNKNOWN: dict[str, tuple[list[str], str]] = {
    "nothing": (["readme.txt"], "it has no images in its 1 files, such as readme.txt"),
    "no folders": (["1.jpg", "2.jpg"], "it has . (2 images)"),
    "one class": (images("train/cat", "test"), "it has test (2 images), train/cat (2 images), and needs"),
    "labels in a CSV": ([*images("train", "test"), "train.csv"], "test (2 images), train (2 images)"),
    "labels in a CSV beside": ([*images("images", "masks"), "labels.csv"], "images (2 images), masks (2 images)"),
    "two candidates": (images("training/cat", "training/dog", "train_set/cat", "train_set/dog"), "train_set/cat (2"),
    "classes beside a test folder": (images("cat", "dog", "test"), "cat (2 images), dog (2 images), test (2 images)"),
    "classes and a loose image": ([*images("cat", "dog"), "cover.jpg"], ". (1 images), cat (2 images)"),
    "classes of another level": (images("cat", "dog", "more/fox"), "more/fox (2 images)"),
    "YOLO": ([*images("train/images", "test/images"), "train/labels/0.txt"], "train/images (2 images)"),
    "many": (images(*(f"x/y/{n}/z" for n in range(9))), "x/y/3/z (2 images) and 5 more folders"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_another_layout_is_refused_with_what_is_there(name: str, tmp_path: Path) -> None:
    paths, words = UNKNOWN[name]
    with pytest.raises(UserError) as caught:
        plugins.load(str(written(tmp_path / "pets", paths)))
    message = str(caught.value)
    assert words in message
    assert "`kagglekit new NAME`" in message
    assert "\n" not in message


@pytest.mark.parametrize("wrapper", ["", "archive/"])
def test_two_data_sets_side_by_side_are_refused_by_name(cli: Cli, wrapper: str, tmp_path: Path) -> None:
    folds = [f"{wrapper}{fold}/{part}" for fold in ("fold1", "fold2") for part in ("train/cat", "train/dog", "test")]
    message = failed(cli("audit", written(tmp_path / "pets", images(*folds))))
    assert f"{tmp_path / 'pets'} has 2 data sets, {wrapper}fold1 and {wrapper}fold2" in message
    assert f"name one of them, for example {tmp_path / 'pets' / wrapper / 'fold1'}" in message


def test_a_folder_that_only_looks_like_a_data_set_beside_one_changes_nothing(tmp_path: Path) -> None:
    paths = images("pets/train/cat", "pets/train/dog", "pets/test", "more/train/cat")
    assert understood(written(tmp_path, paths)) == Understood(PETS, {}, ONE_FOLDER)


def test_an_archive_instead_of_a_folder_says_what_to_type(cli: Cli, tmp_path: Path) -> None:
    archive = drawing.zip_of(tmp_path / "pets.zip", {"cat/1.jpg": b""})
    message = failed(cli("run", archive))
    assert "unpack an archive and name its folder" in message
    assert f"--data {archive}" in message


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Train", "train"),
        ("seg_train", "train"),
        ("training set", "train"),
        ("val", "valid"),
        ("Validation-Images", "valid"),
        ("test1", "test"),
        ("seg_pred", "pred"),
        ("trains", ""),
        ("test2", ""),
        ("value", ""),
        ("daisy", ""),
    ],
)
def test_a_folder_is_known_by_its_name(name: str, kind: str) -> None:
    assert folder_layout.kind_of(name) == kind
