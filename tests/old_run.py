"""Runs of version 0.1, kept in `fixtures/run-0.1`, and the images that they were made from, drawn again.

That version made them with `leaves.py`, of what `draw` writes into FOLDER, and of a `test_resnet` with random weights:

    kagglekit run leaves.py --data FOLDER --folds 2 --set image_size=32 --method features
        --backbone tf_efficientnet_lite0 --set strengths=10
    kagglekit run leaves.py --data FOLDER --folds 2 --set image_size=32 --method finetune
        --backbone test_resnet=FOLDER/tiny.safetensors --recipe eight-step --set "phases=head epochs=1,all epochs=1"

Left out are logs, pictures, and the trained weights; FOLDER is written as `{data}`. The first run's `kaggle.json` is
what `kagglekit submit` would have left.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd

FIXTURE = Path(__file__).parent / "fixtures" / "run-0.1"
PLUGIN = FIXTURE / "leaves.py"
FOLDER = "{data}"
"""Stands in the fixture where the data's folder stood."""
COLOURS = {"ash": (80, 60, 60), "elm": (60, 80, 60), "oak": (60, 60, 80)}
PLANTS, EACH, TESTS = 6, 3, 9
"""Of each class, of each plant, and of the test set."""
_HEIGHT, _WIDTH = 32, 40


def draw(folder: Path) -> Path:
    """Draw the competition's data; the bytes of every file are the same everywhere."""
    rows = []
    for number, (label, plant, picture) in enumerate(np.ndindex(len(COLOURS), PLANTS, EACH)):
        name = f"{list(COLOURS)[label]}{plant}{picture}.bmp"
        _write(folder / "train" / list(COLOURS)[label] / name, list(COLOURS)[label], number)
        rows.append(f"{name},{list(COLOURS)[label]}-{plant}")
    for number in range(TESTS):
        _write(folder / "test" / f"{number}.bmp", list(COLOURS)[number % 3], 1000 + number)
    (folder / "plants.csv").write_text("image,plant\n" + "\n".join(rows) + "\n")
    return folder


def _write(path: Path, label: str, seed: int) -> None:
    """Write noise in the class's colour as a bitmap: no encoder, and no random generator, that may change."""
    noise = hashlib.shake_128(str(seed).encode()).digest(_HEIGHT * _WIDTH * 3)
    pixels = np.frombuffer(noise, np.uint8).reshape(_HEIGHT, _WIDTH, 3) // 2 + np.array(COLOURS[label], np.uint8)
    rows = pixels[::-1, :, ::-1].tobytes()  # from the bottom, blue first
    head = struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54)
    head += struct.pack("<IiiHHIIiiII", 40, _WIDTH, _HEIGHT, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + rows)


def runs() -> list[Path]:
    """Return the folders of the fixture's runs, that on frozen features first."""
    return sorted(path for path in FIXTURE.iterdir() if path.is_dir() and path.name[:1].isdigit())


def put(home: Path, data: Path) -> list[Path]:
    """Put the runs into a home, as if they had been made there of the images in `data`; return their folders."""
    for run in runs():
        new = home / "old-leaves" / "runs" / run.name
        shutil.copytree(run, new)
        images = pd.read_parquet(new / "images.parquet")
        images["path"] = images["path"].str.replace(FOLDER, str(data), regex=False)
        images.to_parquet(new / "images.parquet", index=False)
        settings = (new / "recipe.toml").read_text()
        (new / "recipe.toml").write_text(settings.replace(FOLDER, str(data)))
    return sorted((home / "old-leaves" / "runs").iterdir())
