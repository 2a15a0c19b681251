"""A cache of rows on disk: content hash of an image -> its row of features or pixels.

An address is how rows are computed (such as backbone, weights, preprocessing, view, output, precision, provider,
versions). It has a folder of immutable segments, each a pair `<name>.rows.npy` and `<name>.ids.npy`. The second is
written last, so a killed command leaves only whole segments. Two commands at once write separate segments.
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
"""numpy reads a file's header with Python's own parser, which up to Python 3.12.2 occasionally fails if two threads
parse at once ("AST constructor recursion depth mismatch")."""


class RowStore:
    """Rows of one address, all of one shape and type, by content hash of the image (16 bytes)."""

    def __init__(self, folder: Path, address: dict[str, Any]) -> None:
        """Open the address below `folder`: its segments are indexed, rows stay on disk."""
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
        if not rows.is_file():  # the user may delete files of a cache
            return
        for index, content in enumerate(np.load(ids).tolist()):
            self._located[content] = (rows, index)

    def __contains__(self, content: bytes) -> bool:
        return content in self._located or content in self._new

    def add(self, content: bytes, row: NDArray[Any]) -> None:
        """Add one row; write the segment once it is full."""
        self._new[content] = row
        if len(self._new) >= SEGMENT_ROWS or len(self._new) * row.nbytes >= _SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows added since the last segment."""
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
        """Leave out open files: another process opens its own."""
        return self.__dict__ | {"_open": {}}

    def row(self, content: bytes) -> NDArray[Any]:
        """Return one row, memory-mapped; raise KeyError if it is missing."""
        path, index = self._located[content]
        if path not in self._open:
            self._open[path] = _mapped(path)
        found: NDArray[Any] = self._open[path][index]
        return found

    def gather(self, contents: Sequence[bytes], out: NDArray[Any]) -> None:
        """Copy the rows of `contents` (N) into `out` (N, …); raise KeyError if one is missing."""
        by_segment: dict[Path, list[tuple[int, int]]] = {}
        for row, content in enumerate(contents):
            path, index = self._located[content]
            by_segment.setdefault(path, []).append((row, index))
        for path, pairs in by_segment.items():
            rows, indices = np.array(pairs).T
            out[rows] = _mapped(path)[indices]


def _mapped(path: Path) -> NDArray[Any]:
    """Return a segment's rows, memory-mapped."""
    with _ONE_HEADER:
        rows: NDArray[Any] = np.load(path, mmap_mode="r")
    return rows
