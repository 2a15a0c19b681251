"""Every file below a folder of images: used, ignored for a reason that is said, or unreadable."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kagglekit.base import image_names, walking
from kagglekit.base.console import Console
from kagglekit.cli import exporting
from kagglekit.competitions import plugins
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import tables
from kagglekit.data.project import Project
from kagglekit.deploy import mounted, standalone
from kagglekit.recipe import ComputeSettings, DataSettings
from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded

HEIC = b"\x00\x00\x00\x24ftypheic\x00\x00\x00\x00mif1MiHBmiaf" + bytes(64)
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(64)


def encoded(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(buffer, format_)
    return buffer.getvalue()


def reasons(folder: Path) -> dict[str, str]:
    return {entry.relative: entry.ignored for entry in walking.walk(folder)}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM"])
def test_an_image_is_known_by_its_first_bytes(format_: str) -> None:
    assert walking.starts_like_image(encoded(format_))


@pytest.mark.parametrize(
    ("content", "image"),
    [
        (HEIC, True),
        (HEIC.replace(b"ftypheic", b"ftypmsf1"), True),
        (MP4, False),
        (b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(64), False),
        (b"id,label\n1,cat\n", False),
        (b"BMW and other cars: a list of the photographs below this folder", False),
        (b"P1 is the first page, P2 the second, P3 the third one of them all", False),
        (b"P6 # made by hand\n2 2\n255\n", True),
        (b"", False),
        (b"\x00", False),
    ],
)
def test_what_is_no_image_is_not_taken_for_one(content: bytes, image: bool) -> None:
    assert walking.starts_like_image(content) is image


def test_files_of_the_system_are_ignored_for_a_reason(tmp_path: Path) -> None:
    names = (
        "10.jpg",
        "2.jpg",
        ".hidden.jpg",
        "._2.jpg",
        "Thumbs.db",
        "Desktop.ini",
        "x/1.jpg",
        ".git/x/1.jpg",
        "2.jpg~",
        "2.JPG_original",
    )
    folders = ("__MACOSX/x/2.jpg", "@eaDir/2.jpg/S.jpg", "LOST+FOUND/1.jpg", "$Recycle.Bin/S-1/1.jpg")
    folders += ("System Volume Information/1.jpg", "train/lost+found/1.jpg")
    damage.write(tmp_path, dict.fromkeys((*names, *folders), b""))
    assert reasons(tmp_path) == {
        "2.jpg": "", "10.jpg": "", "x/1.jpg": "",
        ".hidden.jpg": "hidden", ".git/x/1.jpg": "hidden",
        "._2.jpg": "AppleDouble", "__MACOSX/x/2.jpg": "AppleDouble",
        "2.jpg~": "leftover", "2.JPG_original": "leftover",
        "Thumbs.db": "Thumbs.db", "Desktop.ini": "desktop.ini", "@eaDir/2.jpg/S.jpg": "thumbnail",
        "LOST+FOUND/1.jpg": "system folder", "$Recycle.Bin/S-1/1.jpg": "system folder",
        "System Volume Information/1.jpg": "system folder", "train/lost+found/1.jpg": "system folder",
    }  # fmt: skip
    assert [path for path, why in reasons(tmp_path).items() if not why] == ["2.jpg", "10.jpg", "x/1.jpg"]


def test_two_links_to_one_folder_are_two_folders_and_a_link_to_a_parent_is_none(tmp_path: Path) -> None:
    damage.write(tmp_path / "photos", {"1.jpg": b""})
    data = tmp_path / "data"
    damage.write(data, {"train/cat/1.jpg": b""})
    for name in ("test", "valid"):
        (data / name).symlink_to(tmp_path / "photos")
    (data / "train" / "cat" / "up").symlink_to(data)
    (data / "train" / "round.jpg").symlink_to(data / "train" / "round.jpg")
    assert set(reasons(data)) == {"train/cat/1.jpg", "train/round.jpg", "test/1.jpg", "valid/1.jpg"}


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert reasons(tmp_path) == {"a.jpg": "not a file"}


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"train/{label}/{n}.jpg": drawing.image(n, n) for label in ("cat", "dog", "owl") for n in range(2)}
    damage.write(tmp_path, files | {"test/1.jpg": drawing.image(0, 9), ".cache/1": b"", "lost+found/1": b""})
    listed = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name in ("owl", ".cache", "lost+found"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    message = failed(cli("audit", tmp_path))
    assert f"{tmp_path / 'train' / 'owl'} can't be listed (Permission denied)" in message


def test_images_are_known_by_content_where_the_name_says_nothing(tmp_path: Path) -> None:
    content = {"a": encoded("PNG"), "b.dat": encoded("JPEG"), "c.csv": b"id\n1\n", "d.jpg": b"", "e.mp4": MP4}
    files = DataFiles.from_folders([damage.write(tmp_path, content)], "the data")
    assert {path: files.why_no_image(path) for path in files.paths} == {
        "a": "", "b.dat": "", "c.csv": "not an image", "d.jpg": "", "e.mp4": "not an image",
    }  # fmt: skip


RAW = ("cr2", "NEF", "nrw", "arw", "dng", "pef", "srw", "rw2", "3fr", "iiq", "erf", "kdc", "mef", "mos")
BESIDE = {f"test/1.{ending}": "camera raw" for ending in RAW}
BESIDE |= {f"test/1.{ending}": "side file" for ending in ("tif.ovr", "tif.msk", "THM")}


def test_raw_photographs_and_side_files_are_no_images_though_they_start_like_one(tmp_path: Path) -> None:
    tiff = encoded("TIFF")
    content = dict.fromkeys(BESIDE, tiff) | {"test/1.tif": tiff, "test/2": tiff, "test/3.dat": tiff}
    data = damage.write(tmp_path / "data", content)
    assert reasons(data) == BESIDE | {"test/1.tif": "", "test/2": "", "test/3.dat": ""}
    files = DataFiles.from_folders([data], "the data")
    assert (list(files.paths), files.ignored) == (["test/1.tif", "test/2", "test/3.dat"], BESIDE)
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for name, some in content.items():
            archive.writestr(name, some)
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped.zip").rename(tmp_path / "zipped" / "all.zip")
    for folder in (data, tmp_path / "zipped"):
        found = mounted.find_files(folder)
        about = {"test_expressions": ["test/(?P<id>[^/]+)"]}
        assert set(standalone.find_tests(about, found)) == {"1.tif", "2", "3.dat"}


def test_one_line_accounts_for_every_file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage.without_features(monkeypatch)
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": drawing.image(n, n) for n in range(6)}
    files |= {"train/cat/plain": drawing.image(0, 7), "train/cat/broken.jpg": b"x", "train/cat/clip.mp4": MP4}
    files |= {"train/cat/0.dng": encoded("TIFF")}
    files |= {"train/._0.jpg": b"", "train/.DS_Store": b"", "test/Thumbs.db": b"", "readme.txt": b"outside"}
    files |= {"test/1.jpg": drawing.image(0, 8), "test/2.JP2": encoded("JPEG2000"), "test/labels.csv": b"id\n"}
    done = succeeded(cli("audit", damage.write(tmp_path, files)))
    assert (
        "files below train/ and test/: 9 used, 1 unreadable, 1 AppleDouble, 1 Thumbs.db, "
        "1 camera raw (such as train/cat/0.dng), 1 hidden, "
        "2 not an image (such as test/labels.csv)"
    ) in done.out


def test_a_test_image_of_another_format_belongs_to_its_row(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": drawing.image(n, n) for n in range(6)}
    files |= {"test/1.jpg": drawing.image(0, 8), "test/2.webp": encoded("WEBP"), "test/3": encoded("PNG")}
    files["sample_submission.csv"] = b"id,cat,dog\n1,0.5,0.5\n2,0.5,0.5\n3,0.5,0.5\n"
    done = succeeded(cli("audit", damage.write(tmp_path, files)))
    assert "9 used\n" in done.out
    assert "have no test image" not in done.out
    assert "3 rows requested" in done.out


@pytest.mark.parametrize("name", ["test/3.ppm", "test/3.photo", "test/3"])
def test_an_image_that_fits_no_pattern_is_never_passed_over(cli: Cli, pets: damage.Given, name: str) -> None:
    damage.write(pets.data, {name: encoded("PPM")})
    assert f"1 images under test/ do not fit 'test/{{id}}.jpg', for example '{name}'" in failed(
        cli("audit", pets.plugin, "--data", pets.data)
    )


# any folder

CONTENT = {"image": encoded("PNG"), "text": b"id,label\n", "nothing": b""}
PLACES = {"train/cat": "", "train/dog/deep": "", "test": "", "train/cat/.cache": "hidden", "test/@eaDir": "thumbnail"}
HIDING = {"": "", ".": "hidden", "._": "AppleDouble"}
STEMS = ["a", "b.png", "caf\u00e9", "cafe\u0301", "caf\udce9", "\\xe9", " ", "#", "(1)"]
ENDINGS = ["", ".jpg", ".JPG", ".heic", ".csv", ".x"]
DRAWN = st.tuples(
    *map(st.sampled_from, (list(PLACES), list(HIDING), STEMS, ENDINGS, [*CONTENT, "link", "broken link"]))
)


def group_of(place: str, hiding: str, ending: str, kind: str) -> str:
    """Return how a file must be counted."""
    if why := PLACES[place] or HIDING[hiding]:
        return why
    if kind in ("image", "link"):
        return "used"
    return "unreadable" if kind == "broken link" or image_names.is_image(ending) else "not an image"


def counted(folder: Path) -> dict[str, int]:
    """Return the numbers in the line on the files of a folder; the quarantine list must agree with it."""
    said = io.StringIO()
    console, project = Console(said), Project.of(plugins.load(str(folder)))
    found = tables.read(project, DataFiles.from_folders([folder], "any"), DataSettings(), console)
    scanned = tables.scan_images(found, DataSettings(), ComputeSettings(), folder.parent / "scan", console)
    (line,) = (line for line in said.getvalue().splitlines() if line.startswith("files below train/ and test/: "))
    numbers = {name.strip(): int(number) for number, name in re.findall(r"(\d+) ([A-Za-z ]+)", line.split(": ")[1])}
    assert len(scanned.train) + len(scanned.requested) == numbers["used"] + sum(scanned.quarantine["part"] == "test")
    return numbers


@settings(max_examples=30)
@given(st.lists(DRAWN, max_size=12), st.booleans())
def test_every_file_is_used_or_ignored_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, str, str, str]], linked: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    basis = [f"{place}/basis.jpg" for place in ("train/cat", "train/dog", "test")]
    damage.write(folder, dict.fromkeys([*basis, "elsewhere/basis.jpg"], CONTENT["image"]))
    expected = Counter({"used": len(basis)})
    for number, (place, hiding, stem, ending, kind) in enumerate(drawn):
        path = folder / place / f"{hiding}{stem}{number}{ending}"
        if kind in CONTENT:
            damage.write(folder, {f"{place}/{path.name}": CONTENT[kind]})
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(folder / "elsewhere" / ("basis.jpg" if kind == "link" else "gone"))
        expected[group_of(place, hiding, ending, kind)] += 1
    if linked:
        (folder / "train" / "cat" / "up").symlink_to(folder)
        (folder / "train" / "dog" / "again").symlink_to(folder / "elsewhere")
        expected["used"] += 1
    assert counted(folder) == expected


# other commands walk in the same way


def test_predict_lists_what_a_run_would_use_and_counts_the_rest(tmp_path: Path) -> None:
    names = ("b/10.jpg", "b/2.png", ".ipynb_checkpoints/2.png", "._2.png", "Thumbs.db")
    files = dict.fromkeys(names, b"") | {"plain": CONTENT["image"], "notes.txt": b"text"}
    ignored: Counter[str] = Counter()
    damage.write(tmp_path / "x", files)
    (tmp_path / "x" / "b" / "up").symlink_to(tmp_path / "x")
    found = list(exporting.images_of([tmp_path / "x"], ignored))
    assert [image.id for image in found] == ["plain", "b/2.png", "b/10.jpg"]
    assert ignored == {"hidden": 1, "AppleDouble": 1, "Thumbs.db": 1, "not an image": 1}


def test_a_bundle_finds_the_files_and_the_ids_that_a_run_finds(tmp_path: Path) -> None:
    sample = "id,cat\ncaf\u00e9,0.5\n2.jpg,0.5\n3,0.5\n"
    content = {"photos/cafe\u0301.jpg": b"", "photos/2.png": b"", "photos/3": CONTENT["image"], "photos/4": b"text"}
    damage.write(tmp_path, content | {"data/.x/5.jpg": b"", "data/s.csv": sample.encode(), "data/._s.csv": b""})
    (tmp_path / "data" / "test").symlink_to(tmp_path / "photos")
    files = mounted.find_files(tmp_path / "data")
    assert list(files) == list(DataFiles.from_folders([tmp_path / "data"], "data").paths)
    about = {"test_expressions": ["test/(?P<id>[^/]+)"], "id_format": "{id}", "samples": ["s.csv"], "id": "id"}
    about["columns"] = ["id", "cat"]
    tests = standalone.find_tests(about, files)
    assert set(tests) == {"cafe\u0301.jpg", "2.png", "3"}
    header, ids, reads = standalone.requested_rows(about, files, tests)
    assert (header, ids) == (["id", "cat"], ["caf\u00e9", "2.jpg", "3"])
    assert list(reads) == ["2.jpg", "3", "caf\u00e9"]
