"""Names of image files, and which rows of a table mean which file.

Bytes of a file name that are not UTF-8 are lone surrogates in Python, which neither tables nor JSON nor UTF-8 can hold.
So names are written as `to_text` gives them everywhere but on disk and in submissions.

This module imports nothing of kagglekit: bundles contain this file unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif"}
    | {".heic", ".heif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"}
)


def is_image(path: str) -> bool:
    """Return whether the name has an image extension."""
    return ending_of(path) != ""


def ending_of(path: str) -> str:
    """Return the image extension as written, with its dot; empty if there is none."""
    dot = path.rfind(".")
    return path[dot:] if dot >= 0 and path[dot:].lower() in IMAGE_ENDINGS else ""


def without_ending(path: str) -> str:
    """Take off one image extension, and nothing else: `cat.0.jpg` gives `cat.0`, `a.png.jpg` gives `a.png`."""
    return path.removesuffix(ending_of(path))


def spellings(name: str, path: str) -> tuple[str, str]:
    """Return how tables may call the image at `path`: with its extension, and without.

    `name` is the part of the path that identifies the image, with its extension or without. If the path goes on after
    the name, as in `{id}/photo.jpg`, the extension is not the name's, and both spellings are `name`. Windows may write
    the path's separators as backslashes.
    """
    ending = ending_of(path)
    whole, wanted = path.replace("\\", "/"), name.replace("\\", "/")
    if whole.endswith(wanted):
        return name, name.removesuffix(ending)
    return (name + ending, name) if whole.endswith(wanted + ending) else (name, name)


def to_text(name: str) -> str:
    r"""Return a file name as valid Unicode, from which `from_text` restores it: `caf\xe9.jpg` for a byte E9.

    Only names with such bytes change, and those that contain such an escape already.
    """
    if "\\x" in name:
        name = _ESCAPED.sub(r"\\x5cx\1", name)
    return _BYTES.sub(lambda found: "".join(f"\\x{ord(sign) - _SURROGATES:02x}" for sign in found[0]), name)


def from_text(text: str) -> str:
    """Return the file name that `to_text` wrote."""
    if "\\x" not in text:
        return text
    return _ESCAPED.sub(lambda found: "\\" if found[1] == "5c" else chr(int(found[1], 16) + _SURROGATES), text)


_SURROGATES = 0xDC00
_BYTES = re.compile("[\udc80-\udcff]+")
_ESCAPED = re.compile(r"\\x(5c|[89a-f][0-9a-f])")


def composed(text: str) -> str:
    """Return the name in Unicode's composed form (NFC). macOS writes accents as characters of their own (NFD).

    Bytes that are not UTF-8 are read as Windows-1252, which older systems wrote.
    """
    if text.isascii() and "\\x" not in text:
        return text
    return unicodedata.normalize("NFC", _BYTES.sub(_from_bytes, from_text(text)))


def _from_bytes(found: re.Match[str]) -> str:
    return found[0].encode("ascii", "surrogateescape").decode("cp1252", "backslashreplace")


def key_of(name: str) -> str:
    """Return the composed form without the extension. Rows are matched by it only where no whole name is equal."""
    return composed(without_ending(name))


def match(images: Sequence[tuple[str, str]], rows: Sequence[str], *, folders: bool = True) -> list[int | None]:
    """Return the position of each image's row, or None. `images` are `spellings`, with the extension and without.

    Equal names always match, and better matches come first: the same characters, the same composed form, the same name
    with another extension, then the same name in another case, the same whole number with other zeros before it, and,
    with `folders`, at last the same name without its folders. A row that has matched is out of the race for weaker
    matches, and a weaker match of two rows, or of two images, is none. Rows that name more folders than images do must
    all name the same ones.
    """
    found: list[int | None] = [None] * len(images)
    taken: set[int] = set()
    for of_images, of_rows in _equal_levels(images, rows):
        known = _unique((name, n) for n, name in enumerate(of_rows) if n not in taken)
        found = [known.get(name) if row is None else row for row, name in zip(found, of_images, strict=True)]
        taken.update(row for row in found if row is not None)
        if len(taken) == len(images):
            return found
    for of_image, of_row in _IN_ANOTHER_FORM:
        known = _unique((name, n) for n, row in enumerate(rows) if n not in taken for name in of_row(row))
        wanted = _unique((name, n) for n, row in enumerate(found) if row is None for name in of_image(images[n][1]))
        _add(found, taken, [(wanted[name], known[name]) for name in _longest_first(known.keys() & wanted.keys())])
    for of_image, of_row in _WITHOUT_FOLDERS if folders and len(taken) < len(images) else ():
        # a name that several have below different folders means none of them, also if one is matched already
        known = _unique((name, n) for n, row in enumerate(rows) for name in of_row(row))
        wanted = _unique((name, n) for n, image in enumerate(images) for name in of_image(image[1]))
        pairs = [(wanted[name], known[name]) for name in _longest_first(known.keys() & wanted.keys())]
        before = list(found), set(taken)
        added = _add(found, taken, pairs)
        if len({_folders_before(images[image][1], rows[row]) for image, row in added} - {""}) > 1:
            found, taken = before
    return found


def _add(found: list[int | None], taken: set[int], pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Match images with rows, unless one of them has a better match. Return the new matches."""
    added = []
    for image, row in pairs:
        if found[image] is None and row not in taken:
            found[image] = row
            taken.add(row)
            added.append((image, row))
    return added


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (-len(name), name))


