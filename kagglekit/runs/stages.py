"""Stages of a run: each leaves whole files and a manifest that says what they were made from.

A stage is skipped when its files are those of the manifest (size and time first, content when in doubt) and
nothing that it was made from has changed; else it is made again. So a killed command goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kagglekit.base import distributed, storage
from kagglekit.runs import filenames, record
from kagglekit.runs.record import FileRecord, Manifest


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    files: tuple[str, ...]
    """What it leaves in the run's folder."""
    after: tuple[str, ...] = ()
    """The stages whose files it reads."""


class Stages:
    """The stages of one run folder."""

    def __init__(self, folder: Path, key: str, stages: Sequence[Stage], warn: Callable[[str], None]) -> None:
        """`key` is the digest of all that the run is made from; `warn` is told of files that were changed."""
        self._folder = folder
        self._key = key
        self._stages = {stage.name: stage for stage in stages}
        self._warn = warn

    def is_made(self, name: str) -> bool:
        """Say whether the stage's files are there, whole, and made from what is there now."""
        manifest = self._manifest(name)
        if manifest is None or manifest.made_from != self._sources(name):
            return False
        if set(manifest.files) != set(self._stages[name].files):  # made by a version that left fewer
            return False
        return all(self._is_same(file, left) for file, left in manifest.files.items())

    def all_made(self) -> bool:
        """Say whether nothing is left to do."""
        return all(self.is_made(name) for name in self._stages)

    def forget(self, name: str) -> None:
        """Let the stage be made again; what somebody has changed by hand is kept under another name."""
        self._set_changed_aside(name)
        self._path(name).unlink(missing_ok=True)

    def make(self, name: str, work: Callable[[], None], *, together: bool = False) -> None:
        """Let `work` write the stage's files, unless they are made already.

        Of several processes only the first works, unless they work `together`.
        """
        first = distributed.is_first()
        if not (distributed.agree(first and not self.is_made(name)) if together else first and not self.is_made(name)):
            return
        if first:
            self._set_changed_aside(name)
        started = time.perf_counter()
        work()
        if first:
            self._record(name, time.perf_counter() - started)

    def seconds(self) -> dict[str, float]:
        """Return the time that each stage took when it was made."""
        manifests = {name: self._manifest(name) for name in self._stages}
        return {name: manifest.seconds for name, manifest in manifests.items() if manifest is not None}

    def _path(self, name: str) -> Path:
        return self._folder / filenames.STAGES / f"{name}.json"

    def _manifest(self, name: str) -> Manifest | None:
        return record.read(self._path(name), Manifest)

    def _record(self, name: str, seconds: float) -> None:
        files = {file: FileRecord.of(self._folder / file) for file in self._stages[name].files}
        record.write(self._path(name), Manifest(made_from=self._sources(name), files=files, seconds=seconds))

    def _sources(self, name: str) -> dict[str, Any]:
        """Return the run's key, and the content of the files that the stage reads."""
        sources: dict[str, Any] = {"run": self._key}
        for before in self._stages[name].after:
            manifest = self._manifest(before)
            sources[before] = None if manifest is None else manifest.hashes
        return sources

    def _is_same(self, file: str, left: FileRecord) -> bool:
        path = self._folder / file
        return path.is_file() and (tuple(storage.stamp(path)) == left.stamp or storage.file_sha256(path) == left.sha256)

    def _set_changed_aside(self, name: str) -> None:
        """Keep what somebody has changed by hand under another name: the stage is about to write it anew."""
        manifest = self._manifest(name)
        for file, left in ({} if manifest is None else manifest.files).items():
            path = self._folder / file
            if path.is_file() and not self._is_same(file, left):
                kept = path.with_name(f"{path.stem}.changed-{storage.file_sha256(path)[:8]}{path.suffix}")
                path.replace(kept)
                self._warn(f"{path} has been changed since it was made: kept as {kept.name}, and made again")
