"""One photograph in every format and oddity that image files come in.

H, W: height and width in pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

PHOTO: NDArray[np.uint8] = cv2.resize(load_sample_image("flower.jpg"), (80, 60), interpolation=cv2.INTER_AREA)
"""(60, 80, 3); not square, so that no orientation is like another."""
PICTURE = Image.fromarray(PHOTO)
GREY = np.asarray(PICTURE.convert("L"))
NIGHT = (np.arange(80, dtype=np.uint8) * 3)[None].repeat(60, axis=0)
"""A fourth band that is dark at one side, such as near infrared or alpha."""
WITH_ALPHA = Image.fromarray(np.dstack([PHOTO, NIGHT]))
ON_WHITE = np.asarray(Image.alpha_composite(Image.new("RGBA", WITH_ALPHA.size, "white"), WITH_ALPHA).convert("RGB"))
STORED = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""EXIF orientation -> Pillow's transposition that makes the stored picture from the upright one."""


@dataclass(frozen=True)
class Kind:
    """A file of the archive."""

    ending: str
    content: bytes
    tolerance: int = 0
    """Largest difference of a value from what a viewer shows, of 255: 0 for what is stored without loss."""
    shows: NDArray[np.uint8] | None = None
    """What it shows, (H, W, 3), where Pillow can't tell."""
    magick: bool = True
    """Whether ImageMagick 6 shows it as it is meant."""


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.copy().save(buffer, form, **options)  # a copy: Pillow keeps the options of the last time in it
    return buffer.getvalue()


def turned(orientation: int, form: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    """Return the photograph as a camera stores it that was held otherwise."""
    method = STORED[orientation]
    stored = picture if method is None else picture.transpose(Image.Transpose(method))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, form, exif=exif.tobytes(), **options)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(png: bytes, *chunks: bytes) -> bytes:
    """Return a PNG with more chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def encoded(ending: str, samples: NDArray[Any], *options: int) -> bytes:
    """Return an image file of samples (H, W) or RGB (H, W, 3), as OpenCV writes it."""
    samples = samples if samples.ndim == 2 else samples[:, :, ::-1]
    return bytes(cv2.imencode(ending, samples, options)[1])


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    """Return a TIFF as tifffile writes it."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **{"photometric": "rgb" if samples.ndim == 3 else "minisblack"} | options)
    return buffer.getvalue()


def retagged(content: bytes, tag: int, other: int) -> bytes:
    """Return a little-endian TIFF in which a tag has another number, so that nobody knows it."""
    place = content.rindex(struct.pack("<HH", tag, 3))
    return content[:place] + struct.pack("<H", other) + content[place + 2 :]


