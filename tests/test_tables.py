"""The tables of a competition as people deliver them, seen from the command line."""

from __future__ import annotations

import pytest

from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded
from tests.damage import Given


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    damage.without_features(monkeypatch)


def test_what_was_assumed_about_tables_is_said_once(cli: Cli, leaf: Given) -> None:
    rows = "".join(f"L{n};{('oak', 'elm')[n % 2]}\n" for n in range(12))
    (leaf.data / "labels.csv").write_bytes(f"leaf;kind\n{rows}".encode("utf-16"))
    done = succeeded(cli("audit", leaf.plugin, "--data", leaf.data))
    assert done.out.count("labels.csv is read as UTF-16, separated by semicolons") == 1
    assert "plants.csv is read" not in done.out


def test_classes_that_look_alike_are_counted_and_those_with_white_space_are_one(cli: Cli, pets: Given) -> None:
    damage.write(pets.data, {"train/CAT/100.jpg": drawing.image(0, 100), "train/dog /101.jpg": drawing.image(1, 101)})
    (pets.data / "sample_submission.csv").unlink()
    done = succeeded(cli("audit", pets.data))
    assert "14 training images of 3 classes" in done.out
    assert "WARNING: 1 classes are called almost as another" in done.out
    assert "'CAT' (1 images) and 'cat' (6 images): if they are the same" in done.out


def test_labels_that_are_missing_are_one_line(cli: Cli, leaf: Given) -> None:
    damage.write(leaf.data, {"labels.csv": (leaf.data / "labels.csv").read_bytes().replace(b"L3,elm", b"L3,")})
    assert "1 rows of labels.csv have no kind, for example that of 'L3'" in failed(
        cli("audit", leaf.plugin, "--data", leaf.data)
    )
