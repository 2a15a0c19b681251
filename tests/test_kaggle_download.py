"""`kagglekit download` through the real client: cut, changed, refused, hanging, and never a false archive."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kagglekit.base.console import Console
from kagglekit.competitions import plugins
from kagglekit.data import archives
from kagglekit.kaggle import client, retries
from kagglekit.kaggle.download import fetch
from kagglekit.kaggle.partial_file import Part
from tests import drawing, kaggle_server
from tests.conftest import Cli, failed, succeeded
from tests.kaggle_server import Fault, State, cut, hang, page, replaced, stall, status

SLUG = "dogs-vs-cats-redux-kernels-edition"
DOGS = "dogs-vs-cats"


@pytest.fixture
def dogs(kaggle: State, tmp_path: Path) -> State:
    """Kaggle with a small Dogs vs Cats."""
    kaggle.archive = drawing.dogs(tmp_path).read_bytes()
    kaggle.files = ["sample_submission.csv", "test.zip", "train.zip"]
    return kaggle


class Place(NamedTuple):
    archive: Path
    part: Path


@pytest.fixture
def place(home: Path) -> Place:
    folder = home / DOGS / "data"
    return Place(folder / f"{SLUG}.zip", folder / f".{SLUG}.zip.part")


def visible(place: Place) -> list[str]:
    return [path.name for path in place.archive.parent.glob("*") if not path.name.startswith(".")]


def test_an_archive_arrives_verified_and_unpacked_and_only_kaggle_sees_the_token(
    cli: Cli, dogs: State, place: Place
) -> None:
    done = succeeded(cli("download", DOGS))
    assert place.archive.read_bytes() == dogs.archive
    assert f"checking and unpacking {SLUG}.zip" in done.out
    assert "the data of dogs-vs-cats is in" in done.out
    assert "next: kagglekit run dogs-vs-cats" in done.out
    assert "WARNING" not in done.out
    assert sorted(visible(place))[0].startswith(SLUG)
    assert len(visible(place)) == 2  # the archive, and what it unpacks to
    assert not place.part.exists()
    assert {seen.host for seen in dogs.seen} == {"localhost", kaggle_server.STORAGE}
    for seen in dogs.seen:
        expected = f"Bearer {kaggle_server.TOKEN}" if seen.host == "localhost" else None
        assert seen.headers.get("Authorization") == expected, seen.name


def test_what_is_there_is_not_fetched_again(cli: Cli, dogs: State, place: Place) -> None:
    succeeded(cli("download", DOGS))
    asked = len(dogs.seen)
    assert f"{place.archive} already exists" in succeeded(cli("download", DOGS)).out
    place.archive.unlink()  # to save space: what was unpacked is enough
    done = succeeded(cli("download", DOGS))
    (unpacked,) = archives.unpacked_folders(place.archive.parent)
    assert f"{unpacked} already exists" in done.out
    assert "the data of dogs-vs-cats is in" in done.out
    assert len(dogs.seen) == asked


def test_a_copy_that_is_there_and_is_no_archive_is_one_line(cli: Cli, dogs: State, place: Place) -> None:
    place.archive.parent.mkdir(parents=True)
    place.archive.write_bytes(b"<html>log in</html>")
    assert "web page" in failed(cli("download", DOGS))
    assert place.archive.read_bytes() == b"<html>log in</html>"  # the user's own: not ours to remove


# cuts

SIZE = 5000


def noise(seed: int) -> bytes:
    """A zip of exactly SIZE bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        content = b"".join((seed * 7919 + n).to_bytes(4, "big") for n in range(SIZE // 4))
        archive.writestr("data.bin", content[: SIZE - 22 - 30 - 46 - 2 * len("data.bin")])
    assert len(file.getvalue()) == SIZE
    return file.getvalue()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, SIZE - 1), max_size=4))
