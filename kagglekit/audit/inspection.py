"""Audit a competition's data before training.

N: images, first the readable training images, then the readable test images that need a prediction.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit.audit import duplicates, outliers
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions.competition import Competition
from kagglekit.data import exclusions, folds, tables
from kagglekit.data.project import Project
from kagglekit.data.tables import Scanned
from kagglekit.heads import features
from kagglekit.images.depth import Levels
from kagglekit.images.scan import Seen
from kagglekit.models import registry
from kagglekit.recipe import ComputeSettings, DataSettings, FeatureSettings
from kagglekit.runs import findings, store
from kagglekit.runs.store import Run
from kagglekit.tasks.label_errors import Suspect
from kagglekit.tasks.task import Task

_BACKBONE, _SEEN_SMALL = "tf_efficientnet_lite0", FeatureSettings(image_size=(96,), crop="squash")
"""Backbone and settings of the features for look-alikes: small, and fast enough for all images."""
_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The results of the audit."""

    competition: Competition
    table: pd.DataFrame
    """N rows: `id`, `path`, `part`, `label`, `group`, `fold` (the last three empty or negative if missing)."""
    seen: list[Seen]
    """Size, shape and colours of each image, (N,)."""
    levels: Levels
    """How images of more than 8 bits per channel are shown."""
    unreadable: pd.DataFrame
    """Unreadable images: `part`, `id`, `path`, `reason`."""
    copies: duplicates.Found
    leak: Leak | None
    """Check for leaks; None without features or with nothing to compare."""
    odd: list[outliers.Odd]
    run: Run | None
    """Run whose out-of-fold probabilities were compared with the labels, if any."""
    suspects: list[Suspect]
    """Suspected label errors; indices are rows of `table`."""
    dropped: pd.DataFrame
    """Training images that runs exclude: `id`, `reason`."""
    problem: str
    """Reason why there are no features; empty if there are."""

    @property
    def train(self) -> pd.DataFrame:
        """Rows of training images."""
        return self.table[self.table["part"] == "train"]


_LEAK = 0.05
"""Largest harmless difference between `Leak.random` and `Leak.elsewhere`."""
_ACROSS = 0.02
"""Share of images with a look-alike in another fold above which scores may be too optimistic."""


@dataclass(frozen=True)
class Leak:
    """How much a random split would leak, judged by nearest neighbours."""

    random: float
    """Share of training images whose nearest neighbour has the same class, which a random split would reward."""
    elsewhere: float | None
    """The same share if the neighbour must be in another group; None without groups."""
    across_folds: float
    """Share of training images with a copy or look-alike in another fold of a run."""

    @property
    def random_would(self) -> bool:
        """Whether a random split would be much too optimistic for unseen groups."""
        return self.elsewhere is not None and self.random - self.elsewhere > _LEAK

    @property
    def verdict(self) -> str:
        """Verdict in one or two sentences."""
        if self.elsewhere is not None:
            would = "A random split would leak" if self.random_would else "A random split would hardly leak"
            return (
                f"{would}: the nearest neighbour has the same class for {self.random:.1%} of the training images, "
                f"but for {self.elsewhere:.1%} if it must be in another group. With the folds that runs use, "
                f"{self.across_folds:.1%} of the images have a look-alike in another fold."
            )
        if self.across_folds > _ACROSS:
            return (
                f"{self.across_folds:.1%} of the training images have a copy or look-alike in another fold, so scores "
                "may be too good: look at the pairs, then declare the groups in the plugin (film, patient, plant) or "
                "drop the copies."
            )
        return (
            f"No sign of a leak between folds: {self.across_folds:.1%} of the training images have a look-alike in "
            "another fold."
        )


