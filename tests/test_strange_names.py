"""File names that are not UTF-8, or not in the form that a table has: from a folder to a submission and back."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from kagglekit.competitions import submissions
from kagglekit.data import exclusions
from kagglekit.deploy import standalone
from tests import damage, drawing
from tests.conftest import REPORT, Cli, failed, succeeded

BYTES = os.fsdecode(b"caf\xe9")
"""A name in Latin-1."""
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def folder(place: Path, label: str = "café", test: str = "1", sample: bytes = b"") -> Path:
    """Draw a folder of images whose first class and first test image have the given names."""
    files = {f"train/{(label, 'dog')[n % 2]}/{label}{n}.jpg": drawing.image(n % 2, n) for n in range(8)}
    files |= {f"test/{name}.jpg": drawing.image(0, 100 + n) for n, name in enumerate((test, "other"))}
    return damage.write(place, files | ({"sample_submission.csv": sample} if sample else {}))


def test_names_that_are_not_utf_8_are_read_and_written_as_they_are(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    data = folder(tmp_path / BYTES, BYTES, BYTES)
    done = succeeded(cli("run", data, "--backbone", tiny, *damage.QUICK, REPORT))
    assert r"caf\xe9" in done.out
    (workspace,) = (path for path in home.iterdir() if (path / "runs").is_dir())
    run = damage.only_run(workspace)
    assert (run / "submission.csv").read_bytes().startswith(b"id,caf\xe9,dog\n")
    assert first_fields(run / "submission.csv")[1:] == [b"caf\xe9.jpg", b"other.jpg"]
    assert r"caf\xe9/caf\xe9" in (run / "report.html").read_text(encoding="utf-8")
    images = pd.read_parquet(run / "images.parquet")
    assert r"caf\xe9/caf\xe90" in set(images["id"])
    out = tmp_path / "predicted.parquet"
    succeeded(cli("predict", run, data / "test", "--output", out))
    assert pd.read_parquet(out)["id"].tolist() == [r"caf\xe9.jpg", "other.jpg"]
    succeeded(cli("folders", data, tmp_path / "out", "--valid", "2"))
    assert (tmp_path / "out" / "train" / BYTES).is_dir()
    succeeded(cli("bundle", run, tmp_path / "bundle"))
    standalone.main(tmp_path / "bundle", data, tmp_path / "submission.csv")
    assert first_fields(tmp_path / "submission.csv") == first_fields(run / "submission.csv")


def first_fields(submission: Path) -> list[bytes]:
    return [line.split(b",")[0] for line in submission.read_bytes().splitlines()]


@pytest.mark.parametrize("form", ["ids", "classes"])
@pytest.mark.parametrize("of_table", [COMPOSED, DECOMPOSED])
def test_accents_match_in_either_form_and_the_sample_decides(
    cli: Cli, tmp_path: Path, form: str, of_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    sample = f"id,{of_table},dog\n{of_table}.jpg,0.5,0.5\nother.jpg,0.5,0.5\n".encode()
    of_file = DECOMPOSED if of_table == COMPOSED else COMPOSED
    data = folder(tmp_path, of_file if form == "classes" else of_table, of_file if form == "ids" else of_table, sample)
    done = succeeded(cli("audit", data))
    assert "have no test image" not in done.out
    assert "2 test images, 2 rows requested" in done.out


@pytest.mark.parametrize("listed", ["cat/1", "cat/1.jpg", "cat/1.png"])
def test_a_dropped_image_is_found_by_its_id_with_an_ending_or_without(listed: str) -> None:
    train = pd.DataFrame({"id": ["cat/1", "dog/1"], "path": ["/x/cat/1.jpg", "/x/dog/1.jpg"], "label": ["cat", "dog"]})
    drops = pd.DataFrame({"id": [listed, "owl/1"], "reason": ["blurred", "gone"]})
    aligned = exclusions.aligned(drops, train)
    assert aligned["id"].tolist() == ["cat/1", "owl/1"], "an id of another folder is no image's"


def test_a_submission_is_written_in_the_bytes_of_the_names_and_read_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [r"caf\xe9", r"a\x5cxe9", "b"], r"caf\xe9": [0.25, 0.5, 1.0]})
    submissions.write(frame, tmp_path / "submission.csv")
    content = (tmp_path / "submission.csv").read_bytes()
    assert content == b"id,caf\xe9\ncaf\xe9,0.25\na\\xe9,0.5\nb,1.0\n"
    pd.testing.assert_frame_equal(submissions.parse(content), frame.astype("str"))


def test_names_that_only_look_the_same_are_shown_in_ascii(
    cli: Cli, pets: damage.Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    sample = "id,label\n0,0.5\n1,0.5\n2,0.5\n3\u200b,0.5\n"
    (pets.data / "sample_submission.csv").write_text(sample, encoding="utf-8")
    done = succeeded(cli("audit", pets.plugin, "--data", pets.data))
    assert "1 ids of the sample submission have no test image" in done.out
    assert r"('3\u200b' looks like '3', but is another name)" in done.out
    (pets.data / "train" / "cat").rename(pets.data / "train" / "cat\u200b")
    message = failed(cli("audit", pets.plugin, "--data", pets.data))
    assert r"('cat\u200b' looks like 'cat', but is another name)" in message


def test_a_plugin_s_own_table_is_told_how_to_write_such_names(cli: Cli, pets: damage.Given) -> None:
    hook = """
@hookimpl
def test_table(files):
    return pd.DataFrame([{"id": p, "path": TEXT} for p in files.paths if p.startswith("test/")])
"""
    (pets.data / "test" / f"{BYTES}.jpg").write_bytes(drawing.image(0, 1))
    pets.write_plugin(damage.PETS, hook.replace("TEXT", "str(files.paths[p])"))
    message = failed(cli("check", pets.plugin, "--data", pets.data))
    assert r"caf\udce9.jpg' is not UTF-8: give files.absolute(path)" in message