@example(cuts=[0, 0, 0, 0])
@example(cuts=[1, 2, SIZE - 1])
@example(cuts=[SIZE - 1, 7])
def test_cut_at_any_bytes_it_goes_on_and_no_byte_comes_twice(
    cuts: list[int], kaggle: State, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kaggle.archive = noise(len(cuts))
    kaggle.seen.clear()
    kaggle.faults.clear()
    kaggle.will("archive.zip", *map(cut, cuts[:1]))
    kaggle.will("rest", *map(cut, cuts[1:]))
    archive = tmp_path_factory.mktemp("cut") / "noise.zip"
    competition = plugins.load(DOGS).competition()
    with client.connect(competition, Console(io.StringIO())) as asked:
        fetch(asked, archive, Console(io.StringIO()))
    assert archive.read_bytes() == kaggle.archive
    furthest, expected = 0, []
    for place in cuts:
        furthest = max(furthest, place)
        expected += [furthest] if furthest > 1 else []  # what may be no archive, by its first letters, is not kept
    starts = [int(seen.headers["Range"].removeprefix("bytes=").removesuffix("-")) for seen in kaggle.named("rest")]
    assert starts == expected[: len(starts)]
    assert len(starts) == (len(expected) if cuts and cuts[0] > 1 else 0)
    (unpacked,) = archives.unpacked_folders(archive.parent)
    assert (unpacked / "data.bin").stat().st_size > SIZE // 2
    assert not list(archive.parent.glob("*.part*"))
    assert not list(archive.parent.glob(".*.part*"))


def test_a_cut_is_told_and_gone_on_from(cli: Cli, dogs: State, place: Place, pauses: list[float]) -> None:
    dogs.will("archive.zip", cut(len(dogs.archive) // 2))
    done = succeeded(cli("download", DOGS))
    assert "the connection was cut at" in done.out
    assert "resuming at" in done.out
    assert place.archive.read_bytes() == dogs.archive
    (rest,) = dogs.named("rest")
    assert rest.headers["If-Range"] == dogs.etag
    assert "Authorization" not in rest.headers
    assert pauses == [1.0]


def test_one_that_is_always_cut_there_ends_in_one_line_and_the_next_command_goes_on(
    cli: Cli, dogs: State, place: Place
) -> None:
    half = len(dogs.archive) // 2
    dogs.will("archive.zip", cut(half))
    dogs.will("rest", *[cut(half)] * retries.ATTEMPTS)
    said = failed(cli("download", DOGS))
    assert "these bytes are kept" in said
    assert place.part.read_bytes() == dogs.archive[:half]
    assert visible(place) == []
    succeeded(cli("download", DOGS))
    assert dogs.named("rest")[-1].headers["Range"] == f"bytes={half}-"
    assert place.archive.read_bytes() == dogs.archive


def test_a_killed_download_goes_on(cli: Cli, dogs: State, place: Place, home: Path) -> None:
    half = len(dogs.archive) // 2
    dogs.will("archive.zip", stall(half))
    process = subprocess.Popen(
        [sys.executable, "-m", "kagglekit", "download", DOGS],
        env=os.environ | {"KAGGLEKIT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ends = time.monotonic() + 60
    while not (place.part.exists() and place.part.stat().st_size):
        assert time.monotonic() < ends, "nothing arrives"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = place.part.stat().st_size
    assert visible(place) == []
    succeeded(cli("download", DOGS))
    assert dogs.named("rest")[0].headers["Range"] == f"bytes={kept}-"
    assert place.archive.read_bytes() == dogs.archive


def test_two_commands_do_not_download_at_once(dogs: State, place: Place, home: Path) -> None:
    place.archive.parent.mkdir(parents=True)
    with FileLock(place.archive.with_name(f".{place.archive.name}.lock")):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "kagglekit", "download", DOGS],
            env=os.environ | {"KAGGLEKIT_HOME": str(home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert "another command is downloading" in process.stdout.readline()
        assert dogs.seen == []
        place.archive.write_bytes(dogs.archive)  # what that command would have brought
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "already exists" in said
    assert dogs.seen == []


def test_a_stalled_download_is_given_up_and_gone_on_with(
    cli: Cli, dogs: State, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", (5.0, 0.5))
    half = len(dogs.archive) // 2
    dogs.will("archive.zip", stall(half))
    assert "Kaggle stopped sending" in succeeded(cli("download", DOGS)).out
    assert dogs.named("rest")[0].headers["Range"] == f"bytes={half}-"
    assert place.archive.read_bytes() == dogs.archive


@pytest.mark.parametrize("between", ["attempts", "question and range", "range, and If-Range is ignored"])
def test_bytes_of_two_versions_are_never_mixed(
    cli: Cli, dogs: State, place: Place, tmp_path: Path, between: str
) -> None:
    other = drawing.dogs(tmp_path / "other", train=28).read_bytes()
    half = len(dogs.archive) // 2

    def careless(exchange: kaggle_server.Exchange) -> None:
        exchange.state.archive, exchange.state.etag = other, '"two"'
        del exchange.headers["If-Range"]
        exchange.archive()

    dogs.will("archive.zip", cut(half))
    if between == "attempts":
        dogs.will("archive.zip", replaced(other, '"two"'))
    else:
        dogs.will("rest", careless if "ignored" in between else replaced(other, '"two"'))
    done = succeeded(cli("download", DOGS))
    assert place.archive.read_bytes() == other
    if "ignored" not in between:
        assert "starting over" in done.out


def test_without_etag_and_date_a_cut_download_begins_anew(cli: Cli, dogs: State, place: Place) -> None:
    half = len(dogs.archive) // 2
    dogs.will("archive.zip", lambda exchange: exchange.archive(half, ETag="", Last_Modified=""))
    succeeded(cli("download", DOGS))
    assert dogs.count("rest") == 0
    assert place.archive.read_bytes() == dogs.archive


def test_a_weak_etag_is_no_condition_but_the_date_is(cli: Cli, dogs: State, place: Place) -> None:
    dogs.etag = 'W/"one"'
    dogs.will("archive.zip", cut(len(dogs.archive) // 2))
    succeeded(cli("download", DOGS))
    assert dogs.named("rest")[0].headers["If-Range"] == dogs.modified
    assert place.archive.read_bytes() == dogs.archive


# refusals and trouble


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(401, "Unauthenticated"), ("credentials", "KAGGLE_API_TOKEN", "/settings")),
        (status(403, "Permission denied"), (f"{SLUG}/rules", "phone", "slug")),
        (status(404, "Not found"), ("404", SLUG)),
        (status(400, "No such\nthing"), ("400", "No such thing")),
        (page(), ("can't be read", "web page")),
        (page(403), (f"{SLUG}/rules", "phone", "slug")),
    ],
    ids=["401", "403", "404", "400", "page", "page 403"],
)
@pytest.mark.parametrize("name", ["ListDataFiles", "DownloadDataFiles"])
def test_a_refusal_is_one_line_with_the_cure_and_is_asked_once(
    cli: Cli, dogs: State, place: Place, pauses: list[float], name: str, fault: Fault, words: tuple[str, ...]
) -> None:
    if name == "DownloadDataFiles" and "web page" in words:
        words = ("instead of an archive", "text/html", "<!DOCTYPE html>")
    dogs.will(name, fault)
    said = failed(cli("download", DOGS))
    for word in words:
        assert word in said
    assert dogs.count(name) == 1
    assert pauses == []
    assert visible(place) == []
    assert not place.part.exists()


@pytest.mark.parametrize("name", ["ListDataFiles", "DownloadDataFiles"])
@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([status(429, "Too many", "7")], [7.0]),
        ([status(500), status(502), status(503)], [1.0, 2.0, 4.0]),
        ([status(503, "", "soon")], [1.0]),
        ([page(504)], [1.0]),
    ],
    ids=["429", "500", "nonsense", "page"],
)
def test_passing_trouble_is_waited_for(
    cli: Cli, dogs: State, place: Place, pauses: list[float], name: str, faults: list[Fault], expected: list[float]
) -> None:
    dogs.will(name, *faults)
    assert "retrying in" in succeeded(cli("download", DOGS)).out
    assert pauses == expected
    assert place.archive.read_bytes() == dogs.archive


def test_retry_after_may_be_a_date(cli: Cli, dogs: State, pauses: list[float]) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    dogs.will("ListDataFiles", status(429, "Too many", when))
    succeeded(cli("download", DOGS))
    (waited,) = pauses
    assert 30 < waited <= 40


@pytest.mark.parametrize(
    ("fault", "word"), [(status(429, "Too many"), "limits the rate"), (status(500), "has a problem (500)")]
)
def test_trouble_that_stays_ends_in_one_line(
    cli: Cli, dogs: State, pauses: list[float], fault: Fault, word: str
) -> None:
    dogs.will("ListDataFiles", *[fault] * retries.ATTEMPTS)
    assert word in failed(cli("download", DOGS))
    assert dogs.count("ListDataFiles") == retries.ATTEMPTS
    assert len(pauses) == retries.ATTEMPTS - 1


def test_a_wish_to_wait_for_an_hour_is_handed_on(cli: Cli, dogs: State, pauses: list[float]) -> None:
    dogs.will("ListDataFiles", status(429, "Too many", "3600"))
    assert "in 3600 s" in failed(cli("download", DOGS))
    assert pauses == []


@pytest.mark.parametrize("name", ["ListDataFiles", "DownloadDataFiles"])
def test_a_server_that_hangs_is_given_up(
    cli: Cli, dogs: State, pauses: list[float], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", (5.0, 0.1))
    dogs.will(name, *[hang] * retries.ATTEMPTS)
    assert "did not answer in time" in failed(cli("download", DOGS))
    assert dogs.count(name) == retries.ATTEMPTS


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
def test_without_a_network_it_is_one_line(
    cli: Cli, user: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")  # a port on this machine that nothing listens on
    monkeypatch.setenv("KAGGLE_API_TOKEN", kaggle_server.TOKEN)
    monkeypatch.setenv("http_proxy", proxy)
    assert "is there a network" in failed(cli("download", DOGS))
    assert len(pauses) == retries.ATTEMPTS - 1


def test_the_storage_does_not_know_of_rules(cli: Cli, dogs: State) -> None:
    dogs.will("archive.zip", lambda exchange: exchange.bytes(b"<Error>expired</Error>", "application/xml", 403))
    said = failed(cli("download", DOGS))
    assert "storage" in said
    assert "rules" not in said


def test_a_storage_that_sends_less_than_was_asked_for_is_asked_for_the_rest(
    cli: Cli, dogs: State, place: Place
) -> None:
    dogs.will("archive.zip", cut(100))
    dogs.will("rest", kaggle_server.short_range(50), kaggle_server.short_range(1000))
    assert "the transfer ended early" in succeeded(cli("download", DOGS)).out
    assert [seen.headers["Range"] for seen in dogs.named("rest")] == ["bytes=100-", "bytes=150-", "bytes=1150-"]
    assert place.archive.read_bytes() == dogs.archive


def test_a_storage_may_ask_for_time(cli: Cli, dogs: State, place: Place, pauses: list[float]) -> None:
    dogs.will("archive.zip", cut(100))
    dogs.will("rest", status(503, retry_after="33"))
    succeeded(cli("download", DOGS))
    assert pauses == [1.0, 33.0]
    place.archive.unlink()
    shutil.rmtree(archives.unpacked_folders(place.archive.parent)[0])
    dogs.will("archive.zip", cut(100))
    dogs.will("rest", status(503, retry_after="7200"))
    assert "in 7200 s" in failed(cli("download", DOGS))
    assert place.part.stat().st_size == 100


@pytest.mark.parametrize("code", [403, 416, 500])
def test_a_storage_that_does_not_go_on_is_asked_anew(cli: Cli, dogs: State, place: Place, code: int) -> None:
    dogs.will("archive.zip", cut(len(dogs.archive) // 2))
    dogs.will("rest", lambda exchange: exchange.bytes(b"", "text/plain", code))
    succeeded(cli("download", DOGS))
    assert place.archive.read_bytes() == dogs.archive
    assert dogs.count("DownloadDataFiles") == 3


# what is no archive


def shorter(exchange: kaggle_server.Exchange) -> None:
    exchange.archive(Content_Length=str(len(exchange.state.archive) - 100))


def damaged(exchange: kaggle_server.Exchange) -> None:
    body = bytearray(exchange.state.archive)
    body[len(body) // 2] ^= 1
    exchange.bytes(bytes(body), "application/zip")


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (page(), "text/html"),
        (lambda exchange: exchange.json({"error": "not now"}), "application/json"),
        (lambda exchange: exchange.bytes(b"", "application/zip"), "instead of an archive"),
        (shorter, "not a whole zip"),
        (damaged, "is damaged"),
    ],
    ids=["page", "json", "empty", "wrong length", "damaged"],
)
def test_what_is_no_whole_archive_is_never_kept(cli: Cli, dogs: State, place: Place, fault: Fault, word: str) -> None:
    dogs.will("archive.zip", fault)
    assert word in failed(cli("download", DOGS))
    assert visible(place) == []
    assert not place.part.exists()
    succeeded(cli("download", DOGS))
    assert place.archive.read_bytes() == dogs.archive


def test_a_length_that_is_too_long_is_a_cut_of_another_version(cli: Cli, dogs: State, place: Place) -> None:
    dogs.will("archive.zip", lambda exchange: exchange.archive(Content_Length=str(len(dogs.archive) + 100)))
    succeeded(cli("download", DOGS))
    assert place.archive.read_bytes() == dogs.archive


def test_a_web_page_does_not_cost_what_has_arrived(cli: Cli, dogs: State, place: Place) -> None:
    half = len(dogs.archive) // 2
    dogs.will("archive.zip", cut(half), page())
    assert "instead of an archive" in failed(cli("download", DOGS))
    assert place.part.stat().st_size == half
    succeeded(cli("download", DOGS))
    assert dogs.named("rest")[0].headers["Range"] == f"bytes={half}-"
    assert place.archive.read_bytes() == dogs.archive


def test_damage_in_an_archive_within_the_archive_is_seen_too(
    cli: Cli, dogs: State, place: Place, tmp_path: Path
) -> None:
    inner = bytearray(drawing.zip_of(tmp_path / "train.zip", {"train/cat.0.jpg": bytes(range(256))}).read_bytes())
    inner[100] ^= 1
    whole, dogs.archive = dogs.archive, drawing.zip_of(tmp_path / "outer.zip", {"train.zip": bytes(inner)}).read_bytes()
    assert "is damaged" in failed(cli("download", DOGS))
    assert visible(place) == []
    dogs.archive = whole
    succeeded(cli("download", DOGS))


def test_without_room_to_unpack_what_has_arrived_is_kept(
    cli: Cli, dogs: State, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what looks like room for twice the archive may not be enough for the zips in it
    usage = shutil._ntuple_diskusage(10**9, 10**9, 2 * len(dogs.archive) + 1)  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        said = failed(cli("download", DOGS))
    assert f"{SLUG}.zip" in said
    assert "are free" in said
    assert visible(place) == []
    assert place.part.read_bytes() == dogs.archive
    succeeded(cli("download", DOGS))
    assert dogs.count("archive.zip") == 2  # asked which version it is,
    assert dogs.count("rest") == 0  # and not one byte again
    assert place.archive.read_bytes() == dogs.archive


def test_killed_when_all_was_unpacked_nothing_is_left_over(
    cli: Cli, dogs: State, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Part, "become", killed)
        assert cli("download", DOGS).code == 130
    assert place.part.exists()
    assert "already exists" in succeeded(cli("download", DOGS)).out
    assert not place.part.exists()


def test_an_archive_that_another_tool_unpacks_is_kept(cli: Cli, dogs: State, place: Place, tmp_path: Path) -> None:
    content = bytearray(drawing.zip_of(tmp_path / "outer.zip", {"a.txt": b"a"}).read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 9
    dogs.archive = bytes(content)
    assert "deflate64" in failed(cli("download", DOGS))
    assert place.archive.read_bytes() == dogs.archive


def test_an_archive_that_leads_out_of_its_folder_is_refused(
    cli: Cli, dogs: State, place: Place, tmp_path: Path
) -> None:
    dogs.archive = drawing.zip_of(tmp_path / "evil.zip", {"../evil.txt": b"out"}).read_bytes()
    assert "leads out" in failed(cli("download", DOGS))
    assert visible(place) == []


def test_files_that_kaggle_lists_and_the_archive_lacks_are_pointed_out(cli: Cli, dogs: State) -> None:
    dogs.files.append("more.csv")
    assert "WARNING: 1 files that Kaggle lists are not in" in succeeded(cli("download", DOGS)).out


def test_a_disk_that_is_too_small_is_seen_before_anything_comes(
    cli: Cli, dogs: State, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**6, 10**6, 2 * len(dogs.archive) - 1)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    said = failed(cli("download", DOGS))
    assert "are free" in said
    assert "KAGGLEKIT_HOME" in said
    assert visible(place) == []
    assert place.part.stat().st_size == 0


# names


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Path]:
    def write(slug: str) -> Path:
        path = tmp_path / "pets.py"
        path.write_text(
            "from kagglekit import *\n\n\n@hookimpl\ndef competition():\n"
            f"    return Competition(name='pets', kaggle={slug!r}, classes={{'cat': '', 'dog': ''}},\n"
            "        train=FolderLabels('train/{label}'), test='test/{id}.jpg', submission=Probability(of='dog'))\n"
        )
        return path

    return write


@pytest.mark.parametrize("code", [403, 404])
def test_a_wrong_slug_is_told_the_nearest_known_one(
    cli: Cli, kaggle: State, plugin: Callable[[str], Path], code: int
) -> None:
    kaggle.will("ListDataFiles", status(code))
    said = failed(cli("download", plugin("dogs-vs-cats-redux-kernel-edition")))
    assert f"did you mean {SLUG!r}?" in said
    kaggle.will("ListDataFiles", status(code))
    assert "did you mean" not in failed(cli("download", DOGS))


def test_a_competition_that_is_not_at_kaggle_is_one_line(
    cli: Cli, kaggle: State, plugin: Callable[[str], Path]
) -> None:
    assert "no Kaggle slug" in failed(cli("download", plugin("")))
    assert kaggle.seen == []


def test_the_command_line_loads_neither_the_client_nor_requests() -> None:
    program = (
        "import sys\nimport kagglekit.cli, kagglekit.cli.kaggle, kagglekit.cli.diagnosis\n"
        "found = {'requests', 'kagglesdk', 'urllib3'} & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
