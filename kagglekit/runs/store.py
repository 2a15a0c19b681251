"""Find, read and write the folders of runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from kagglekit import recipe
from kagglekit.base import distributed, storage
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace, home
from kagglekit.recipe import Recipe
from kagglekit.runs import filenames, record
from kagglekit.runs.choices import Decision, LeftOut, Race
from kagglekit.runs.probabilities import Probabilities
from kagglekit.runs.record import Alone, FinishingStep, Manifest, Provider, Record, Result, Sent

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.console import Console
    from kagglekit.base.shortlists import Wide

TRAIN_ONLY = -1
"""Fold of an image that every model learns from, and that is never scored."""
_OLD = 60.0
"""Age in seconds above which no command is still writing a small file."""
SYNTHETIC = "synthetic"
"""Part of the name of every folder and submission of a synthetic run."""
REHEARSAL = "rehearsal"
"""Part of the name of every folder of a rehearsal's run."""


@dataclass
class Run:
    """A folder under `runs/`."""

    folder: Path
    key: str = ""
    """Hash of all inputs of the run."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time in seconds spent before the stages: on the data, the scan and the backbones."""

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def synthetic(self) -> bool:
        """Whether the run is synthetic: its images are drawn."""
        return f"-{SYNTHETIC}-" in self.id

    @property
    def rehearsal(self) -> bool:
        """Whether the run's test images are hidden training images."""
        return f"-{REHEARSAL}-" in self.id

    @property
    def submission(self) -> Path:
        """Path of the submission; a synthetic run's is named differently."""
        return self.folder / (filenames.SYNTHETIC_SUBMISSION if self.synthetic else filenames.SUBMISSION)

    @property
    def record(self) -> Record:
        """Inputs of the run. Raises UserError if the folder is not a run."""
        found = record.read(self.folder / filenames.RECORD, Record)
        if found is None:
            raise UserError(f"{self.folder} is not a run: it has no {filenames.RECORD}.")
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """Settings as in the run's file. Another version may have written settings that this one does not know."""
        return recipe.read_file(self.folder / filenames.RECIPE)

    @property
    def recipe(self) -> Recipe:
        """Settings of the run. Raises UserError if this version can't read them."""
        return recipe.of_run(self.folder / filenames.RECIPE)

    @property
    def result(self) -> Result | None:
        """Final numbers; None if the run is not finished."""
        return record.read(self.folder / filenames.RESULT, Result)

    def finished(self) -> Result:
        """Return the final numbers. Raises UserError if the run is not finished."""
        found = self.result
        if found is None:
            raise UserError(f"run {self.id} is not finished: rerun its command to resume.")
        return found

    @property
    def finishing(self) -> tuple[FinishingStep, ...]:
        """Finishing steps that were judged, in order; empty before that."""
        return tuple(map(FinishingStep.from_plain, storage.read_json(self.folder / filenames.FINISH) or ()))

    @property
    def alone(self) -> Alone | None:
        """Finishing of an exported file; None before the finishing steps are chosen."""
        return record.read(self.folder / filenames.ALONE, Alone)

    @property
    def race(self) -> Race | None:
        """The race that chose the frozen backbones; None if there was none."""
        return record.read(self.folder / filenames.RACE, Race)

    @property
    def provider(self) -> Provider | None:
        """Device that computed the features or the training; None before that."""
        return record.read(self.folder / filenames.PROVIDER, Provider)

    @property
    def providers(self) -> list[Provider]:
        """Devices that computed the predictions, one per fine-tuned model."""
        models = sorted(self.folder.glob(f"{filenames.MODELS}/*/{filenames.PROVIDER}"))
        found = [record.read(path, Provider) for path in models or [self.folder / filenames.PROVIDER]]
        return [each for each in found if each is not None]

    @property
    def sent(self) -> Sent | None:
        """Outcome of the latest submission; None if there was none."""
        return record.read(self.folder / filenames.SENT, Sent)

    def manifest(self, stage: str) -> Manifest | None:
        """Return the manifest of a stage, or None if the stage has not run."""
        return record.read(self.folder / filenames.STAGES / f"{stage}.json", Manifest)

    def images(self, part: Literal["train", "test"]) -> pd.DataFrame:
        """Return the images of the run: `id`, `path`, `content` and, for training images, `label`."""
        import pandas as pd

        both = pd.read_parquet(self.folder / filenames.IMAGES)
        return both[both["part"] == part]

    def folds(self) -> pd.Series[int]:
        """Return the fold of each training image, by id; `TRAIN_ONLY` for images that are never scored."""
        fold = self.planned_folds()
        return fold.mask(fold.isin(self.left_out), TRAIN_ONLY)

    def planned_folds(self) -> pd.Series[int]:
        """Return the fold of each training image, by id, also of folds that were left out later."""
        import pandas as pd

        return pd.read_parquet(self.folder / filenames.FOLDS).set_index("id")["fold"]

    @property
    def left_out(self) -> tuple[int, ...]:
        """Folds that were left out to end within the budget."""
        return self.all_left_out.folds

    @property
    def all_left_out(self) -> LeftOut:
        """What was left out to end within the budget."""
        return record.read(self.folder / filenames.LEFT_OUT, LeftOut) or LeftOut()

    def oof(self) -> Probabilities:
        """Return out-of-fold probabilities of the scored images, with `label` and `fold`."""
        return self._probabilities(filenames.OOF)

    def unfinished(self) -> Probabilities:
        """Return out-of-fold probabilities before the steps temperature and clip."""
        return self._probabilities(filenames.UNFINISHED)

    def test(self) -> Probabilities:
        """Return the probabilities of the test images."""
        return self._probabilities(filenames.TEST)

    def of_rows(self, name: str) -> str:
        """Return the name of a file of what rows of the submission are of: groups of images, or else images."""
        grouped = filenames.ROWS.format(name)
        return grouped if (self.folder / grouped).is_file() else name

    def row_oof(self) -> Probabilities:
        """Return the out-of-fold probabilities of what rows of the submission are of, with `label` and `fold`."""
        return self._probabilities(self.of_rows(filenames.OOF))

    def row_unfinished(self) -> Probabilities:
        """Return those before the steps temperature and clip."""
        return self._probabilities(self.of_rows(filenames.UNFINISHED))

    def row_test(self) -> Probabilities:
        """Return the probabilities of what rows of the submission are of."""
        return self._probabilities(self.of_rows(filenames.TEST))

    def _probabilities(self, name: str) -> Probabilities:
        return Probabilities.read(self.folder / name, self.record.competition.labels)

    @contextmanager
    def locked(self, console: Console, part: str = "") -> Iterator[None]:
        """Lock this run, or one of its folders, against other commands. Waits for the lock.

        With several processes, the first holds the lock for all.
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
            console.say(f"another command is working on {part or 'run'} {self.id}: waiting")
            lock.acquire()
        shared = filter(_is_old, place.glob("stages/.*.partial"))  # commands that train other folds write here too
        for left in (*place.glob(".*.partial"), *shared):  # leftovers of killed commands
            left.unlink(missing_ok=True)
        try:
            yield
        finally:
            lock.release()

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as parquet, atomically."""
        with storage.replacing(self.folder / name) as temporary:
            frame.to_parquet(temporary, index=False)

    def write_probabilities(
        self, name: str, ids: Sequence[str], probabilities: Wide, labels: Sequence[str], **more: Any
    ) -> None:
        """Write probabilities (N, C) by id as parquet, with the columns in `more`."""
        self.write_frame(name, Probabilities.table(ids, probabilities, labels, **more))

    def read_probabilities(self, name: str, ids: Sequence[str], labels: Sequence[str], view: str = "") -> Wide:
        """Read the probabilities (N, C) of `ids`, in their order; of one view if the file has several."""
        return Probabilities.read(self.folder / name, labels, view).of(ids)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD
    except FileNotFoundError:  # another command has just renamed it
        return False


