"""The light commands against `python -c "import typer, rich, pluggy"`, the imports that they need."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.timing import machine, ratio, rounds, seconds

ROUNDS = 15
COMMANDS = {
    "import typer, rich, pluggy": [sys.executable, "-c", "import typer, rich, pluggy"],
    "kagglekit --help": [sys.executable, "-m", "kagglekit", "--help"],
    "kagglekit list": [sys.executable, "-m", "kagglekit", "list"],
}


def main() -> None:
    def taken(command: list[str]) -> float:
        return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))

    ways = {name: lambda command=command: taken(command) for name, command in COMMANDS.items()}
    rounds(ways, 2)  # warm up
    found = rounds(ways, ROUNDS)
    base, *others = found
    print(machine())
    print(f"  {base}: {statistics.median(found[base]):.3f} s")
    for name in others:
        print(f"  {name}: {statistics.median(found[name]):.3f} s, ratio {ratio(found[name], found[base])}")


if __name__ == "__main__":
    main()
