"""Damaged and odd pictures: decoded to what a viewer shows, or listed with the reason; none of them is touched."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kagglekit.images import decoding, opening
from tests import drawing
from tests.conftest import Cli, Done, succeeded
from tests.damage import (
    QUICK,
    Given,
    only_run,
    refused,
    snapshot,
    start,
    unchanged,
    write,
)

# pictures: what is read, and as what

SHAPE = (48, 64, 3)
RED, GREEN, BLUE, YELLOW, WHITE = (200, 40, 40), (40, 180, 40), (40, 60, 200), (220, 200, 40), (255, 255, 255)
Colour = tuple[int, ...]
Quadrants = tuple[Colour, Colour, Colour, Colour]
COLOURS: Quadrants = (RED, GREEN, BLUE, YELLOW)
CLEAR: Quadrants = (WHITE, GREEN, BLUE, YELLOW)


def quadrants(colours: tuple[Any, ...] = COLOURS, dtype: Any = np.uint8) -> Any:
    """Return a picture of four colours: upper left, upper right, lower left, lower right."""
    upper_left, upper_right, lower_left, lower_right = (np.full((24, 32, np.size(c)), c, dtype) for c in colours)
    return np.vstack([np.hstack([upper_left, upper_right]), np.hstack([lower_left, lower_right])])


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.copy().save(buffer, form, **options)  # a copy: Pillow keeps the options of the last time in it
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, kind: int, rows: bytes, more: bytes = b"") -> bytes:
    """Return a PNG of filtered rows: kind 0 is grey, 4 grey with alpha."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def deep_png(pixels: Any, kind: int, more: bytes = b"") -> bytes:
    """Return a PNG with 16 bits a channel."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], 16, kind, rows, more)


PICTURE = Image.fromarray(quadrants())
OTHER = Image.fromarray(quadrants((YELLOW, BLUE, GREEN, RED)))
PALETTE = PICTURE.quantize(4)
GREYS = tuple(Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in COLOURS)
GREY: Quadrants = tuple((grey, grey, grey) for grey in GREYS)  # type: ignore[assignment]
CLEAR_GREY: Quadrants = (WHITE, *GREY[1:])
SEEN_THROUGH = Image.fromarray(quadrants(((*RED, 0), (*GREEN, 255), (*BLUE, 255), (*YELLOW, 255))))
HALF = Image.fromarray(quadrants(((*RED, 0), (0, 0, 0, 128), (*BLUE, 255), (*YELLOW, 255))))
HALF_SEEN: Quadrants = (WHITE, (127, 127, 127), BLUE, YELLOW)
DEEP_GREY = quadrants(GREYS, np.uint16) * 257


def of_two(picture: Image.Image, form: str, **options: Any) -> bytes:
    """Return a file of two frames or pages."""
    return saved(picture, form, save_all=True, append_images=[OTHER.copy()], **options)


@dataclass(frozen=True)
class Kind:
    """A kind of image file that is read."""

    ending: str
    content: bytes
    colours: Quadrants
    format: str


KINDS = {
    "colour": Kind("jpg", saved(PICTURE, "JPEG", quality=95), COLOURS, "JPEG"),
    "progressive": Kind("jpg", saved(PICTURE, "JPEG", quality=95, progressive=True), COLOURS, "JPEG"),
    "cmyk": Kind("jpg", saved(PICTURE.convert("CMYK"), "JPEG", quality=95), COLOURS, "JPEG"),
    "grey": Kind("jpg", saved(PICTURE.convert("L"), "JPEG", quality=95), GREY, "JPEG"),
    "grey png": Kind("png", saved(PICTURE.convert("L"), "PNG"), GREY, "PNG"),
    "two photographs": Kind("jpg", of_two(PICTURE, "MPO", quality=95), COLOURS, "MPO"),
    "palette": Kind("png", saved(PALETTE, "PNG"), COLOURS, "PNG"),
    "palette gif": Kind("gif", saved(PALETTE, "GIF"), COLOURS, "GIF"),
    "palette bmp": Kind("bmp", saved(PALETTE, "BMP"), COLOURS, "BMP"),
    "alpha": Kind("png", saved(HALF, "PNG"), HALF_SEEN, "PNG"),
    "alpha webp": Kind("webp", saved(HALF, "WEBP", lossless=True), HALF_SEEN, "WEBP"),
    "alpha tiff": Kind("tif", saved(SEEN_THROUGH, "TIFF"), CLEAR, "TIFF"),
    "alpha grey": Kind("png", saved(SEEN_THROUGH.convert("LA"), "PNG"), CLEAR_GREY, "PNG"),
    "alpha of one colour": Kind("png", saved(PICTURE, "PNG", transparency=RED), CLEAR, "PNG"),
    "alpha in a palette": Kind("png", saved(PALETTE, "PNG", transparency=PALETTE.getpixel((2, 2))), CLEAR, "PNG"),
    "alpha gif": Kind("gif", saved(PALETTE, "GIF", transparency=PALETTE.getpixel((2, 2))), CLEAR, "GIF"),
    "16 bits grey": Kind("png", deep_png(DEEP_GREY, 0), GREY, "PNG"),
    "16 bits grey, one of them clear": Kind(
        "png", deep_png(DEEP_GREY, 0, chunk(b"tRNS", struct.pack(">H", GREYS[0] * 257))), CLEAR_GREY, "PNG"
    ),
    "16 bits grey and alpha": Kind(
        "png",
        deep_png(quadrants(((0, 0), *((grey, 255) for grey in GREYS[1:])), np.uint16) * 257, 4),
        CLEAR_GREY,
        "PNG",
    ),
    "16 bits colour": Kind("png", deep_png(quadrants(dtype=np.uint16) * 257, 2), COLOURS, "PNG"),
    "16 bits tiff": Kind("tif", bytes(cv2.imencode(".tif", DEEP_GREY)[1]), GREY, "TIFF"),
    "animated gif": Kind("gif", of_two(PALETTE, "GIF"), COLOURS, "GIF"),
    "animated webp": Kind("webp", of_two(PICTURE, "WEBP", lossless=True), COLOURS, "WEBP"),
    "animated png": Kind("png", of_two(PICTURE, "PNG"), COLOURS, "PNG"),
    "animated webp with alpha": Kind("webp", of_two(SEEN_THROUGH, "WEBP", lossless=True), CLEAR, "WEBP"),
    "pages": Kind("tif", of_two(PICTURE, "TIFF"), COLOURS, "TIFF"),
}
LAST = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""EXIF orientation -> Pillow's transposition that makes the stored picture from the upright one."""


