"""What a bundle's notebook finds below the folder of a competition's data, and what it says of the rest."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kagglekit.deploy import mounted, standalone
from tests import damage, drawing

ABOUT: dict[str, Any] = {
    "test_expressions": ["test/(?P<id>[^/]+)\\.jpg", "test/(?P<id>[^/]+)"],
    "samples": [],
    "columns": ["id", "label"],
    "id": "id",
    "id_format": "{id}",
    "max_megapixels": 1,
    "preprocessing": {
        "images": {
            "size": [8, 8], "crop": "squash", "crop_share": 1.0, "interpolation": "bilinear",
            "mean": [0, 0, 0], "std": [1, 1, 1],
        }
    },
}  # fmt: skip


def even(feeds: Mapping[str, Any]) -> Any:
    """Find all classes equally probable."""
    return np.full((len(feeds["images"]), 2), 0.5)


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of two members of one name
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def damaged(archive: bytes, content: bytes) -> bytes:
    """Return an archive whose stored `content` has another first byte."""
    place = archive.index(content)
    return archive[:place] + bytes([archive[place] ^ 1]) + archive[place + 1 :]


def encrypted(archive: bytes, name: str) -> bytes:
    """Return an archive whose directory says that a member is encrypted."""
    entry = archive.rindex(name.encode()) - 46
    return archive[: entry + 8] + b"\1" + archive[entry + 9 :]


def found(data: Path) -> dict[str, standalone.Test]:
    return standalone.find_tests(ABOUT, mounted.find_files(data))


def predicted(data: Path) -> tuple[list[str], dict[str, str]]:
    rows, bad = standalone.predict(even, ABOUT, {name: read for name, (_, read) in found(data).items()}, 2)
    return sorted(rows), bad


def test_a_member_that_can_not_be_read_spoils_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [drawing.image(n % 2, n) for n in range(3)]
    content = zipped(*((f"test/{n}.jpg", image) for n, image in enumerate(images)), ("notes.txt", b"damaged notes"))
    content = encrypted(damaged(damaged(content, images[1]), b"damaged notes"), "test/2.jpg")
    damage.write(tmp_path, {"all.zip": content})
    rows, bad = predicted(tmp_path)
    assert rows == ["0"]
    assert bad == {"1": "is damaged: Bad CRC-32 for file 'test/1.jpg'", "2": "is encrypted"}
    assert capsys.readouterr().out == ""


def test_a_test_file_that_can_not_be_looked_at_is_named_once_and_taken_for_no_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = damaged(zipped(("x/test/a", drawing.image(0, 0)), ("x/test/b", b"damaged text")), b"damaged text")
    damage.write(tmp_path, {"all.zip": content})
    assert set(found(tmp_path)) == {"a"}
    assert capsys.readouterr().out == (
        "WARNING: x/test/b is damaged: Bad CRC-32 for file 'x/test/b': it is taken for no image\n"
    )


DEEP = zipped(("test/9.jpg", b"9"))
for _ in range(3):
    DEEP = zipped(("inner.zip", DEEP))
LEFT_OUT = {
    "no archive": (b"PK no archive", "train.zip is damaged: File is not a zip file: it is left out"),
    "no archive inside": (zipped(("a/b.zip", b"no archive")), "a/b.zip is damaged: File is not a zip file"),
    "encrypted inside": (encrypted(zipped(("b.zip", DEEP)), "b.zip"), "b.zip is encrypted: it is left out"),
    "damaged inside": (damaged(zipped(("b.zip", DEEP)), DEEP), "b.zip is damaged: Bad CRC-32 for file 'b.zip'"),
    "too deep": (DEEP, "inner.zip is nested more than 3 archives deep: it is left out"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_an_archive_that_can_not_be_read_is_left_out_and_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = LEFT_OUT[kind]
    damage.write(tmp_path, {"train.zip": content, "test.zip": zipped(("test/1.jpg", b"1"))})
    assert list(found(tmp_path)) == ["1"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("WARNING: ")
    assert words in line


def test_two_members_of_one_name_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage.write(tmp_path, {"all.zip": zipped(("test/1.jpg", b"first"), ("test\\1.jpg", b"last"))})
    ((path, read),) = found(tmp_path).values()
    assert (path, read()) == ("test/1.jpg", b"last")
    assert capsys.readouterr().out == ("WARNING: all.zip has two members called 'test/1.jpg': the last one is used\n")


@pytest.mark.parametrize("names", [("test/1.jpg", "test/1.JPG"), ("a/test/1.jpg", "b/test/1.jpg")])
def test_two_images_of_one_id_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    damage.write(tmp_path, dict.fromkeys(names, drawing.image(0, 0)))
    about = ABOUT | {"test_expressions": ["test/(?P<id>[^/]+)\\.(?:jpg|JPG)"]}
    with pytest.raises(SystemExit, match="two test images have the id '1': ") as caught:
        standalone.find_tests(about, mounted.find_files(tmp_path))
    assert all(name in str(caught.value) for name in names)


def test_test_images_in_several_folders_are_all_found(tmp_path: Path) -> None:
    damage.write(tmp_path, {"old/7.jpg": b"7", "a/8.jpg": b"8", "b/9.jpg": b"9"})
    for first in ("gone/(?P<id>[^/]+)", ["gone/(?P<id>[^/]+)"]):
        about = ABOUT | {
            "test_expressions": [first, [r"a/(?P<id>[^/]+)\.jpg", r"b/(?P<id>[^/]+)\.jpg"], "old/(?P<id>.+)"]
        }
        assert sorted(standalone.find_tests(about, mounted.find_files(tmp_path))) == ["8", "9"]


def test_two_images_of_one_row_of_the_sample_are_refused(tmp_path: Path) -> None:
    data = damage.write(tmp_path, {"test/1.jpg": b"1", "test/1.png": b"1", "sample.csv": b"id,label\n1,0\n"})
    about = ABOUT | {"test_expressions": ["test/(?P<id>[^/]+)"], "samples": ["sample.csv"]}
    files = mounted.find_files(data)
    with pytest.raises(SystemExit, match=r"two test images have the id '1': test/1\.jpg and test/1\.png; remove one"):
        standalone.requested_rows(about, files, standalone.find_tests(about, files))


def test_a_sample_that_can_not_be_read_ends_with_a_reason(tmp_path: Path) -> None:
    table = b"id,label\n1,0\n"
    damage.write(tmp_path, {"all.zip": damaged(zipped(("sample.csv", table), ("test/1.jpg", b"1")), table)})
    about, files = ABOUT | {"samples": ["sample.csv"]}, mounted.find_files(tmp_path)
    with pytest.raises(SystemExit, match=r"sample\.csv is damaged: Bad CRC-32 .*: the rows to submit are unknown"):
        standalone.requested_rows(about, files, standalone.find_tests(about, files))


def test_the_sample_of_a_folder_is_not_one_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    samples = {"old/sample.csv": b"id,label\n9,0\n", "wrapped/tables/sample.csv": b"id,label\n7,0\n"}
    table = standalone.find_sample(
        ABOUT | {"samples": ["tables/sample.csv"]}, mounted.find_files(damage.write(tmp_path, samples))
    )
    assert table is not None
    assert table.rows == [["7", "0"]]


def test_without_a_sample_test_images_that_only_tables_tell_apart_are_not_guessed() -> None:
    with pytest.raises(SystemExit, match="only it says which images are those of the test"):
        standalone.requested_rows(ABOUT | {"by_table": True}, {}, {"7": ("images/7.jpg", bytes)})
