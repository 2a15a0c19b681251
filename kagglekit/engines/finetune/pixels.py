"""Images decoded and scaled once: later epochs, folds and runs read uint8 pixels (H, W, 3) from a bank on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from kagglekit.console import Console
from kagglekit.engines import decoding, inference
from kagglekit.engines.bank import Bank
from kagglekit.engines.decoding import Preprocessing


def bank(
    preprocessing: Preprocessing,
    paths: Sequence[str],
    contents: Sequence[bytes],
    *,
    folder: Path,
    workers: int,
    console: Console,
) -> Bank:
    """Return a bank that holds the pixels of all images; `contents` are the hashes of what the files hold.

    Raises UserError for a file that is no longer what the audit saw.
    """
    found = Bank(folder, _address(preprocessing))
    first = dict(zip(reversed(contents), reversed(paths), strict=True))  # files of one content are one image
    todo = [(content, path) for content, path in first.items() if content not in found]
    if not todo:
        return found

    def prepare(image: tuple[bytes, str]) -> decoding.Pixels:
        return preprocessing.apply(inference.decode(image[1], image[0]))

    try:
        with console.progress("pixels", len(todo), "images") as advance:
            prepared = inference.overlapped(todo, prepare, workers)
            for (content, _), pixels in zip(todo, prepared, strict=True):
                found.add(content, pixels)
                advance(1)
    finally:  # what was decoded before a failure or Ctrl-C is kept
        found.flush()
    return found


def _address(preprocessing: Preprocessing) -> dict[str, object]:
    """Everything that decides the pixels, besides the image's content; normalising comes later."""
    geometry = {key: value for key, value in asdict(preprocessing).items() if key not in ("mean", "std")}
    versions = {name: version(name) for name in ("opencv-python-headless", "pillow")}
    return {
        "pixels": geometry,
        "preprocessing_version": decoding.PREPROCESSING_VERSION,
        "versions": versions,
    }
