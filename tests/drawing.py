"""Small competitions drawn for tests, in the layouts and archives of the real ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

COLOURS = [(200, 60, 40), (40, 60, 200), (60, 180, 60), (200, 200, 40), (180, 60, 180)]
COLOURS += [(40, 180, 180), (120, 120, 120), (240, 140, 20), (20, 90, 140), (140, 20, 90)]


def image(colour: int, seed: int, ending: str = ".jpg") -> bytes:
    """Return a small noisy image in one of ten colours; every seed gives other bytes."""
    random = np.random.default_rng(seed)
    pixels = random.normal(COLOURS[colour], 40, (36 + seed % 9, 48, 3)).clip(0, 255).astype(np.uint8)
    return bytes(cv2.imencode(ending, pixels[:, :, ::-1])[1])


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    """Write an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def zipped(members: dict[str, bytes], folder: Path) -> bytes:
    """Return an archive's bytes."""
    return zip_of(folder / "part.zip", members).read_bytes()


def dogs(folder: Path, train: int = 24, test: int = 12) -> Path:
    """Draw Dogs vs Cats Redux as Kaggle delivers it: zips in a zip; test image n is a dog where n is even."""
    pictures = {f"train/{('cat', 'dog')[n % 2]}.{n // 2}.jpg": image(n % 2, n) for n in range(train)}
    questions = {f"test/{n}.jpg": image((n + 1) % 2, 1000 + n) for n in range(1, test + 1)}
    sample = "id,label\n" + "".join(f"{n},0.5\n" for n in range(1, test + 1))
    members = {
        "sample_submission.csv": sample.encode(),
        "test.zip": zipped(questions, folder),
        "train.zip": zipped(pictures, folder),
    }
    return zip_of(folder / "dogs.zip", members)


def drivers(folder: Path, each: int = 2, drivers: int = 6, test: int = 8, older: bool = False) -> Path:
    """Draw State Farm in today's or the older archive: `each` images a class and driver."""
    rows, pictures = [], {}
    for driver in range(drivers):
        for label in range(10):
            for number in range(each):
                name = f"img_{driver}{label}{number}.jpg"
                rows.append(f"p{driver:03},c{label},{name}")
                pictures[f"train/c{label}/{name}"] = image(label, driver * 100 + label * 10 + number)
    pictures |= {f"test/img_{900 + n}.jpg": image(n % 10, 5000 + n) for n in range(test)}
    table = ("subject,classname,img\n" + "\n".join(rows) + "\n").encode()
    head = "img," + ",".join(f"c{n}" for n in range(10))
    sample = (head + "\n" + "".join(f"img_{900 + n}.jpg" + ",0.1" * 10 + "\n" for n in range(test))).encode()
    if not older:
        members = {f"imgs/{name}": content for name, content in pictures.items()}
        return zip_of(
            folder / "drivers.zip", members | {"driver_imgs_list.csv": table, "sample_submission.csv": sample}
        )
    return zip_of(
        folder / "drivers.zip",
        {
            "imgs.zip": zipped(pictures, folder),
            "driver_imgs_list.csv.zip": zipped({"driver_imgs_list.csv": table}, folder),
            "sample_submission.csv.zip": zipped({"sample_submission.csv": sample}, folder),
        },
    )


def hands(folder: Path) -> Path:
    """Draw State Farm with a bright half: left for c1 and c2, right for c3 and c4; colours tell the others."""
    colours = {1: 1, 3: 1, 2: 2, 4: 2}
    rows, pictures = [], {}

    def picture(label: int, seed: int) -> bytes:
        pixels = np.random.default_rng(seed).normal(COLOURS[colours.get(label, label)], 15, (48, 64, 3))
        if label in (1, 2):
            pixels[:, :32] += 120
        elif label in (3, 4):
            pixels[:, 32:] += 120
        return bytes(cv2.imencode(".jpg", pixels.clip(0, 255).astype(np.uint8)[:, :, ::-1])[1])

    for driver in range(6):
        for label in range(10):
            for number in range(2):
                name = f"img_{driver}{label}{number}.jpg"
                rows.append(f"p{driver:03},c{label},{name}")
                pictures[f"imgs/train/c{label}/{name}"] = picture(label, driver * 100 + label * 10 + number)
    pictures |= {f"imgs/test/img_{900 + n}.jpg": picture(n % 10, 7000 + n) for n in range(20)}
    table = "subject,classname,img\n" + "\n".join(rows) + "\n"
    return zip_of(folder / "hands.zip", pictures | {"driver_imgs_list.csv": table.encode()})
