"""What is declared in a plugin, seen from the command line: before the data is there, and with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded
from tests.damage import Given

PLUGIN = """
from kagglekit import *

@hookimpl
def competition():
    return Competition(
        name="oaks", kaggle="oaks", {target} flip={flip},
        train=CsvLabels("train.csv", images="images/{{id}}.png", id="id", label={label}, only_listed=True),
        test="images/{{id}}.png", submission={form},
    )
"""
PER_CLASS = "ProbabilityPerClass()"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    damage.without_features(monkeypatch)


@pytest.fixture
def oaks(tmp_path: Path) -> Given:
    """Training and test images in one folder, and each way of writing labels."""
    files = {f"images/{n}.png": drawing.image(n % 2, n, ".png") for n in range(16)}
    rows = [f"{n},{('oak', 'elm')[n % 2]},{(n + 1) % 2},{n % 2},{n / 4}" for n in range(12)]
    files["train.csv"] = ("id,kind,oak,elm,height\n" + "\n".join(rows) + "\n").encode()
    files["names.csv"] = b"code,name\noak,Quercus\nelm,Ulmus\n"
    files["sample_submission.csv"] = b"id,elm,oak\n" + b"".join(b"%d,0.5,0.5\n" % n for n in range(12, 16))
    return Given(tmp_path / "oaks" / "oaks.py", damage.write(tmp_path / "oaks" / "data", files))


def plugin(
    given: Given, target: str = "", label: str = '"kind"', flip: str = '"allowed"', form: str = PER_CLASS
) -> Path:
    given.write_plugin(PLUGIN.format(target=target and f"target={target},", label=label, flip=flip, form=form))
    return given.plugin


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("", "the classes of the data's training images"),
        ("Classes(FromSample())", "the classes in the columns of the data's sample submission"),
        ('Classes(FromCsv("names.csv", "code"))', "the classes in column code of the data's names.csv"),
    ],
)
def test_what_only_the_data_says_is_no_obstacle_to_looking(cli: Cli, oaks: Given, target: str, told: str) -> None:
    shown = succeeded(cli("info", plugin(oaks, target))).out
    assert f"What is predicted is read from the data: {told}." in " ".join(shown.split())
    assert told.removeprefix("the ") in cli("doctor", oaks.plugin).out


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("", '"kind"'),
        ("Classes(FromSample())", '"kind"'),
        ('Classes(FromCsv("names.csv", "code", names="name"))', '"kind"'),
        ("Classes(FromTrain())", 'OneHot(["oak", "elm"])'),
    ],
)
def test_a_run_reads_what_is_predicted_from_its_data(
    cli: Cli, tiny: str, oaks: Given, home: Path, target: str, label: str
) -> None:
    path = plugin(oaks, target, label, flip='{"oak": "elm", "elm": "oak"}')
    done = succeeded(cli("run", path, "--data", oaks.data, "--backbone", tiny, *damage.QUICK))
    assert "4 images have no row in train.csv: they are no training images" in done.out
    assert "12 training images of 2 classes, 4 test images, 4 rows requested" in done.out
    assert damage.submission_of(home / "oaks").startswith(b"id,elm,oak\n12,")


@pytest.mark.parametrize(
    ("target", "label", "flip", "form", "words"),
    [
        ("", '"kind"', '{"ash": "elm"}', PER_CLASS, "the data has 2 labels: flip names 'ash'"),
        ("", '"kind"', '"allowed"', 'Probability(of="ash")', "the data has 2 labels: submission.of 'ash'"),
        ('Classes(FromCsv("names.csv", "latin"))', '"kind"', '"allowed"', PER_CLASS, "names.csv has no column 'latin'"),
        ("Labels(FromTrain())", 'Tags("kinds")', '"allowed"', PER_CLASS, "train.csv has no column 'kinds'"),
        ("", 'OneHot(["oak", "height"])', '"allowed"', PER_CLASS, "'0.25' in column 'height' of '1'"),
    ],
)
def test_what_the_data_says_otherwise_is_one_line(
    cli: Cli, oaks: Given, target: str, label: str, flip: str, form: str, words: str, cheap: None
) -> None:
    path = plugin(oaks, target, label, flip, form)
    assert words in failed(cli("run", path, "--data", oaks.data))


@pytest.mark.parametrize(
    ("target", "label", "form"),
    [
        ("Number()", '"height"', 'Value(label="height")'),
        ('Labels(["oak", "elm"])', 'OneHot(["oak", "elm"])', PER_CLASS),
    ],
)
def test_an_image_whose_number_or_set_of_labels_no_other_has_may_be_dropped(
    cli: Cli, tiny: str, oaks: Given, home: Path, target: str, label: str, form: str, cheap: None
) -> None:
    path = plugin(oaks, target, label, flip='"allowed"', form=form)
    (oaks.data / "sample_submission.csv").unlink()
    (home / "oaks").mkdir()
    (home / "oaks" / "drops.csv").write_text("id,reason\n3,blurred\n")
    done = cli("run", path, "--data", oaks.data)
    assert "1 training images are excluded by your drops.csv" in done.out
    assert failed(done) == "kagglekit: no backbone in this test\n"


def test_a_label_of_which_drops_leave_no_image_is_named(cli: Cli, oaks: Given, home: Path, cheap: None) -> None:
    path = plugin(oaks, 'Labels(["oak", "elm"])', 'OneHot(["oak", "elm"])')
    (home / "oaks").mkdir()
    (home / "oaks" / "drops.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(0, 12, 2)))
    words = "your drops.csv leaves no training image of class 'oak'"
    assert words in failed(cli("run", path, "--data", oaks.data))


def test_class_folders_are_for_one_class_an_image(cli: Cli, oaks: Given, tmp_path: Path) -> None:
    path = plugin(oaks, "Labels(FromTrain())", 'OneHot(["oak", "elm"])')
    words = "a folder holds the images of one class, and oaks has 2 labels."
    assert words in failed(cli("folders", path, tmp_path / "out", "--data", oaks.data, "--valid", "4"))
    assert not (tmp_path / "out").exists()
    succeeded(cli("folders", plugin(oaks), tmp_path / "out", "--data", oaks.data, "--valid", "4"))
    assert sorted(each.name for each in (tmp_path / "out" / "train").iterdir()) == ["elm", "oak"]
