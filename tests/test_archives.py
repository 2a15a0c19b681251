"""Archives: everything arrives, once, and nothing lands outside the target."""

from __future__ import annotations

import io
import json
import random
import stat
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kagglekit.base.errors import UserError
from kagglekit.data import archives

Members = Sequence[tuple[str, bytes]]


def zipped(members: Members | Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip's bytes, with the members' names exactly as given, however bad they are."""
    pairs = list(members.items()) if isinstance(members, Mapping) else members
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of duplicates
        for name, content in pairs:
            member = zipfile.ZipInfo()
            member.filename = name
            member.compress_type = compression
            archive.writestr(member, content)
    return buffer.getvalue()


def saved(folder: Path, content: bytes, name: str = "pets.zip") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def listed(folder: Path) -> dict[str, bytes]:
    """Return relative path -> content of every file below the folder, hidden ones too, but locks and manifests."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock" and p.name != archives.MANIFEST]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def entries(folder: Path) -> list[Path]:
    """Return what lies in the folder, but locks."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"] if folder.exists() else []


def refused(archive: Path, into: Path) -> str:
    """Return the message with which the archive is refused; nothing may be left of it, anywhere."""
    before = listed(archive.parent)
    with pytest.raises(UserError) as caught:
        archives.extract(archive, into)
    assert listed(archive.parent) == before
    assert entries(into) == []
    message = str(caught.value)
    assert "\n" not in message
    assert ".zip" in message
    return message


SHAPES: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "plain": (
        zipped({"train/": b"", "train/cat.0.jpg": b"cat", "empty.csv": b"", "weiße/ß.txt": b"s"}),
        {"train/cat.0.jpg": b"cat", "empty.csv": b"", "weiße/ß.txt": b"s"},
    ),
    "zips in a zip": (
        zipped({"train.zip": zipped({"train/cat.0.jpg": b"cat"}), "test.zip": zipped({"test/1.jpg": b"one"})}),
        {"train/cat.0.jpg": b"cat", "test/1.jpg": b"one"},
    ),
    "a bare heap gets a folder of its name": (
        zipped({"imgs/train.zip": zipped({"cat.0.jpg": b"cat", "dog.0.jpg": b"dog"})}),
        {"imgs/train/cat.0.jpg": b"cat", "imgs/train/dog.0.jpg": b"dog"},
    ),
    "a zipped CSV lies beside its archive": (
        zipped({"meta/drivers.csv.zip": zipped({"drivers.csv": b"subject,img\n"}, zipfile.ZIP_DEFLATED)}),
        {"meta/drivers.csv": b"subject,img\n"},
    ),
    "three levels": (
        zipped({"a.zip": zipped({"b.ZIP": zipped({"deep/c.txt": b"c"})})}),
        {"deep/c.txt": b"c"},
    ),
    "highly compressed, but small": (
        zipped({"zeros.csv": b"0" * 10**6}, zipfile.ZIP_DEFLATED),
        {"zeros.csv": b"0" * 10**6},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_unpacked_whole_and_its_manifest_lists_what_lies_there(shape: str, tmp_path: Path) -> None:
    content, wanted = SHAPES[shape]
    archive = saved(tmp_path, content)
    extraction = archives.extract(archive, tmp_path / "data")
    assert extraction.fresh
    with zipfile.ZipFile(archive) as opened:
        assert list(extraction.members) == [name for name in opened.namelist() if not name.endswith("/")]
    assert listed(extraction.folder) == wanted
    manifest = json.loads((extraction.folder / archives.MANIFEST).read_text(encoding="utf-8"))
    assert manifest["archive"] == "pets.zip"
    assert manifest["archive_bytes"] == len(content)
    assert {path: (size, crc) for path, size, crc in manifest["members"]} == {
        path: (len(data), zlib.crc32(data)) for path, data in wanted.items()
    }
    assert entries(tmp_path / "data") == [extraction.folder]


def test_the_same_content_is_unpacked_once(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"a.txt": b"a"}))
    first = archives.extract(archive, tmp_path / "data")
    (first.folder / "a.txt").write_bytes(b"changed, to see whether it is written again")
    bytes_read: list[int] = []
    second = archives.extract(archive, tmp_path / "data", bytes_read.append)
    assert second == replace(first, fresh=False)
    assert bytes_read == []
    assert (first.folder / "a.txt").read_bytes().startswith(b"changed")


def test_members_that_somebody_removed_are_missed(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"a.txt": b"a", "b.txt": b"b"}))
    folder = archives.extract(archive, tmp_path / "data").folder
    (folder / "b.txt").unlink()
    with pytest.raises(
        UserError, match="1 files of pets.zip are missing from .*, for example b.txt: remove that folder"
    ):
        archives.extract(archive, tmp_path / "data")
    assert listed(folder) == {"a.txt": b"a"}


def test_another_content_under_the_same_name_is_unpacked_beside_it(tmp_path: Path) -> None:
    first = archives.extract(saved(tmp_path, zipped({"a.txt": b"a"})), tmp_path / "data")
    second = archives.extract(saved(tmp_path, zipped({"a.txt": b"b"})), tmp_path / "data")
    assert second.fresh
    assert listed(first.folder) == {"a.txt": b"a"}
    assert listed(second.folder) == {"a.txt": b"b"}


def test_progress_counts_every_byte_that_the_first_level_holds(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"a.bin": bytes(3 * 2**20), "b.txt": b"b"}))
    counts: list[int] = []
    archives.extract(archive, tmp_path / "data", counts.append)
    assert sum(counts) == archives.total_bytes(archive) == 3 * 2**20 + 1
    assert len(counts) >= 4


def test_total_bytes_of_what_is_no_zip_is_zero(tmp_path: Path) -> None:
    assert archives.total_bytes(saved(tmp_path, b"no zip")) == 0


BAD_NAMES = {
    "../evil.txt": "leads out",
    "train/../../evil.txt": "leads out",
    "train/..": "leads out",
    "..\\evil.txt": "leads out",
    "train\\..\\..\\evil.txt": "leads out",
    "/evil.txt": "absolute",
    "//server/share/evil.txt": "absolute",
    "\\evil.txt": "absolute",
    "\\\\server\\share\\evil.txt": "absolute",
    "C:evil.txt": "absolute",
    "C:/evil.txt": "absolute",
    "c:\\evil.txt": "absolute",
    "evil.txt\0.jpg": "NUL",
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_is_refused(name: str, nested: bool, tmp_path: Path) -> None:
    content = zipped([("fine.txt", b"fine"), (name, b"evil")])
    archive = saved(tmp_path, zipped({"first.txt": b"1", "inner.zip": content}) if nested else content)
    message = refused(archive, tmp_path / "sub" / "data")
    assert BAD_NAMES[name] in message
    assert repr(name) in message


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path, zipped([("fine.txt", b"fine"), ("", b"evil")])), tmp_path / "data")


def test_a_name_in_broken_utf8_is_refused(tmp_path: Path) -> None:
    content = zipped({"ä.txt": b""}).replace("ä".encode(), b"\xff\xfe")
    refused(saved(tmp_path, content), tmp_path / "data")


def test_a_name_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path, zipped({"fine.txt": b"", "a" * 300: b""})), tmp_path / "data")


def flagged(attributes: int = 0, flags: int = 0) -> bytes:
    """Return a zip whose second member has these attributes and flags in the directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fine.txt", "fine")
        archive.writestr("odd", "../../elsewhere")
        archive.filelist[1].create_system = 3
        archive.filelist[1].external_attr = attributes
        archive.filelist[1].flag_bits |= flags
    return buffer.getvalue()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (flagged(attributes=(stat.S_IFLNK | 0o777) << 16), "'odd' is a link"),
        (flagged(flags=1), "'odd' is encrypted"),
        (zipped([("a.txt", b"1"), ("a.txt", b"2")]), "two members called 'a.txt'"),
        (zipped([("a/B.txt", b"1"), ("A/b.txt", b"2")]), "two members called 'A/b.txt'"),
        (zipped([("a.txt", b"1"), ("./a.txt", b"2")]), "'./a.txt' would overwrite another member"),
        (zipped([("a/b.txt", b"1"), ("a//b.txt", b"2")]), "'a//b.txt' would overwrite another member"),
    ],
)
def test_links_encryption_and_two_members_of_one_name_are_refused(
    content: bytes, words: str, nested: bool, tmp_path: Path
) -> None:
    archive = saved(tmp_path, zipped({"inner.zip": content}) if nested else content)
    assert words in refused(archive, tmp_path / "data")


