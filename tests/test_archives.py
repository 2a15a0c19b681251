"""Archives: everything arrives, once, and nothing lands outside the target."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
    assert archive.name in message
    return message


def tarred(members: Members | Mapping[str, bytes], mode: str = "w", kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a tar's bytes; members of another `kind` than files lead to `../../elsewhere`."""
    pairs = list(members.items()) if isinstance(members, Mapping) else members
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in pairs:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else kind
            member.linkname = "" if kind == tarfile.REGTYPE else "../../elsewhere"
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def seven_zipped(members: Members | Mapping[str, bytes], password: str | None = None) -> bytes:
    """Return a 7z's bytes, or skip the test, saying so."""
    py7zr = pytest.importorskip("py7zr", reason="7z archives need py7zr")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", password=password) as archive:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            archive.writestr(content, name)
    return buffer.getvalue()


PACKERS: dict[str, Callable[[Members | Mapping[str, bytes]], bytes]] = {
    ".tar": tarred,
    ".tar.gz": partial(tarred, mode="w:gz"),
    ".tgz": partial(tarred, mode="w:gz"),
    ".tar.bz2": partial(tarred, mode="w:bz2"),
    ".tar.xz": partial(tarred, mode="w:xz"),
    ".7z": seven_zipped,
}
"""Suffix -> how to make such an archive."""


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
    "notes of a Mac": (
        zipped({"a.zip": zipped({"c.txt": b"c"}), "__MACOSX/._a.zip": b"note"}),
        {"c.txt": b"c", "__MACOSX/._a.zip": b"note"},
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
        assert archives.member_names(archive) == [name for name in opened.namelist() if not name.endswith("/")]
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
    "train/C:/evil.txt": "leads out",
    "train\\C:evil.txt": "leads out",
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
    assert "more than 3 members" in message


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


def test_an_archive_that_an_earlier_version_unpacked_is_not_unpacked_again(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"a/": b"", "a/b.txt": b"a", "c.jpg": b"c"}))
    assert archives.extract(archive, tmp_path / "data").folder.name == "pets-9c74b6b3"


