"""Which content a file had when it was last read: saves reading it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from kagglekit import storage


class ContentIndex:
    """(path, size, time of change) -> hash of the content (16 bytes), kept in one parquet file.

    Only readable images are in it: a later version of a decoder may read what this one can't.
    """

    def __init__(self, path: Path) -> None:
        """Open the index at `path`, which need not exist."""
        self._path = path
        self._entries: dict[str, tuple[int, int, bytes]] = self._load()
        self._new: dict[str, tuple[int, int, bytes]] = {}

    def _load(self) -> dict[str, tuple[int, int, bytes]]:
        from pyarrow import parquet

        if not self._path.is_file():
            return {}
        columns = parquet.read_table(self._path).to_pydict()
        rows = zip(*(columns[c] for c in ("path", "size", "changed", "digest")), strict=True)
        return {path: (size, changed, digest) for path, size, changed, digest in rows}

    def get(self, path: str) -> bytes | None:
        """Return what the file held, or None if it is new or has changed."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        try:
            fresh = storage.stamp(Path(path)) == [entry[0], entry[1]]
        except OSError:
            return None
        return entry[2] if fresh else None

    def put(self, path: str, stamp: list[int], digest: bytes) -> None:
        """Remember what a file of this [size, time of change] holds."""
        self._entries[path] = self._new[path] = (stamp[0], stamp[1], digest)

    def save(self) -> None:
        """Write what is new, together with what another command has written meanwhile."""
        import pyarrow
        from pyarrow import parquet

        if not self._new:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._path}.lock"):
            entries = self._load() | self._new
            columns = _columns(entries.items())
            with storage.replacing(self._path) as temporary:
                parquet.write_table(pyarrow.table(columns), temporary)
        self._new.clear()


def _columns(entries: Iterable[tuple[str, tuple[int, int, bytes]]]) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {"path": [], "size": [], "changed": [], "digest": []}
    for path, (size, changed, digest) in entries:
        for name, value in zip(columns, (path, size, changed, digest), strict=True):
            columns[name].append(value)
    return columns
