"""A row of the submission for each group of images: declared, run, scored and submitted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from kagglekit import (
    ClassLabel,
    Competition,
    CsvIds,
    CsvLabels,
    FolderLabels,
    JoinedLabels,
    Labels,
    Number,
    Probability,
    ProbabilityPerClass,
    UserError,
    Value,
)
from kagglekit.competitions import layout, row_groups
from kagglekit.deploy import grouped, standalone
from kagglekit.formats.groups import Members
from kagglekit.runs import findings, store
from tests import drawing
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import newest
from tests.test_label_tables import competition, data, images, read, refused

PLUGIN = """
from kagglekit import *

@hookimpl
def competition():
    return Competition(
        name="breasts", kaggle="", classes={"0": "healthy", "1": "cancer"}, flip="allowed", metric="log_loss",
        train=CsvLabels("train.csv", "train/{patient}/{id}.png", id="image", label="cancer", group="patient",
                        row="{patient}_{side}"),
        test=CsvIds("test.csv", "test/{id}.png", id="image", group="breast"),
        submission=Probability(id="breast", of="1", label="cancer", per_group="max"),
    )
"""
BREASTS = [f"p{number}_{side}" for number in range(18) for side in "LR"]


def draw(folder: Path) -> Path:
    """Draw two images of each breast; those of another colour have a cancer. Some images can't be told apart."""
    rows, asked = [], []
    for number, breast in enumerate(BREASTS):
        patient, side = breast.split("_")
        cancer = number % 3 == 0
        for view in range(2):
            image = f"{breast}{view}"
            path = folder / "train" / patient / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(drawing.image(int(cancer and view == 0), 2 * number + view, ".png"))
            rows.append((image, patient, side, int(cancer)))
    (folder / "test").mkdir()
    for number in range(8):
        path = folder / "test" / f"{number}.png"
        path.write_bytes(b"broken" if number in (1, 6, 7) else drawing.image(number % 2, 900 + number, ".png"))
        asked.append((str(number), f"q{number // 2}"))
    asked.append(("0", "q1"))  # an image of two groups
    pd.DataFrame(rows, columns=["image", "patient", "side", "cancer"]).to_csv(folder / "train.csv", index=False)
    pd.DataFrame(asked, columns=["image", "breast"]).to_csv(folder / "test.csv", index=False)
    pd.DataFrame({"breast": ["q3", "q1", "q0", "q2"], "cancer": 0.5}).to_csv(
        folder / "sample_submission.csv", index=False
    )
    return folder


def test_a_run_scores_and_submits_groups_and_shows_images(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "breasts.py").write_text(PLUGIN)
    start = ("run", tmp_path / "breasts.py", "--data", draw(tmp_path / "data"), "--backbone", tiny, "--folds", "3")
    start = (*start, "--method", "features", "--set", "finish=", "--set")
    said = succeeded(cli(*start, "regularisation_grid=0.1")).out
    assert "72 training images of 2 classes, 18 groups, 8 test images in 4 groups, 4 rows requested" in said
    assert "36 rows of 72 images in 18 groups" in said
    assert "their groups are predicted from their other images" in said
    run = store.Run(newest(home, "breasts"))
    seen = run.oof().known("id", "label", "fold").join(run.images("train").set_index("id")[["row", "group"]], on="id")
    assert seen.groupby("group")["fold"].nunique().max() == 1
    unfinished = run.unfinished()
    by_image = pd.Series(unfinished.of(seen["id"].tolist())[:, 1]).groupby(seen["row"], sort=False).max()
    truth = seen.groupby("row", sort=False)["label"].first() == "1"
    assert run.finished().before_finish == pytest.approx(log_loss(truth, by_image))
    assert run.row_unfinished().of(by_image.index.tolist())[:, 1] == pytest.approx(by_image.to_numpy())
    found = findings.of_rows(run)
    assert sorted(found.table["id"]) == sorted(BREASTS)
    assert len(found.submitted) == len(BREASTS)

    test = dict(zip(run.test().known("id")["id"], run.test().of([str(n) for n in range(8)])[:, 1], strict=True))
    sent = pd.read_csv(run.submission)
    assert sent["breast"].tolist() == ["q3", "q1", "q0", "q2"]
    ((prior,),) = sent[sent["breast"] == "q3"][["cancer"]].to_numpy()
    assert prior == pytest.approx(12 / 36)  # nothing of it can be read

    wanted = [max(test["0"], test["2"], test["3"]), test["0"], max(test["4"], test["5"])]
    assert sent["cancer"].tolist()[1:] == pytest.approx(wanted)

    assert "are of 36 groups, all else is of 72 images" in succeeded(cli("report", run.id, "--text")).out
    succeeded(cli(*start, "regularisation_grid=0.001"))
    other = store.Run(newest(home, "breasts"))
    assert "36 groups of images scored by both" in " ".join(succeeded(cli("compare", run.id, other.id)).out.split())
    assert "a row of the submission is of a group of images" in succeeded(cli("export", run.id)).out

    folder = tmp_path / "bundle"
    succeeded(cli("bundle", run.id, folder))
    code = "import sys; sys.path.insert(0, sys.argv[1]); import standalone as s; from pathlib import Path as P; "
    code += "s.main(P(sys.argv[1]), P(sys.argv[2]), P('submission.csv'))"
    words = [sys.executable, "-I", "-c", code, folder, tmp_path / "data"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 test images, 4 rows, on CPU" in done.stdout
    assert "1 of 4 groups with the class prior" in done.stdout
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "submission.csv"), sent, atol=1e-5)