@pytest.mark.parametrize(
    "members",
    [
        [("sample.csv", b"1"), ("inner.zip", zipped({"sample.csv": b"2"}))],
        [("inner.zip", zipped({"sample.csv": b"2"})), ("sample.csv", b"1")],
        [("inner/a.jpg", b"1"), ("inner.zip", zipped({"a.jpg": b"2", "b.jpg": b"3"}))],
        [("inner.zip", zipped({"deep/a.txt": b"1"})), ("other.zip", zipped({"deep/a.txt": b"2"}))],
    ],
)
def test_an_archive_inside_overwrites_no_other_file(members: Members, tmp_path: Path) -> None:
    assert "would overwrite" in refused(saved(tmp_path, zipped(members)), tmp_path / "data")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c/d"), ("a/b/c/d", "a/b")])
def test_a_name_that_is_both_file_and_folder_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    refused(saved(tmp_path, zipped([(name, b"") for name in names])), tmp_path / "data")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened,
        opened.open("zeros.bin", "w") as member,
    ):
        for _ in range(200):
            member.write(bytes(2**20))
    assert archive.stat().st_size < 2**20
    message = refused(archive, tmp_path / "data")
    assert "zip bomb" in message
    assert str(200 * 2**20) in message


def test_a_bomb_inside_an_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    bomb = zipped({"zeros.bin": bytes(2**21)}, zipfile.ZIP_DEFLATED)
    message = refused(saved(tmp_path, zipped({"inner.zip": bomb})), tmp_path / "data")
    assert "zip bomb" in message