def assert_shows(content: bytes, colours: Quadrants) -> None:
    pixels = decoding.decode(content)
    assert pixels.dtype == np.uint8
    assert pixels.shape == SHAPE
    seen = pixels[12::24, 16::32].reshape(4, 3).astype(int)
    assert np.abs(seen - np.array(colours)).max() <= 4, seen.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_picture_is_decoded_to_what_a_viewer_shows(kind: str) -> None:
    assert_shows(KINDS[kind].content, KINDS[kind].colours)
    assert decoding.inspect(KINDS[kind].content, 100) == opening.Header(KINDS[kind].format, SHAPE[0] * SHAPE[1])


def turned(orientation: int, form: str = "JPEG", mode: str = "RGB") -> bytes:
    """Return the picture as a camera stores it that was held otherwise."""
    method = LAST[orientation]
    stored = PICTURE if method is None else PICTURE.transpose(Image.Transpose(method))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(form, {})
    return saved(stored.convert(mode), form, exif=exif, **options)


FORMS = [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("TIFF", "RGB")]


@pytest.mark.parametrize("orientation", LAST)
@pytest.mark.parametrize(("form", "mode"), FORMS)
def test_a_turned_photograph_is_decoded_upright(form: str, mode: str, orientation: int) -> None:
    assert_shows(turned(orientation, form, mode), COLOURS)


