"""Weights among the files that a machine without internet has: Kaggle's input folders, and torch's checkpoints.

Each of these is found by the model's name, tf_efficientnet_b4.ns_jft_in1k, or if that is typed, tf_efficientnet_b4:

    input/my-weights/tf_efficientnet_b4.ns_jft_in1k.safetensors          the file is called as the model
    input/timm-pretrained-efficientnet/tf_efficientnet_b4_ns-d6313a46.pth     or as the file that timm downloads
    input/tf-efficientnet/pytorch/tf-efficientnet-b4/1/pytorch_model.bin      a Kaggle model is (model, framework,
    input/tf_efficientnet_b4/pytorch/ns-jft-in1k/2/model.safetensors          variation, version), or both together
    input/hub/models--timm--tf_efficientnet_b4.ns_jft_in1k/snapshots/0f…/model.safetensors    a copy of the hub's cache

Case does not matter, nor which signs stand between words. In a folder called as the model only files with a usual name
count: another one may hold what somebody has trained, perhaps on the images that are to be predicted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Of files with weights, the best first."""
_USUAL = ("model.safetensors", "pytorch_model.bin", "model.pth", "pytorch_model.pth")
_HASHED = re.compile(r"-[0-9a-f]{8}$")
"""How the name of a file that timm or torch downloads ends."""
_MOST_ENTRIES, _MOST_LISTED, _DEEPEST = 1_000, 50_000, 8
"""A folder with more entries holds images; they are not listed, which takes minutes where a network has them."""


def places() -> list[Path]:
    """Return the folders that are searched, in this order; those that do not exist are left out."""
    torch_home = os.environ.get("TORCH_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/torch"
    return _existing(*_inputs(), f"{torch_home}/hub/checkpoints")


def _inputs() -> tuple[str, str]:
    return os.environ.get("KAGGLEKIT_INPUT") or "/kaggle/input", "../input"


def _existing(*named: str) -> list[Path]:
    found = [Path(place).expanduser().resolve() for place in named]
    return [place for place in dict.fromkeys(found) if place.is_dir()]


def attached() -> list[str]:
    """Return the timm models, with their tags, whose weights are in Kaggle's input folders, the smallest file first.

    A name without a tag does not count: which training the file is from, and on which images, nobody says.
    """
    files = [(place, file) for place in _existing(*_inputs()) for file in _listed(place)]
    if not files:
        return []
    import timm

    said = {key for place, file in files for key in _said(file.relative_to(place))}
    found: list[tuple[int, str]] = []
    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name)
        download = Path(str(config.url)).name if config is not None and config.url else ""
        if (download and download in said) or ("." in name and _plain(name) in said):
            file = find(name)  # which is stricter
            found += [] if file is None else [(file.stat().st_size, name)]
    return [name for _, name in sorted(found)]


def find(name: str) -> Path | None:
    """Return the file with the weights of a timm model, the one whose name says so best; None if there is none."""
    files = [(place, file) for place in places() for file in _listed(place)]
    if not files:
        return None
    import timm

    config = timm.get_pretrained_cfg(name)
    bare, full = name.partition(".")[0], name
    if config is not None and config.tag and "." not in name:
        full = f"{name}.{config.tag}"
    download = Path(str(config.url)).name if config is not None and config.url else ""
    names = list(dict.fromkeys(_plain(each) for each in (full, name)))
    ranked = [
        (rank, SUFFIXES.index(file.suffix.lower()), number, file)
        for number, (place, file) in enumerate(files)
        if (rank := _rank(file.relative_to(place), names, _plain(bare), download)) is not None
    ]
    return min(ranked)[-1] if ranked else None


def _rank(file: Path, names: list[str], bare: str, download: str) -> int | None:
    """Return how well a file's path below its place says that it is the model; lower is better, None is not at all."""
    if download and file.name == download:
        return 0
    stem = _plain(file.stem)
    if stem in names:
        return 1 + names.index(stem)
    usual = file.name in _USUAL or (_HASHED.search(file.stem) and stem.startswith(bare))
    said = [names.index(each) for each in _of_folders(file) if each in names]
    return 3 + min(said) if usual and said else None


def _said(file: Path) -> list[str]:
    """Return everything that a path may call its model."""
    return [file.name, _plain(file.stem), *_of_folders(file)]


def _of_folders(file: Path) -> list[str]:
    """Return what the folders of a path may call its model: each, and model and variation together."""
    folders = [_plain(part) for part in file.parts[:-1]]
    return folders + [f"{model}_{variation}" for model, variation in zip(folders, folders[2:], strict=False)]


def _plain(name: str) -> str:
    """Return a name in lower case, with underscores, without a download's hash and whose it is."""
    words = re.sub(r"[^a-z0-9]+", "_", _HASHED.sub("", name.lower())).strip("_")
    return words.removeprefix("models_").removeprefix("timm_")


def _listed(top: Path) -> Iterator[Path]:
    """Yield the weights files below a folder, the highest first. Folders that can't be listed are left out."""
    waiting, left = [(top, 0)], _MOST_LISTED
    for folder, depth in waiting:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(islice(listing, _MOST_ENTRIES + 1), key=lambda entry: entry.name)
        except OSError:
            continue
        left -= len(entries)
        if left < 0:
            return
        for entry in entries:
            if Path(entry.name).suffix.lower() in SUFFIXES:
                if entry.is_file():
                    yield Path(entry.path)
            elif len(entries) <= _MOST_ENTRIES and depth < _DEEPEST and entry.is_dir():
                waiting.append((Path(entry.path), depth + 1))
