"""Which content a file had when it was last read: saves reading it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from kagglekit import storage


@dataclass(frozen=True)
class Content:
    """What was in a file: its hash (16 bytes), or why it is no readable image."""

    digest: bytes
    error: str = ""


class ContentIndex:
    """(path, size, time of change) -> Content, kept in one parquet file."""

    def __init__(self, path: Path) -> None:
        """Open the index at `path`, which need not exist."""
        self._path = path
        self._entries: dict[str, tuple[int, int, Content]] = self._load()
        self._new: dict[str, tuple[int, int, Content]] = {}

    def _load(self) -> dict[str, tuple[int, int, Content]]:
        from pyarrow import parquet

        if not self._path.is_file():
            return {}
        columns = parquet.read_table(self._path).to_pydict()
        rows = zip(*(columns[c] for c in ("path", "size", "changed", "digest", "error")), strict=True)
        return {path: (size, changed, Content(digest, error)) for path, size, changed, digest, error in rows}

    def get(self, path: str) -> Content | None:
        """Return what the file held, or None if it is new or has changed."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        try:
            fresh = storage.stamp(Path(path)) == [entry[0], entry[1]]
        except OSError:
            return None
        return entry[2] if fresh else None

    def put(self, path: str, content: Content) -> None:
        """Remember what a file holds now; a file that could not be opened is forgotten with the command."""
        try:
            size, changed = storage.stamp(Path(path))
        except OSError:
            return
        self._entries[path] = (size, changed, content)
        if content.digest:
            self._new[path] = self._entries[path]

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


def _columns(entries: Iterable[tuple[str, tuple[int, int, Content]]]) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {"path": [], "size": [], "changed": [], "digest": [], "error": []}
    for path, (size, changed, content) in entries:
        for name, value in zip(columns, (path, size, changed, content.digest, content.error), strict=True):
            columns[name].append(value)
    return columns
