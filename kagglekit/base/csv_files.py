"""Read CSV files as they are delivered: their encoding and their separator are found out.

This module imports nothing of kagglekit: bundles contain this file unchanged.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from itertools import chain, islice
from typing import NamedTuple

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_COMPARED = 100
"""Number of rows whose fields are counted to find the separator."""
_END = "end"
"""Added after the last line: if it is not a row by itself, a quotation mark is open."""
_DIRECTIVE = re.compile(r"sep=([,;\t|])\r?\n")
"""First line by which Excel is told the separator."""
_LETTER = "[À-ÖØ-öø-ÿŒœŠšŽžŸ]"
_FOREIGN = re.compile(f"{_LETTER}{{3}}|{_LETTER}[¢-©¬®-¹¼-¾]")
"""No Western word has three such letters in a row, or a sign after one: it is Greek, Cyrillic or Chinese."""
_SAMPLE = re.compile(
    r"(?=.*(submission|submit|((?<![a-z])|(?<=ample))subs?(?![a-z])))(?=.*(sample|example|format(?![a-z]))).*\.csv"
)
"""Short words must be whole: `subject_information.csv` is no sample."""


class Table(NamedTuple):
    """The content of a CSV file."""

    columns: list[str]
    """Cells of the first row, as written."""
    rows: list[list[str]]
    """Cells as written; each row has as many as there are columns. Empty rows are left out."""
    assumed: str
    """What was assumed about the file; empty for UTF-8 separated by commas."""

    def named(self, expected: Collection[str] = ()) -> list[str]:
        """Return the columns without white space around them, unless it is part of an `expected` name."""
        return [name if name in expected else name.strip() for name in self.columns]


def is_sample(name: str) -> bool:
    """Return whether a file is called as competitions call their sample submission, `submission_format.csv` say."""
    return _SAMPLE.fullmatch(name.lower()) is not None


def columns(content: bytes, expected: Collection[str] = ()) -> list[str]:
    """Return the names in the first row of a file, as `Table.named`; none if it can't be read as a table."""
    try:
        return parse(content).named(expected)
    except ValueError:
        return []


def parse(content: bytes) -> Table:
    """Return the table in a file's bytes. Raises ValueError, with the reason, if they are no table.

    UTF-8 wins if it fits; then UTF-16, with a byte order mark or without; then Windows-1252. The separator is the one
    that divides the first row, and the rows after it into the same number of fields.
    """
    text, encoding = decoded(content)
    directive = _DIRECTIVE.match(text)
    text = text[directive.end() :] if directive else text
    separator = directive[1] if directive else _separator(text)
    two = list(islice(_lines(text, separator, spaced=False), 2))
    if not two:
        raise ValueError("it is empty")
    # `id, label`: the spaces belong to the separators
    spaced = len(two[0]) > 1 and all(cell.startswith(" ") for row in two for cell in row[1:])
    header, *lines = _lines(text, separator, spaced=spaced)
    while len(header) > 1 and not header[-1]:
        header.pop()
    count = len(header)
    rows = [row if len(row) == count else _fitted(row, count, number) for number, row in enumerate(lines, 2)]
    separated = "" if separator == "," else f"separated by {_SEPARATORS[separator]}"
    numbered = _is_numbered(header, rows)
    if numbered:
        header, rows = header[1:], [row[1:] for row in rows]
    assumed = (encoding, separated, "a table whose first column numbers its rows" if numbered else "")
    return Table(header, rows, ", ".join(filter(None, assumed)))


def _is_numbered(header: list[str], rows: list[list[str]]) -> bool:
    """Return whether the first column is the index that pandas writes: it has no name and holds different numbers."""
    if len(header) == 1 or header[0].strip():
        return False
    cells = {row[0] for row in rows}
    return len(cells) == len(rows) and all(cell.isdecimal() for cell in cells)


def decoded(content: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding, which is empty for UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _strictly(content, "utf-16"), "UTF-16"
    if b"\0" in content[:2]:  # the first name begins with an ASCII character
        return _strictly(content, "utf-16-be" if content.startswith(b"\0") else "utf-16-le"), "UTF-16"
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        text = _strictly(content, "cp1252")
    if _FOREIGN.search(text):
        raise ValueError("its encoding is not UTF-8, UTF-16 or Windows-1252")
    return text, "Windows-1252"


def _strictly(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError("its encoding is not UTF-8, UTF-16 or Windows-1252") from error


def _separator(text: str) -> str:
    """Return the separator that divides the first row, and most of the next rows into as many fields."""
    fitting = {separator: _num_fitting(text, separator) for separator in _SEPARATORS}
    return max(fitting, key=fitting.__getitem__)


def _num_fitting(text: str, separator: str) -> int:
    """Return the number of first rows with as many fields as the header; 0 if it has one field."""
    try:
        header, *rows = islice(_lines(text, separator, spaced=False), _COMPARED)
    except ValueError:
        return 0
    return 1 + sum(len(row) == len(header) for row in rows) if len(header) > 1 else 0


def _lines(text: str, separator: str, *, spaced: bool) -> Iterator[list[str]]:
    """Yield the rows that are not empty. Raises ValueError for an open quotation mark."""
    csv.field_size_limit(2**31 - 1)  # a mask or the pixels of an image may be in one cell
    lines = chain(io.StringIO(text, newline=""), [_END])
    row: list[str] = []
    before: list[str] = []
    for row in csv.reader(lines, delimiter=separator, skipinitialspace=spaced):
        if before and (before[0].strip() or any(cell.strip() for cell in before)):
            yield before
        before = row
    if row != [_END]:
        raise ValueError("a quotation mark is not closed")


def _fitted(row: list[str], count: int, number: int) -> list[str]:
    """Return a row with `count` cells. Raises ValueError if it has more that are not empty."""
    if len(row) == count:
        return row
    if any(row[count:]):
        raise ValueError(f"row {number} has {len(row)} fields, the first has {count}: quote texts with commas")
    return row[:count] + [""] * (count - len(row))
