"""Stages of a run. Each writes its files and a manifest of its inputs and outputs.

A stage is skipped if its files match the manifest (by size and time, if in doubt by content) and its inputs have not
changed. Otherwise it runs again. This is how a killed command resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
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
    """Files that the stage writes to the run's folder."""
    after: tuple[str, ...] = ()
    """Stages whose files it reads."""
    key: str = ""
    """Hash of the inputs that no other stage has."""


class Stages:
    """The stages of one run folder."""

    def __init__(self, folder: Path, key: str, stages: Sequence[Stage], warn: Callable[[str], None]) -> None:
        """`key` is a hash of all inputs of the run. `warn` reports changed files."""
        self._folder = folder
        self._key = key
        self._stages = {stage.name: stage for stage in stages}
        self._warn = warn

    def is_made(self, name: str) -> bool:
        """Return whether the stage's files are complete and up to date with its inputs."""
        manifest = self._manifest(name)
        if manifest is None or manifest.made_from != self._sources(name):
            return False
        if set(manifest.files) != set(self._stages[name].files):  # another version wrote other files
            return False
        return all(self._is_same(file, left) for file, left in manifest.files.items())

    def all_made(self) -> bool:
        """Return whether all stages are up to date."""
        return all(self.is_made(name) for name in self._stages)

    def forget(self, name: str) -> None:
        """Make the stage run again. Files that the user edited are kept under another name."""
        self._set_changed_aside(name)
        self._path(name).unlink(missing_ok=True)

    def leave_out(self, names: Collection[str]) -> None:
        """Remove stages that the run will not make."""
        self._stages = {
            name: replace(stage, after=tuple(before for before in stage.after if before not in names))
            for name, stage in self._stages.items()
            if name not in names
        }

    def make(self, name: str, work: Callable[[], None], *, together: bool = False) -> None:
        """Call `work` to write the stage's files, unless they are up to date.

        With several processes, only the first calls `work`, unless they work `together`.
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
        """Return the time of each stage that has run, in seconds."""
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
        """Return the key of the run and the hashes of the files that the stage reads."""
        sources: dict[str, Any] = {"run": self._key}
        if self._stages[name].key:
            sources["own"] = self._stages[name].key
        for before in self._stages[name].after:
            manifest = self._manifest(before)
            sources[before] = None if manifest is None else manifest.hashes
        return sources

    def _is_same(self, file: str, left: FileRecord) -> bool:
        path = self._folder / file
        return path.is_file() and (tuple(storage.stamp(path)) == left.stamp or storage.file_sha256(path) == left.sha256)

    def _set_changed_aside(self, name: str) -> None:
        """Keep files that the user edited under another name, because the stage is about to overwrite them."""
        manifest = self._manifest(name)
        for file, left in ({} if manifest is None else manifest.files).items():
            path = self._folder / file
            if path.is_file() and not self._is_same(file, left):
                kept = path.with_name(f"{path.stem}.changed-{storage.file_sha256(path)[:8]}{path.suffix}")
                path.replace(kept)
                self._warn(f"{path} was changed since it was written: your version is kept as {kept.name}")