@pytest.mark.parametrize("name", ["train.tar.gz", "train\\cat\\0.jpg"])
def test_what_an_earlier_version_left_packed_is_unpacked_again(name: str, tmp_path: Path) -> None:
    members = {name: tarred({"cat/0.jpg": b"cat"}, "w:gz") if name.endswith(".gz") else b"cat", "a.csv": b"id"}
    archive = saved(tmp_path, zipped(members))
    folder = archives.extract(archive, tmp_path / "data").folder
    wanted = listed(folder)
    manifest = json.loads((folder / archives.MANIFEST).read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    folder.mkdir()
    for path, content in members.items():
        (folder / path).write_bytes(content)
    manifest["members"] = [[path, len(content), zlib.crc32(content)] for path, content in members.items()]
    (folder / archives.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    again = archives.extract(archive, tmp_path / "data")
    assert again == archives.Extraction(folder, True)
    assert listed(folder) == wanted
    assert not archives.extract(archive, tmp_path / "data").fresh


def test_backslashes_are_separators(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({"train\\": b"", "train\\cat\\0.jpg": b"cat", "test/1.jpg": b"one"}))
    folder = archives.extract(archive, tmp_path / "data").folder
    assert listed(folder) == {"train/cat/0.jpg": b"cat", "test/1.jpg": b"one"}


TWINS = [("a/B.jpg", b"1"), ("A/b.jpg", b"2"), ("a/b.jpg", b"3")]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_names_that_differ_in_case_only_are_different_files(suffix: str, tmp_path: Path) -> None:
    archive = saved(tmp_path, PACKERS.get(suffix, zipped)(TWINS), f"pets{suffix}")
    assert listed(archives.extract(archive, tmp_path / "data").folder) == dict(TWINS)


def test_a_disk_that_does_not_tell_them_apart_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_such_a_disk(path: Path, progress: archives.Progress) -> archives._File:
        return real(Path(str(path).lower()), progress)

    real = archives._File
    monkeypatch.setattr(archives, "_File", on_such_a_disk)
    message = refused(saved(tmp_path, zipped(TWINS)), tmp_path / "data")
    assert "'A/b.jpg'" in message
    assert "upper case" in message


@pytest.mark.parametrize(("method", "word"), [(9, "deflate64"), (93, "zstandard"), (99, "method 99")])
def test_a_compression_that_python_lacks_is_no_damage(method: int, word: str, tmp_path: Path) -> None:
    content = bytearray(zipped({"a.txt": b"a"}))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = method
    message = refused(saved(tmp_path, bytes(content)), tmp_path / "data")
    assert word in message
    assert "`7z x pets.zip`" in message
    assert "download" not in message


def test_the_parts_of_a_split_archive_are_no_damage(tmp_path: Path) -> None:
    content = zipped({"a.txt": b"a" * 1000})
    at = content.rindex(b"PK\5\6") + 4
    parts = {"pets.zip": content[:at] + b"\1\0" + content[at + 2 :], "pets.z01": content, "pets.zip.001": content[:500]}
    parts |= {"pets.7z.001": content, "pets.tar.002": content}
    for name, part in parts.items():
        message = refused(saved(tmp_path, part, name), tmp_path / "data")
        assert "part of a split archive" in message
        assert f"`7z x {name.replace('z01', 'zip')}`" in message
        assert "download" not in message


TREE = {
    "./train/cat/0.jpg": b"cat" * 9000,
    "train/dog/0.jpg": b"",
    "ä.csv": b"id\n",
    "sub/test.zip": zipped({"b.txt": b"b"}),
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_tar_and_7z_are_archives_like_any_other(suffix: str, tmp_path: Path) -> None:
    archive = saved(tmp_path, PACKERS[suffix](TREE), f"my.pets{suffix}")
    counts: list[int] = []
    first = archives.extract(archive, tmp_path / "data", counts.append)
    wanted = {"train/cat/0.jpg": b"cat" * 9000, "train/dog/0.jpg": b"", "ä.csv": b"id\n", "sub/b.txt": b"b"}
    assert first.folder.name.startswith("my.pets-")
    assert listed(first.folder) == wanted
    manifest = json.loads((first.folder / archives.MANIFEST).read_text(encoding="utf-8"))
    assert {path: (size, crc) for path, size, crc in manifest["members"]} == {
        path: (len(data), zlib.crc32(data)) for path, data in wanted.items()
    }
    before, counts[:] = sum(counts), []
    assert before > 27000
    assert archives.extract(archive, tmp_path / "data", counts.append) == replace(first, fresh=False)
    assert counts == []


@pytest.mark.parametrize("suffix", PACKERS)
def test_images_without_a_folder_get_one_of_the_archive_s_name(suffix: str, tmp_path: Path) -> None:
    inner = PACKERS[suffix]({"0.jpg": b"0", "1.jpg": b"1"})
    archive = saved(tmp_path, zipped({f"imgs/train{suffix}": inner}))
    assert listed(archives.extract(archive, tmp_path / "data").folder) == {
        "imgs/train/0.jpg": b"0",
        "imgs/train/1.jpg": b"1",
    }


def test_images_of_the_folder_that_was_packed_get_one_of_the_archive_s_name(tmp_path: Path) -> None:
    packed = {"./": b"", "./0.jpg": b"0", "./1.jpg": b"1", "./__MACOSX/a.plist": b"note"}
    archive = saved(tmp_path, tarred(packed, "w:gz"), "train.tar.gz")
    there = listed(archives.extract(archive, tmp_path / "data").folder)
    assert there == {"train/0.jpg": b"0", "train/1.jpg": b"1", "train/__MACOSX/a.plist": b"note"}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("name", [name for name in BAD_NAMES if "\0" not in name])
def test_no_name_in_a_tar_leads_elsewhere(name: str, suffix: str, tmp_path: Path) -> None:
    archive = saved(tmp_path, PACKERS[suffix]([("fine.txt", b"fine"), (name, b"evil")]), f"pets{suffix}")
    assert BAD_NAMES[name] in refused(archive, tmp_path / "sub" / "data")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "'odd' is a link"),
        (tarfile.LNKTYPE, "'odd' is a link"),
        (tarfile.FIFOTYPE, "'odd' is a device"),
        (tarfile.CHRTYPE, "'odd' is a device"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, words: str, tmp_path: Path) -> None:
    message = refused(saved(tmp_path, tarred({"odd": b""}, kind=kind), "pets.tar"), tmp_path / "data")
    assert words in message
    assert "`tar -xf pets.tar`" in message


@pytest.mark.parametrize("suffix", [".tar.gz", ".7z"])
@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.txt", b"1"), ("a.txt", b"2")], "two members called 'a.txt'"),
        ([("C:/a.txt", b"1")], "has an absolute name"),
        ([("a" * 300, b"1")], "more than 255 bytes"),
        ([("a/b", b"1"), ("a", b"2")], "would overwrite another member"),
        ([("zeros.bin", bytes(2**21))], "zip bomb"),
        ([(f"{number}.txt", b"1") for number in range(9)], "more than 8 members"),
    ],
    ids=["twice", "drive", "long", "file and folder", "bomb", "many"],
)
def test_tar_and_7z_have_the_limits_of_zip(
    members: Members, words: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 8)
    assert words in refused(saved(tmp_path, PACKERS[suffix](members), f"pets{suffix}"), tmp_path / "data")