def inspect(
    project: Project,
    found: tables.Tables,
    data: DataSettings,
    compute: ComputeSettings,
    console: Console,
    *,
    run: Run | None,
    export: Export,
) -> Inspection:
    """Inspect a competition's data, and compare its labels with the out-of-fold probabilities of a run.

    `export` is the result of `exporting`.
    """
    workspace = project.workspace
    dropped = exclusions.aligned(exclusions.of(workspace, console), found.train)
    scanned = tables.scan_images(found, data, export.beside(compute), workspace.scan, console)
    table = _table(scanned, dropped, project.competition.task, data, console)
    seen = [scanned.seen[path] for path in table["path"]]
    odd = outliers.find(seen)
    suspected = [] if run is None else _suspects(table, run)
    import matplotlib.figure  # noqa: F401  the page needs it; load it while the export runs

    export.wait()
    rows, problem = _features(table, scanned.levels, compute, workspace, console)
    alike = _alike(table, project.competition.task)
    copies = _compare(table, seen, alike, rows, console)
    return Inspection(
        competition=project.competition,
        table=table,
        seen=seen,
        levels=scanned.levels,
        unreadable=scanned.quarantine,
        copies=copies,
        leak=None if rows is None else _leak(table, alike, copies),
        odd=odd,
        run=run,
        suspects=suspected,
        dropped=dropped,
        problem=problem,
    )


def _table(scanned: Scanned, dropped: pd.DataFrame, task: Task, data: DataSettings, console: Console) -> pd.DataFrame:
    kept = (~scanned.train["id"].isin(dropped["id"])).to_numpy()  # runs split folds without the dropped images
    train = scanned.train.assign(part="train", fold=duplicates.NO_FOLD)
    train.loc[kept, "fold"] = _folds(scanned.train[kept].reset_index(drop=True), task, data, console)
    if "group" not in train:
        train["group"] = ""
    readable = scanned.requested[scanned.requested["content"] != ""]
    test = readable.assign(part="test", fold=duplicates.NO_FOLD, group="", label="")
    columns = ["id", "path", "part", "label", "group", "fold", "content"]
    return pd.concat([train[columns], test[columns]], ignore_index=True)


def _folds(train: pd.DataFrame, task: Task, data: DataSettings, console: Console) -> folds.Fold:
    """Return the folds that a run would use."""
    try:
        return folds.assign(train, task, data)
    except UserError as error:
        console.warn(f"audit: this data has no valid folds: {error}")
        return np.full(len(train), duplicates.NO_FOLD, np.int64)


@dataclass(frozen=True)
class Export:
    """An export in another process. `process` is None if there is nothing to export."""

    process: subprocess.Popen[bytes] | None

    def wait(self) -> None:
        """Wait for the end. A failed export is repeated, and its error reported, when the backbone is used."""
        if self.process is not None:
            self.process.wait()

    def beside(self, compute: ComputeSettings) -> ComputeSettings:
        """Return settings that leave one core to the export: reading images on all cores would slow both down."""
        if self.process is None:
            return compute
        return dataclasses.replace(compute, threads=max(compute.num_threads - 1, 1))


