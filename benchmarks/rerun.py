"""A finished command repeated, against the same command with an empty cache, as whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.features import ARCHIVE
from benchmarks.timing import machine, seconds


def main() -> None:
    if not ARCHIVE.is_file():
        sys.exit("the real archive is not here: this is measured on it only")
    command = [sys.executable, "-m", "kagglekit", "run", "dogs-vs-cats", "--data", str(ARCHIVE), "--no-report"]
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"KAGGLEKIT_HOME": home}

        def run() -> float:
            return seconds(lambda: subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL))

        cold, again = run(), [run() for _ in range(5)]
    print(machine())
    print(f"  cold cache: {cold:.1f} s; typed again: {statistics.median(again):.2f} s, {max(again):.2f} s at most")


if __name__ == "__main__":
    main()
