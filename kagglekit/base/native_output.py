"""Messages that C libraries print to standard error, past Python."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from kagglekit.base import streams

_DECODERS = re.compile(
    rb"libpng "
    rb"|Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent progression|Unknown Adobe"
    rb"|Warning: unknown JFIF"
    rb"|(TIFF|Fax|LZW|ZIP|PackBits|Thunder|JPEG|OJPEG|Log|Pixar|LERC|LZMA|ZSTD|WEBP)\w*: |tempfile\.tif: "
    rb"|MissingRequired: TIFF|More samples per pixel|Sorry, can"
)
"""How the lines of libpng, libjpeg and libtiff start."""


@contextmanager
def decoders_silenced() -> Iterator[list[str]]:
    """Keep what image libraries print off the terminal; the list holds their lines after the block.

    Other output of libraries is printed at the end of the block, and Python's own at once. File descriptors belong to
    the whole process, so enter the block once around a stage, not in each of its threads.
    """
    lines: list[str] = []
    try:
        saved = os.dup(_STDERR)
    except OSError:  # closed: nothing is printed anyway
        yield lines
        return
    before = sys.stderr
    with streams.on(saved, before.encoding) as terminal, tempfile.TemporaryFile() as caught:
        try:
            if _is_stderr(before):
                before.flush()
                sys.stderr = terminal
            os.dup2(caught.fileno(), _STDERR)
            yield lines
        finally:
            os.dup2(saved, _STDERR)
            sys.stderr = before
            lines += _sorted_out(caught)


_STDERR = 2


def _is_stderr(stream: object) -> bool:
    try:
        return stream.fileno() == _STDERR  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError, ValueError):  # no file, for example in a notebook
        return False


def _sorted_out(caught: BinaryIO) -> list[str]:
    """Return the lines of image libraries, and print the others."""
    caught.seek(0)
    found = []
    for line in caught:
        if _DECODERS.match(line):
            found.append(line.decode(errors="replace").strip())
        else:
            with suppress(OSError):  # its reader is gone
                os.write(_STDERR, line)
    return found
