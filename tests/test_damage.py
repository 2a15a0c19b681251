"""Damage of every kind: it ends in one line or in the quarantine list, and nothing of the user's is touched.

Everything goes through the command line, on small drawn competitions.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from kagglekit import archives, storage
from kagglekit.console import Console
from kagglekit.engines import decoding, export
from tests import drawing
from tests.conftest import Cli, Done, succeeded

QUICK = ("--folds", "2", "--set", "strengths=1", "--set", "finish=")
"""Heads that take no time."""
HOME = "KAGGLEKIT_HOME"
NOBODY = 65534


def snapshot(place: Path) -> dict[Path, bytes | None]:
    """Return path -> content of a file, or of all that lies below a folder; links are not followed."""
    found: dict[Path, bytes | None] = {}
    for path in [place, *place.rglob("*")]:
        if path.is_symlink():
            found[path] = os.fsencode(path.readlink())
        else:
            found[path] = path.read_bytes() if path.is_file() else None
    return found


@contextmanager
def unchanged(place: Path) -> Iterator[None]:
    """Nothing below `place` may be lost, changed or added in the block."""
    before = snapshot(place)
    yield
    assert snapshot(place) == before


def refused(done: Done, *words: str) -> str:
    """Return the one line with which a command has ended."""
    assert done.code == 1, (done.code, done.err)
    assert done.err.startswith("kagglekit: "), done.err
    assert done.err.endswith("\n"), done.err
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err, done.err
    return done.err


def only_run(workspace: Path) -> Path:
    (run,) = (workspace / "runs").iterdir()
    return run


def submission_of(workspace: Path) -> bytes:
    return (only_run(workspace) / "submission.csv").read_bytes()


def left_half_written(home: Path) -> list[Path]:
    return list(home.rglob("*.partial"))


def start(home: Path, *words: str | Path) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    environment = os.environ | {"KAGGLEKIT_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "kagglekit", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# drawn competitions

HEAD = "import numpy as np\nimport pandas as pd\n\nfrom kagglekit import *\n"
PETS = """

@hookimpl
def competition():
    return Competition(
        name="pets", kaggle="pets", classes={"cat": "cat", "dog": "dog"}, train=FolderLabels("train/{label}"),
        test="test/{id}.jpg", submission=Probability(of="dog"), flip="allowed",
    )
"""
LEAF = """

@hookimpl
def competition():
    return Competition(
        name="leaf", kaggle="leaf", classes={"oak": "Oak", "elm": "Elm"}, flip="allowed",
        train=CsvLabels("labels.csv", images="train/{id}.png", id="leaf", label="kind"),
        test="test/{id}.png", submission=ProbabilityPerClass(id="leaf"),
        groups=CsvGroups("plants.csv", image="leaf", group="plant"),
    )