@contextmanager
def exporting(console: Console) -> Iterator[Export]:
    """Export the backbone for look-alikes, if needed, while the `with` block reads images.

    The export has its own process, because torch traces a model on one core and would block the reading threads.
    """
    if registry.is_ready(_BACKBONE, _SEEN_SMALL):
        yield Export(None)
        return
    console.say(f"{_BACKBONE}: loading weights and exporting to ONNX (once)")
    # -P: don't import files of the current folder as modules
    command = [sys.executable, "-P", "-c", f"from {__name__} import export_backbone; export_backbone()"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
        try:
            yield Export(process)
        finally:
            process.kill()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # returns when the parent closes the other end
    os._exit(1)


def export_backbone() -> None:
    """Export the backbone for look-alikes. Exits when the parent process ends in any way."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    registry.resolve(_BACKBONE, _SEEN_SMALL, lambda _: None)


def _features(
    table: pd.DataFrame,
    levels: Levels,
    compute: ComputeSettings,
    workspace: Workspace,
    console: Console,
) -> tuple[NDArray[np.float16] | None, str]:
    """Return (features (N, D) with rows of length 1, ""), or (None, reason)."""
    try:
        backbone = registry.resolve(_BACKBONE, _SEEN_SMALL, console.say).with_levels(levels)
    except UserError as error:
        console.warn(f"audit: look-alikes are found by hash only, and leaks are not checked: {error}")
        return None, str(error)
    engine = features.FeatureEngine([backbone], ("plain",), "pooled", compute, workspace.features, warn=console.warn)
    contents = [bytes.fromhex(content) for content in table["content"]]
    found = engine.compute(table["path"].tolist(), contents, console)
    rows = np.empty((len(table), sum(found.widths)), np.float16)
    for start in range(0, len(table), _BLOCK):
        block = found.rows(np.arange(start, min(start + _BLOCK, len(table))))[:, 0]
        rows[start : start + _BLOCK] = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
    return rows, ""


def _compare(
    table: pd.DataFrame,
    seen: Sequence[Seen],
    alike: NDArray[np.int64],
    rows: NDArray[np.float16] | None,
    console: Console,
) -> duplicates.Found:
    def hashes(name: str) -> NDArray[np.uint64]:
        return np.frombuffer(b"".join(getattr(image, name) for image in seen), np.uint64)

    groups = np.where(table["group"] == "", -1, pd.factorize(table["group"])[0]).astype(np.int64)
    images = duplicates.Images(
        even=np.array([image.structure < duplicates.STRUCTURE for image in seen], bool),
        contents=pd.factorize(table["content"])[0].astype(np.int64),
        looks=hashes("looks"),
        mirrored=hashes("mirrored"),
        features=rows,
        test=(table["part"] == "test").to_numpy(),
        label=alike,
        fold=table["fold"].to_numpy(np.int64),
        group=groups,
    )
    with console.progress("compare", duplicates.num_blocks(len(table)), "blocks") as advance:
        return duplicates.find(images, advance)


def _alike(table: pd.DataFrame, task: Task) -> NDArray[np.int64]:
    """Return a number for each image, equal for labels that count as the same, (N,): of numbers, those of one bin.

    It is -1 for test images.
    """
    train = (table["part"] == "train").to_numpy()
    labels = table["label"][train]
    strata = task.strata(task.truth(labels))
    found = np.full(len(table), -1, np.int64)
    found[train] = pd.factorize(strata if strata.ndim == 1 else labels)[0]
    return found


def _leak(table: pd.DataFrame, labels: NDArray[np.int64], copies: duplicates.Found) -> Leak | None:
    """Check for leaks. Returns None if no training image has a neighbour."""
    train = (table["part"] == "train").to_numpy()

    def right(nearest: NDArray[np.int64]) -> float | None:
        known = train & (nearest >= 0)
        return float((labels[nearest[known]] == labels[known]).mean()) if known.any() else None

    random = right(copies.nearest)
    if random is None:
        return None
    return Leak(random, right(copies.nearest_elsewhere), float(copies.crosses["fold"][train].mean()))


def _suspects(table: pd.DataFrame, run: Run) -> list[Suspect]:
    """Return suspected label errors among the scored images of a run that have not changed since."""
    judged = findings.read(run)
    rows = table[table["part"] == "train"]
    indices = dict(zip(zip(rows["id"], rows["label"], rows["content"], strict=True), rows.index.tolist(), strict=True))
    own = list(zip(judged.table["id"], judged.table["label"], judged.table["content"], strict=True))
    suspected = judged.task.suspects(judged.truth, judged.probabilities)
    return [dataclasses.replace(one, index=indices[own[one.index]]) for one in suspected if own[one.index] in indices]


def judge(project: Project, reference: str | None) -> Run | None:
    """Return the run to compare the labels with: the requested one, else the best on all images, else None.

    Raises UserError for a synthetic run and for a run of another competition.
    """
    competition = project.competition
    if reference is None:
        metric = competition.scored_by.name
        return store.best_run(project.workspace, lambda run, result: result.metric == metric and findings.are_in(run))
    run = store.find(reference)
    name = findings.read(run).record.competition.name
    if run.synthetic or name != competition.name:
        what = "a synthetic run" if run.synthetic else f"a run of {name}"
        raise UserError(f"--run {reference}: this is {what}, which can't judge the labels of {competition.name}.")
    return run