def test_a_folder_with_every_kind_of_picture_and_what_others_leave_around_is_read_without_a_loss(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    kinds = {f"{name}.{kind.ending}": kind.content for name, kind in KINDS.items() if kind.format != "MPO"}
    kinds["turned.jpg"] = turned(6)
    files = {f"train/{('cat', 'dog')[n % 2]}/{name}": content for n, (name, content) in enumerate(kinds.items())}
    files |= {f"test/{name}": content for name, content in kinds.items()} | {"test/png.jpg": saved(OTHER, "PNG")}
    rubbish = ("train/.DS_Store", "train/cat/Thumbs.db", "test/.DS_Store", "test/Thumbs.db", "test/desktop.ini")
    hidden = ("train/.ipynb_checkpoints/1-checkpoint.jpg", "train/cat/.ipynb_checkpoints/2.jpg", "test/._1.jpg")
    hidden += ("test/.ipynb_checkpoints/3-checkpoint.jpg", "__MACOSX/test/._4.jpg")
    folder = write(tmp_path / "pictures", files | dict.fromkeys(rubbish + hidden, drawing.image(1, 1)))
    with unchanged(folder):
        done = succeeded(cli("run", folder, "--backbone", tiny, *QUICK))
    assert f"{len(kinds)} training images of 2 classes, {len(kinds) + 1} test images" in done.out
    assert "can't be read" not in done.out
    assert done.err == ""
    run = only_run(home / "pictures")
    assert not (run / "quarantine.csv").exists()
    assert set(pd.read_csv(run / "submission.csv")["id"]) == {*kinds, "png.jpg"}
    (line,) = [line for line in done.out.splitlines() if "not what their ending says" in line]
    assert line == (
        f"scan: 1 images are not what their ending says, for example {folder / 'test' / 'png.jpg'} (PNG): read anyway"
    )


def test_a_photograph_with_a_second_one_inside_is_rightly_called_jpg(cli: Cli, tiny: str, pets: Given) -> None:
    write(pets.data, {"test/3.jpg": KINDS["two photographs"].content})  # as telephones write them
    done = succeeded(pets.run(cli, tiny))
    assert "can't be read" not in done.out
    assert "their ending says" not in done.out


# pictures: what can't be read


def photograph(**options: Any) -> bytes:
    """Return a JPEG as large as real ones."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    return saved(Image.fromarray(noise), "JPEG", quality=90, **options)


def resized(content: bytes, place: int, form: str) -> bytes:
    """Return an image that says of itself that it is 20000 x 20000 pixels."""
    said = struct.pack(form, 20000, 20000)
    return content[:place] + said + content[place + len(said) :]


PHOTOGRAPH, PROGRESSIVE = photograph(), photograph(progressive=True)
SMALL = saved(PICTURE, "JPEG")
BOMBS = {
    "bomb.png": png(20000, 20000, 1, 0, bytes(2501) * 20000),  # whole, 218 kB
    "bomb.jpg": resized(SMALL, SMALL.index(b"\xff\xc0") + 5, ">HH"),
    "bomb.gif": resized(saved(PICTURE, "GIF"), 6, "<HH"),
    "bomb.bmp": resized(saved(PICTURE, "BMP"), 18, "<ii"),
}
IMMENSE = "is 20000 x 20000 pixels, more than 100 million (setting max_megapixels)"
LONG = "is 30000 x 2 pixels, one side more than 100 times the other"
UNREADABLE = {
    "empty": (b"", "is empty"),
    "web page": (b"\n<!DOCTYPE html><html><title>Sign in</title></html>", "is a web page, not an image"),
    "text": (b"404: not found", "is not an image, or is damaged"),
    "noise": (np.random.default_rng(1).bytes(5000), "is not an image, or is damaged"),
    "zip": (b"PK\3\4" + bytes(100), "is not an image, or is damaged"),
    **{f"cut at {share}%": (PHOTOGRAPH[: len(PHOTOGRAPH) * share // 100], "is truncated") for share in (1, 25, 50, 99)},
    "cut in the header": (PHOTOGRAPH[:30], "is truncated"),
    "cut at the end": (PHOTOGRAPH[:-100], "is truncated"),
    "progressive, cut": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "is truncated"),
    "strip": (saved(Image.new("RGB", (30000, 2)), "PNG"), LONG),
    **{name: (content, IMMENSE) for name, content in BOMBS.items()},
}
LOUD = {
    "png without its end": saved(Image.fromarray(quadrants()), "PNG")[:-8],
    "tiff without its end": saved(PICTURE, "TIFF", compression="tiff_lzw")[:200],
    "webp without its end": saved(PICTURE, "WEBP", lossless=True)[:-20],
}
"""Damage of which decoders have something to say themselves."""
MALFORMED_MPO = SMALL[:2] + b"\xff\xe2" + struct.pack(">H", 30) + b"MPF\0" + bytes(24) + SMALL[2:]
"""As some telephones write it; a fine picture."""


@dataclass(frozen=True)
class Damaged:
    """A run on a folder of which a good part can't be read, in a process of its own."""

    done: Done
    run: Path
    before: dict[Path, bytes | None]
    after: dict[Path, bytes | None]


@pytest.fixture(scope="module")
def damaged(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    spec, cache = tiny_export
    folder, home = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("home")
    shutil.copytree(cache, home / ".cache")
    files = {f"train/cat.{n}.jpg": drawing.image(0, n) for n in range(15)}
    files |= {f"train/dog.{n}.jpg": drawing.image(1, 20 + n) for n in range(10)}
    files |= {f"test/{n}.jpg": drawing.image(n % 2, 40 + n) for n in range(5)} | {"test/5.jpg": MALFORMED_MPO}
    for number, content in enumerate([*(content for content, _ in UNREADABLE.values()), *LOUD.values()]):
        files |= {f"train/cat.{100 + number}.jpg": content, f"test/{100 + number}.jpg": content}
    write(folder, files)
    (folder / "train" / "cat.99.jpg").symlink_to(folder / "gone.jpg")
    (folder / "test" / "99.jpg").symlink_to(folder / "gone.jpg")
    before = snapshot(folder)
    process = start(home, "run", "dogs-vs-cats", "--data", folder, "--backbone", spec, *QUICK, "--no-report")
    out, err = process.communicate(timeout=120)
    return Damaged(Done(process.returncode, out, err), only_run(home / "dogs-vs-cats"), before, snapshot(folder))


def test_every_image_that_cannot_be_read_is_listed_with_its_reason_and_left_where_it_is(damaged: Damaged) -> None:
    succeeded(damaged.done)
    listed = pd.read_csv(damaged.run / "quarantine.csv", dtype="str")
    reasons = {(row.part, row.id): row.reason for row in listed.itertuples()}
    expected = ["can't be read: No such file or directory", *(reason for _, reason in UNREADABLE.values())]
    for part, prefix in (("train", "cat."), ("test", "")):
        found = [reasons.pop((part, f"{prefix}{99 + number}")) for number in range(len(expected))]
        assert found == expected
        for number, name in enumerate(LOUD, start=len(expected)):
            assert reasons.pop((part, f"{prefix}{99 + number}")).startswith("is "), name
    assert reasons == {}
    assert all(Path(path).is_absolute() for path in listed["path"])
    assert damaged.after == damaged.before


def test_unreadable_images_are_said_loudly_and_every_id_still_gets_a_row(damaged: Damaged) -> None:
    count = len(UNREADABLE) + len(LOUD) + 1
    (train,) = [line for line in damaged.done.out.splitlines() if line.startswith(f"WARNING: {count} train images")]
    assert "left out of training" in train
    assert str(damaged.run / "quarantine.csv") in train
    (test,) = [line for line in damaged.done.out.splitlines() if line.startswith(f"WARNING: {count} test images")]
    assert "their rows get the class prior" in test
    assert len(pd.read_parquet(damaged.run / "folds.parquet")) == 25
    submission = pd.read_csv(damaged.run / "submission.csv").set_index("id")["label"]
    assert submission.index.tolist() == [*range(6), *range(99, 99 + count)]
    assert np.allclose(submission.loc[99:], 10 / 25)
    assert not np.isclose(submission.loc[:5], 10 / 25).any()


def test_what_decoders_say_themselves_does_not_reach_the_terminal(damaged: Damaged) -> None:
    assert damaged.done.err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_a_pixel_bomb_takes_no_memory(tmp_path: Path) -> None:
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom kagglekit.images import decoding\n"
        "now = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 2**25, now + 2**25))\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        decoding.inspect(Path(path).read_bytes(), 100)\n"
        "    except decoding.ImageError as error:\n        print(error)\n"
    )
    write(tmp_path, BOMBS)
    assert max(len(content) for content in BOMBS.values()) < 2**18
    command = [sys.executable, "-c", program, *(tmp_path / name for name in BOMBS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [IMMENSE] * len(BOMBS), done.stderr


def test_where_no_test_image_can_be_read_every_row_gets_the_prior(cli: Cli, tiny: str, pets: Given, home: Path) -> None:
    for path in (pets.data / "test").iterdir():
        path.write_bytes(b"")
    done = succeeded(pets.run(cli, tiny))
    assert "WARNING: 4 test images can't be read" in done.out
    submission = pd.read_csv(only_run(home / "pets") / "submission.csv")
    assert submission["id"].tolist() == [0, 1, 2, 3]
    assert np.allclose(submission["label"], 0.5)


def test_a_class_without_a_readable_image_is_named_with_the_reason(cli: Cli, tiny: str, pets: Given) -> None:
    for path in (pets.data / "train" / "dog").iterdir():
        path.write_bytes(PHOTOGRAPH[:5000])
    line = refused(pets.run(cli, tiny), "no training image of class 'dog' can be read", "is truncated")
    assert str(pets.data / "train" / "dog" / "1.jpg") in line