def test_a_bomb_spread_over_many_archives_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    part = zipped({"zeros.png": bytes(2**19), "ones.png": b"1"}, zipfile.ZIP_DEFLATED)  # each alone is small enough
    archive = saved(tmp_path, zipped({f"{number}.zip": part for number in range(20)}))
    assert "zip bomb" in refused(archive, tmp_path / "data")


def test_four_levels_of_archives_are_refused(tmp_path: Path) -> None:
    content = zipped({"a.txt": b"a"})
    for name in ("c.zip", "b.zip", "a.zip"):
        content = zipped({name: content})
    message = refused(saved(tmp_path, content), tmp_path / "data")
    assert "more than 3 archives" in message


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    message = refused(saved(tmp_path, zipped({f"{n}.txt": b"" for n in range(4)})), tmp_path / "data")
    assert "4 members" in message


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = archives.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    message = refused(saved(tmp_path, zipped({"a.bin": bytes(2 * 10**6)})), tmp_path / "data")
    assert "1.0 MB are free" in message
    assert "free" in message


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><title>Kaggle</title>", "web page"),
        (b"\n  <HTML><body>Sign in", "web page"),
        (b"", "not a whole zip archive"),
        (b"id,label\n1,0.5\n", "not a whole zip archive"),
        (zipped({"a.txt": b"a" * 1000})[:-30], "not a whole zip archive"),
        (zipped({"a.txt": b"a" * 1000})[:500], "not a whole zip archive"),
    ],
)
def test_what_is_no_whole_zip_is_refused_and_cured_by_a_download(
    content: bytes, words: str, nested: bool, tmp_path: Path
) -> None:
    archive = saved(tmp_path, zipped({"inner.zip": content}) if nested else content)
    message = refused(archive, tmp_path / "data")
    assert words in message
    assert "download it again" in message


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_refused(compression: int, tmp_path: Path) -> None:
    content = bytearray(zipped({"a.csv": random.Random(0).randbytes(3000).hex().encode()}, compression))
    content[200:230] = b"\xff" * 30
    message = refused(saved(tmp_path, bytes(content)), tmp_path / "data")
    assert "'a.csv' is damaged" in message
    assert "download it again" in message


