"""CSV files in every encoding and dialect that people deliver read back as they were meant."""

from __future__ import annotations

import codecs
import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.base import csv_files

PETS = [["1", "cat"], ["2", "dog"]]


def written(rows: list[list[str]], separator: str, ending: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "assumed"),
    [
        (b"id,label\n1,cat\n2,dog\n", ""),
        (b"id,label\r\n1,cat\r\n2,dog", ""),
        (b"id,label\r1,cat\r2,dog\r", ""),
        (codecs.BOM_UTF8 + b"id,label\n1,cat\n2,dog\n", ""),
        (b"id, label\n1, cat\n2, dog\n", ""),
        (b'"id", "label"\n"1", "cat"\n"2", "dog"\n', ""),
        (b" id ,label \n1,cat\n\n  \n2,dog\n,\n", ""),
        (b"id,label,\n1,cat,\n2,dog,\n", ""),
        (b"id;label\n1;cat\n2;dog\n", "separated by semicolons"),
        (b"sep=;\r\nid;label\r\n1;cat\r\n2;dog\r\n", "separated by semicolons"),
        (b"id\tlabel\n1\tcat\n2\tdog\n", "separated by tabs"),
        (b"id|label\n1|cat\n2|dog\n", "separated by bars"),
        ("id,label\n1,cat\n2,dog\n".encode("utf-16"), "UTF-16"),
        ("id,label\n1,cat\n2,dog\n".encode("utf-16-le"), "UTF-16"),
        ("id;label\n1;cat\n2;dog\n".encode("utf-16-be"), "UTF-16, separated by semicolons"),
    ],
)
def test_every_dialect_reads_as_the_same_table(content: bytes, assumed: str) -> None:
    table = csv_files.parse(content)
    assert (table.named(), table.rows, table.assumed) == (["id", "label"], PETS, assumed)


def test_the_separator_is_the_one_that_fits_the_rows() -> None:
    assert csv_files.parse(b"id;label, in Latin\n1;felis, catus\n2;canis\n").columns == ["id", "label, in Latin"]
    assert csv_files.parse(b"id,a;b\n1,x\n2,y\n").columns == ["id", "a;b"]
    assert csv_files.parse(b'id,"a;b;c"\n1,"x;y;z"\n').rows == [["1", "x;y;z"]]


def test_one_column_and_a_header_alone_are_tables() -> None:
    assert csv_files.parse(b"id\n a\n").rows == [[" a"]]
    assert csv_files.parse(b"id\na;b\n") == (["id"], [["a;b"]], "")
    assert csv_files.parse(b"id;label\n") == (["id", "label"], [], "separated by semicolons")


def test_white_space_and_missing_cells_are_kept_apart_from_wrong_ones() -> None:
    assert csv_files.parse(b"id,label\n 1,cat \n2\n").rows == [[" 1", "cat "], ["2", ""]]
    assert csv_files.parse(b"id, 0, \n1,0,1\n").named(["id", " 0", " "]) == ["id", " 0", " "]
    assert csv_files.columns(b" id ,label \n") == ["id", "label"]
    assert csv_files.columns(b"") == []


@pytest.mark.parametrize("text", ["café,thé,Möwe", "«Él», “Ñandú”, ¿Él?, 5 €, 20 °", "Grünfink, Weißstorch, créée"])
def test_windows_text_of_western_languages_is_understood(text: str) -> None:
    content = f'id,label\n1,"{text}"\n'.encode("cp1252")
    assert csv_files.parse(content) == (["id", "label"], [["1", text]], "Windows-1252")
    assert csv_files.parse(content.decode("cp1252").encode()).assumed == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b'id,label\n1,"cat\n2,dog\n', "a quotation mark is not closed"),
        (b"id,label\n1,cat,fat\n", "row 2 has 3 fields, the first has 2"),
        ("id,label\n1,кошка\n".encode("cp1251"), "its encoding is not UTF-8"),
        ("id,label\n1,猫\n2,狗\n".encode("gb18030"), "its encoding is not UTF-8"),
        ("id,label\n1,σκύλος\n".encode("cp1253"), "its encoding is not UTF-8"),
        ("id,label\n".encode("utf-16") + b"1", "its encoding is not UTF-8"),
    ],
)
def test_what_is_no_table_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        csv_files.parse(content)


NAMES = st.text("abcdefxyz0123_-. ", min_size=1).filter(lambda name: name.strip() == name)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
WESTERN = st.lists(st.sampled_from(["a", "Z", "7", " ", ",", ";", '"', "é ", "ß", "\n", "ñu", "É", "€ "])).map("".join)


@settings(max_examples=200)
@given(st.data())
def test_any_table_reads_back_equal_from_any_encoding_and_dialect(data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]))
    cells = WESTERN.filter(lambda cell: not csv_files._FOREIGN.search(cell)) if encoding == "cp1252" else CELLS
    columns = data.draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    row = st.lists(cells, min_size=len(columns), max_size=len(columns)).filter(lambda row: "".join(row).strip() != "")
    rows = data.draw(st.lists(row, max_size=6))
    separator = data.draw(st.sampled_from(list(csv_files._SEPARATORS)))
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    bare = not any("\r" in cell for row in rows for cell in row)  # the writer quotes no lone carriage return
    quoting = csv.QUOTE_MINIMAL if bare and data.draw(st.booleans()) else csv.QUOTE_ALL
    table = csv_files.parse(written([columns, *rows], separator, ending, quoting).encode(encoding))
    assert table.columns == columns
    assert table.rows == rows
