"""The light commands and the first export of a backbone, each against the imports that they need.

An export is measured in seconds of processor time, of which a busy machine changes less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

from benchmarks.timing import machine, ratio, rounds, seconds

ROUNDS, EXPORTS = 15, 5
PYTHON = sys.executable
COMMANDS = {
    "import typer, rich, pluggy": [PYTHON, "-c", "import typer, rich, pluggy"],
    "kagglekit --help": [PYTHON, "-m", "kagglekit", "--help"],
    "kagglekit list": [PYTHON, "-m", "kagglekit", "list"],
}
EXPORT = (
    "from kagglekit.models import registry; from kagglekit.recipe import FeatureSettings; "
    "registry.resolve(registry.DEFAULT_CPU[0], FeatureSettings())"
)
TIME = "import time; print(time.process_time())"
EXPORTING = {
    "import torch, timm": [PYTHON, "-c", f"import torch, timm; {TIME}"],
    "first export of the default backbone": [PYTHON, "-c", f"{EXPORT}; {TIME}"],
}


def elapsed(command: list[str]) -> float:
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def processor_time(command: list[str]) -> float:
    """Return the processor seconds of a command with an empty cache, which it prints last."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"KAGGLEKIT_HOME": home}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(done.stdout.splitlines()[-1])


def compare(commands: Mapping[str, list[str]], measure: Callable[[list[str]], float], count: int) -> None:
    ways = {name: lambda command=command: measure(command) for name, command in commands.items()}
    rounds(ways, 2)  # warm up
    found = rounds(ways, count)
    base, *others = found
    print(f"  {base}: {statistics.median(found[base]):.3f} s")
    for name in others:
        print(f"  {name}: {statistics.median(found[name]):.3f} s, ratio {ratio(found[name], found[base])}")


def main() -> None:
    print(machine())
    compare(COMMANDS, elapsed, ROUNDS)
    compare(EXPORTING, processor_time, EXPORTS)


if __name__ == "__main__":
    main()