def test_a_compression_that_python_does_not_know_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.txt": b"a"}))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 99
    assert "'a.txt'" in refused(saved(tmp_path, bytes(content)), tmp_path / "data")


def test_an_interrupted_extraction_leaves_nothing(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"a.txt": b"a", "b.txt": b"b"}))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archives.extract(archive, tmp_path / "data", interrupt)
    assert entries(tmp_path / "data") == []


def test_a_killed_extraction_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    members = {"a.bin": bytes(2 * 2**20), "b.txt": b"b"}
    archive = saved(tmp_path, zipped(members))
    data = tmp_path / "data"
    program = (
        "import os, sys; from pathlib import Path; from kagglekit.data import archives; "
        "archives.extract(Path(sys.argv[1]), Path(sys.argv[2]), lambda _: os._exit(9))"
    )
    killed = subprocess.run([sys.executable, "-c", program, archive, data], check=False)
    assert killed.returncode == 9
    (left,) = entries(data)
    assert 0 < (left / "a.bin").stat().st_size < 2 * 2**20
    extraction = archives.extract(archive, data)
    assert extraction.fresh
    assert extraction.folder != left
    assert listed(extraction.folder) == members
    assert entries(data) == [extraction.folder]  # what the killed one left is gone


def test_a_folder_without_its_manifest_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"a.txt": b"a", "b.txt": b"b"}))
    folder = archives.extract(archive, tmp_path / "data").folder
    (folder / archives.MANIFEST).unlink()
    (folder / "a.txt").unlink()
    (folder / "b.txt").write_bytes(b"")  # a rename can outlive a power cut that the contents did not
    extraction = archives.extract(archive, tmp_path / "data")
    assert extraction.fresh
    assert listed(extraction.folder) == {"a.txt": b"a", "b.txt": b"b"}


NAMES = st.one_of(
    st.text("./\\ab:C~\0 ", min_size=1, max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.lists(st.sampled_from(["..", ".", "a", "b.zip", "C:", "", "\\", "nul"]), min_size=2, max_size=5).map("/".join),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(NAMES.filter(bool), min_size=1, max_size=4), st.booleans())
@example(["a", "../../b"], True)
@example(["../a.zip"], False)
def test_no_names_write_outside_the_target(names: list[str], nested: bool) -> None:
    members = [(name, str(number).encode()) for number, name in enumerate(names)]
    content = zipped(members)
    with tempfile.TemporaryDirectory() as sandbox:
        into = Path(sandbox, "one", "two", "data")
        archive = saved(Path(sandbox), zipped({"x/y/inner.zip": content}) if nested else content)
        try:
            folder = archives.extract(archive, into).folder
        except UserError:
            assert set(listed(Path(sandbox))) == {"pets.zip"}
            return
        assert [path for path in listed(Path(sandbox)) if Path(sandbox, path).is_relative_to(folder) is False] == [
            "pets.zip"
        ]
        # a file that had landed outside the sandbox would be missing here
        files = [content for name, content in members if not name.partition("\0")[0].endswith("/")]
        assert sorted(listed(folder).values()) == sorted(files)
