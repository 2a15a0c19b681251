"""`kagglekit folders`: the course's layout by links, which other tools and `kagglekit run` read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kagglekit.data import class_folders
from tests import drawing
from tests.conftest import Cli, failed, succeeded


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_course_s_folders_are_links_and_a_run_reads_them(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    archive, out = drawing.dogs(tmp_path), tmp_path / "dogscats"
    words = ("folders", "dogs-vs-cats", out, "--data", archive, "--valid", "6", "--sample", "4,2")
    assert "train 18, valid 6, test 12; 42 hard links, 0 copies" in succeeded(cli(*words)).out.replace("\n", " ")
    found = names(out)
    parts = {
        part: {name for name in found if name.startswith(f"{part}/")} for part in ("train", "valid", "test", "sample")
    }
    assert {part: len(some) for part, some in parts.items()} == {"train": 18, "valid": 6, "test": 12, "sample": 6}
    every = {name.partition("/")[2] for part in ("train", "valid") for name in parts[part]}
    assert every == {f"{label}/{label}.{number}.jpg" for label in ("cat", "dog") for number in range(12)}
    assert parts["test"] == {f"test/unknown/{number}.jpg" for number in range(1, 13)}
    assert {name.removeprefix("sample/") for name in parts["sample"]} <= parts["train"] | parts["valid"]
    assert found - set().union(*parts.values()) == {"sample_submission.csv"}
    one = next(iter(sorted((out / "train" / "cat").iterdir())))
    assert one.stat().st_nlink >= 2
    assert "is not an empty folder" in failed(cli(*words))
    succeeded(cli("run", out, "--backbone", tiny, "--set", "regularisation_grid=0.1"))
    (run,) = (home / "dogscats" / "runs").iterdir()
    assert len(pd.read_parquet(run / "oof.parquet")) == 6, "scored on the validation set"
    assert pd.read_csv(run / "submission.csv")["id"].tolist() == list(range(1, 13))


def test_a_driver_is_in_one_part_only_and_the_same_seed_draws_the_same(cli: Cli, tmp_path: Path, home: Path) -> None:
    archive = drawing.drivers(tmp_path)
    found = []
    for number, seed in enumerate(("1", "1", "2")):
        out = tmp_path / f"out{number}"
        words = ("--data", archive, "--valid", "40", "--sample", "0,0", "--seed", seed)
        succeeded(cli("folders", "state-farm", out, *words))
        found.append(names(out))
        drivers = {part: {name.name[4] for name in (out / part).rglob("*.jpg")} for part in ("train", "valid")}
        assert len(drivers["valid"]) == 2
        assert not drivers["train"] & drivers["valid"]
        assert not (out / "sample").exists()
    assert found[0] == found[1] != found[2]


def test_a_run_reads_driver_folders_too(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    out = tmp_path / "farm"
    words = ("folders", "state-farm", out, "--data", drawing.drivers(tmp_path), "--valid", "40", "--sample", "20,10")
    done = succeeded(cli(*words))
    assert "left out" not in done.out
    assert f"next: kagglekit run {out}" in done.out
    succeeded(cli("run", out, "--method", "features", "--backbone", tiny, "--set", "regularisation_grid=0.1"))
    (run,) = (home / "farm" / "runs").iterdir()
    assert pd.read_csv(run / "submission.csv").columns.tolist() == ["img", *(f"c{number}" for number in range(10))]
    assert pd.read_csv(run / "submission.csv")["img"].tolist() == [f"img_{900 + number}.jpg" for number in range(8)]


@pytest.mark.parametrize(
    ("classes", "submission"),
    [
        ("{'cat': '', 'dog': ''}", "Probability(of='cat')"),
        ("{'cat': '', 'dog': ''}", "Probability(of='dog', id_format='img_{id}')"),
        ("{'0': '', '1': ''}", "Probability(of='1')"),
    ],
)
def test_a_sample_submission_that_would_be_misread_is_left_out(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, classes: str, submission: str
) -> None:
    names = ("0", "1") if "'0'" in classes else ("cat", "dog")
    pictures = {f"train/{names[n % 2]}/{n}.jpg": drawing.image(n % 2, n) for n in range(20)}
    pictures |= {f"test/{n}.jpg": drawing.image(n % 2, 50 + n) for n in range(4)}
    ids = [f"img_{n}" if "img_" in submission else str(n) for n in range(4)]
    pictures["sample_submission.csv"] = ("id,label\n" + "".join(f"{each},0\n" for each in ids)).encode()
    plugin = tmp_path / "pets.py"
    plugin.write_text(
        "from kagglekit import *\n\n\n@hookimpl\ndef competition():\n"
        f"    return Competition(name='pets', kaggle='', classes={classes},\n"
        f"        train=FolderLabels('train/{{label}}'), test='test/{{id}}.jpg', submission={submission})\n"
    )
    monkeypatch.chdir(tmp_path)
    archive = drawing.zip_of(tmp_path / "pets.zip", pictures)
    done = succeeded(cli("folders", plugin, "out", "--data", archive, "--valid", "6", "--sample", "0,0"))
    assert "WARNING: sample_submission.csv is left out" in done.out
    assert "next: kagglekit run ./out" in done.out
    succeeded(cli("run", "./out", "--backbone", tiny, "--set", "regularisation_grid=0.1"))
    (run,) = (home / "out" / "runs").iterdir()
    assert pd.read_csv(run / "submission.csv").columns.tolist() == ["id", *names]


def test_where_links_can_not_be_images_are_copied(
    cli: Cli, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("other disk")

    monkeypatch.setattr(class_folders.os, "link", refuse)
    words = ("--data", drawing.dogs(tmp_path), "--valid", "6", "--sample", "4,2")
    assert "0 hard links, 42 copies" in succeeded(cli("folders", "dogs-vs-cats", tmp_path / "out", *words)).out


def test_the_folder_one_is_in_is_not_replaced(
    cli: Cli, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = drawing.dogs(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said = failed(cli("folders", "dogs-vs-cats", ".", "--data", archive, "--valid", "6", "--sample", "0,0"))
    assert "not an empty folder" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--valid", "24"), "there are 24 training images"),
        (("--valid", "0"), "both splits need some"),
        (("--valid", "6", "--sample", "many"), "write it as TRAIN,VALID"),
        (("--valid", "6", "--sample", "1"), "write it as TRAIN,VALID"),
    ],
)
def test_what_can_not_be_laid_out_is_said_in_a_line(
    cli: Cli, tmp_path: Path, home: Path, words: tuple[str, ...], line: str
) -> None:
    archive = drawing.dogs(tmp_path)
    assert line in failed(cli("folders", "dogs-vs-cats", tmp_path / "out", "--data", archive, *words))
    assert not (tmp_path / "out").exists()


def test_a_class_with_one_image_stays_in_training_and_is_named(cli: Cli, tmp_path: Path, home: Path) -> None:
    given = tmp_path / "pets"
    for number in range(13):
        path = given / "train" / ("cat", "dog")[number % 2] / f"{number}.jpg" if number else given / "train/emu/0.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing.image(number % 2, number))
    (given / "test").mkdir()
    (given / "test" / "1.jpg").write_bytes(drawing.image(0, 99))
    done = succeeded(cli("folders", given, tmp_path / "out", "--valid", "4", "--sample", "0,0"))
    assert "WARNING: valid/ has no folder for 1 classes, for example 'emu'" in done.out
    assert (tmp_path / "out" / "train" / "emu" / "0.jpg").is_file()