def test_predictions_of_groups() -> None:
    members = Members.of([["a"], ["b", "a"], ["b"], ["c"]])
    rows = np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [np.nan, np.nan]])
    assert members.names == ("a", "b", "c")
    assert members.combined(rows, "mean")[:2].tolist() == [[0.4, pytest.approx(0.6)], [0.55, 0.45]]
    assert members.combined(rows, "max")[:2].tolist() == [[0.6, 0.8], [0.6, 0.5]]
    assert members.combined(rows, "max", positive=1)[:2].tolist() == [[pytest.approx(0.2), 0.8], [0.5, 0.5]]
    assert members.combined(rows, "noisy-or")[0].tolist() == pytest.approx([1 - 0.8 * 0.4, 1 - 0.2 * 0.6])
    assert np.isnan(members.combined(rows, "mean")[2]).all(), "nothing of it is known"
    assert members.combined(np.array([[1.0], [0.0], [0.0], [0.5]]), "noisy-or")[:, 0].tolist() == [1, 0, 0.5]


PER_ROW: dict[str, Any] = {"submission": JoinedLabels(per_group="max"), "target": Labels(["x", "y", "z"])}


def test_a_row_has_the_labels_of_all_its_images(tmp_path: Path) -> None:
    files = data(tmp_path, images("1", "2", "3") | {"train.csv": "id,tag,who\n1,z,a\n2,x,a\n3,y,b\n"})
    described = competition(train=CsvLabels("train.csv", "train/{id}.jpg", "id", "tag", group="who"), **PER_ROW)
    described, table = read(described, files)
    rows = row_groups.of_training(table, described.target, "it")
    assert rows.to_numpy().tolist() == [["a", "x|z", "a"], ["b", "y", "b"]]


def test_labels_may_be_of_groups(tmp_path: Path) -> None:
    table = "study,tag\ns1,x\ns2,y\n"
    files = data(tmp_path, images("s1/1", "s1/2", "s2/1") | {"train.csv": table})
    train = CsvLabels("train.csv", "train/{group}/{slice}.jpg", id="study", label="tag", per_group=True)
    described, found = read(competition(train=train, **PER_ROW), files)
    assert found[["id", "label", "row"]].to_numpy().tolist() == [
        ["s1/1", "x", "s1"],
        ["s1/2", "x", "s1"],
        ["s2/1", "y", "s2"],
    ]
    (tmp_path / "train.csv").write_text("study,tag\ns1,x\ns3,y\n")
    assert "1 training images have no row in train.csv, for example 's2'" in refused(described, files)


@pytest.mark.parametrize(
    ("row", "label", "words"),
    [
        ("a", "dog", "row 'a' of the submission has images of 'cat' and of 'dog', and all must have what the row has"),
        ("b", "dog", "row 'b' has images of the groups 'p' and 'q', which folds would separate"),
    ],
)
def test_images_that_do_not_go_together_are_one_line(row: str, label: str, words: str, tmp_path: Path) -> None:
    table = f"id,kind,who,row\n1,cat,p,a\n2,{label},p,{row}\n3,dog,q,b\n"
    files = data(tmp_path, images("1", "2", "3") | {"train.csv": table})
    train = CsvLabels("train.csv", "train/{id}.jpg", "id", "kind", group="who", row="row")
    assert words in refused(competition(train=train, submission=ClassLabel(per_group="mean")), files)


