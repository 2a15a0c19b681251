"""The guide: every page is there, is shown on any terminal, and what it says can be typed."""

from __future__ import annotations

import io

import pytest

from kagglekit import guide
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError


class Terminal(io.TextIOWrapper):
    """A terminal of a given encoding."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding)

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


def test_without_a_topic_all_are_listed_with_their_titles() -> None:
    file = io.StringIO()
    guide.show(None, Console(file))
    for topic, title in guide.topics().items():
        assert topic in file.getvalue()
        assert title in file.getvalue()


def test_an_unknown_topic_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no topic 'geting-startd': did you mean 'getting-started'"):
        guide.show("geting-startd", Console(io.StringIO()))
    with pytest.raises(UserError, match="`kagglekit guide` lists them"):
        guide.show("qqq", Console(io.StringIO()))


@pytest.mark.parametrize("topic", guide.topics())
def test_every_page_is_laid_out_on_a_terminal(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal("utf-8")
    guide.show(topic, Console(terminal))
    shown = terminal.shown()
    assert guide.topics()[topic].split(":")[0] in shown
    for mark in ("<!--", "```", "](", "[[["):
        assert mark not in shown, "Markdown that was not understood"


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize("topic", guide.topics())
def test_no_encoding_of_a_terminal_ends_a_page(topic: str, encoding: str) -> None:
    terminal = Terminal(encoding)
    guide.show(topic, Console(terminal))
    assert "kagglekit" in terminal.shown()


@pytest.mark.parametrize("topic", guide.topics())
def test_a_piped_page_is_markdown_without_what_only_its_writers_need(topic: str) -> None:
    file = io.StringIO()
    guide.show(topic, Console(file))
    assert file.getvalue() == guide.page(topic)
    assert file.getvalue().startswith(f"# {guide.topics()[topic]}\n")
    assert "<!--" not in file.getvalue()
    assert "\x1b" not in file.getvalue()
