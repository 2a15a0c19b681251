"""Peak memory of a whole run on 1,600 and 16,000 different images, with and without the export of the backbone.

The images are those of the real archive, or drawn ones if it is missing. A few bytes are appended to each copy, so that
no two files are equal and none is in the cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.features import ARCHIVE
from benchmarks.timing import machine
from kagglekit.competitions import plugins, synthetic
from kagglekit.data import archives


def dataset(folder: Path, copies: int) -> Path:
    """Return a folder in the layout of Dogs vs Cats with `copies` copies of each image."""
    if ARCHIVE.is_file():
        source = archives.extract(ARCHIVE, folder).folder
    else:
        print("the real archive is not here: drawn images instead")
        drawn = synthetic.draw(plugins.load("dogs-vs-cats").competition(), folder)
        source = archives.extract(drawn.archive, folder).folder
    made = folder / f"copies-{copies}"
    for part in ("train", "test"):
        (made / part).mkdir(parents=True)
        for path in sorted((source / part).glob("*.jpg")):
            content = path.read_bytes()
            stem, _, number = path.stem.rpartition(".")
            for copy in range(copies):
                name = f"{int(number) * copies + copy}.jpg"
                (made / part / (f"{stem}.{name}" if stem else name)).write_bytes(content + copy.to_bytes(4, "big"))
    return made


def peak(home: Path, data: Path, backbone: str) -> tuple[float, float]:
    """Run in a separate process. Return its peak memory in MB and its time in seconds."""
    command = [sys.executable, "-m", "kagglekit", "run", "dogs-vs-cats", "--data", str(data), "--backbone", backbone]
    command.append("--no-report")  # the report has a separate benchmark
    process = subprocess.Popen(command, env=os.environ | {"KAGGLEKIT_HOME": str(home)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--backbone", default="tf_efficientnet_lite2")
    options.add_argument("--copies", type=int, nargs=2, default=(1, 10))
    chosen = options.parse_args()
    print(f"{machine()}; {chosen.backbone}")
    ways = ("with export", "exported before")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[tuple[str, int], float] = {}
        for copies in chosen.copies:
            data = dataset(folder / str(copies), copies)
            count = sum(1 for _ in data.rglob("*.jpg"))
            for way in ways:
                home = folder / f"home-{copies}-{way}"
                if way == "exported before":
                    shutil.copytree(folder / f"home-{copies}-with export" / ".cache", home / ".cache")
                found[way, copies], seconds = peak(home, data, chosen.backbone)
                print(
                    f"  {count:6} images, {way}: {found[way, copies]:.0f} MB, {seconds:.0f} s of core time", flush=True
                )
            shutil.rmtree(data)
    small, large = chosen.copies
    for way in ways:
        ratio = found[way, large] / found[way, small]
        print(f"  {way}: {ratio:.3f} times the memory for {large / small:g} times the images")


if __name__ == "__main__":
    main()