"""


@dataclass(frozen=True)
class Given:
    """What a user has: a plugin in a file, and data in a folder."""

    plugin: Path
    data: Path

    def write_plugin(self, *parts: str) -> None:
        self.plugin.write_text(HEAD + "".join(parts), encoding="utf-8")

    def run(self, cli: Cli, tiny: str, *more: str) -> Done:
        """Run it, and see that nothing of it is touched."""
        with unchanged(self.data), unchanged(self.plugin):
            return cli("run", self.plugin, "--data", self.data, "--backbone", tiny, *QUICK, *more)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def pets(tmp_path: Path) -> Given:
    """A folder a class."""
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": drawing.image(n % 2, n) for n in range(12)}
    files |= {f"test/{n}.jpg": drawing.image(n % 2, 100 + n) for n in range(4)}
    files["sample_submission.csv"] = b"id,label\n" + b"".join(b"%d,0.5\n" % n for n in range(4))
    given = Given(tmp_path / "pets" / "pets.py", write(tmp_path / "pets" / "data", files))
    given.write_plugin(PETS)
    return given


@pytest.fixture
def leaf(tmp_path: Path) -> Given:
    """Labels and groups in CSV files."""
    files = {f"train/L{n}.png": drawing.image(n % 2, n, ".png") for n in range(12)}
    files |= {f"test/T{n}.png": drawing.image(n % 2, 100 + n, ".png") for n in range(4)}
    rows = [f"L{n},{('oak', 'elm')[n % 2]}" for n in range(12)]
    files["labels.csv"] = ("leaf,kind\n" + "\n".join(rows) + "\n").encode()
    files["plants.csv"] = ("leaf,plant\n" + "".join(f"L{n},P{n // 3}\n" for n in range(12))).encode()
    given = Given(tmp_path / "leaf" / "leaf.py", write(tmp_path / "leaf" / "data", files))
    given.write_plugin(LEAF)
    return given


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
    assert decoding.inspect(KINDS[kind].content, 100) == decoding.Header(KINDS[kind].format, SHAPE[0] * SHAPE[1])


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
        f"audit: 1 images are not what their ending says, such as {folder / 'test' / 'png.jpg'} (PNG): read anyway"
    )


def test_a_photograph_with_a_second_one_inside_is_rightly_called_jpg(cli: Cli, tiny: str, pets: Given) -> None:
    added("test/3.jpg", KINDS["two photographs"].content)(pets.data)  # as telephones write them
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
    process = start(home, "run", "dogs-vs-cats", "--data", folder, "--backbone", spec, *QUICK)
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
        "import resource, sys\nfrom pathlib import Path\nfrom kagglekit.engines import decoding\n"
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


# archives


def edited(content: bytes, change: Callable[[zipfile.ZipFile], None]) -> bytes:
    """Return the archive with one more member, or one that is described otherwise."""
    buffer = io.BytesIO(content)
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of duplicates
        change(archive)
    return buffer.getvalue()


def add_link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("train/cat.99.jpg")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/passwd")


ARCHIVES: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "cut in the middle": (lambda whole: whole[: len(whole) // 2], ("dogs.zip is not a whole zip", "download it again")),
    "cut at the end": (lambda whole: whole[:-30], ("dogs.zip is not a whole zip archive", "download it again")),
    "nothing in it": (lambda whole: b"", ("dogs.zip is not a whole zip archive", "download it again")),
    "damaged inside": (
        lambda whole: whole[: len(whole) // 2] + bytes(99) + whole[len(whole) // 2 + 99 :],
        ("dogs.zip: member 'train.zip' is damaged", "download it again"),
    ),
    "web page": (
        lambda whole: b"<!DOCTYPE html><html>Sign in</html>",
        ("dogs.zip is a web page", "download it again while logged in"),
    ),
    "bomb": (
        lambda whole: edited(whole, lambda archive: archive.writestr("zeros.bin", bytes(2**26))),
        ("dogs.zip would unpack to 67", "looks like a zip bomb", "nothing was unpacked"),
    ),
    "name that leads out": (
        lambda whole: edited(whole, lambda archive: archive.writestr("../../evil.txt", "evil")),
        ("dogs.zip: member '../../evil.txt' leads out of the data folder", "nothing was unpacked"),
    ),
    "absolute name": (
        lambda whole: edited(whole, lambda archive: archive.writestr("/no-such-folder/evil.txt", "evil")),
        ("dogs.zip: member '/no-such-folder/evil.txt' has an absolute name", "nothing was unpacked"),
    ),
    "link": (
        lambda whole: edited(whole, add_link),
        ("dogs.zip: member 'train/cat.99.jpg' is a link", "nothing was unpacked"),
    ),
    "two members of one name": (
        lambda whole: edited(whole, lambda archive: archive.writestr("train.zip", "evil")),
        ("dogs.zip has two members called 'train.zip'", "nothing was unpacked"),
    ),
}


@pytest.mark.parametrize("damage", ARCHIVES)
def test_an_archive_that_is_broken_or_evil_is_refused_and_nothing_is_unpacked(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    break_, words = ARCHIVES[damage]
    archive = drawing.dogs(tmp_path / "given")
    (tmp_path / "given" / "part.zip").unlink()
    archive.write_bytes(break_(archive.read_bytes()))
    with unchanged(tmp_path):
        refused(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny), *words)
    assert [path for path in (home / "dogs-vs-cats").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


# the layout

Damage = Callable[[Path], object]


def removed(*names: str) -> Damage:
    def remove(data: Path) -> None:
        for name in names:
            shutil.rmtree(data / name)

    return remove


def emptied(name: str) -> Damage:
    def empty(data: Path) -> None:
        shutil.rmtree(data / name)
        (data / name).mkdir()

    return empty


def added(name: str, content: bytes = drawing.image(3, 999)) -> Damage:
    return lambda data: write(data, {name: content})


def appended(name: str, text: str) -> Damage:
    return lambda data: (data / name).write_text((data / name).read_text() + text)


SAMPLE = "sample_submission.csv"
PETS_DAMAGE: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "missing class folder": (removed("train/dog"), ("no training image of class 'dog'", "is the data complete?")),
    "empty class folder": (emptied("train/dog"), ("no training image of class 'dog'", "is the data complete?")),
    "unknown class folder": (added("train/horse/1.jpg"), ("label 'horse' is not one of the classes ['cat', 'dog']",)),
    "no training image": (emptied("train"), ("no training image of pets there", "train/{label}", "Give the archive")),
    "image outside the class folders": (added("train/7.jpg"), ("'train/7.jpg'", "move them out of the folder")),
    "empty test folder": (emptied("test"), ("has no test images", "looked for test/{id}.jpg")),
    "no test folder": (removed("test"), ("has no test images", "looked for test/{id}.jpg")),
    "two test images with one id": (added("test/1.JPG"), ("id '1' stands for two images", "test/1.JPG", "test/1.jpg")),
    "sample of other ids": (
        added(SAMPLE, b"id,label\nx1,0.5\nx2,0.5\n"),
        ("asks for 2 ids such as 'x1', and only 0 of them", "such as '0'", "is the data complete"),
    ),
    "sample with other columns": (
        added(SAMPLE, b"id,probability\n0,0.5\n"),
        ("has the columns id, probability", "format has id, label", "make the two agree"),
    ),
    "sample with an id twice": (
        added(SAMPLE, b"id,label\n0,0.5\n1,0.5\n0,0.5\n"),
        (f"{SAMPLE} has id '0' twice", "download"),
    ),
    "sample without rows": (added(SAMPLE, b"id,label\n"), (SAMPLE, "download")),
    "empty sample": (added(SAMPLE, b""), (SAMPLE, "can't be read as CSV", "download it again")),
    "sample in UTF-16": (added(SAMPLE, "id,label\n".encode("utf-16")), (SAMPLE, "can't be read as CSV", "download")),
}
LEAF_DAMAGE: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "image without a label": (added("train/L99.png"), ("1 training images have no row in labels.csv", "'L99'")),
    "label without an image": (appended("labels.csv", "L99,oak\n"), ("1 rows of labels.csv have no image", "'L99'")),
    "two labels of one image": (appended("labels.csv", "L3,oak\n"), ("labels.csv has 'L3' twice in column 'leaf'",)),
    "one label twice": (appended("labels.csv", "L3.png,elm\n"), ("labels.csv has 'L3' twice in column 'leaf'",)),
    "unknown label": (
        lambda data: added("labels.csv", (data / "labels.csv").read_bytes().replace(b"L3,elm", b"L3,fir"))(data),
        ("label 'fir' is not one of the classes ['oak', 'elm']",),
    ),
    "image without a group": (added("plants.csv", b"leaf,plant\nL0,P1\n"), ("have no group in plants.csv", "'L1'")),
    "no labels": (added("labels.csv", b""), ("labels.csv", "can't be read as CSV", "download it again")),
}


@pytest.mark.parametrize("damage", PETS_DAMAGE)
def test_folders_that_do_not_fit_are_one_line(cli: Cli, tiny: str, pets: Given, home: Path, damage: str) -> None:
    break_, words = PETS_DAMAGE[damage]
    break_(pets.data)
    refused(pets.run(cli, tiny), *words)
    assert list(home.rglob("submission.csv")) == []


@pytest.mark.parametrize("damage", LEAF_DAMAGE)
def test_tables_that_do_not_fit_are_one_line(cli: Cli, tiny: str, leaf: Given, damage: str) -> None:
    break_, words = LEAF_DAMAGE[damage]
    break_(leaf.data)
    refused(leaf.run(cli, tiny), *words)


@pytest.mark.parametrize("damage", [removed("train/dog"), emptied("train"), emptied("train/cat")])
def test_a_folder_of_one_class_is_no_competition(cli: Cli, tiny: str, pets: Given, damage: Damage) -> None:
    damage(pets.data)
    with unchanged(pets.data):
        done = cli("run", pets.data, "--backbone", tiny)
    refused(done, str(pets.data), "two classes or more", "kagglekit new")


def test_a_folder_without_test_images_says_what_is_missing_in_a_line_that_can_be_read(
    cli: Cli, tiny: str, pets: Given
) -> None:
    emptied("test")(pets.data)
    with unchanged(pets.data):
        done = cli("run", pets.data, "--backbone", tiny)
    assert len(refused(done, str(pets.data), "has no test images")) < 400


def test_ids_without_a_test_image_get_the_prior_and_images_without_an_id_no_row(
    cli: Cli, tiny: str, pets: Given, home: Path
) -> None:
    added(SAMPLE, b"id,label\n2,0.5\n77,0.5\n0,0.5\n")(pets.data)
    done = succeeded(pets.run(cli, tiny))
    assert "WARNING: 1 ids of the sample submission have no test image" in done.out
    assert "2 test images are not in the sample submission" in done.out
    submission = pd.read_csv(only_run(home / "pets") / "submission.csv")
    assert submission["id"].tolist() == [2, 77, 0]
    assert submission["label"][1] == pytest.approx(0.5)
    assert (submission["label"] < 0.4).tolist() == [True, False, True]


def test_one_group_that_spans_everything_is_not_blamed_on_the_folds(cli: Cli, tiny: str, leaf: Given) -> None:
    added("plants.csv", b"leaf,plant\n" + b"".join(b"L%d,P7\n" % n for n in range(12)))(leaf.data)
    assert "fewer folds" not in refused(leaf.run(cli, tiny), "group", "P7")


def test_one_image_of_a_class_is_not_blamed_on_the_folds(cli: Cli, tiny: str, pets: Given) -> None:
    for path in sorted((pets.data / "train" / "dog").iterdir())[1:]:
        path.unlink()
    assert "fewer folds" not in refused(pets.run(cli, tiny), "class 'dog' has only one readable training image")


# the machine


class Disk:
    """Notes what is written durably; when it fills up, every write fails that has not failed before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[str] = []
        self.failed: set[str] = set()
        self.fills_up = False
        self._sync = storage._sync
        monkeypatch.setattr(storage, "_sync", self.sync)

    def sync(self, path: Path) -> None:
        self.written.append(self._name(path))
        if self.fills_up and self.written[-1] not in self.failed:
            self.failed.add(self.written[-1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self._sync(path)

    def _name(self, path: Path) -> str:
        """Return what is written, the same in every home and command; of a folder, after which file."""
        name = path.relative_to(Path(os.environ[HOME])).as_posix()
        name = re.sub(r"(^|/)\.([^/]+)\.[0-9a-f]{8}\.partial", r"\1\2", name)
        name = re.sub(r"[0-9a-f]{32}\.(rows|ids)", r"\1", re.sub(r"\d{8}-\d{4}-", "", name))
        return f"{self.written[-1]}, then {name}" if path.is_dir() else name


def export_at_once(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the export copy a graph that is there already instead of spending seconds on it."""
    (pointer,) = (graph.parent / "specs").glob("*.json")
    record = storage.read_json(pointer)
    contents = [graph.read_bytes(), Path(record["template"]).read_bytes()]

    def copied(_model: object, _preprocessing: object, *paths: Path) -> Any:
        for path, content in zip(paths, contents, strict=True):
            with storage.replacing(path) as temporary:
                temporary.write_bytes(content)
        return record["outputs"]

    monkeypatch.setattr(export, "_write", copied)


def test_every_durable_write_may_find_the_disk_full_and_the_run_still_ends_with_the_same_bytes(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = drawing.dogs(tmp_path / "given")
    command = ("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, *QUICK)
    (graph,) = set((home / ".cache" / "backbones").glob("*.onnx")) - set(home.glob(".cache/backbones/*.template.onnx"))
    export_at_once(graph, monkeypatch)
    shutil.rmtree(home / ".cache")
    disk = Disk(monkeypatch)
    succeeded(cli(*command))
    expected, every = submission_of(home / "dogs-vs-cats"), set(disk.written)
    assert len(every) == len(disk.written) > 50
    assert {name for name in every if ".onnx" in name}
    other = tmp_path / "other"
    monkeypatch.setenv(HOME, str(other))
    disk.fills_up = True
    with unchanged(tmp_path / "given"):
        for number in range(1, len(every) + 1):
            done = cli(*command)
            refused(done, "no space is left on the disk", "free some", "KAGGLEKIT_HOME", "goes on from there")
            assert len(disk.failed) == number
            assert left_half_written(other) == []
        succeeded(cli(*command))
    assert disk.failed == every
    assert submission_of(other / "dogs-vs-cats") == expected


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EDQUOT, "no space is left on the disk"),
        (errno.EROFS, "make it accessible"),
        (errno.EACCES, "make it accessible"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_a_disk_that_refuses_for_another_reason_is_one_line_too(
    cli: Cli, tiny: str, pets: Given, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(storage, "_sync", fail)
    refused(pets.run(cli, tiny), words, str(Path(os.environ[HOME])))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere: be somebody else in the block."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="kagglekit-public-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights as Unix has them")
@pytest.mark.parametrize("place", ["", "pets", "pets/data", "pets/cache"])
def test_a_workspace_that_cannot_be_written_is_one_line_that_names_the_place(
    cli: Cli, tiny: str, pets: Given, public: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    succeeded(pets.run(cli, tiny))  # all that is imported is there, wherever it lies
    home = public / "home"
    closed = home / place
    closed.mkdir(parents=True)
    words = ["run", public / "pets.py", "--backbone", tiny]
    shutil.copy(pets.plugin, public)
    if place == "pets/cache":
        shutil.copytree(pets.data, home / "pets" / "data")
    else:
        words += ["--data", shutil.make_archive(str(public / "pets"), "zip", pets.data)]
    for folder in [path for path in (home, *home.rglob("*")) if path.is_dir()]:
        folder.chmod(0o777)
    closed.chmod(0o555)
    monkeypatch.setenv(HOME, str(home))
    with unchanged(public):
        with as_nobody():
            done = cli(*words)
        refused(done, "Permission denied", str(closed), "make it accessible", "KAGGLEKIT_HOME")


def test_a_home_that_is_a_file_is_one_line(
    cli: Cli, tiny: str, pets: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv(HOME, str(tmp_path / "file"))
    with unchanged(tmp_path):
        refused(pets.run(cli, tiny), str(tmp_path / "file"), "KAGGLEKIT_HOME")


# settings


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fold=3", "no setting called 'fold': did you mean 'folds'?"),
        ("zzzzzz=1", "no setting called 'zzzzzz': `kagglekit info NAME` lists all"),
        ("folds=many", "setting folds = 'many': an integer is wanted"),
        ("folds=2.5", "setting folds = '2.5': an integer is wanted"),
        ("folds=1", "setting folds = 1: it must be 2 or more"),
        ("head=svm", "setting head = 'svm': must be one of logistic, mlp"),
        ("strengths=0.1,x", "setting strengths = '0.1,x': a number is wanted"),
        ("folds", "--set 'folds': write it as key=value"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(cli: Cli, tiny: str, pets: Given, setting: str, words: str) -> None:
    refused(pets.run(cli, tiny, "--set", setting), words)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (b"fold = 3", "no setting called 'fold': did you mean 'folds'?"),
        (b"[settings]\nfolds = 3", "no setting called 'settings'"),
        (b"crop = 3", "setting crop = 3: must be one of model, centre, squash"),
        (b"seed = 2.5", "setting seed = 2.5: int is wanted, not float"),
        (b"strengths = 0.1", "setting strengths = 0.1: a list is wanted"),
        (b"views = [1]", "setting views = [1]: must be one of plain, mirror"),
        (b"seed = ", "is not valid TOML"),
        (b"seed = 1\nseed = 2", "is not valid TOML"),
        (b"head = mlp", "is not valid TOML"),
        (b"head = '\xff'", "is not valid TOML"),
    ],
)
def test_a_recipe_file_that_cannot_be_is_one_line_that_names_it(
    cli: Cli, tiny: str, pets: Given, home: Path, toml: bytes, words: str
) -> None:
    path = write(home / "pets", {"recipe.toml": toml}) / "recipe.toml"
    refused(pets.run(cli, tiny), str(path), words)
    assert path.read_bytes() == toml


# plugins

AT_IMPORT = {
    "missing package": ("import a_package_that_nobody_has", "ModuleNotFoundError: No module named"),
    "syntax": ("def competition(:", "SyntaxError: "),
    "error of two lines": ("raise ValueError('one\\ntwo')", "ValueError: one two"),
    "attribute": ("import kagglekit\nkagglekit.nothing", "AttributeError: "),
    "end of the program": ("raise SystemExit", "SystemExit"),
}


@pytest.mark.parametrize("source", AT_IMPORT)
def test_a_plugin_that_raises_at_import_is_one_line_and_breaks_nothing_else(
    cli: Cli, tiny: str, pets: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    text, words = AT_IMPORT[source]
    pets.plugin.write_text(text)
    refused(pets.run(cli, tiny), f"plugin '{pets.plugin}' can't be imported: {words}")
    installed = write(
        tmp_path / "installed",
        {
            "broken_leaf.py": text.encode(),
            "broken_leaf-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: broken-leaf\nVersion: 1.2\n",
            "broken_leaf-1.2.dist-info/entry_points.txt": b"[kagglekit.competitions]\nbroken = broken_leaf\n",
        },
    )
    monkeypatch.syspath_prepend(installed)
    monkeypatch.delitem(sys.modules, "broken_leaf", raising=False)
    refused(cli("run", "broken"), f"plugin 'broken' can't be imported: {words}")
    listed = succeeded(cli("list")).out
    assert "broken " in listed
    assert "dogs-vs-cats " in listed
    assert "driver_imgs_list.csv" in succeeded(cli("info", "state-farm")).out


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("train_tabel", "hook 'train_tabel' does not exist, did you mean 'train_table'?"),
        ("xyzzy", "hook 'xyzzy' does not exist; hooks are competition, recipe, augmentations, train_table"),
    ],
)
def test_a_misspelt_hook_is_one_line_that_names_the_nearest(
    cli: Cli, tiny: str, pets: Given, hook: str, words: str
) -> None:
    pets.write_plugin(PETS, f"\n\n@hookimpl\ndef {hook}():\n    return {{}}\n")
    refused(pets.run(cli, tiny), f"plugin '{pets.plugin}': {words}")


TABLE = """
def table(files):
    rows = [(p[6:-4], str(f), p.split("/")[1]) for p, f in files.paths.items() if p.startswith("train/")]
    return pd.DataFrame(rows, columns=["id", "path", "label"])

"""
ARGUMENTS = {"competition": "", "recipe": "", "train_table": "files", "test_table": "files", "submission": "ids"}
NONSENSE = [
    ("competition", "None", "has no hook 'competition' that returns a Competition"),
    ("competition", "{'name': 'pets'}", "hook 'competition': returned dict"),
    ("competition", "Competition(name='pets')", "hook 'competition': Competition.__init__() missing"),
    ("competition", "Competition(nam='pets')", "unexpected keyword argument 'nam'"),
    ("recipe", "['folds']", "hook 'recipe': returned list (['folds']), not"),
    ("recipe", "{'fold': 3}", "hook 'recipe': no setting called 'fold': did you mean 'folds'?"),
    ("recipe", "{'folds': {'a': 1}}", "hook 'recipe': setting folds = {'a': 1}: int is wanted"),
    ("recipe", "{5: 3}", "hook 'recipe': no setting called 5"),
    ("train_table", "[1, 2]", "hook 'train_table': returned list ([1, 2]), not DataFrame"),
    ("train_table", "table(files)[:0]", "hook 'train_table': the table has no rows"),
    ("train_table", "table(files).T", "hook 'train_table': the table has no column 'id'"),
    ("train_table", "table(files).assign(id='1')", "hook 'train_table': id '1' stands for two images"),
    ("train_table", "table(files).assign(label='cow')", "label 'cow' is not one of the classes ['cat', 'dog']"),
    ("train_table", "table(files).assign(label=1)", "hook 'train_table': column 'label' must hold strings"),
    ("train_table", "table(files).assign(path=Path())", "hook 'train_table': column 'path' must hold strings"),
    ("train_table", "table(files).assign(path='/nowhere.jpg')", "/nowhere.jpg: it can't be read: No such file"),
    ("train_table", "table(files).assign(path='a\\0b')", "can't be read"),
    ("train_table", "table(files).assign(group=[1, 'a'] * 6)", "hook 'train_table': column 'group'"),
    ("train_table", "table(files).assign(valid='no')", "hook 'train_table': column 'valid'"),
    ("train_table", "pd.concat([table(files)] * 2, axis=1)", "hook 'train_table': "),
    ("test_table", "'text\\n' * 99", "hook 'test_table': returned str ('text\\ntext"),
    ("test_table", "pd.DataFrame({'id': [1], 'path': ['/a.jpg']})", "hook 'test_table': column 'id' must hold strings"),
    ("test_table", "pd.DataFrame({'id': ['1']})", "hook 'test_table': the table has no column 'path'"),
    ("submission", "np.ones(4)", "hook 'submission': returned ndarray"),
    ("submission", "pd.DataFrame({'id': ids, 'label': np.nan})", "('0', '1', '2', …) hold no number"),
    ("submission", "pd.DataFrame({'id': ids, 'label': 7.0})", "('0', '1', '2', …) are outside 0 to 1"),
    ("submission", "pd.DataFrame({'id': ids, 'label': '0.5'})", "columns ['label'] must hold numbers"),
    ("submission", "pd.DataFrame({'id': ids, 'label': 0.5j})", "columns ['label'] must hold numbers"),
    ("submission", "pd.DataFrame({'id': ids[1:], 'label': 0.5})", "1 ids ('0') missing"),
    ("submission", "pd.DataFrame({'id': ids * 2, 'label': 0.5})", "more than once"),
    ("submission", "pd.DataFrame({'id': ids, 0: 0.5})", "its columns are ['id', 0], not ['id', 'label']"),
]


@pytest.mark.parametrize(("hook", "value", "words"), NONSENSE)
def test_a_hook_that_returns_nonsense_is_one_line(
    cli: Cli, tiny: str, pets: Given, home: Path, hook: str, value: str, words: str
) -> None:
    described = "" if hook == "competition" else PETS
    body = f"\n\n@hookimpl\ndef {hook}({ARGUMENTS[hook]}):\n    return {value}\n"
    pets.write_plugin("from pathlib import Path\n", TABLE, described, body)
    refused(pets.run(cli, tiny), words)
    assert list(home.rglob("submission.csv")) == []


# Ctrl-C, and two commands at once


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_ctrl_c_ends_a_run_within_a_second_with_one_line_and_the_same_command_goes_on(
    tiny_export: tuple[str, Path], tmp_path: Path, home: Path
) -> None:
    spec, cache = tiny_export
    archive = drawing.dogs(tmp_path / "given", train=200, test=100)
    words = ("run", "dogs-vs-cats", "--data", str(archive), "--backbone", spec)

    def interrupted(line: str, seconds: float) -> None:
        """Press Ctrl-C so many seconds after a line of output, or after the start."""
        process = start(home, *words)
        assert process.stdout is not None
        assert not line or any(line in said for said in process.stdout)
        time.sleep(seconds)  # the moment is the test's input
        process.send_signal(signal.SIGINT)
        pressed = time.monotonic()
        _, errors = process.communicate(timeout=60)
        took = time.monotonic() - pressed
        moment = f"{seconds} s after {line or 'the start'!r}"
        assert process.returncode == 130, (moment, process.returncode, errors)
        (only,) = [line for line in errors.splitlines() if line.strip()]
        command = shlex.join(["kagglekit", *words])
        assert only == f"kagglekit: interrupted; what is finished is kept: `{command}` goes on from there.", moment
        assert took <= 1.0, (moment, took)

    with unchanged(tmp_path / "given"):
        for line, seconds in (("", 0.7), ("", 2.0), ("exporting to ONNX", 0.0), ("exporting to ONNX", 1.5)):
            interrupted(line, seconds)
        shutil.copytree(cache, home / ".cache", dirs_exist_ok=True)  # spares half of this test's time
        for line, seconds in (("weights of test_resnet", 0.0), ("weights of test_resnet", 0.5)):
            interrupted(line, seconds)
        process = start(home, *words)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors == ""
    submission = pd.read_csv(only_run(home / "dogs-vs-cats") / "submission.csv")
    assert submission["id"].tolist() == list(range(1, 101))


def test_a_command_waits_for_another_one_on_the_same_run_and_both_leave_one_folder(
    cli: Cli, tiny: str, pets: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeeded(pets.run(cli, tiny))
    run = only_run(home / "pets")
    expected = snapshot(run)
    other = FileLock(run / ".lock")
    say = Console.say
    said: list[str] = []

    def overheard(console: Console, text: str, style: str = "") -> None:
        say(console, text, style)
        said.append(text)
        if "waiting for it" in text:
            other.release()

    monkeypatch.setattr(Console, "say", overheard)
    with other:
        succeeded(pets.run(cli, tiny))
    waiting, finished = [text for text in said if run.name in text][:2]
    assert waiting == f"another command is working on run {run.name}: waiting for it"
    assert "is finished already" in finished
    assert only_run(home / "pets") == run
    assert snapshot(run) == expected
