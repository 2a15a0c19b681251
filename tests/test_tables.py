"""The tables of a competition as people deliver them, seen from the command line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded
from tests.damage import PETS, Given, only_run


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    damage.without_features(monkeypatch)


def test_a_missing_table_whose_archive_is_damaged_is_explained(cli: Cli, tmp_path: Path) -> None:
    for name in [f"train/c{number}/{number}.jpg" for number in range(10)] + ["test/10.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "driver_imgs_list.csv.zip").write_bytes(b"PK")
    done = cli("audit", "state-farm", "--data", tmp_path)
    assert "driver_imgs_list.csv" in failed(done)
    assert "driver_imgs_list.csv.zip is not used: " in done.out.replace("\n", "")


def test_what_was_assumed_about_tables_is_said_once(cli: Cli, leaf: Given, cheap: None) -> None:
    rows = "".join(f"L{n};{('oak', 'elm')[n % 2]}\n" for n in range(12))
    (leaf.data / "labels.csv").write_bytes(f"leaf;kind\n{rows}".encode("utf-16"))
    done = succeeded(cli("audit", leaf.plugin, "--data", leaf.data))
    assert done.out.count("labels.csv is read as UTF-16, separated by semicolons") == 1
    assert "plants.csv is read" not in done.out
    words = ("--valid", "3", "--sample", "0,0")
    done = succeeded(cli("folders", leaf.plugin, leaf.data.parent / "out", "--data", leaf.data, *words))
    assert done.out.count("labels.csv is read as UTF-16, separated by semicolons") == 1


def test_classes_that_look_alike_are_counted_and_those_with_white_space_are_one(
    cli: Cli, pets: Given, cheap: None
) -> None:
    damage.write(pets.data, {"train/CAT/100.jpg": drawing.image(0, 100), "train/dog /101.jpg": drawing.image(1, 101)})
    (pets.data / "sample_submission.csv").unlink()
    done = succeeded(cli("audit", pets.data))
    assert "14 training images of 3 classes" in done.out
    assert "WARNING: 1 classes are called almost as another" in done.out
    assert "'CAT' (1 images) and 'cat' (6 images): if they are the same" in done.out


def test_labels_that_are_missing_are_one_line(cli: Cli, leaf: Given, cheap: None) -> None:
    damage.write(leaf.data, {"labels.csv": (leaf.data / "labels.csv").read_bytes().replace(b"L3,elm", b"L3,")})
    assert "1 rows of labels.csv have no kind, for example that of 'L3'" in failed(
        cli("audit", leaf.plugin, "--data", leaf.data)
    )


# samples


def test_a_sample_in_other_letters_and_another_folder_asks_for_the_same_images(
    cli: Cli, tiny: str, pets: Given, home: Path
) -> None:
    for n in range(4):
        (pets.data / "test" / f"{n}.jpg").rename(pets.data / "test" / f"IMG_{n}.JPG")
    (pets.data / "sample_submission.csv").unlink()
    rows = b"".join(b"test/img_%d.jpg; 0.5\n" % n for n in (2, 0, 1, 3))
    damage.write(pets.data, {"submission_format.csv": b"id; label\n" + rows})
    done = succeeded(pets.run(cli, tiny))
    assert done.out.count("submission_format.csv is read as separated by semicolons") == 1
    assert "the sample submission names 4 images differently: 'test/img_0.jpg' is taken to be 'IMG_0" in done.out
    assert "class prior" not in done.out
    submission = pd.read_csv(only_run(home / "pets") / "submission.csv")
    assert submission["id"].tolist() == [f"test/img_{n}.jpg" for n in (2, 0, 1, 3)]
    assert (submission["label"] > 0.5).tolist() == [False, False, True, True]


def test_a_missing_sample_is_said(cli: Cli, pets: Given, cheap: None) -> None:
    (pets.data / "sample_submission.csv").unlink()
    assert "no sample submission was found: each test image gets a row" in succeeded(cli("audit", pets.data)).out


@pytest.mark.parametrize(
    ("count", "said"), [(10, "id, label: a row has the class"), (2, "may be a class or a probability")]
)
def test_a_zero_in_every_row_is_a_class_unless_there_are_two(cli: Cli, tmp_path: Path, count: int, said: str) -> None:
    names = [(label, n) for label in range(count) for n in range(2)]
    files = {f"digits/train/{label}/{n}.png": drawing.image(label % 3, n, ".png") for label, n in names}
    files["digits/test/1.png"] = drawing.image(0, 99, ".png")
    files["digits/sample_submission.csv"] = b"id,label\n1.png,0\n"
    damage.write(tmp_path, files)
    done = cli("info", tmp_path / "digits")
    assert said in done.out + done.err


# a format that only the plugin knows

MASKS = PETS.replace('Probability(of="dog")', 'OwnFormat(id="image"MORE)')
ROWS = """

