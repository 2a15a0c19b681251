"""Rows on disk: content of an image -> its row (features, or pixels), for one way of computing it.

An address (such as backbone, weights, preprocessing, view, output, precision, provider, versions) has a folder
of immutable segments, each a pair `<name>.rows.npy` and `<name>.ids.npy`. The second is written last, so
a killed command leaves only whole segments, and two commands at once write segments of their own.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import storage

SEGMENT_ROWS = 1024
_SEGMENT_BYTES = 2**26
_ID = np.dtype("V16")
_ONE_HEADER = threading.Lock()
"""numpy reads a file's header with Python's own parser, which up to Python 3.12.2 fails now and then where two threads
parse at once ("AST constructor recursion depth mismatch")."""


class RowStore:
    """Rows of one address, all of one shape and type, by image content (16 bytes)."""

    def __init__(self, folder: Path, address: dict[str, Any]) -> None:
        """Open the address below `folder`; its segments are listed, rows stay on disk."""
        self._folder = folder / storage.digest(address, 32)
        self._located: dict[bytes, tuple[Path, int]] = {}
        self._new: dict[bytes, NDArray[Any]] = {}
        self._open: dict[Path, NDArray[Any]] = {}
        description = self._folder / "address.json"
        if not description.is_file():
            storage.write_json(description, address)
        for ids in sorted(self._folder.glob("*.ids.npy")):
            self._list(ids)

    def _list(self, ids: Path) -> None:
        rows = ids.with_name(ids.name.replace(".ids.npy", ".rows.npy"))
        if not rows.is_file():  # somebody has tidied up
            return
        for index, content in enumerate(np.load(ids).tolist()):
            self._located[content] = (rows, index)

    def __contains__(self, content: bytes) -> bool:
        return content in self._located or content in self._new

    def add(self, content: bytes, row: NDArray[Any]) -> None:
        """Add one row; a full segment goes to disk."""
        self._new[content] = row
        if len(self._new) >= SEGMENT_ROWS or len(self._new) * row.nbytes >= _SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last segment."""
        if not self._new:
            return
        name = uuid.uuid4().hex
        ids = self._folder / f"{name}.ids.npy"
        for path, array in (
            (self._folder / f"{name}.rows.npy", np.stack(list(self._new.values()))),
            (ids, np.array(list(self._new), dtype=_ID)),
        ):
            with storage.replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        self._new.clear()
        self._list(ids)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files out: another process opens them itself."""
        return self.__dict__ | {"_open": {}}

    def row(self, content: bytes) -> NDArray[Any]:
        """Return one row, on disk until it is looked at; raise KeyError where it is not there."""
        path, index = self._located[content]
        if path not in self._open:
            self._open[path] = _mapped(path)
        found: NDArray[Any] = self._open[path][index]
        return found

    def gather(self, contents: Sequence[bytes], out: NDArray[Any]) -> None:
        """Copy the rows of `contents` (N) into `out` (N, …); raise KeyError for one that is not there."""
        by_segment: dict[Path, list[tuple[int, int]]] = {}
        for row, content in enumerate(contents):
            path, index = self._located[content]
            by_segment.setdefault(path, []).append((row, index))
        for path, pairs in by_segment.items():
            rows, indices = np.array(pairs).T
            out[rows] = _mapped(path)[indices]


def _mapped(path: Path) -> NDArray[Any]:
    """Return a segment's rows, on disk until they are looked at."""
    with _ONE_HEADER:
        rows: NDArray[Any] = np.load(path, mmap_mode="r")
    return rows
