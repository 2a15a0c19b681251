"""Standard output and error that print any text, whatever their encoding, and end quietly when nobody reads them."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

EXIT_CODE = 141
"""What shells report for a command whose output is a closed pipe."""
READABLE = "kagglekit.readable"
"""How files opened with `errors=READABLE` write what their encoding lacks: as similar ASCII, or as an escape."""
_SIMILAR = {"…": "...", "→": "->", "±": "+-", "×": "x", "–": "-", "—": "-", "•": "*", "�": "?"} | {
    "─": "-",
    "━": "-",
    "│": "|",
    "▌": "|",
}
"""Signs of our texts and of rich's Markdown."""


class ReaderGone(BaseException):
    """Whoever read our output has closed it, as `head` does; not an OSError, which some libraries catch."""


@contextmanager
def printing_anything() -> Iterator[None]:
    """Run a command whose output can't fail for a character; exit with EXIT_CODE where its reader is gone."""
    sys.stdout = _tolerant(sys.stdout)
    sys.stderr = _tolerant(sys.stderr)
    try:
        yield
    except ReaderGone:
        sys.exit(EXIT_CODE)


class _Stream(io.TextIOWrapper):
    """A standard stream that fails at most once; what is written later is lost, also when Python exits."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> NoReturn:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if error.errno in (errno.EPIPE, errno.EINVAL):  # the latter on Windows
            raise ReaderGone from error
        error.filename = self.name
        raise error


def on(descriptor: int, encoding: str | None) -> TextIO:
    """Return a stream that prints any text to a file descriptor, and closes it at the end."""
    return _Stream(open(descriptor, "wb"), encoding=encoding or "utf-8", errors=READABLE, line_buffering=True)


def _tolerant(stream: TextIO | None) -> TextIO:
    """Return a stream that prints like a standard one; those that are no file, as in tests, stay as they are."""
    if stream is None:  # closed by the shell, or a Windows program without a console
        return open(os.devnull, "w", encoding="utf-8")
    if stream not in (sys.__stdout__, sys.__stderr__) or not isinstance(stream, io.TextIOWrapper):
        return stream
    return _Stream(
        stream.buffer,
        encoding=stream.encoding,
        errors=READABLE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


def _escaped(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return _SIMILAR.get(sign) or sign.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(READABLE, _readable)
