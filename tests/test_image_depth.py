"""Images of more than 8 bits per channel are shown by the range that the training images use."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kagglekit.images import decoding, depth, earlier, files
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.depth import Used
from tests import damage
from tests.conftest import Cli, succeeded
from tests.damage import QUICK, only_run
from tests.image_kinds import GREY, NIGHT, PHOTO, chunk, encoded, retagged, tiff, with_chunk

TWELVE = (("uint16", 0.0, 4095.0),)
SAID = "16-bit images: 0 to 4095 is shown as black to white"


def close(seen: NDArray[Any], expected: NDArray[Any]) -> bool:
    return bool(np.abs(seen.astype(int) - expected.reshape(*expected.shape[:2], -1)).max() <= 1)


def twelve(samples: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return samples of 12 bits in 16, whose upper 8 are the samples."""
    return samples.astype(np.uint16) * 16 + samples // 16


def folder_of_twelve_bits(folder: Path, ending: str = "png") -> Path:
    """Draw two classes, a dark and a bright half, with values up to 4095."""
    rng = np.random.default_rng(0)

    def drawn(place: int) -> bytes:
        side = np.where(np.arange(64) < 32, 400, 3700) if place % 2 else np.where(np.arange(64) < 32, 3700, 400)
        grey = (side + rng.integers(0, 396, (48, 64))).astype(np.uint16)
        return encoded(f".{ending}", np.dstack([grey, grey, 4095 - grey]))

    members = {f"train/{'ab'[n % 2]}/{n}.{ending}": drawn(n) for n in range(12)}
    return damage.write(folder, members | {f"test/{n}.{ending}": drawn(n) for n in range(4)})