def test_an_image_without_a_group_is_one_line(tmp_path: Path) -> None:
    train = FolderLabels("train/{label}/{group}")
    test = CsvIds("test.csv", "test/{id}.jpg", id="id", group="who")
    described = competition(train=train, test=test, submission=ClassLabel(per_group="mean"))
    files = data(tmp_path, images("1", folder="test") | {"test.csv": "id,who\n1,\n"})
    with pytest.raises(UserError, match=r"test.csv gives '1' no group"):
        layout.read_test(described, files)


CLASSES: dict[str, Any] = {"name": "x", "kaggle": "", "train": FolderLabels("train/{label}/{group}"), "test": ()}


@pytest.mark.parametrize(
    ("form", "changes", "words"),
    [
        (lambda: ClassLabel(per_group="first"), {}, "per_group 'first' is not one of mean, max, noisy-or"),
        (lambda: ProbabilityPerClass(per_group="max"), {}, "'max' is of one class that counts, as in Probability"),
        (lambda: Value(per_group="noisy-or"), {"target": Number(0, 1)}, "'noisy-or' is of probabilities"),
        (
            lambda: Probability(of="1", per_group="max"),
            {"train": FolderLabels("train/{label}")},
            "train must name each image's group",
        ),
        (
            ClassLabel,
            {"train": CsvLabels("t.csv", "train/{id}.jpg", "id", "kind", row="who")},
            "row='who' of train is for a submission with a row a group",
        ),
        (
            ClassLabel,
            {"train": CsvLabels("t.csv", "train/{id}.jpg", "id", "kind", per_group=True)},
            "per_group of CsvLabels needs {group}",
        ),
        (lambda: CsvLabels("t.csv", "train/{id}.jpg", "{a", "kind"), {}, "'{a' has an unbalanced brace"),
    ],
)
def test_what_can_not_be_meant_is_refused_at_once(form: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="per_group|row|brace|group") as caught:
        Competition(**CLASSES | changes, submission=form())
    assert words in str(caught.value)


def test_a_test_set_without_groups_is_one_line(cli: Cli, tmp_path: Path) -> None:
    text = PLUGIN.replace(', group="breast")', ")")
    (tmp_path / "breasts.py").write_text(text)
    assert "test must name each image's group, by {group} in its patterns" in failed(
        cli("info", tmp_path / "breasts.py")
    )


ABOUT: dict[str, Any] = {"per_group": "max", "test_expressions": [r"test/(?P<group>[^/]+)/(?P<view>[^/]+)\.png"]}
LISTED = {"source": "test.csv", "is_csv": True, "id": "image", "group": "{who}_{side}"}


def test_a_notebook_finds_groups_in_names_and_in_a_table() -> None:
    png = {f"data/test/{name}.png": lambda: b"" for name in ("p1/1", "p1/2", "p2/1")}
    found = standalone.find_images(ABOUT, png)
    assert grouped.of_images(ABOUT, png, found) == {
        "data/test/p1/1.png": ["p1"],
        "data/test/p1/2.png": ["p1"],
        "data/test/p2/1.png": ["p2"],
    }
    table = {"data/test.csv": lambda: b"image,who,side\np1/1.png,a,L\np1/1.png,b,R\np2/1.png,a,L\n"}
    own = grouped.of_images(ABOUT | {"listed": LISTED}, png | table, found)
    assert own == {"data/test/p1/1.png": ["a_L", "b_R"], "data/test/p2/1.png": ["a_L"]}
    assert grouped.as_listed(own, ["img_a_L"], lambda name: f"img_{name}") == {path: ["img_a_L"] for path in own}
    with pytest.raises(SystemExit, match=r"the data has no test.csv, which says of what each row is"):
        grouped.of_images(ABOUT | {"listed": LISTED}, png, found)
    with pytest.raises(SystemExit, match=r"data/test.csv has no column 'who'; it has image"):
        grouped.of_images(ABOUT | {"listed": LISTED}, png | {"data/test.csv": lambda: b"image\n1\n"}, found)


def test_test_images_of_two_groups_may_have_one_name(tmp_path: Path) -> None:
    train = FolderLabels("train/{label}/{group}")
    described = competition(train=train, test="test/{group}/{id}.jpg", submission=ClassLabel(per_group="mean"))
    table = layout.read_test(described, data(tmp_path, images("s1/1", "s1/2", "s2/1", folder="test")))
    assert table[["id", "row"]].to_numpy().tolist() == [["s1/1", "s1"], ["s1/2", "s1"], ["s2/1", "s2"]]
