"""One photograph in every format and oddity is decoded to what a viewer shows."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from kagglekit.images import decoding, earlier
from tests import damage, image_kinds
from tests.conftest import Cli, succeeded
from tests.image_kinds import Kind

NEEDS = {"TIFF": ("tifffile", "imagecodecs"), "HEIC": ("pillow_heif",)}
HALF_A_LEVEL = 1
"""ImageMagick computes with 16 bits and rounds another way."""


def kinds(group: str) -> dict[str, Kind]:
    for module in NEEDS.get(group, ()):
        pytest.importorskip(module, reason="the extras tiff and heif are not installed")
    return image_kinds.ALL[group]()


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I"):  # 16 bits, which Pillow's convert would clip
        return np.dstack([np.asarray(image) >> 8] * 3).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def difference(seen: NDArray[Any], expected: NDArray[Any]) -> int:
    """Return the largest difference of a value; 256 for other shapes."""
    return int(np.abs(seen.astype(int) - expected).max()) if seen.shape == expected.shape else 256


@pytest.mark.parametrize("group", image_kinds.ALL)
def test_each_kind_of_image_is_decoded_to_what_a_viewer_shows(group: str) -> None:
    for name, kind in kinds(group).items():
        header, seen = decoding.decode_twice(kind.content, 100)
        assert header.pixels == 80 * 60, name
        assert seen.dtype == np.uint8, name
        expected = by_pillow(kind.content) if kind.shows is None else kind.shows
        assert difference(seen, expected) <= kind.tolerance, name


@pytest.mark.parametrize("group", ["JPEG", "PNG", "TIFF", "others"])
def test_imagemagick_shows_the_same(group: str, tmp_path: Path) -> None:
    if shutil.which("mogrify") is None:
        pytest.skip("ImageMagick is not installed: apt-get install imagemagick")
    found = {name: kind for name, kind in kinds(group).items() if kind.magick}
    (tmp_path / "shown").mkdir()
    paths = [tmp_path / f"{number}.{kind.ending}" for number, kind in enumerate(found.values())]
    for path, kind in zip(paths, found.values(), strict=True):
        path.write_bytes(kind.content)
    on_white = ["-auto-orient", "-background", "white", "-alpha", "remove", "-alpha", "off", "-depth", "8"]
    command = ["mogrify", "-path", tmp_path / "shown", "-format", "ppm", *on_white, *paths]
    subprocess.run(command, capture_output=True, check=False, timeout=60)  # it warns of damaged metadata
    for path, (name, kind) in zip(paths, found.items(), strict=True):
        shown = np.asarray(Image.open(tmp_path / "shown" / f"{path.stem}.ppm").convert("RGB"))
        assert difference(decoding.decode(kind.content), shown) <= kind.tolerance + HALF_A_LEVEL, name


def test_a_folder_of_every_kind_is_read_without_a_loss(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    usual = ("jpg", "png", "gif", "bmp", "webp")
    contents = [kind for group in ("JPEG", "PNG", "others") for kind in kinds(group).values() if kind.ending in usual]
    members = {f"train/{n % 2}/{n}.{kind.ending}": kind.content for n, kind in enumerate(contents)}
    members |= {f"test/{n}.{kind.ending}": kind.content for n, kind in enumerate(contents)}
    done = succeeded(cli("audit", damage.write(tmp_path / "kinds", members)))
    assert f"{len(contents)} training images of 2 classes, {len(contents)} test images" in done.out
    assert "can't be read" not in done.out


WITHOUT = {
    "tifffile": ("TIFF six bands", "is a TIFF that needs tifffile: pip install tifffile imagecodecs"),
    "imagecodecs": ("TIFF LERC", "is a TIFF that needs imagecodecs: pip install imagecodecs"),
    "pillow_heif": ("HEIC orientation 1", "is HEIC, which needs pillow-heif: pip install pillow-heif"),
}


@pytest.mark.parametrize("module", WITHOUT)
def test_where_a_decoder_is_not_installed_the_reason_has_the_command_that_installs_it(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, reason = WITHOUT[module]
    content = kinds(name.split()[0])[name].content
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "tifffile"]:
        monkeypatch.delitem(sys.modules, loaded)  # it looks for imagecodecs when it is imported
    monkeypatch.setitem(sys.modules, module, None)
    if module == "pillow_heif":
        monkeypatch.setattr(Image, "ID", [form for form in Image.ID if form != "HEIF"])
    with pytest.raises(decoding.ImageError) as error:
        decoding.decode_twice(content, 100)
    assert str(error.value) == reason


@pytest.mark.parametrize("form", ["strips", "six bands", "float", "LERC", "Zstandard"])
def test_a_tiff_without_its_end_is_truncated_whoever_reads_it(form: str) -> None:
    content = kinds("TIFF")[f"TIFF {form}"].content
    for share in (0.2, 0.6, 0.95):
        with pytest.raises(decoding.ImageError, match=r"^is (truncated|damaged)"):
            decoding.decode_twice(content[: int(len(content) * share)], 100)


def test_a_tiff_that_only_tifffile_reads_is_measured_before_it_is_decoded() -> None:
    content = kinds("TIFF")["TIFF six bands"].content
    with pytest.raises(decoding.ImageError, match="is 80 x 60 pixels, more than 0 million"):
        decoding.decode_twice(content, 0)


def test_bands_count_in_the_size_of_a_tiff() -> None:
    pytest.importorskip("tifffile", reason="the extra tiff is not installed")
    bands = np.zeros((150, 200, 420), np.uint8)
    content = image_kinds.tiff(bands, photometric="minisblack", planarconfig="contig", compression="deflate")
    with pytest.raises(decoding.ImageError, match="is 13 MB when decoded, more than 1 million pixels take"):
        decoding.decode_twice(content, 1)


@pytest.mark.parametrize("group", image_kinds.ALL)
def test_a_damaged_file_of_any_kind_ends_in_a_reason_or_in_pixels(group: str) -> None:
    rng = np.random.default_rng(0)
    for kind in kinds(group).values():
        content = bytearray(kind.content)
        for place in rng.integers(0, min(len(content), 400), 6):
            content[place] = rng.integers(256)
        with suppress(decoding.ImageError):
            assert decoding.decode_twice(bytes(content), 1)[1].dtype == np.uint8


@pytest.mark.parametrize("transparent", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize("text", ["PNG with XMP", "PNG with a raw profile", "WEBP", "TIFF", "AVIF", "JPEG"])
def test_text_in_a_file_turns_no_image_whoever_decodes_it(text: str, transparent: bool) -> None:
    picture = image_kinds.WITH_ALPHA if transparent and text != "JPEG" else image_kinds.PICTURE
    plain, content = turned_by_text(text, picture)
    for decoder in (decoding.decode, decoding.decode_otherwise, lambda image: decoding.decode_whole(image, 1)):
        assert difference(decoder(content), decoder(plain)) == 0
    assert earlier.is_read_otherwise(content) == (transparent and text != "JPEG"), "earlier versions turned it"
    assert not earlier.is_read_otherwise(plain)


def turned_by_text(kind: str, picture: Image.Image) -> tuple[bytes, bytes]:
    """Return a file that is not turned, and the same with text that says so."""
    form, _, text = kind.partition(" with ")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options: dict[str, Any] = {"xmp": xmp}
    if form == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        exif = Image.Exif()
        exif[0x0112] = 6
        content = exif.tobytes()
        if text == "XMP":
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
        else:
            options["pnginfo"].add_text("Raw profile type exif", f"\nexif\n{len(content):8}\n{content.hex()}\n")
    elif form == "TIFF":
        options = {"tiffinfo": {700: xmp}}
    return image_kinds.saved(picture, form), image_kinds.saved(picture, form, **options)


def test_a_second_opinion_agrees_with_the_decoder() -> None:
    for group in ("JPEG", "PNG", "others"):
        for name, kind in kinds(group).items():
            own, other = decoding.decode(kind.content), decoding.decode_otherwise(kind.content)
            assert difference(own, other) <= kind.tolerance, name
