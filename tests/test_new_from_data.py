"""`kagglekit new --from`: a plugin from the tables of the data, which reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kagglekit import (
    ClassAndScore,
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
    Value,
    Values,
)
from kagglekit.authoring import label_values
from kagglekit.competitions import plugins
from tests import drawing
from tests.conftest import Cli, failed, succeeded
from tests.test_authors import at_a_terminal, is_clean

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
DOT = drawing.image(0, 1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands are typed in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(name: str = "leaf") -> Competition:
    return plugins.load(f"./kagglekit-{name}").competition()


def data(folder: Path, tables: dict[str, str], *images: str) -> Path:
    """Write tables, whose lines are separated by slashes here, and images."""
    for name, content in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("/", "\n") + "\n")
    for name in images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DOT)
    return folder


def split(numbers: Sequence[int] = range(6), tests: Sequence[int] = (7, 8)) -> list[str]:
    return [*(f"train/{number}.jpg" for number in numbers), *(f"test/{number}.jpg" for number in tests)]


def labels(header: str, cells: Sequence[str]) -> str:
    return "/".join([header, *(f"{number},{cell}" for number, cell in enumerate(cells))])


def images(*words: str) -> CsvLabels:
    return CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=words[0])


CASES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "classes in a column": (
        {"train.csv": labels("id,kind", ["oak", "elm", "ash"] * 2), "sample_submission.csv": "id,kind/7,oak/8,oak"},
        {"target": Classes(FromCsv("train.csv", "kind")), "train": images("kind"),
         "submission": ClassLabel(label="kind"), "metric": "accuracy"},
    ),
    "a column a class": (
        {"train.csv": labels("id,kind,size", [f"{kind},{n}" for n, kind in enumerate(["oak", "elm"] * 3)]),
         "sample_submission.csv": "id,elm,oak/7,0.5,0.5/8,0.5,0.5"},
        {"target": Classes(FromCsv("train.csv", "kind")), "submission": ProbabilityPerClass(), "metric": "log_loss"},
    ),
    "guesses": (
        {"train.csv": labels("id,Id", ["w1", "w2", "new_whale"] * 2),
         "sample_submission.csv": "id,Id/7,new_whale w1 w2/8,new_whale w1 w2"},
        {"target": Classes(FromCsv("train.csv", "Id"), unseen="new_whale"),
         "submission": TopClasses(label="Id", k=3), "metric": "map@3"},
    ),
    "grades": (
        {"train.csv": labels("id,diagnosis", ["0", "1", "2", "1", "0", "2"]),
         "sample_submission.csv": "id,diagnosis/7,0/8,0"},
        {"target": Grades(3), "submission": ClassLabel(label="diagnosis"), "metric": "qwk"},
    ),
    "codes": (
        {"train.csv": labels("id,label", ["0", "1", "2", "1", "0", "2"]), "sample_submission.csv": "id,label/7,0/8,0"},
        {"target": Classes(FromCsv("train.csv", "label")), "submission": ClassLabel(), "metric": "accuracy"},
    ),
    "a number": (
        {"train.csv": labels("id,Subject Focus,Score", [f"0,{number}" for number in (1, 50, 100, 30, 7, 12)]),
         "sample_submission.csv": "id,Score/7,50/8,50"},
        {"target": Number(1, 100), "train": images("Score"), "submission": Value(label="Score"), "metric": "rmse"},
    ),
    "several numbers": (
        {"train.csv": labels("id,X4,X11", ["1.5,30", "2,40", "1,35", "0.5,20", "3,25", "2,30"]),
         "sample_submission.csv": "id,X4,X11/7,1,1/8,1,1"},
        {"target": Numbers(["X4", "X11"]), "submission": Values(), "metric": "rmse",
         "train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=Columns(["X4", "X11"]))},
    ),
    "shares": (
        {"train.csv": labels("id,a,b", ["0.5,0.5", "0.2,0.3", "0,1", "1,0.25", "0.3,0.5", "1,1"]),
         "sample_submission.csv": "id,a,b/7,0,0/8,0,0"},
        {"target": Shares(["a", "b"]), "submission": ProbabilityPerClass(), "metric": "rmse"},
    ),
    "one-hot classes": (
        {"train.csv": labels("id,a,b", ["1,0", "0,1"] * 3), "sample_submission.csv": "id,a,b/7,0,0/8,0,0"},
        {"target": Classes(["a", "b"]), "submission": ProbabilityPerClass(), "metric": "log_loss",
         "train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=OneHot(["a", "b"]))},
    ),
    "one-hot labels": (
        {"train.csv": labels("id,a,b", ["1,0", "0,0", "1,1"] * 2), "sample_submission.csv": "id,a,b/7,0,0/8,0,0"},
        {"target": Labels(["a", "b"]), "submission": ProbabilityPerClass(), "metric": "auc(mean)"},
    ),
    "tags": (
        {"train.csv": labels("id,tags", ["a", "b", "a b", "c a", "", "b c"]),
         "sample_submission.csv": "id,tags/7,a/8,a"},
        {"target": Labels(FromTrain()), "submission": JoinedLabels(label="tags"), "metric": "f1(samples)",
         "train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=Tags("tags"))},
    ),
    "tags that the sample separates differently": (
        {"train.csv": labels("id,tags", ["a", "b", "a|b", "c|a", "c", "b|c"]),
         "sample_submission.csv": "id,tags/7,a b/8,a"},
        {"target": Labels(FromTrain(), at_least_one=True), "submission": JoinedLabels(label="tags"),
         "train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=Tags("tags", sep="|"))},
    ),
    "few tags that the sample joins anew": (
        {"train.csv": labels("id,tags", ["a c", "b c"] * 3), "sample_submission.csv": "id,tags/7,a b c/8,a b c"},
        {"target": Labels(FromTrain(), at_least_one=True), "submission": JoinedLabels(label="tags")},
    ),
    "a column that has what the sample lists": (
        {"train.csv": labels("id,species,who", [f"{'orca' if n % 2 else 'fin'},w{n % 3}" for n in range(6)]),
         "sample_submission.csv": "id,predictions/7,w1 w2/8,w1 w2"},
        {"train": images("who"), "submission": TopClasses(label="predictions", k=2)},
    ),
    "a column whose name has the sample's in it, and ids that are not first": (
        {"train.csv": labels("id,frames,category_id", ["3,0", "4,1", "3,2"] * 2),
         "sample_submission.csv": ",Category,Id/0,0,7/1,0,8"},
        {"train": images("category_id"), "submission": ClassLabel(id="Id", label="Category")},
    ),
    "a class and its score": (
        {"train.csv": labels("id,place_id", ["3", "14", "159"] * 2),
         "sample_submission.csv": "id,marks/7,14 0.1/8,14 0.1"},
        {"submission": ClassAndScore(label="marks"), "metric": "gap"},
    ),
    "a benchmark for a sample": (
        {"train.csv": labels("id,a,b", ["0.5,0.5", "0.2,0.3", "0,1"] * 2), "zeros.csv": "id,a,b/7,0,0/8,0,0",
         "one.csv": "id,a,b/7,1,1"},
        {"target": Shares(["a", "b"]), "submission": ProbabilityPerClass(sample=("zeros.csv",))},
    ),
    "a sample for each stage, of which the data has one": (
        {"train.csv": labels("id,kind", ["oak", "elm"] * 3), "sample_submission_stg2.csv": "id,kind/91,oak/92,oak",
         "sample_submission_stg1.csv": "id,kind/7,oak/8,oak"},
        {"submission": ClassLabel(label="kind", sample=("sample_submission_stg1.csv",))},
    ),
    "one-hot classes of which one is submitted": (
        {"train.csv": labels("id,a,b", ["1,0", "0,1"] * 3), "sample_submission.csv": "id,label/7,a/8,b"},
        {"target": Classes(["a", "b"]), "submission": ClassLabel()},
    ),
    "a flag": (
        {"train.csv": labels("id,has", ["0", "1"] * 3), "sample_submission.csv": "id,has/7,0.5/8,0.5"},
        {"target": Classes(["0", "1"]), "submission": Probability(label="has", of="1"), "metric": "auc"},
    ),
    "groups": (
        {"train.csv": labels("id,patient_id,has", ["p1,0", "p1,1", "p2,0", "p2,1", "p3,0", "p3,1"]),
         "sample_submission.csv": "id,has/7,0.5/8,0.5"},
        {"train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label="has", group="patient_id")},
    ),
    "a sample of another name": (
        {"train.csv": labels("id,kind", ["oak", "elm"] * 3), "submission_format.csv": "img,kind/7.jpg,elm/8.jpg,elm"},
        {"submission": ClassLabel(id="img", label="kind", sample=("submission_format.csv",)), "test": "test/{id}"},
    ),
    "columns that the sample calls without an addition": (
        {"train.csv": labels("id,soil,X4_mean,X11_mean,X4_sd,X11_sd", [f"{n},{n}.5,{30 + n},1,2" for n in range(6)]),
         "sample_submission.csv": "id,X4,X11/7,1,1/8,1,1"},
        {"target": Numbers(["X4_mean", "X11_mean"]), "submission": Values(write={"X4_mean": "X4", "X11_mean": "X11"})},
    ),
    "numbers that images lack": (
        {"train.csv": labels("id,x,y", ["1,30.5", "2,", "1.5,35", ",20", "3,25", "2,30"]),
         "sample_submission.csv": "id,x,y/7,1,1/8,1,1"},
        {"target": Numbers(["x", "y"], missing=True)},
    ),
    "labels in words": (
        {"train.csv": labels("id,hat,smile", ["Yes,No", "No,No", "Yes,Yes"] * 2),
         "sample_submission.csv": "id,hat,smile/7,0,0/8,0,0"},
        {"target": Labels(["hat", "smile"]),
         "train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=OneHot(["hat", "smile"]))},
    ),
    "labels of 1 and -1": (
        {"train.csv": labels("id,hat,smile", ["1,-1", "-1,-1", "1,1"] * 2),
         "sample_submission.csv": "id,hat,smile/7,0,0/8,0,0"},
        {"target": Labels(["hat", "smile"])},
    ),
    "tags of which each is a column of the sample": (
        {"train.csv": labels("id,Findings,age", ["a|b,50", "b,61", "None found,40"] * 2),
         "sample_submission.csv": "id,a,b,None found/7,0,0,0/8,0,0,0"},
        {"target": Labels(FromTrain(), at_least_one=True), "submission": ProbabilityPerClass(),
         "train": CsvLabels("train.csv", images="train/{id}.jpg", id="id", label=Tags("Findings", sep="|"))},
    ),
    "a class and its score beside addresses": (
        {"train.csv": labels("id,url,mark_id", [f"www.a.org?{n},{n % 3 * 11}" for n in range(6)]),
         "sample_submission.csv": "id,marks/7,11 0.00/8,11 0.00"},
        {"train": images("mark_id"), "submission": ClassAndScore(label="marks"), "metric": "gap"},
    ),
    "yes and no": (
        {"train.csv": labels("id,has", ["no", "yes"] * 3), "sample_submission.csv": "id,has/7,0.5/8,0.5"},
        {"submission": Probability(label="has", of="yes"), "metric": "auc"},
    ),
    "a probability called after its class": (
        {"train.csv": labels("id,kind", ["elm", "oak"] * 3), "sample_submission.csv": "id,Elm/7,0.5/8,0.5"},
        {"submission": Probability(label="Elm", of="elm"), "metric": "log_loss"},
    ),
    "0 and 1 in the sample": (
        {"train.csv": labels("id,has", ["False", "True"] * 3), "sample_submission.csv": "id,has/7,0/8,1"},
        {"submission": ClassLabel(label="has", write={"False": "0", "True": "1"}), "metric": "accuracy"},
    ),
    "labels that are called as groups are": (
        {"train.csv": labels("id,animal", ["cat", "dog", "fox"] * 2), "submission.csv": "id,animal/7,cat/8,cat"},
        {"train": images("animal"), "submission": ClassLabel(label="animal", sample=("submission.csv",))},
    ),
    "a sample in a folder": (
        {"train.csv": labels("id,kind", ["oak", "elm"] * 3), "test/sample_submission.csv": "id,kind/7,oak/8,oak"},
        {"submission": ClassLabel(label="kind", sample=("test/sample_submission.csv",))},
    ),
    "numbers without the zeros of file names": (
        {"train.csv": labels("id,kind", ["oak", "elm"] * 3).replace("/", "/00"),
         "sample_submission.csv": "id,kind/007,oak/08,oak"},
        {"train": images("kind"), "test": "test/{id}.jpg"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tables_say_what_a_plugin_says(cli: Cli, tmp_path: Path, name: str) -> None:
    tables, expected = CASES[name]
    done = succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *split())))
    found = written()
    assert {field: getattr(found, field) for field in expected} == expected
    assert "read with it: 6 training and 2 test images, a sample of 2 rows" in done.out
    assert "assumed: the metric is" in done.out
    assert "labels: " in done.out


def test_what_is_written_is_clean(cli: Cli, here: Path, tmp_path: Path) -> None:
    for number, (tables, _) in enumerate(CASES.values()):
        succeeded(cli("new", f"leaf-{number}", "--from", data(tmp_path / str(number), tables, *split())))
    is_clean(here)


SAMPLE = {"sample_submission.csv": "id,kind/7,oak/8,oak"}


def test_folders_of_classes_and_groups_in_a_table_beside_them(cli: Cli, tmp_path: Path) -> None:
    pictures_ = [f"imgs/train/{kind}/{kind}{number}.jpg" for kind in ("oak", "elm") for number in range(3)]
    rows = "/".join(f"s{number % 2},oak,oak{number}.jpg/s{number % 2},elm,elm{number}.jpg" for number in range(3))
    tables = SAMPLE | {"drivers.csv": f"subject,classname,img/{rows}"}
    found = data(tmp_path / "data", tables, *pictures_, "imgs/test/7.jpg", "imgs/test/8.jpg")
    succeeded(cli("new", "leaf", "--from", found))
    assert written().train == FolderLabels("imgs/train/{label}")
    assert written().groups == CsvGroups("drivers.csv", image="img", group="subject")


def test_labels_in_file_names_and_the_question_whose_probability_is_asked(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = drawing.dogs(tmp_path)
    done = succeeded(cli("new", "dogs", "--from", archive))
    assert written("dogs").train == FilenameLabels("train/{label}.{number}.jpg")
    assert written("dogs").submission == Probability(of="dog")
    assert "assumed: whose probability does the column 'label' hold? dog; if not, --of cat" in done.out
    succeeded(cli("new", "cats", "--from", archive, "--of", "cat", "--metric", "auc", "--flip", "forbidden"))
    assert written("cats").submission == Probability(of="cat")
    assert (written("cats").metric, written("cats").flip) == ("auc", "forbidden")
    asked = at_a_terminal(monkeypatch, Whose=["cat"])
    succeeded(cli("new", "pets", "--from", archive))
    assert asked.questions == ["Whose probability does the column 'label' hold (cat, dog)"]
    assert written("pets").submission == Probability(of="cat")
    assert "--of 'cow' is not one of cat, dog" in failed(cli("new", "cows", "--from", archive, "--of", "cow"))


def test_a_plugin_from_an_archive_runs_without_more_words(cli: Cli, tmp_path: Path, tiny: str, home: Path) -> None:
    succeeded(cli("new", "dogs", "--from", drawing.dogs(tmp_path)))
    succeeded(cli("run", "./kagglekit-dogs", "--backbone", tiny, "--folds", "2", "--no-report"))
    (run,) = (home / "dogs" / "runs").iterdir()
    assert (run / "submission.csv").is_file()


def test_a_shared_folder_is_told_apart_by_the_tables(cli: Cli, tmp_path: Path) -> None:
    tables = {
        "train.csv": labels("id,kind,margin1", [f"{kind},{n}" for n, kind in enumerate(["oak", "elm"] * 3)]),
        "test.csv": "id,margin1/7,0/8,1",
        "sample_submission.csv": "id,elm,oak/7,0,1/8,0,1",
    }
    both = [f"images/{number}.jpg" for number in (*range(6), 7, 8)]
    done = succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *both)))
    assert written().train == CsvLabels("train.csv", images="images/{id}.jpg", id="id", label="kind", only_listed=True)
    assert written().test == CsvIds("test.csv", images="images/{id}.jpg", id="id")
    assert "images without a row in train.csv (2) are no training images" in done.out
    assert "test images: those of images that test.csv lists" in done.out


def test_jpegs_are_taken_where_each_image_is_a_tiff_too(cli: Cli, tmp_path: Path) -> None:
    tables = {"train.csv": labels("id,kind", ["oak", "elm"] * 3), "sample_submission.csv": "id,kind/7,oak/8,oak"}
    both = [f"{part}-{kind}/{number}.{kind}" for kind in ("jpg", "tif") for part, number in PARTS]
    succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *both)))
    assert written().train == CsvLabels("train.csv", images="train-jpg/{id}.jpg", id="id", label="kind")
    assert written().test == "test-jpg/{id}.jpg"


PARTS = [*(("train", number) for number in range(6)), ("test", 7), ("test", 8)]


def test_two_folders_of_test_images(cli: Cli, tmp_path: Path) -> None:
    tables = {"labels.csv": labels("id,has", ["0", "1"] * 3), "sample_submission.csv": "id,has/7.jpg,1/8.jpg,1"}
    names = [*(f"train/{number}.jpg" for number in range(6)), "holdout/7.jpg", "test/8.jpg"]
    succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *names)))
    assert written().test == Together("holdout/{id}", "test/{id}")


def test_annotations(cli: Cli, tmp_path: Path) -> None:
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(6)],
        "annotations": [{"id": n, "image_id": n, "category_id": n % 2} for n in range(6)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }
    found = data(tmp_path / "data", {"sample_submission.csv": "id,label/7,0/8,1"}, *split())
    (found / "train.json").write_text(json.dumps(content))
    succeeded(cli("new", "leaf", "--from", found))
    assert written().train == CocoLabels("train.json", images="train/{file_name}")
    assert written().target == Classes(FromTrain())
    (found / "sample_submission.csv").write_text("id,cat,dog\n7,0,1\n8,0,1\n")
    succeeded(cli("new", "pets", "--from", found))
    assert written("pets").train == CocoLabels("train.json", images="train/{file_name}", category="name")


def test_folders_in_folders_are_one_place(cli: Cli, tmp_path: Path) -> None:
    tables = {"train.csv": labels("id,kind", ["oak", "elm"] * 3), "sample_submission.csv": "id,kind/7,oak/8,oak"}
    deep = [f"train/{n % 2}/{n}/{n}.jpg" for n in range(6)] + [f"test/{n % 2}/{n}/{n}.jpg" for n in (7, 8)]
    succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *deep)))
    assert written().train == CsvLabels("train.csv", images="train/{a}/{b}/{id}.jpg", id="id", label="kind")
    names = [f"train/{'a/' * n}{n}.jpg" for n in range(6)]
    assert "has images of one kind in 6 folders" in failed(
        cli("new", "elm", "--from", data(tmp_path / "elm", tables, *names))
    )


def test_annotations_whose_images_have_their_folders(cli: Cli, tmp_path: Path) -> None:
    paths = [f"images/00{n % 2}/0{n}/{n}.jpg" for n in range(6)]
    content = {
        "images": [{"id": number, "file_name": path} for number, path in enumerate(paths)],
        "annotations": [{"id": n, "image_id": n, "category_id": n % 2} for n in range(6)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }
    names = [f"herbs/train/{path}" for path in paths] + ["herbs/test/7.jpg", "herbs/test/8.jpg"]
    found = data(tmp_path / "data", {"sample_submission.csv": "id,label/7,0/8,1"}, *names)
    (found / "herbs" / "train" / "metadata.json").write_text(json.dumps(content))
    succeeded(cli("new", "leaf", "--from", found))
    assert written().train == CocoLabels("herbs/train/metadata.json", images="herbs/train/{file_name/}")


LONG = "id,Label/" + "/".join(f"{number}_{kind},0.5" for number in (7, 8) for kind in ("any", "root_1"))


def test_rows_of_an_image_and_a_label_are_told_by_their_ids(cli: Cli, tmp_path: Path) -> None:
    both = "/".join(f"{n}_{kind},{n % 2}" for n in range(6) for kind in ("any", "root_1"))
    tables = {"train.csv": f"ID,Label/{both}", "sample_submission.csv": LONG}
    done = succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *split())))
    assert written().submission == Long(label="Label")
    assert written().target == Labels(["any", "root_1"])
    assert written().train == CsvLabels(
        "train.csv", images="train/{id}.jpg", id="ID", label=RowPerLabel("{id}_{label}", value="Label")
    )
    assert "read with it: 6 training and 2 test images, a sample of 4 rows" in done.out
    tables["train.csv"] = labels("id,any,root_1", ["1,0", "0,0", "1,1"] * 2)
    succeeded(cli("new", "wide", "--from", data(tmp_path / "data", tables)))
    assert written("wide").train == CsvLabels(
        "train.csv", images="train/{id}.jpg", id="id", label=OneHot(["any", "root_1"])
    )
    tables["train.csv"] = labels("id,any,root_2", ["1,0"] * 6)
    done_ = failed(cli("new", "other", "--from", data(tmp_path / "data", tables)))
    assert "'root_1' in it is no label of the training images" in done_


def test_folders_of_patients_are_groups_and_those_of_classes_are_not(cli: Cli, tmp_path: Path) -> None:
    names = [f"train/p{number // 2}/{number}.jpg" for number in range(12)]
    names += ["test/107.jpg", "test/108.jpg"]
    tables = {
        "train.csv": labels("id,kind", ["oak", "elm"] * 6),
        "sample_submission.csv": "id,kind/107,oak/108,oak",
    }
    done = succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *names)))
    assert written().train == CsvLabels("train.csv", images="train/{group}/{id}.jpg", id="id", label="kind")
    assert "groups: the folders, such as train/p0, which folds never split" in done.out
    deep = [name.replace("/p", "/a/p").replace("/a/p5", "/b/p5") for name in names]
    done = succeeded(cli("new", "deep", "--from", data(tmp_path / "deep", tables, *deep)))
    assert written("deep").train == CsvLabels("train.csv", images="train/{a}/{b}/{id}.jpg", id="id", label="kind")
    assert "assumed: no folder, such as train/a/p0, is a group" in done.out
    tables = {"train.csv": labels("id,kind", [f"p{number // 2}" for number in range(12)])}
    done = succeeded(cli("new", "pine", "--from", data(tmp_path / "pine", tables, *names)))
    assert written("pine").train == CsvLabels("train.csv", images="train/{folder}/{id}.jpg", id="id", label="kind")
    assert "groups" not in done.out


@pytest.mark.parametrize(
    ("cells", "target"),
    [
        (["0,oak", "0,oak", "1,elm", "2,oak"], Classes(FromCsv("train.csv", "kind"))),
        (["0,oak", "0,elm", "1,elm", "2,oak"], Labels(FromTrain(), at_least_one=True)),
    ],
    ids=["twice the same", "different labels"],
)
def test_an_image_with_several_rows_has_several_labels_only_if_they_differ(
    cli: Cli, tmp_path: Path, cells: list[str], target: Any
) -> None:
    tables = {"train.csv": "/".join(["id,kind", *cells]), **SAMPLE}
    succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *split(range(3)))))
    assert written().target == target


def test_one_image_with_two_labels_among_many_is_a_mistake_that_is_named(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{number},{('oak', 'elm')[number % 2]}" for number in range(60)]
    tables = {"train.csv": "/".join(["id,kind", *rows, "4,elm"]), "sample_submission.csv": "id,kind/70,oak"}
    found = data(tmp_path / "data", tables, *split(range(60), (70,)))
    done = failed(cli("new", "leaf", "--from", found))
    assert "1 of 60 images in train.csv have rows with different labels, such as '4' (oak, elm)" in done
    succeeded(cli("new", "leaf", "--from", found, "--task", "labels"))
    assert written().target == Labels(FromTrain(), at_least_one=True)


def test_labels_in_file_names_of_the_only_folder(cli: Cli, tmp_path: Path) -> None:
    names = [f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(3)]
    archive = drawing.zip_of(tmp_path / "my-pets.zip", {f"pets/{name}": DOT for name in names})
    done = succeeded(cli("new", "pets", "--from", archive))
    assert written("pets").train == FilenameLabels("{label}.{number}.jpg")
    assert "assumed: my-pets is its name at Kaggle; if not, --kaggle SLUG" in done.out
    assert written("pets").kaggle == "my-pets"
    done = succeeded(cli("new", "others", "--from", archive, "--kaggle", "pets-2020"))
    assert written("others").kaggle == "pets-2020"
    assert "at Kaggle" not in done.out


def test_a_table_of_folders_is_not_taken_for_one_of_images(cli: Cli, tmp_path: Path) -> None:
    names = [f"train/p{number // 2}/{number}.jpg" for number in range(6)]
    found = data(tmp_path / "data", {"train.csv": "patient,kind/p0,oak/p1,elm/p2,oak"}, *names)
    done = succeeded(cli("new", "leaf", "--from", found))
    assert "assumed: train.csv, which names these folders, says nothing more of them" in done.out
    data(found, {"sample_submission.csv": "id,kind/7,oak"}, "test/7.jpg")
    message = "train.csv says something of each folder in column 'patient', and not of each image"
    assert message in failed(cli("new", "pine", "--from", found))


def test_rows_without_a_label_are_left_out(cli: Cli, tmp_path: Path) -> None:
    """As where one table has training and test images."""
    rows = [f"{n},{kind}" for n, kind in enumerate(["oak", "elm", "oak", "", "elm", "oak"])]
    tables = {"all.csv": "/".join(["id,kind,split", *(f"{row},train" for row in rows), "7,,test/8,,test"]), **SAMPLE}
    found = data(tmp_path / "data", tables, *(f"images/{n}.jpg" for n in (*range(6), 7, 8)))
    done = succeeded(cli("new", "leaf", "--from", found))
    assert written().train == CsvLabels("all.csv", images="images/{id}.jpg", id="id", label="kind", only_labelled=True)
    assert "rows of all.csv without a label are left out, and their images" in done.out
    assert "read with it: 5 training and 2 test images" in done.out


def test_folders_of_classes_beside_the_training_folder_are_used_too(cli: Cli, tmp_path: Path) -> None:
    names = [f"{part}/{kind}/{part}{n}.jpg" for part in ("train", "val") for kind in ("elm", "oak") for n in range(3)]
    done = succeeded(cli("new", "leaf", "--from", data(tmp_path / "data", SAMPLE, *names, "test/7.jpg", "test/8.jpg")))
    assert written().train == FolderLabels(Together("train/{label}", "val/{label}"))
    assert "the images of val are training images too" in done.out


def test_annotations_of_some_images_and_a_list_of_test_images(cli: Cli, tmp_path: Path) -> None:
    paths = [f"both/{n % 2}/a{n}.jpg" for n in range(8)]
    content = {
        "images": [{"id": n, "file_name": paths[n]} for n in range(6)],
        "annotations": [{"id": n, "image_id": n, "category_id": n % 2} for n in range(6)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }
    asked = {"images": [{"id": 70 + n, "file_name": f"test/b{n}.jpg"} for n in range(2)]}
    tables = {"sample_submission.csv": "id,predicted/70,0/71,0"}
    found = data(tmp_path / "data", tables, *paths, "test/b0.jpg", "test/b1.jpg")
    (found / "train.json").write_text(json.dumps(content))
    (found / "test.json").write_text(json.dumps(asked))
    succeeded(cli("new", "leaf", "--from", found))
    assert written().train == CocoLabels("train.json", images="both/{file_name/}", only_listed=True)
    assert written().test == CocoIds("test.json", images="test/{file_name/}")


def test_a_metric_of_decisions_tells_0_and_1_from_probabilities(cli: Cli, tmp_path: Path) -> None:
    tables = {"train.csv": labels("id,has", ["0", "1"] * 3), "sample_submission.csv": "id,has/7,0/8,0"}
    found = data(tmp_path / "data", tables, *split())
    done = succeeded(cli("new", "leaf", "--from", found))
    assert written().submission == Probability(label="has", of="1")
    assert "assumed: 'has' holds probabilities; if it must hold 0 or 1, name a metric of decisions" in done.out
    succeeded(cli("new", "elm", "--from", found, "--metric", "f1(binary)"))
    assert written("elm").submission == ClassLabel(label="has")


@pytest.mark.parametrize(
    ("tables", "words", "message"),
    [
        (SAMPLE, [], "does not show where labels are (it has no CSV file beside the sample submission)"),
        (
            {"train.csv": labels("id,a,b", ["x,y"] * 6), "sample_submission.csv": "id,label/7,1/8,0"},
            [],
            "train.csv has the columns a, b: which of them has the labels? Name it with --labels train.csv:id:COLUMN.",
        ),
        (
            {"train.csv": labels("id,a,b", ["x,y"] * 6), **SAMPLE},
            ["--labels", "train.csv:id:c"],
            "train.csv has no column 'c'; it has a, b",
        ),
        ({"train.csv": labels("id,kind", ["oak"] * 6), **SAMPLE}, ["--layout", "csv"], "--layout is what --from finds"),
        (SAMPLE | {"submission_format.csv": "id,kind/7,oak"}, [], "may each be the sample submission"),
        (SAMPLE, ["--metric", "nonsense"], "--metric 'nonsense' is not one of"),
        ({"train.csv": labels("id,kind", ["\"['oak']\""] * 6), **SAMPLE}, [], "column 'kind' has lists in brackets"),
    ],
    ids=["nowhere", "which column", "no such column", "a needless option", "two samples", "no such metric", "lists"],
)
def test_what_the_data_does_not_show_is_one_question(
    cli: Cli, here: Path, tmp_path: Path, tables: dict[str, str], words: list[str], message: str
) -> None:
    done = failed(cli("new", "leaf", "--from", data(tmp_path / "data", tables, *split()), *words))
    assert message in done
    assert "\n" not in done.strip()
    assert list(here.iterdir()) == []


def test_an_answer_says_which_column_has_the_labels(cli: Cli, tmp_path: Path) -> None:
    tables = {"train.csv": labels("id,a,b", ["x,y", "z,w"] * 3), "sample_submission.csv": "id,label/7,y/8,w"}
    found = data(tmp_path / "data", tables, *split())
    succeeded(cli("new", "leaf", "--from", found, "--labels", "train.csv:id:b"))
    assert written().train == images("b")


def test_a_path_that_is_not_there_and_a_folder_without_images_are_one_line(cli: Cli, tmp_path: Path) -> None:
    assert "no such file or folder" in failed(cli("new", "leaf", "--from", tmp_path / "nowhere.zip"))
    assert "has no images" in failed(cli("new", "leaf", "--from", data(tmp_path / "data", SAMPLE)))


# values


@pytest.mark.parametrize(
    ("name", "texts", "kind"),
    [
        ("species", ["Common wheat", "Fat Hen", "Common Chickweed"], "classes"),
        ("tags", ["clear primary", "clear", "haze primary", "haze"], "labels"),
        ("labels", ["a|b", "a", "b", "c", "c|b"], "labels"),
        ("diagnosis", ["0", "1", "4", "2", "3"] * 2, "grades"),
        ("isup_grade", ["0", "1", "2"], "grades"),
        ("label", ["0", "1", "2"] * 2, "classes"),
        ("has_cactus", ["0", "1"], "classes"),
        ("Pawpularity", [str(number) for number in range(1, 100)], "numbers"),
        ("age", ["1.5", "2.5"], "numbers"),
        ("hotel_id", ["15", "7", "300", "15", "7", "300"], "classes"),
    ],
)
def test_the_values_of_a_column_say_what_is_predicted(name: str, texts: list[str], kind: str) -> None:
    assert label_values.Values(name, texts).kind() == kind


# the real archives

REAL: dict[str, tuple[int, int, str]] = {
    "aptos2019-blindness-detection": (840, 360, "qwk"),
    "dogs-vs-cats-redux-kernels-edition": (1200, 400, "log_loss"),
    "leaf-classification": (495, 198, "log_loss"),
    "planet-understanding-the-amazon-from-space": (700, 299, "f1(samples)"),
    "plant-pathology-2021-fgvc8": (1541, 661, "f1(samples)"),
    "plant-seedlings-classification": (946, 404, "accuracy"),
    "state-farm-distracted-driver-detection": (4800, 1200, "log_loss"),
    "widsdatathon2019": (2521, 1080, "auc"),
}
"""Archive -> training images, test images, and the metric that is proposed."""


@pytest.mark.real
@pytest.mark.parametrize("slug", REAL)
def test_a_real_archive_gives_a_plugin_that_reads_it(cli: Cli, here: Path, slug: str) -> None:
    archive = SHARED / slug / f"{slug}.zip"
    if not archive.is_file():
        pytest.skip("the real archives are not here")
    train, test, metric = REAL[slug]
    done = succeeded(cli("new", "real", "--from", archive))
    assert f"read with it: {train} training and {test} test images, a sample of {test} rows" in done.out
    assert written("real").kaggle == slug
    assert written("real").metric == metric
    is_clean(here)


def test_a_sample_that_names_no_image_is_said(cli: Cli, tmp_path: Path) -> None:
    images = [f"train/{number}.png" for number in range(8)]
    rows = "image,cancer/" + "/".join(f"{number},{number % 2}" for number in range(8))
    given = data(tmp_path / "breasts", {"train.csv": rows, "sample_submission.csv": "breast,cancer/p7_L,0.5"}, *images)
    (given / "test").mkdir()
    (given / "test" / "100.png").write_bytes(DOT)
    said = " ".join(succeeded(cli("new", "leaf", "--from", given)).out.split())
    assert "test images: none, since no image is called 'p7_L' as in sample_submission.csv" in said
    assert written().test_patterns == ()
