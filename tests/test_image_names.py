"""Names of image files and the rows of tables that mean them."""

from __future__ import annotations

import unicodedata
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kagglekit.base import image_names

STEMS = st.text(st.sampled_from("ab.é\udce9 "), min_size=1, max_size=5)
ENDINGS = st.sampled_from([".jpg", ".png", ".JPEG", ""])
FILES = st.lists(st.builds("{}{}{}".format, STEMS, ENDINGS, ENDINGS), min_size=1, max_size=8, unique=True)


@pytest.mark.parametrize(
    ("path", "image", "without"),
    [
        ("cat.0.jpg", True, "cat.0"),
        ("c0/img_1.JPEG", True, "c0/img_1"),
        ("cat.0", False, "cat.0"),
        ("labels.csv", False, "labels.csv"),
        ("README", False, "README"),
        ("pictures.jpg/readme", False, "pictures.jpg/readme"),
        ("a.jpg.webp", True, "a.jpg"),
    ],
)
def test_only_one_image_ending_is_dropped(path: str, image: bool, without: str) -> None:
    assert image_names.is_image(path) is image
    assert image_names.without_ending(path) == without


@pytest.mark.parametrize(
    ("name", "path", "spelled"),
    [
        ("1", "train/1.jpg", ("1.jpg", "1")),
        ("1.jpg", "train/1.jpg", ("1.jpg", "1")),
        ("a.png", "train/a.png.jpg", ("a.png.jpg", "a.png")),
        ("a.png.jpg", "train/a.png.jpg", ("a.png.jpg", "a.png")),
        ("7", "train/7/photo.jpg", ("7", "7")),
        ("7", "train/7_red.jpg", ("7", "7")),
        ("scan", "train/scan", ("scan", "scan")),
        ("cat/1", "C:\\data\\train\\cat\\1.jpg", ("cat/1.jpg", "cat/1")),
        ("cat/1.jpg", "C:\\data\\train\\cat\\1.jpg", ("cat/1.jpg", "cat/1")),
        ("cat\\1", "C:/data/train/cat/1.jpg", ("cat\\1.jpg", "cat\\1")),
    ],
)
def test_an_image_is_spelled_with_its_ending_and_without(name: str, path: str, spelled: tuple[str, str]) -> None:
    assert image_names.spellings(name, path) == spelled


@settings(max_examples=200)
@given(FILES, st.booleans())
def test_a_table_that_spells_all_names_one_way_finds_every_image(files: list[str], bare: bool) -> None:
    images = [image_names.spellings(name, f"train/{name}") for name in files]
    rows = [image[bare] for image in images]
    assume(len(set(map(image_names.composed, rows))) == len(rows))  # tables refuse two files with one id
    for spelled in (rows, [unicodedata.normalize("NFD", row) for row in rows]):
        assert image_names.match(images, spelled) == list(range(len(rows)))


@settings(max_examples=200)
@given(FILES, st.sampled_from(["", "./", "train/", "C:\\data\\train\\", "/kaggle/input/pets/"]), st.randoms())
def test_a_table_in_capitals_with_folders_finds_every_image_that_only_it_can_mean(
    files: list[str], prefix: str, random: Random
) -> None:
    images = [image_names.spellings(name, f"train/{name}") for name in files]
    assume(all(bare.strip() == bare != "" for _, bare in images))
    assume(len({image_names.folded(bare) for _, bare in images}) == len(images))
    order = random.sample(range(len(files)), len(files))
    found = image_names.match(images, [prefix + files[number].upper() for number in order])
    assert [None if row is None else order[row] for row in found] == list(range(len(files)))


@settings(max_examples=200)
@given(FILES, st.lists(STEMS | st.builds("{}{}".format, STEMS, ENDINGS), max_size=8, unique=True))
def test_equal_names_always_match_and_no_row_serves_two_kinds_of_names(files: list[str], rows: list[str]) -> None:
    images = [image_names.spellings(name, f"train/{name}") for name in files]
    found = image_names.match(images, rows)
    for image, row in zip(images, found, strict=True):
        if row is None:
            assert not set(image) & (set(rows) - {rows[other] for other in found if other is not None})
        else:
            same = image_names.key_of(rows[row]) in (image_names.composed(image[1]), image_names.key_of(image[1]))
            bare = image_names.without_ending(rows[row].strip())
            assert same or image_names.folded(bare) == image_names.folded(image[1])


