"""Images decoded and scaled once: later epochs, folds and runs read uint8 pixels (H, W, 3) from a store on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from kagglekit.base import native_output, parallel
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.images import decoding, files
from kagglekit.images.decoding import Preprocessing
from kagglekit.images.row_store import RowStore


@native_output.decoders_silenced()
def pixel_store(
    preprocessing: Preprocessing,
    paths: Sequence[str],
    contents: Sequence[bytes],
    *,
    folder: Path,
    workers: int,
    console: Console,
) -> RowStore:
    """Return a store that holds the pixels of all images; `contents` are the files' content hashes.

    Raises UserError if a file has changed since the scan.
    """
    found = RowStore(folder, _address(preprocessing))
    first = dict(zip(reversed(contents), reversed(paths), strict=True))  # files with the same content are one image
    todo = [(content, path) for content, path in first.items() if content not in found]
    if not todo:
        return found
    _check_space(len(todo), preprocessing.size, folder, console)

    def prepare(image: tuple[bytes, str]) -> decoding.Pixels:
        return preprocessing.apply(files.decode(image[1], image[0], preprocessing.levels))

    try:
        with console.progress("pixels", len(todo), "images") as advance:
            prepared = parallel.overlapped(todo, prepare, workers)
            for (content, _), pixels in zip(todo, prepared, strict=True):
                found.add(content, pixels)
                advance(1)
    finally:  # what was decoded before a failure or Ctrl-C is kept
        found.flush()
    return found


def _check_space(images: int, size: tuple[int, int], folder: Path, console: Console) -> None:
    """Print the disk space that the pixels need if it is large; raise UserError if less is free."""
    needed = images * size[0] * size[1] * 3
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    what = f"pixels of {images} images at {size[0]}x{size[1]} take {needed / 1e9:.1f} GB"
    if needed > free:
        raise UserError(
            f"{what}, but only {free / 1e9:.1f} GB are free in {folder}: free some space, use a smaller "
            "--set image_size, or set KAGGLEKIT_HOME to a folder on another disk."
        )
    if needed > _MUCH:
        console.say(f"{what} in {folder}")


_MUCH = 1e9


def _address(preprocessing: Preprocessing) -> dict[str, object]:
    """Return the cache key: everything that affects the pixels except the content; normalisation comes later."""
    geometry = {key: value for key, value in preprocessing.to_plain().items() if key not in ("mean", "std")}
    versions = {name: version(name) for name in ("opencv-python-headless", "pillow")}
    return {
        "pixels": geometry,
        "preprocessing_version": decoding.PREPROCESSING_VERSION,
        "versions": versions,
    }
