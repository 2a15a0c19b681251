"""`kagglekit download` against a bare GET of the same archive from the same server on this machine.

The server is the tests' one, which speaks Kaggle's protocol. What the command adds is counted twice: while the bytes
arrive, and with the check of every member that follows; unpacking, which a bare GET does not do, is left out of both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import requests

from benchmarks.features import ARCHIVE
from benchmarks.timing import machine, ratio, rounds, seconds
from kagglekit import archives, plugins
from kagglekit.console import Console
from kagglekit.kaggle import client, download
from tests import drawing, kaggle_server

_CHUNK = 2**18


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as quiet:
        folder = Path(name)
        archive = ARCHIVE if ARCHIVE.is_file() else drawing.dogs(folder, train=4000)
        state = kaggle_server.State(archive=archive.read_bytes())
        competition, console = plugins.load("dogs-vs-cats").competition(), Console(quiet)
        with kaggle_server.serving(state) as address:
            os.environ |= kaggle_server.environment(address)
            number = iter(range(1000))

            def bare() -> float:
                with client.connect(competition, console) as kaggle:
                    response = kaggle.archive()
                    url = response.url
                    response.close()

                def get() -> None:
                    with requests.get(url, stream=True, timeout=60) as answer, (folder / "bare.zip").open("wb") as file:
                        file.writelines(answer.iter_content(_CHUNK))
                        file.flush()
                        os.fsync(file.fileno())

                return seconds(get)

            def whole() -> float:
                target = folder / f"{next(number)}.zip"
                with client.connect(competition, console) as kaggle:
                    taken = seconds(lambda: download.fetch(kaggle, target, console))
                target.unlink()
                return taken

            def check() -> float:
                return seconds(lambda: archives.verify(archive, archive.name, lambda _: None))

            found = rounds({"bare GET": bare, "download": whole, "check": check}, chosen.rounds)
    arriving = [whole_ - check_ for whole_, check_ in zip(found["download"], found["check"], strict=True)]
    print(f"{machine()}; {archive.stat().st_size / 1e6 if archive.is_file() else 0:.0f} MB")
    print(f"  download, check left out / bare GET: {ratio(arriving, found['bare GET'])}")
    print(f"  download / bare GET: {ratio(found['download'], found['bare GET'])}")


if __name__ == "__main__":
    main()