def plain_bmp(bits: int, rows: bytes, compression: int = 0, masks: bytes = b"", width: int = 80) -> bytes:
    """Return a BMP of rows from the bottom up."""
    start = 14 + 40 + len(masks)
    header = struct.pack("<IiiHHIIiiII", 40, width, 60, 1, bits, compression, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + masks + rows


def bmp_565() -> bytes:
    """Return a BMP with five, six and five bits per pixel."""
    red, green, blue = (PHOTO[::-1, :, band].astype(np.uint16) for band in range(3))
    packed = (red >> 3 << 11) | (green >> 2 << 5) | (blue >> 3)
    return plain_bmp(16, packed.astype("<u2").tobytes(), 3, struct.pack("<3I", 0xF800, 0x07E0, 0x001F))


def top_down_bmp() -> bytes:
    """Return a BMP whose first row is the uppermost."""
    content = bytearray(plain_bmp(24, PHOTO[:, :, ::-1].tobytes()))
    content[22:26] = struct.pack("<i", -60)
    return bytes(content)


def netpbm(kind: str, white: int, samples: NDArray[Any]) -> bytes:
    """Return a PGM (P5) or PPM (P6), or their text forms (P2, P3)."""
    head = f"{kind}\n# drawn\n80 60\n{white}\n".encode()
    if kind in ("P2", "P3"):
        return head + " ".join(map(str, samples.ravel().tolist())).encode() + b"\n"
    return head + samples.astype(">u2" if white > 255 else "u1").tobytes()


def deep(samples: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return samples with 16 bits, whose upper 8 are the samples."""
    return samples.astype(np.uint16) * 257


def _jpegs() -> dict[str, Kind]:
    made = {
        "baseline": saved(PICTURE, "JPEG"),
        "progressive": saved(PICTURE, "JPEG", progressive=True),
        "every pixel's colour": saved(PICTURE, "JPEG", subsampling=0),
        "halved colours": saved(PICTURE, "JPEG", subsampling=1),
        "grey": saved(Image.fromarray(GREY), "JPEG"),
        "CMYK": saved(PICTURE.convert("CMYK"), "JPEG"),
        "restart markers": saved(PICTURE, "JPEG", restart_marker_rows=1),
        **{f"orientation {number}": turned(number, "JPEG") for number in STORED},
    }
    return {f"JPEG {name}": Kind("jpg", content, 4) for name, content in made.items()}


def _pngs() -> dict[str, Kind]:
    palette = PICTURE.quantize(64)
    few = PICTURE.quantize(4)
    half = saved(WITH_ALPHA, "PNG")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(4_000_000)))
    profile = chunk(b"iCCP", b"own\0\0" + zlib.compress(bytes(4_000_000)))
    made = {
        "1 bit": saved(PICTURE.convert("1"), "PNG"),
        "2 bits, palette": saved(few, "PNG", bits=2),
        "4 bits, palette": saved(PICTURE.quantize(16), "PNG", bits=4),
        "8 bits, palette": saved(palette, "PNG"),
        "grey": saved(Image.fromarray(GREY), "PNG"),
        "colour": saved(PICTURE, "PNG"),
        "16 bits grey": encoded(".png", deep(GREY)),
        "16 bits colour": encoded(".png", deep(PHOTO)),
        "alpha": half,
        "grey and alpha": saved(WITH_ALPHA.convert("LA"), "PNG"),
        "one colour clear": saved(PICTURE, "PNG", transparency=tuple(PHOTO[30, 40].tolist())),
        "one entry clear": saved(palette, "PNG", transparency=palette.getpixel((40, 30))),
        "orientation": turned(6, "PNG"),
        "interlaced": INTERLACED,
        "megabytes of text": with_chunk(saved(PICTURE, "PNG"), text),
        "megabytes of profile": with_chunk(saved(PICTURE, "PNG"), profile),
        "damaged EXIF": with_chunk(half, chunk(b"eXIf", b"hello")),
        "damaged text": with_chunk(half, chunk(b"tEXt", b"a\0b")[:-1] + b"\0"),
    }
    shows = {name: PHOTO for name in made if name.startswith("megabytes")}
    shows |= {name: ON_WHITE for name in made if name.startswith("damaged")}
    magick = {"orientation": False}
    return {
        f"PNG {name}": Kind("png", content, 0, shows.get(name), magick.get(name, True))
        for name, content in made.items()
    }


def _interlaced() -> bytes:
    """Return the photograph as an Adam7 PNG."""
    rows = bytearray()
    for left, top, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)):
        rows += b"".join(b"\0" + row.tobytes() for row in PHOTO[top::down, left::across])
    rows += b"".join(b"\0" + row.tobytes() for row in PHOTO[1::2])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 80, 60, 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")


INTERLACED = _interlaced()


def _tiffs() -> dict[str, Kind]:
    bands = np.dstack([PHOTO, NIGHT])
    more = np.dstack([bands, PHOTO[:, :, :2]])
    planes = PHOTO.transpose(2, 0, 1).copy()
    made = {
        "strips": tiff(PHOTO, rowsperstrip=7),
        "tiles": tiff(PHOTO, tile=(32, 32)),
        "small tiles": tiff(PHOTO, tile=(16, 16)),
        "LZW": saved(PICTURE, "TIFF", compression="tiff_lzw"),
        "deflate": saved(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
        "PackBits": saved(PICTURE, "TIFF", compression="packbits"),
        "predictor": tiff(PHOTO, compression="deflate", predictor=2),
        "planes": tiff(planes, planarconfig="separate"),
        "big-endian": tiff(PHOTO, byteorder=">"),
        "BigTIFF": tiff(PHOTO, bigtiff=True),
        "1 bit": saved(PICTURE.convert("1"), "TIFF", compression="group4"),
        "palette": saved(PICTURE.quantize(64), "TIFF"),
        "grey": tiff(GREY),
        "white is zero": tiff(255 - GREY, photometric="miniswhite"),
        "CMYK": saved(PICTURE.convert("CMYK"), "TIFF"),
        "16 bits": tiff(deep(PHOTO)),
        "16 bits grey, big-endian": tiff(deep(GREY), byteorder=">"),
        "alpha": tiff(bands, extrasamples=["unassalpha"]),
        "near infrared": tiff(bands, extrasamples=["unspecified"]),
        "near infrared, unsaid": retagged(tiff(bands, extrasamples=["unspecified"]), 338, 60000),
        "near infrared, no colours": tiff(bands, photometric="minisblack", planarconfig="contig"),
        "six bands": tiff(more, photometric="minisblack", planarconfig="contig"),
        "six planes": tiff(more.transpose(2, 0, 1).copy(), photometric="minisblack", planarconfig="separate"),
        "float": tiff((PHOTO / np.float32(255)).astype(np.float32)),
        "float grey": tiff((GREY / np.float32(255)).astype(np.float32)),
        "double": tiff(PHOTO / 255.0),
        "32 bits": tiff(PHOTO.astype(np.int32)),
        "32 bits grey": tiff(GREY.astype(np.uint32)),
        "Zstandard": tiff(PHOTO, compression="zstd"),
        "LZMA": tiff(PHOTO, compression="lzma"),
        "LERC": tiff(PHOTO, compression="lerc"),
        "floating-point predictor": tiff(
            (PHOTO / np.float32(255)).astype(np.float32), compression="deflate", predictor=3
        ),
    }
    own = ("near", "six", "float", "double", "32", "Zstandard", "LZMA", "LERC")
    greys = {name: np.dstack([GREY] * 3) for name in made if "grey" in name}
    shows = {name: greys.get(name, PHOTO) for name in made if name.startswith(own)}
    return {f"TIFF {name}": Kind("tif", made[name], 0, shows.get(name), name not in shows) for name in made}


def _others() -> dict[str, Kind]:
    palette = PICTURE.quantize(64)
    gif = saved(palette, "GIF")
    return {
        "GIF": Kind("gif", gif),
        "GIF interlaced": Kind("gif", saved(palette, "GIF", interlace=1)),
        "GIF one entry clear": Kind("gif", saved(palette, "GIF", transparency=palette.getpixel((40, 30)))),
        "GIF without its end": Kind("gif", gif[:-1]),
        "BMP": Kind("bmp", saved(PICTURE, "BMP")),
        "BMP top down": Kind("bmp", top_down_bmp()),
        "BMP 32 bits": Kind("bmp", plain_bmp(32, np.dstack([PHOTO[::-1, :, ::-1], NIGHT]).tobytes()), magick=False),
        "BMP 16 bits": Kind("bmp", bmp_565(), 8),  # viewers differ in how they widen five bits
        "BMP palette": Kind("bmp", saved(palette, "BMP")),
        "BMP 1 bit": Kind("bmp", saved(PICTURE.convert("1"), "BMP")),
        "WebP": Kind("webp", saved(PICTURE, "WEBP"), 4),
        "WebP lossless": Kind("webp", saved(PICTURE, "WEBP", lossless=True)),
        "WebP alpha": Kind("webp", saved(WITH_ALPHA, "WEBP", lossless=True, exact=True)),
        "WebP orientation": Kind("webp", turned(6, "WEBP", lossless=True), magick=False),
        "JPEG 2000": Kind("jp2", saved(PICTURE, "JPEG2000")),
        "JPEG 2000 lossy": Kind("jp2", saved(PICTURE, "JPEG2000", irreversible=True, quality_layers=[20]), 4),
        "PPM": Kind("ppm", netpbm("P6", 255, PHOTO)),
        "PPM as text": Kind("ppm", netpbm("P3", 255, PHOTO)),
        "PPM 16 bits": Kind("ppm", netpbm("P6", 65535, deep(PHOTO))),
        "PPM of 4095": Kind("ppm", netpbm("P6", 4095, deep(PHOTO) >> 4), 1),
        "PGM": Kind("pgm", netpbm("P5", 255, GREY)),
        "PGM of 15": Kind("pgm", netpbm("P5", 15, GREY >> 4), 1),
        "PGM of 4095": Kind("pgm", netpbm("P5", 4095, deep(GREY) >> 4), 1),
        "PBM": Kind("pbm", saved(PICTURE.convert("1"), "PPM")),
    }


def _avifs() -> dict[str, Kind]:
    from PIL import features

    if not features.check("avif"):  # Pillow before 11.3
        return {}
    made = {f"AVIF orientation {number}": turned(number, "AVIF", quality=90) for number in STORED}
    return {name: Kind("avif", content, 6, magick=False) for name, content in made.items()}


def _heics() -> dict[str, Kind]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    made = {f"HEIC orientation {number}": turned(number, "HEIF", quality=-1, chroma=444) for number in STORED}
    return {name: Kind("heic", content, 2, PHOTO, magick=False) for name, content in made.items()}


ALL: dict[str, Callable[[], dict[str, Kind]]] = {
    "JPEG": _jpegs,
    "PNG": _pngs,
    "TIFF": _tiffs,
    "AVIF": _avifs,
    "HEIC": _heics,
    "others": _others,
}