def _folders_before(image: str, row: str) -> str:
    """Return the folders that a row names before the name of its image; empty if there are none."""
    name, called = folded(image), _folded_row(row)
    return called.removesuffix(name) if called.endswith(name) else ""


def is_loose(image: tuple[str, str], row: str) -> bool:
    """Return whether an image, in its two spellings, and its row have names that differ in more than the extension."""
    return composed(row) not in map(composed, image) and key_of(row) != composed(image[1])


def _equal_levels(images: Sequence[tuple[str, str]], rows: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """Return names of the images and of the rows that match if they are equal, best first.

    A table writes all extensions or none. `a.png` in a table without them means `a.png.jpg`, even beside `a.png`.
    """
    spelled = [[image[place] for image in images] for place in (0, 1)]
    forms, form_of_rows = [list(map(composed, names)) for names in spelled], list(map(composed, rows))
    written = set(form_of_rows)
    whole, bare = (sum(name in written for name in names) for names in forms)
    order = (1, 0) if bare > whole else (0, 1)
    return [(spelled[n], list(rows)) for n in order] + [(forms[n], form_of_rows) for n in order]


def folded(name: str) -> str:
    """Return a form that names share if they differ in case, in slashes, or in white space at their ends."""
    return composed(name).strip().replace("\\", "/").removeprefix("./").strip("/").casefold()


def _folded_row(row: str) -> str:
    return folded(without_ending(row.strip()))


def _number(name: str) -> list[str]:
    """Return a name that is a whole number without the zeros before it, which programs take from columns of numbers."""
    return [str(int(name))] if name.isascii() and name.isdecimal() and len(name) <= _LONGEST_NUMBER else []


def _ends(path: str) -> list[str]:
    """Return the path and all that remains if folders are taken off its beginning."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


_LONGEST_NUMBER = 18
"""Digits that fit the columns of numbers."""
_Forms = Callable[[str], list[str]]
_IN_ANOTHER_FORM: tuple[tuple[_Forms, _Forms], ...] = (
    (lambda image: [composed(image)], lambda row: [key_of(row)]),
    (lambda image: [folded(image)], lambda row: [_folded_row(row)]),
    (lambda image: _number(folded(image)), lambda row: _number(_folded_row(row))),
)
"""Forms of the image's spelling without its extension, and of the row, best first."""
_WITHOUT_FOLDERS: tuple[tuple[_Forms, _Forms], ...] = (
    (lambda image: [folded(image)], lambda row: _ends(_folded_row(row))),
    (lambda image: _ends(folded(image)), lambda row: [_folded_row(row)]),
)
"""The same, and what remains of one of them without its folders."""


def _unique(names: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return name -> position, without names that are at two positions."""
    found: dict[str, int] = {}
    twice: set[str] = set()
    for name, place in names:
        if found.setdefault(name, place) != place:
            twice.add(name)
    return {name: place for name, place in found.items() if name not in twice}


def lookalike(name: str, others: Iterable[str]) -> str | None:
    """Return the first of `others` that a reader can't tell from `name`, or None.

    They differ in case, in kinds of spaces, or in characters that show nothing.
    """
    wanted = _visible(name)
    return next((other for other in others if other != name and _visible(other) == wanted), None)


def told_apart(name: str, others: Iterable[str]) -> str:
    """Return a remark on one of `others` that looks like `name`, both in ASCII; empty if none does."""
    other = lookalike(name, others)
    return "" if other is None else f" ({name!a} looks like {other!a}, but is another name)"


def lookalikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of `names` that a reader can't tell from each other: each with the first of its kind."""
    first: dict[str, str] = {}
    return [(first[seen], name) for name in names if first.setdefault(seen := _visible(name), name) != name]


def _visible(name: str) -> str:
    text = unicodedata.normalize("NFKC", composed(name)).casefold()
    return "".join(sign for sign in text if unicodedata.category(sign)[0] not in "ZC")
