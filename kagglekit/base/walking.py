"""The files below a folder: one walk for all commands, and what a file holds whose name does not say it.

This module imports nothing of kagglekit: bundles contain this file unchanged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(text: str) -> list[tuple[int, str]]:
    """Return a sort key that orders numbers inside text by value: 2 before 10."""
    parts = _DIGITS.split(text)  # every second one is a number
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts) if part]


class Entry(NamedTuple):
    """A file below a folder."""

    relative: str
    """Path below the folder, with forward slashes."""
    path: Path
    ignored: str
    """Reason why the file is no data, such as `hidden`; empty for data."""


def walk(top: Path, skip: frozenset[str] = frozenset()) -> Iterator[Entry]:
    """Yield all files below `top` in natural order, those of a folder before those of its folders.

    Links are followed, except to a folder that contains the link. Top-level folders named in `skip` are left out.
    Raises OSError, with the folder as its `filename`, if a folder of data can't be listed.
    """
    waiting = [(top, "", "", frozenset[str]())]
    while waiting:
        folder, start, ignored, above = waiting.pop()
        real = os.path.realpath(folder)
        if real in above:
            continue
        inner = []
        for name, kind in _listed(folder, ignored):
            reason = ignored or ignored_because(name)
            if kind != _FOLDER:
                yield Entry(start + name, folder / name, reason or ignored_file_because(name) or kind)
            elif start or name not in skip:
                inner.append((folder / name, f"{start}{name}/", reason, above | {real}))
        waiting.extend(reversed(inner))


_FOLDER = "folder"
_NAMES = {
    "thumbs.db": "Thumbs.db",
    "ehthumbs.db": "Thumbs.db",
    "desktop.ini": "desktop.ini",
    "__macosx": "AppleDouble",
    "__pycache__": "hidden",
    "@eadir": "thumbnail",
    "lost+found": "system folder",
    "system volume information": "system folder",
    "$recycle.bin": "system folder",
}
"""Files and folders of operating systems and storage devices: name in lower case -> reason to ignore them."""


def ignored_because(name: str) -> str:
    """Return why a file or folder of this name is no data; empty if it may be."""
    if name.startswith("."):
        return "AppleDouble" if name.startswith("._") else "hidden"
    return _NAMES.get(name.lower(), "")


def ignored_file_because(name: str) -> str:
    """Return why a file of this name, though it may start like an image, is none of the data; empty if it may be.

    It may be a `leftover` of an editor, a browser or exiftool, a `camera raw` photograph, or a `side file` of an image.
    """
    return "leftover" if _LEFTOVER.search(name) else _NO_IMAGES.get(name[name.rfind(".") :].lower(), "")


_LEFTOVER = re.compile(
    r"(~|\.(bak|orig|tmp|part|partial|crdownload|download)|\.[a-z0-9]{2,4}_original)$", re.IGNORECASE
)
_RAW = ".cr2 .nef .nrw .arw .dng .pef .srw .rw2 .3fr .iiq .erf .kdc .mef .mos"
# decoders read only the preview that a raw photograph contains; GDAL and cameras write the others beside an image
_NO_IMAGES = dict.fromkeys(_RAW.split(), "camera raw") | dict.fromkeys((".ovr", ".msk", ".thm"), "side file")


def _listed(folder: Path, ignored: str) -> list[tuple[str, str]]:
    """Return (name, kind) of what is in a folder: `folder`, a reason to ignore a device, or nothing for a file."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _kind(entry)) for entry in entries]
    except OSError:
        if ignored:
            return []
        raise
    return sorted(found, key=lambda item: natural_key(item[0]))


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return _FOLDER
        return "" if entry.is_file() or not Path(entry).exists() else "not a file"
    except OSError:  # a link in a circle: reading it will say so
        return ""


def holds_image(path: Path) -> bool:
    """Return whether a file starts like an image. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        return starts_like_image(file.read(_START))


_START = 64
"""Number of bytes that tell."""
_SIGNATURES = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",  # TIFF
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
)
_OTHER_SIGNATURES = re.compile(
    rb"RIFF....WEBP"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"  # BMP: one of its headers' sizes
    rb"|P[1-6]\s(\s|\#[^\n]*\n)*[0-9]"  # PPM and its relatives
    rb"|....ftyp(....)*?(avif|avis|hei[cmsx]|hev[cmsx]|mif1|msf1)",  # AVIF and HEIC: any compatible brand
    re.DOTALL,
)


def starts_like_image(start: bytes) -> bool:
    """Return whether the first bytes of a file, 64 or more, are those of an image format that kagglekit may decode."""
    return start.startswith(_SIGNATURES) or _OTHER_SIGNATURES.match(start[:_START]) is not None
