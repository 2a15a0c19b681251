"""Run folders: what a run leaves behind, and how it is found again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from kagglekit.base import distributed, storage
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace, home

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from kagglekit.base.console import Console

_OLD = 60.0
"""Seconds after which nobody is still writing a small file."""
SYNTHETIC = "synthetic"
"""Stands in the name of everything that a rehearsal leaves."""


@dataclass
class Run:
    """One folder under `runs/`."""

    folder: Path
    key: str = ""
    """Digest of everything that the run is made from."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent before the run's stages: on the data, the scan, the backbones."""

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def synthetic(self) -> bool:
        """Whether it is a rehearsal on drawn images."""
        return f"-{SYNTHETIC}-" in self.id

    @property
    def submission(self) -> Path:
        """The file for Kaggle; that of a rehearsal says so in its name."""
        return self.folder / (f"submission.{SYNTHETIC}.csv" if self.synthetic else "submission.csv")

    @property
    def result(self) -> dict[str, Any] | None:
        """The closing numbers, or None while the run is not finished."""
        found: dict[str, Any] | None = storage.read_json(self.folder / "result.json")
        return found

    @contextmanager
    def locked(self, console: Console, part: str = "") -> Iterator[None]:
        """Keep other commands from working on this run, or on a folder of it; wait for one that does.

        Of several processes the first one holds the lock for all.
        """
        if not distributed.is_first():
            yield
            return
        place = self.folder / part
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.say(f"another command is working on {part or 'run'} {self.id}: waiting for it")
            lock.acquire()
        shared = filter(_is_old, place.glob("stages/.*.partial"))  # where commands that train other folds write too
        for left in (*place.glob(".*.partial"), *shared):  # of killed commands
            left.unlink(missing_ok=True)
        try:
            yield
        finally:
            lock.release()

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as parquet."""
        with storage.replacing(self.folder / name) as temporary:
            frame.to_parquet(temporary, index=False)

    def write_probabilities(
        self,
        name: str,
        ids: Sequence[str],
        probabilities: NDArray[np.float64],
        labels: Sequence[str],
        **more: Any,
    ) -> None:
        """Write probabilities (N, C) by id as parquet, one column a class after `id` and any `more`."""
        import pandas as pd

        known = {beside(column, labels): values for column, values in ({"id": list(ids)} | more).items()}
        columns = {label: probabilities[:, place] for place, label in enumerate(labels)}
        self.write_frame(name, pd.DataFrame(known | columns))

    def read_probabilities(
        self, name: str, ids: Sequence[str], labels: Sequence[str], view: str = ""
    ) -> NDArray[np.float64]:
        """Read what `write_probabilities` wrote, (N, C), for `ids` in their order; of one view, if there are more."""
        import numpy as np
        import pandas as pd

        frame = pd.read_parquet(self.folder / name).set_index(beside("id", labels))
        if view:
            frame = frame[frame[beside("view", labels)] == view]
        return np.asarray(frame.loc[list(ids), list(labels)].to_numpy(dtype=np.float64))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD
    except FileNotFoundError:  # it has just got its name
        return False


def beside(column: str, labels: Sequence[str]) -> str:
    """Return a column's name that is no class's: a class may be called `id`."""
    while column in labels:
        column += "_"
    return column


def open_run(workspace: Workspace, key: dict[str, Any], synthetic: bool = False) -> Run:
    """Return the run of this key, new or old: the same command on the same data leads to the same folder."""
    digest = storage.digest(key, 32)
    workspace.runs.mkdir(parents=True, exist_ok=True)
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.cache / "runs.lock"):
        found = sorted(workspace.runs.glob(f"*-{digest[:8]}"))
        begun = time.strftime("%Y%m%d-%H%M") + (f"-{SYNTHETIC}" if synthetic else "")
        folder = found[-1] if found else workspace.runs / f"{begun}-{digest[:8]}"
        folder.mkdir(exist_ok=True)
    return Run(folder, digest)


def decide(workspace: Workspace, key: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was decided when a command of this key ran first, else decide now; stored before it is used.

    For what depends on the machine or the moment, so that a command that goes on does not take another turn.
    """
    path = _decision(workspace, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        decided: dict[str, Any] | None = storage.read_json(path)
        if decided is None:
            decided = make()
            storage.write_json(path, decided)
    return decided


def forget(workspace: Workspace, key: dict[str, Any]) -> None:
    """Let the next command of this key decide anew."""
    _decision(workspace, key).unlink(missing_ok=True)


def _decision(workspace: Workspace, key: dict[str, Any]) -> Path:
    return workspace.decisions / f"{storage.digest(key, 16)}.json"


def find(reference: str) -> Run:
    """Return the run that an id (or its unique ending) or a path means; raise UserError for none or several."""
    path = Path(reference)
    if (path / "run.json").is_file():
        return Run(path.resolve())
    records = [r for place in ("*/runs", f"*/{SYNTHETIC}/runs") for r in home().glob(f"{place}/*/run.json")]
    found = [record.parent for record in records if reference and record.parent.name.endswith(reference)]
    if len(found) == 1:
        return Run(found[0])
    if found:
        raise UserError(
            f"{reference!r} means {len(found)} runs: {', '.join(f.name for f in found[:4])}; give more of it."
        )
    raise UserError(f"no run {reference!r} in {home()}: `kagglekit runs` lists them.")


def all_runs(workspace: Workspace) -> list[Run]:
    """Return a competition's runs, oldest first, and then its rehearsals."""
    places = (workspace.runs, workspace.synthetic.runs)
    return [Run(path.parent) for place in places for path in sorted(place.glob("*/run.json"))]
