"""No encoding of a terminal, a pipe or a file ends a command, and neither does `| head`."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from kagglekit import guide
from kagglekit.base import streams
from kagglekit.base.console import Console
from kagglekit.cli import app, main
from tests import damage, drawing
from tests.conftest import Terminal

LIGHT = (
    ("list",),
    ("doctor",),
    ("runs",),
    ("info", "dogs-vs-cats"),
    ("backbones",),
    ("guide",),
    *(("guide", topic) for topic in guide.topics()),
    *((command, "--help") for command in typer.main.get_command(app).commands),  # type: ignore[attr-defined]
    ("--help",),
)
"""Commands that need no data."""
NAMES = ("Привет", "😀", "漢字", "\udcff", "\ud800", "né\u200b")
ENCODINGS = ("cp1252", "cp437", "ascii")
READERS_GO = (("list",), ("guide",), ("guide", "settings"), ("run", "--help"), ("info", "dogs-vs-cats"))

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type a command where the standard streams have an encoding: (exit code, output, errors)."""

    def type_(encoding: str, *words: str) -> tuple[int, str, str]:
        files = io.BytesIO(), io.BytesIO()
        for name, file in zip(("stdout", "stderr"), files, strict=True):
            stream = io.TextIOWrapper(file, encoding=encoding)
            monkeypatch.setattr(sys, name, stream)
            monkeypatch.setattr(sys, f"__{name}__", stream)
        monkeypatch.setattr(sys, "argv", ["kagglekit", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        out, errors = (file.getvalue().decode("utf-8" if encoding == "ascii" else encoding) for file in files)
        return code, out, errors

    return type_


def test_every_command_that_needs_no_data_prints_where_signs_are_lacking(typed: Typed) -> None:
    for words in LIGHT:
        code, out, errors = typed("cp437", *words)
        assert (code, errors) == (0, ""), words
        assert out.strip(), words


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-8"])
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_name_is_one_line_in_any_encoding(name: str, encoding: str, typed: Typed) -> None:
    code, out, errors = typed(encoding, "info", name)
    assert (code, out) == (1, "")
    assert errors.startswith("kagglekit: no competition called")
    assert errors.count("\n") == 1


def test_what_an_encoding_lacks_is_written_with_similar_signs(typed: Typed) -> None:
    for encoding in ENCODINGS:
        line = next(line for line in typed(encoding, "doctor")[1].splitlines() if "credentials" in line)
        assert " -> create a token" in line
    assert "NAME[,NAME...]" in typed("cp437", "run", "--help")[1]
    assert "NAME[,NAME…]" in typed("cp1252", "run", "--help")[1], "which it has"


def has(encoding: str, sign: str) -> bool:
    """Return whether an encoding has a character."""
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@given(st.text(st.characters()), st.sampled_from((*ENCODINGS, "utf-8", "utf-16", "latin-1")))
@example("\ud800", "utf-16")
def test_any_text_can_be_written_and_what_the_encoding_has_is_kept(text: str, encoding: str) -> None:
    written = text.encode(encoding, streams.READABLE).decode(encoding)
    if all(has(encoding, sign) for sign in text):
        assert written == text
    else:
        assert len(written) >= len(text)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_terminal_of_any_encoding_shows_tables_and_progress(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(encoding)
    console = Console(terminal)
    console.table("± котики", ("name", ">число"), [("漢字", "1…"), ("😀", "\udcff\ud800")])
    with console.progress("чтение", 2, "images") as advance:
        advance(2)
        console.rich.print("one more line, below which the bar is drawn again")
    assert "\\u6f22" in terminal.shown()
    assert "\\xff\\ud800" in terminal.shown()
    assert "2/2" in terminal.shown()


def test_a_piped_bar_says_how_much_of_a_total_that_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kagglekit.base.console._PLAIN_INTERVAL", 0.0)
    printed, total = io.StringIO(), 8
    with Console(printed).progress("fold0-0", lambda: total, "images") as advance:
        advance(0)  # with no rate yet
        advance(2)
        total = 4
        advance(1)
    first, second, last = printed.getvalue().splitlines()
    assert first.startswith("fold0-0: 2 images of 8 images, ")
    assert second.startswith("fold0-0: 3 images of 4 images, ")
    assert last.startswith("fold0-0: 3 images in ")


def test_the_log_of_a_run_takes_names_that_are_no_text(tmp_path: Path) -> None:
    console = Console(Terminal("ascii"))
    with console.logging_to(tmp_path / "log.txt"):
        console.say("read: котик\udcff.jpg")
    assert "read: котик\\xff.jpg" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_classes_in_other_alphabets_are_read_and_reported(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"train/{('кот', '犬')[n % 2]}/é{n}.jpg": drawing.image(n % 2, n) for n in range(12)}
    files |= {f"test/я{n}.jpg": drawing.image(n % 2, 100 + n) for n in range(4)}
    folder = damage.write(tmp_path / "данные", files)
    damage.without_features(monkeypatch)
    for encoding in ENCODINGS:
        for command in ("info", "audit"):
            code, out, errors = typed(encoding, command, str(folder))
            assert (code, errors) == (0, ""), (encoding, command)
            assert "\\u72ac" in out, (encoding, command)


# readers that go


def ended(words: tuple[str, ...], *, both: bool = False, **environment: str) -> tuple[int, str]:
    """Return the exit code and the errors of a command whose output nobody reads."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "kagglekit", *words]
    errors = subprocess.STDOUT if both else subprocess.PIPE
    done = subprocess.run(command, stdout=write, stderr=errors, text=True, env=os.environ | environment, check=False)
    os.close(write)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("words", READERS_GO, ids=" ".join)
def test_a_command_ends_quietly_when_its_reader_is_gone(words: tuple[str, ...]) -> None:
    assert ended(words) == (streams.EXIT_CODE, "")


def test_so_does_one_that_writes_at_once_and_one_that_only_has_an_error_to_say() -> None:
    assert ended(("list",), PYTHONUNBUFFERED="1") == (streams.EXIT_CODE, "")
    assert ended(("info", "nothing"), both=True) == (streams.EXIT_CODE, "")


def test_it_ends_in_the_middle_too_as_head_does_it() -> None:
    command = [sys.executable, "-m", "kagglekit", "doctor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("ok")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == streams.EXIT_CODE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
def test_a_full_disk_below_the_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "kagglekit", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("kagglekit: no space is left on the disk (<stdout>)")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="closed by a shell of Unix")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_without_an_output_commands_do_their_work(closed: str) -> None:
    line = f"{shlex.quote(sys.executable)} -m kagglekit guide {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