def open_run(workspace: Workspace, key: dict[str, Any], mark: Literal["", "synthetic", "rehearsal"] = "") -> Run:
    """Return the run with this key, or create it. The same command on the same data uses the same folder.

    `mark` becomes part of its name.
    """
    digest = storage.digest(key, 32)
    workspace.runs.mkdir(parents=True, exist_ok=True)
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.cache / "runs.lock"):
        found = sorted(workspace.runs.glob(f"*-{digest[:8]}"))
        begun = time.strftime("%Y%m%d-%H%M") + (f"-{mark}" if mark else "")
        folder = found[-1] if found else workspace.runs / f"{begun}-{digest[:8]}"
        folder.mkdir(exist_ok=True)
    return Run(folder, digest)


def decide(workspace: Workspace, key: dict[str, Any], make: Callable[[], Decision]) -> Decision:
    """Return the stored decision for this key. If there is none, call `make` and store its result.

    A resumed command thus repeats the choices that depend on the machine and its state.
    """
    path = _decision(workspace, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        decided = record.read(path, Decision)
        if decided is None:
            decided = make()
            record.write(path, decided)
    return decided


def forget(workspace: Workspace, key: dict[str, Any]) -> None:
    """Delete the decision for this key, so that the next command decides again."""
    _decision(workspace, key).unlink(missing_ok=True)


def _decision(workspace: Workspace, key: dict[str, Any]) -> Path:
    return workspace.decisions / f"{storage.digest(key, 16)}.json"


def find(reference: str) -> Run:
    """Return the run with this path, id or unique end of an id. Raises UserError for none or several."""
    path = Path(reference)
    if (path / filenames.RECORD).is_file():
        return Run(path.resolve())
    places = ("*/runs", f"*/{SYNTHETIC}/runs", f"*/{REHEARSAL}/runs")
    folders = [each for place in places for each in _folders(home().glob(place))]
    found = [folder for folder in folders if reference and folder.name.endswith(reference)]
    if len(found) == 1:
        return Run(found[0])
    if found:
        raise UserError(
            f"{reference!r} matches {len(found)} runs: {', '.join(f.name for f in found[:4])}; give more of the id."
        )
    raise UserError(f"no run {reference!r} in {home()}: `kagglekit runs` lists them.")


def all_runs(workspace: Workspace) -> list[Run]:
    """Return the runs of a competition, oldest first, then its synthetic runs."""
    return [Run(folder) for folder in _folders((workspace.runs, workspace.synthetic.runs))]


def rehearsals(workspace: Workspace) -> list[Run]:
    """Return the runs of a competition's rehearsals, oldest first."""
    return [Run(folder) for folder in _folders((workspace.rehearsal.runs,))]


def _folders(places: Iterable[Path]) -> list[Path]:
    """Return the folders of runs in each place, sorted by name."""
    return [path.parent for place in places for path in sorted(place.glob(f"*/{filenames.RECORD}"))]


def best_run(workspace: Workspace, accept: Callable[[Run, Result], bool] = lambda _run, _result: True) -> Run | None:
    """Return the accepted run with the best out-of-fold score; the oldest one if several are equal.

    Synthetic runs, runs on a sample and unfinished runs are ignored, and those scored by another metric than the
    newest.
    """
    finished = [(run, run.result) for run in all_runs(workspace) if not run.synthetic]
    whole = [(run, result) for run, result in finished if result is not None and not result.sample]
    accepted = [(run, result) for run, result in whole if accept(run, result)]
    alike = [pair for pair in accepted if pair[1].metric == accepted[-1][1].metric]
    return min(alike, key=lambda pair: pair[1].loss)[0] if alike else None