def test_twelve_bits_in_sixteen_are_no_blank_images_to_the_audit(
    cli: Cli, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    folder = folder_of_twelve_bits(tmp_path / "twelve")
    for _ in range(2):  # the second time from the index of the scan
        done = succeeded(cli("audit", folder))
        assert done.out.count(SAID) == 1
        assert pd.read_csv(home / "twelve" / "audit" / "candidates.csv").empty


def test_a_run_its_export_and_its_bundle_see_the_same_twelve_bits(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    folder = folder_of_twelve_bits(tmp_path / "twelve")
    done = succeeded(cli("run", folder, "--backbone", tiny, *QUICK))
    assert SAID in done.out
    run = only_run(home / "twelve")
    (record,) = json.loads((run / "run.json").read_text())["backbones"]
    assert Preprocessing.from_plain(record["preprocessing"]).levels == TWELVE
    submitted = pd.read_csv(run / "submission.csv").set_index("id")
    succeeded(cli("predict", run.name, folder / "test", "--output", tmp_path / "predicted.csv"))
    predicted = pd.read_csv(tmp_path / "predicted.csv")
    assert np.allclose(predicted[["a", "b"]].max(axis=1), submitted.max(axis=1), atol=1e-3)
    succeeded(cli("bundle", run.name, tmp_path / "bundle"))
    cells = json.loads((tmp_path / "bundle" / "notebook.ipynb").read_text())["cells"]
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    places = {"KAGGLEKIT_BUNDLE": str(tmp_path / "bundle"), "KAGGLEKIT_DATA": str(folder)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | places, check=True, timeout=60)
    assert np.allclose(pd.read_csv(tmp_path / "submission.csv").set_index("id"), submitted, atol=1e-3)


TURNED = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
"""EXIF data that say that the upper edge is at the right."""
KINDS: dict[str, tuple[bytes, NDArray[np.uint8]]] = {
    "grey png": (encoded(".png", twelve(GREY)), GREY),
    "colour png": (encoded(".png", twelve(PHOTO)), PHOTO),
    "grey tiff": (encoded(".tiff", twelve(GREY)), GREY),
    "colour tiff": (encoded(".tiff", twelve(PHOTO)), PHOTO),
    "pgm": (encoded(".pgm", twelve(GREY)), GREY),
    "ppm": (encoded(".ppm", twelve(PHOTO)), PHOTO),
    "turned": (with_chunk(encoded(".png", np.rot90(twelve(GREY))), TURNED), GREY),
    "one level clear": (
        with_chunk(encoded(".png", twelve(GREY)), chunk(b"tRNS", struct.pack(">H", twelve(GREY)[30, 40]))),
        np.where(GREY[30, 40] == GREY, 255, GREY).astype(np.uint8),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_twelve_bits_are_shown_from_black_to_white(kind: str) -> None:
    content, expected = KINDS[kind]
    used = depth.used_values(content)
    assert used is not None
    assert depth.levels_of([used]) == TWELVE
    assert close(decoding.decode(content, TWELVE), expected)
    assert close(decoding.decode_whole(content, 1, TWELVE), expected)
    assert not close(decoding.decode(content), expected)


def test_alpha_of_sixteen_bits_is_a_share_of_sixteen_bits() -> None:
    alpha = NIGHT.astype(np.uint16) * 257
    content = bytes(cv2.imencode(".png", np.dstack([twelve(PHOTO)[:, :, ::-1], alpha]))[1])
    shown = 255 - (255 - PHOTO.astype(float)) * (NIGHT[:, :, None] / 255)
    assert np.abs(decoding.decode(content, TWELVE) - shown).max() <= 2


TIFFS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "twelve bits, big-endian": (twelve(GREY), GREY, {"byteorder": ">"}),
    "twelve bits, white is zero": (twelve(255 - GREY), GREY, {"photometric": "miniswhite"}),
    "twelve bits and near infrared": (
        np.dstack([twelve(PHOTO), twelve(NIGHT)]),
        PHOTO,
        {"extrasamples": ["unspecified"]},
    ),
    "twelve bits, six bands": (
        np.dstack([twelve(PHOTO)] * 2),
        PHOTO,
        {"photometric": "minisblack", "planarconfig": "contig"},
    ),
    "from 0 to 1": (PHOTO / np.float32(255), PHOTO, {}),
    "reflectances": ((PHOTO / np.float32(510)).astype(np.float32), PHOTO, {}),
    "hounsfield units": (twelve(GREY).astype(np.int16) - 1024, GREY, {}),
    "kelvin": ((280 + GREY / np.float32(10)).astype(np.float32), GREY, {}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_tiffs_of_many_types_are_shown_from_black_to_white(kind: str) -> None:
    pytest.importorskip("tifffile", reason="the extra tiff is not installed")
    samples, expected, options = TIFFS[kind]
    content = tiff(samples, **options)
    used = depth.used_values(content)
    assert used is not None
    shown = decoding.decode(content, depth.levels_of([used]))
    assert np.corrcoef(shown.ravel(), np.broadcast_to(expected.reshape(60, 80, -1), (60, 80, 3)).ravel())[0, 1] > 0.999
    assert shown.max() >= expected.max() - 2


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.booleans())
def test_sixteen_bits_that_are_used_fully_lose_their_lower_eight_as_before(seed: int, colour: bool) -> None:
    shape = (24, 32, 3) if colour else (24, 32)
    samples = np.random.default_rng(seed).integers(0, 65536, shape).astype(np.uint16)
    for ending in (".png", ".tiff", ".pgm" if not colour else ".ppm"):
        content = encoded(ending, samples)
        used = depth.used_values(content)
        assert used is not None
        levels = depth.levels_of([used])
        assert levels == ()
        seen = decoding.decode(content, levels)
        assert close(seen, samples >> 8)  # libtiff rounds
        assert ending == ".tiff" or (seen == (samples >> 8).reshape(24, 32, -1)).all()


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), min_size=1),
    st.sampled_from(["uint16", "int16", "float32"]),
)
def test_the_levels_of_any_images_are_a_range_with_an_order(ends: list[tuple[float, float]], sample: str) -> None:
    used = [Used(sample, low, low + more) for low, more in ends]
    for name, black, white in depth.levels_of(used):
        assert name == sample
        assert black < white
        assert np.isfinite([black, white]).all()


def test_one_strange_image_in_two_hundred_does_not_darken_all() -> None:
    usual = [Used("uint16", 3, 3900)] * 199
    assert depth.levels_of([*usual, Used("uint16", 0, 65535)]) == TWELVE


def test_images_of_eight_bits_have_no_levels_and_keep_the_keys_that_they_had() -> None:
    plain = Preprocessing(
        size=(32, 32), crop="centre", crop_share=1.0, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    assert depth.used_values(encoded(".png", PHOTO)) is None
    assert "levels" not in plain.to_plain()
    assert Preprocessing.from_plain(json.loads(json.dumps(plain.to_plain()))) == plain


def test_what_earlier_versions_showed_otherwise_is_another_image_to_the_caches() -> None:
    pytest.importorskip("tifffile", reason="the extra tiff is not installed")
    infrared = retagged(tiff(np.dstack([PHOTO, NIGHT]), extrasamples=["unspecified"]), 338, 60000)
    alpha = tiff(np.dstack([PHOTO, NIGHT]), extrasamples=["unassalpha"])
    assert earlier.is_read_otherwise(infrared)
    assert not earlier.is_read_otherwise(alpha)
    assert files.digest(alpha) != files.digest(infrared)