@pytest.mark.parametrize(
    ("files", "rows", "found"),
    [
        (["cat_0.jpg", "cat_0.png.jpg"], ["cat_0"], [0, None]),  # the second has no row, and takes no other's
        (["cat_0.jpg", "cat_0.png.jpg"], ["cat_0.png.jpg", "cat_0.jpg"], [1, 0]),
        (["cat_0.jpg", "cat_0.png.jpg"], ["cat_0", "cat_0.png"], [0, 1]),
        (["a.png.jpg", "a.png"], ["a.png", "a"], [0, 1]),
        (["a.png.jpg", "a.png"], ["a.png", "a.png.jpg"], [1, 0]),
        (["a.jpg"], ["a.png"], [0]),  # converted after the table was made
        (["a.jpg"], ["a.png", "a.bmp"], [None]),
        (["a.jpg", "a.bmp"], ["a.png"], [None, None]),
        (["cafe\u0301.jpg"], ["caf\u00e9"], [0]),
        (["cafe\u0301.jpg", "caf\u00e9.jpg"], ["caf\u00e9.jpg", "cafe\u0301.jpg"], [1, 0]),
        (["caf\udce9.jpg"], ["caf\u00e9.jpg"], [0]),
        (["IMG_3.JPG", "img_4.jpg"], ["img_3.jpg", "Img_4"], [0, 1]),
        (["A.jpg", "a.jpg"], ["a", "A.JPG"], [1, 0]),
        (["A.jpg", "a.jpg"], ["a.jpg"], [None, 0]),
        (["aB.jpg", "Ab.jpg"], ["AB.jpg"], [None, None]),  # either may be meant
        (["ab.jpg"], ["AB.jpg", "aB.jpg"], [None]),
        (["1.jpg", "2.jpg"], ["./train/1.jpg", "train\\2.jpg"], [0, 1]),
        (["1.jpg", "2.jpg"], ["/kaggle/input/pets/train/1.jpg", " 2 "], [0, 1]),
        (["c0/1.jpg", "c1/1.jpg"], ["./c1/1.jpg", "C0\\1.jpg"], [1, 0]),
        (["1.jpg"], ["train/1.jpg", "test/1.jpg"], [None]),
        (["cat/1.jpg", "dog/1.jpg"], ["train/dog/1", "train/cat/1"], [1, 0]),
        (["cat/1.jpg"], ["dog/1.jpg"], [None]),  # another image
        (["1.jpg", "2.jpg"], ["fold1/1.jpg", "fold2/2.jpg"], [None, None]),  # of two folders, and one is not here
        (["1.jpg", "cam1/1.jpg"], ["cam1/1.jpg", "cam2/1.jpg"], [None, 0]),
        (["cat/1.jpg", "cat/2.jpg"], ["2", "1"], [1, 0]),
        (["cat/1.jpg", "1.jpg"], ["train/cat/1"], [0, None]),
    ],
)
def test_better_matches_come_first(files: list[str], rows: list[str], found: list[int | None]) -> None:
    assert image_names.match([image_names.spellings(name, name) for name in files], rows) == found


@pytest.mark.parametrize("other", ["Cat 1", "cat\u00a01", "cat\u200b 1", "cat 1 "])
def test_a_name_that_only_looks_the_same_is_found(other: str) -> None:
    assert image_names.lookalike("cat 1", ["dog", "cat 1", other]) == other
    assert image_names.lookalike("cat 1", ["dog", "cat 1", "cat 2"]) is None


@settings(max_examples=200)
@given(st.lists(st.text(st.sampled_from("\\x5ce9ab\udce9\udc80é"), max_size=12), max_size=4, unique=True))
def test_any_name_is_text_and_text_is_the_name_again(names: list[str]) -> None:
    texts = list(map(image_names.to_text, names))
    assert list(map(image_names.from_text, texts)) == names
    assert "".join(texts).encode().decode() == "".join(texts)
    assert len(set(texts)) == len(names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        (r"caf\xe9.jpg", r"caf\x5cxe9.jpg"),
        (r"caf\x41.jpg", r"caf\x41.jpg"),
        ("café.jpg", "café.jpg"),
        (r"a\b.jpg", r"a\b.jpg"),
    ],
)
def test_only_names_that_are_not_utf_8_and_escapes_change(name: str, text: str) -> None:
    assert image_names.to_text(name) == text
    assert image_names.from_text(text) == name
