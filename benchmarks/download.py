"""`kagglekit download` against a bare GET of the same archive from the same server on this machine.

The server is that of the tests, which implements Kaggle's protocol, in a separate process. Two times are measured:
until all bytes have arrived, and until they are verified and unpacked. The second is compared with a bare GET followed
by `archives.extract`, which every run needs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import requests

from benchmarks.features import ARCHIVE
from benchmarks.timing import machine, ratio, rounds, seconds
from kagglekit.base.console import Console
from kagglekit.competitions import plugins
from kagglekit.data import archives
from kagglekit.kaggle import client, download
from tests import drawing, kaggle_server

_CHUNK = 2**18


def _serve(archive: Path, addresses: Connection) -> None:
    with kaggle_server.serving(kaggle_server.State(archive=archive.read_bytes())) as address:
        addresses.send(address)
        addresses.recv()


@contextmanager
def _served(archive: Path) -> Iterator[str]:
    """Serve an archive from another process during the `with` block. Yields the address."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(archive, theirs))
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        server.join()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as quiet:
        folder = Path(name)
        archive = ARCHIVE if ARCHIVE.is_file() else drawing.dogs(folder, train=4000)
        size = archive.stat().st_size
        competition, console = plugins.load("dogs-vs-cats").competition(), Console(quiet)
        with _served(archive) as address:
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

            def arrive() -> float:
                target = folder / f"{next(number)}.zip"
                with client.connect(competition, console) as kaggle:
                    taken = seconds(lambda: download.receive(kaggle, target, console).become(target))
                target.unlink()
                return taken

            def whole() -> float:
                target = folder / f"whole{next(number)}" / "dogs.zip"
                target.parent.mkdir()
                with client.connect(competition, console) as kaggle:
                    taken = seconds(lambda: download.fetch(kaggle, target, console))
                shutil.rmtree(target.parent)
                return taken

            def by_hand() -> float:
                place = folder / "by-hand"
                taken = bare() + seconds(lambda: archives.extract(folder / "bare.zip", place))
                shutil.rmtree(place)
                return taken

            what = {"bare GET": bare, "arrive": arrive, "GET and extract": by_hand, "download": whole}
            found = rounds(what, chosen.rounds)
    print(f"{machine()}; {size / 1e6:.0f} MB")
    print(f"  until all bytes are here / bare GET: {ratio(found['arrive'], found['bare GET'])}")
    print(f"  until checked and unpacked / bare GET and extract: {ratio(found['download'], found['GET and extract'])}")


if __name__ == "__main__":
    main()
