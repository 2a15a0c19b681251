"""Precision and recall of the audit for planted copies and wrong labels among real images, and its time.

Precision is the share of planted or natural pairs among all pairs found. Pairs found among the untouched images count
as natural, and are printed for inspection: the archive has two.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from benchmarks.features import ARCHIVE
from benchmarks.memory import dataset
from benchmarks.timing import machine, seconds

NAME = "dogs-vs-cats"
Change = Callable[[Image.Image, np.random.Generator], tuple[Image.Image, int]]
"""Image, random generator -> changed image, and the JPEG quality to write it with."""


def _resized(image: Image.Image, random: np.random.Generator) -> tuple[Image.Image, int]:
    share = random.uniform(0.4, 0.8)
    size = (max(int(image.width * share), 8), max(int(image.height * share), 8))
    return image.resize(size, Image.Resampling.BICUBIC), 90


def _cropped(share: float) -> Change:
    def change(image: Image.Image, random: np.random.Generator) -> tuple[Image.Image, int]:
        width, height = int(image.width * share), int(image.height * share)
        left = int(random.integers(0, image.width - width + 1))
        top = int(random.integers(0, image.height - height + 1))
        return image.crop((left, top, left + width, top + height)), 90

    return change


CHANGES: Mapping[str, Change | None] = {
    "exact": None,
    "resized": _resized,
    "recompressed": lambda image, random: (image, int(random.integers(25, 70))),
    "mirrored": lambda image, _: (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90),
    "brightened": lambda image, random: (ImageEnhance.Brightness(image).enhance(random.uniform(0.6, 1.5)), 90),
    "cropped to 95%": _cropped(0.95),
    "cropped to 85%": _cropped(0.85),
}


def kagglekit(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "kagglekit", *words]
    subprocess.run(command, env=os.environ | {"KAGGLEKIT_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)


def pairs_found(home: Path) -> set[frozenset[str]]:
    """Return the pairs of training images in the same group of look-alikes."""
    table = pd.read_csv(home / NAME / "audit" / "duplicates.csv", dtype={"id": str})
    groups = table[table["part"] == "train"].groupby("look_alikes")["id"]
    return {frozenset(pair) for _, ids in groups for pair in itertools.combinations(sorted(ids), 2)}


def plant_copies(data: Path, each: int, random: np.random.Generator) -> dict[str, tuple[str, str]]:
    """Add copies of training images. Return copy -> (kind, original)."""
    originals = sorted((data / "train").glob("*.jpg"))
    chosen = iter(random.permutation(len(originals)).tolist())
    planted = {}
    for kind, change in CHANGES.items():
        for number in range(each):
            original = originals[next(chosen)]
            label, _, own = original.stem.partition(".")
            copy = data / "train" / f"{label}.{10_000 + 1_000 * list(CHANGES).index(kind) + number}.jpg"
            if change is None:
                shutil.copyfile(original, copy)
            else:
                with Image.open(original) as opened:
                    image, quality = change(opened.convert("RGB"), random)
                image.save(copy, quality=quality)
            planted[copy.stem] = (kind, f"{label}.{own}")
    return planted


def flip_labels(data: Path, count: int, random: np.random.Generator) -> set[str]:
    """Give training images the other label. Return their new ids."""
    other = {"cat": "dog", "dog": "cat"}
    flipped = set()
    originals = sorted((data / "train").glob("*.jpg"))
    for place in random.permutation(len(originals))[:count].tolist():
        label, _, number = originals[place].stem.partition(".")
        renamed = originals[place].with_name(f"{other[label]}.{50_000 + int(number)}.jpg")
        originals[place].rename(renamed)
        flipped.add(renamed.stem)
    return flipped


def measure_copies(folder: Path, known: set[frozenset[str]], each: int) -> None:
    """Plant copies, run the audit, and print precision and recall."""
    data = dataset(folder / "copies", 1)
    planted = plant_copies(data, each, np.random.default_rng(0))
    kagglekit(folder / "home", "audit", NAME, "--data", str(data))
    found = pairs_found(folder / "home")
    family = {copy: original for copy, (_, original) in planted.items()}
    # a natural copy of an original is also a copy of its planted copy
    same = {frozenset(pair) for pair in known}
    true = {
        pair
        for pair in found
        if len({family.get(one, one) for one in pair}) == 1 or frozenset(family.get(one, one) for one in pair) in same
    }
    for kind in CHANGES:
        mine = [copy for copy, (own, _) in planted.items() if own == kind]
        hits = sum(frozenset((copy, family[copy])) in found for copy in mine)
        print(f"  {kind}: {hits} of {len(mine)} found")
    print(f"  precision {len(true) / max(len(found), 1):.3f} ({len(true)} of {len(found)} pairs)")


def measure_labels(folder: Path, count: int) -> None:
    """Plant wrong labels, run, run the audit, and print precision and recall."""
    data = dataset(folder / "labels", 1)
    flipped = flip_labels(data, count, np.random.default_rng(1))
    home = folder / "home"
    kagglekit(home, "run", NAME, "--data", str(data), "--no-report")
    kagglekit(home, "audit", NAME, "--data", str(data))
    suspected = pd.read_csv(home / NAME / "audit" / "labels.csv", dtype=str)["id"].tolist()
    hits = flipped & set(suspected)
    print(
        f"  wrong labels: {len(hits)} of {count} found, precision {len(hits) / max(len(suspected), 1):.3f} "
        f"({len(suspected)} suspected; the images' own wrong labels count as mistakes)"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--each", type=int, default=60, help="copies of each kind")
    options.add_argument("--flipped", type=int, default=60)
    chosen = options.parse_args()
    if not ARCHIVE.is_file():
        sys.exit("the real archive is not here: this is measured on it only")
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audit = ("audit", NAME, "--data", str(ARCHIVE))
        times = {
            "first command on a machine": seconds(lambda: kagglekit(folder / "home", *audit)),
            "again": seconds(lambda: kagglekit(folder / "home", *audit)),
        }
        shutil.rmtree(folder / "home" / NAME / "cache")
        times["nothing cached but the backbone"] = seconds(lambda: kagglekit(folder / "home", *audit))
        print("  audit of 1,600 images: " + "; ".join(f"{name} {took:.1f} s" for name, took in times.items()))
        known = pairs_found(folder / "home")
        print(f"  {len(known)} natural pairs: {', '.join('/'.join(sorted(pair)) for pair in known)}")
        measure_copies(folder, known, chosen.each)
        measure_labels(folder, chosen.flipped)


if __name__ == "__main__":
    main()
