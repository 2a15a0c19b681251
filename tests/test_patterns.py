"""Path patterns: what they match, what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.base import patterns

LITERALS = st.text("abcXYZ019_-", min_size=1, max_size=6)
VALUES = st.text(st.characters(exclude_characters="/.", exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = ("label", "number", "id", "folder", "subject", "part")


@st.composite
def paths(draw: st.DrawFn) -> tuple[str, str, dict[str, str]]:
    """Draw a pattern, a path made from it, and the values in that path."""
    names = iter(NAMES)
    pattern: list[str] = []
    path: list[str] = []
    values: dict[str, str] = {}
    for count in draw(st.lists(st.integers(0, 2), min_size=1, max_size=3)):
        parts = [(name, draw(VALUES)) for _, name in zip(range(count), names, strict=False)]
        before = draw(LITERALS) if not parts else draw(st.just("") | LITERALS)
        after = draw(st.sampled_from(["", ".jpg", "_x"]))
        pattern.append(before + ".".join(f"{{{name}}}" for name, _ in parts) + after)
        path.append(before + ".".join(value for _, value in parts) + after)
        values |= dict(parts)
    return "/".join(pattern), "/".join(path), values


@settings(max_examples=200)
@given(paths())
def test_a_path_built_from_a_pattern_gives_its_values_back(drawn: tuple[str, str, dict[str, str]]) -> None:
    pattern, path, values = drawn
    match = patterns.compile_pattern(pattern).fullmatch(path)
    assert match is not None
    assert match.groupdict() == values
    assert patterns.placeholders(pattern) == tuple(values)


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("train/{label}.{number}.jpg", "train/cat.0.jpg", {"label": "cat", "number": "0"}),
        ("train/{label}.{number}.jpg", "Train/cat.0.JPG", {"label": "cat", "number": "0"}),
        ("train/{label}.{number}.jpg", "train/Cat.0.jpg", {"label": "Cat", "number": "0"}),
        ("imgs/test/{id}", "imgs/test/img_1.jpg", {"id": "img_1.jpg"}),
        ("a+(b)/{id}", "a+(b)/1", {"id": "1"}),
    ],
)
def test_literals_ignore_case_and_values_keep_theirs(pattern: str, path: str, values: dict[str, str]) -> None:
    match = patterns.compile_pattern(pattern).fullmatch(path)
    assert match is not None
    assert match.groupdict() == values


@pytest.mark.parametrize(
    "path",
    [
        "train/cat/0.jpg",
        "train/cat.0.png",
        "x/train/cat.0.jpg",
        "train/cat.0.jpg.txt",
        "train/.0.jpg",
        "train/catx0xjpg",
    ],
)
def test_a_placeholder_is_never_empty_nor_spans_folders_and_dots_are_dots(path: str) -> None:
    assert patterns.compile_pattern("train/{label}.{number}.jpg").fullmatch(path) is None


@pytest.mark.parametrize("path", ["test/1.jpg", "test/cat/1.jpg", "test/a/b/1.jpg"])
def test_a_placeholder_with_a_slash_spans_folders(path: str) -> None:
    match = patterns.compile_pattern("test/{id/}").fullmatch(path)
    assert match is not None
    assert match["id"] == path.removeprefix("test/")
    assert patterns.compile_pattern("test/{id/}").fullmatch("test//1.jpg") is None
    patterns.check_images("test/{id/}", "id")
    assert patterns.folder_of("test/{id/}") == "test"


@pytest.mark.parametrize("pattern", ["train/{label}", "{label}.jpg", "a/{label}_{number}/b"])
def test_check_accepts_a_path_below_the_data_folder(pattern: str) -> None:
    patterns.check(pattern, "label")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("train/{number}.jpg", "{label} exactly once"),
        ("train/{label}/{label}.jpg", "{label} exactly once"),
        ("train/{label}/{number}.{number}", "no placeholder twice"),
        ("train/{label", "unbalanced brace"),
        ("train/label}/{label}", "unbalanced brace"),
        ("train/{Label}/{label}", "lower-case"),
        ("train/{}/{label}", "unbalanced brace"),
        ("/train/{label}", "below the data folder"),
        ("../train/{label}", "below the data folder"),
        ("train/../../{label}", "below the data folder"),
        ("train\\{label}", "forward slashes"),
    ],
)
def test_check_refuses_and_quotes_the_pattern(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"must|has") as caught:
        patterns.check(pattern, "label")
    assert words in str(caught.value)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("imgs/train/{label}", "imgs/train"),
        ("train/img_{id}.jpg", "train"),
        ("{label}/{number}.jpg", ""),
        ("{id}.jpg", ""),
    ],
)
def test_folder_of_is_the_folder_before_the_first_placeholder(pattern: str, folder: str) -> None:
    assert patterns.folder_of(pattern) == folder