def test_a_bomb_in_a_tar_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    whole = zlib.decompress(PACKERS[".tar.gz"]({"zeros.bin": bytes(2**24), "b": b""}), 31)
    cut = zlib.compressobj(9, zlib.DEFLATED, 31).compress(whole)  # whoever reads on misses the end
    assert "zip bomb" in refused(saved(tmp_path, cut, "pets.tar.gz"), tmp_path / "data")


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "a web page"])
def test_a_damaged_tar_or_7z_is_refused_and_cured_by_a_download(suffix: str, damage: str, tmp_path: Path) -> None:
    content = bytearray(PACKERS[suffix]({"a.csv": random.Random(0).randbytes(30000), "b.csv": b"b" * 3000}))
    if damage == "cut":
        del content[20000:]
    elif damage == "changed":
        place = 512 + 30208 if suffix == ".tar" else 9000  # a tar itself has checksums of its headers alone
        content[place : place + 30] = b"\xff" * 30
    else:
        content[:] = b"" if damage == "empty" else b"<!DOCTYPE html><html>"
    assert "download it again" in refused(saved(tmp_path, bytes(content), f"pets{suffix}"), tmp_path / "data")


@pytest.mark.parametrize("suffix", [".tar.gz", ".7z"])
def test_an_interrupted_tar_or_7z_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    archive = saved(tmp_path, PACKERS[suffix]({"a.txt": b"a", "b.txt": b"b"}), f"pets{suffix}")
    with pytest.raises(KeyboardInterrupt):
        archives.extract(archive, tmp_path / "data", interrupt)
    assert entries(tmp_path / "data") == []


def test_an_encrypted_7z_is_refused(tmp_path: Path) -> None:
    archive = saved(tmp_path, seven_zipped({"a.txt": b"a"}, password="secret"), "pets.7z")
    assert "encrypted" in refused(archive, tmp_path / "data")


def test_a_7z_without_py7zr_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py7zr", None)
    message = refused(saved(tmp_path, b"7z\xbc\xaf\x27\x1c", "pets.7z"), tmp_path / "data")
    assert "`pip install py7zr`" in message
    assert "`7z x pets.7z`" in message


def test_an_archive_is_known_by_its_content(tmp_path: Path) -> None:
    archive = saved(tmp_path, PACKERS[".tar.gz"]({"a.txt": b"a"}), "pets.zip")
    assert listed(archives.extract(archive, tmp_path / "data").folder) == {"a.txt": b"a"}


@pytest.mark.parametrize("content", [gzip.compress(b"id,label\n", mtime=0), b"id,label\n", b"Rar!\x1a\x07\x01\x00"])
def test_what_is_no_archive_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    message = refused(saved(tmp_path, content, "labels.csv.gz"), tmp_path / "data")
    assert "is not a zip, tar or 7z archive" in message


NAMES = st.one_of(
    st.text("./\\ab:C~\0 ", min_size=1, max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.lists(st.sampled_from(["..", ".", "a", "b.zip", "C:", "", "\\", "nul"]), min_size=2, max_size=5).map("/".join),
)


@settings(max_examples=150)
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