@hookimpl
def submission(ids, probabilities, sample):
    return pd.DataFrame({"image": ids, "mask": ["1 2" if row[1] > row[0] else "" for row in probabilities]})
"""


def test_a_format_of_the_plugin_s_own_is_written_as_its_sample_has_it(
    cli: Cli, tiny: str, pets: Given, home: Path
) -> None:
    damage.write(pets.data, {"sample_submission.csv": b"image,mask\n3,\n1,\n0,\n"})
    pets.write_plugin(MASKS.replace("MORE", ""), ROWS)
    succeeded(pets.run(cli, tiny))
    written = (only_run(home / "pets") / "submission.csv").read_text()
    assert written == "image,mask\n3,1 2\n1,1 2\n0,\n"


@pytest.mark.parametrize(
    ("hook", "more", "words"),
    [
        (ROWS.replace('"mask":', '"pixels":'), "", "its columns are ['image', 'pixels'], not ['image', 'mask']"),
        (ROWS.replace('else ""', "else None"), "", "column 'mask' has missing values"),
        (ROWS.replace("})", "})[1:]"), "", "1 ids ('0') missing"),
        (ROWS.replace("})", "})[:0]"), ", one_row_per_id=False", "it has no rows"),
        ("", "", "OwnFormat needs the hook 'submission', which formats the rows"),
    ],
    ids=["columns", "missing values", "rows", "no rows", "no hook"],
)
def test_what_a_hook_writes_is_checked_before_anything_is_computed(
    cli: Cli, pets: Given, hook: str, more: str, words: str
) -> None:
    damage.write(pets.data, {"sample_submission.csv": b"image,mask\n" + b"".join(b"%d,\n" % n for n in range(4))})
    pets.write_plugin(MASKS.replace("MORE", more), hook)
    done = pets.run(cli, "no-backbone-is-needed")
    assert words in failed(done)
    assert "backbone" not in done.out


def test_another_format_than_the_declared_one_names_the_cure(cli: Cli, pets: Given) -> None:
    pets.write_plugin(PETS, ROWS)
    assert "['id', 'label']. Any other format is declared as OwnFormat." in failed(pets.run(cli, "none"))


def test_rows_that_the_sample_names_need_be_no_images(cli: Cli, tiny: str, pets: Given, home: Path) -> None:
    rows = "".join(f"{n}_{label},0\n" for n in range(4) for label in ("cat", "dog"))
    damage.write(pets.data, {"sample_submission.csv": f"image,mask\n{rows}".encode()})
    pets.write_plugin(
        MASKS.replace("MORE", ""),
        "\n\n@hookimpl\ndef submission(ids, probabilities):\n"
        "    rows = {f'{i}_cat': row[0] for i, row in zip(ids, probabilities)}\n"
        "    rows |= {f'{i}_dog': row[1] for i, row in zip(ids, probabilities)}\n"
        "    return pd.DataFrame({'image': rows.keys(), 'mask': rows.values()})\n",
    )
    succeeded(pets.run(cli, tiny))
    written = pd.read_csv(only_run(home / "pets") / "submission.csv").set_index("image")["mask"]
    assert len(written) == 8
    assert all((written[f"{n}_dog"] > 0.5) == (n % 2 == 1) for n in range(4))
