"""Tables of the data: training images, test images and the sample submission."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kagglekit.base import image_names
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions import matching, row_groups, samples, submissions
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import exclusions, file_counts, folds
from kagglekit.data.file_counts import FileCounts
from kagglekit.data.project import Project
from kagglekit.images import scan
from kagglekit.images.depth import Levels
from kagglekit.recipe import ComputeSettings, DataSettings
from kagglekit.tasks.targets import SEPARATOR
from kagglekit.tasks.task import Task


@dataclass(frozen=True)
class Tables:
    """Training and test images, and the sample submission, if any."""

    train: pd.DataFrame
    """The training images: `id`, `path`, `label`, optionally `group` and `valid`; `row`, see `test`."""
    test: pd.DataFrame
    """All test images: `id`, `path`; if a row of the submission is of a group of images, also `row` (`row_groups`)."""
    sample: pd.DataFrame | None
    """The sample submission, as strings."""
    requested: pd.DataFrame
    """The test images to predict: those with a row in the submission, or a sample of them."""
    dropped: pd.DataFrame
    """The training images that the user's drops.csv excludes: `id`, `reason`."""
    counts: FileCounts
    """All files below the folders of training and test images."""

    @property
    def asked(self) -> list[str]:
        """Ids of what a row of the submission may be of, as the data has them: all test images, or their groups."""
        return row_groups.units(self.test)["id"].tolist()

    @property
    def predicted(self) -> list[str]:
        """The same of those that get a prediction."""
        return row_groups.units(self.requested)["id"].tolist()


@dataclass(frozen=True)
class Scanned(Tables):
    """Tables after the scan of the image files. `train` and `requested` have `content`, the hash of each file.

    `train` contains only the readable images. Unreadable images in `requested` have an empty `content`.
    """

    quarantine: pd.DataFrame
    """The unreadable images: `part`, `id`, `path`, `reason`."""
    seen: Mapping[str, scan.Seen]
    """Scan result of each readable file, by path."""
    levels: Levels
    """How images of more than 8 bits per channel are shown."""

    @property
    def usual_shape(self) -> tuple[int, int]:
        """Median height and width of the training images, in pixels."""
        sizes = [(self.seen[path].height, self.seen[path].width) for path in self.train["path"]]
        tall, wide = np.median(sizes, axis=0).astype(int).tolist()
        return tall, wide

    @property
    def usual_elongation(self) -> float:
        """Median ratio of the longer to the shorter side of the training images, some of which may be upright."""
        sizes = np.array([(self.seen[path].height, self.seen[path].width) for path in self.train["path"]])
        return float(np.median(sizes.max(axis=1) / sizes.min(axis=1)))


def read(
    project: Project,
    files: DataFiles,
    data: DataSettings,
    console: Console,
    *,
    drops: pd.DataFrame | None = None,
) -> Tables:
    """Read both tables and the sample submission, and print a summary.

    `drops` lists the training images to leave out: `id`, `reason`.
    """
    plugin, competition = project.plugin, project.competition
    try:
        train = plugin.train_table(competition, files)
        test = plugin.test_table(competition, files)
        sample = samples.read(competition, files)
    finally:  # a remark may say why a table is missing
        say_remarks(files, console)
    _warn_of_lookalikes(train["label"], console)
    _warn_of_unused(train["label"], competition, console)
    counts = file_counts.count(competition, files, [*train["path"], *test["path"]])
    groups = f", {train['group'].nunique()} groups" if "group" in train else ""
    console.say(
        f"{files.origin}: {len(train)} training images of {competition.target.counted}{groups}, "
        f"{len(test)} test images{_in_groups(test)}{'' if sample is None else f', {len(sample)} rows requested'}"
    )
    dropped = pd.DataFrame(columns=["id", "reason"], dtype=str)
    if drops is not None and len(drops):
        train, dropped = without(train, drops, competition.task, console)
    if sample is None and competition.submission.sample:
        console.say(f"no sample submission was found: each {_WORDS['row' in test][0]} gets a row")
    requested = test if sample is None else _requested(competition, test, sample, files, console)
    say_remarks(files, console)
    count, seed = data.sample, data.seed
    strata = competition.task.strata(competition.task.truth(train["label"])) if count else None
    return Tables(
        train=folds.sample(train, count, seed, data.num_folds, labels=strata),
        test=test,
        sample=sample,
        requested=folds.sample(requested, count, seed),
        dropped=dropped,
        counts=counts,
    )


def say_remarks(files: DataFiles, console: Console) -> None:
    """Say once what was assumed about the files."""
    for remark in dict.fromkeys(files.remarks):
        console.say(remark)
    files.remarks.clear()


def _warn_of_lookalikes(labels: pd.Series[str], console: Console) -> None:
    """Warn of classes whose names a reader can't tell apart: probably they are one class."""
    alike = image_names.lookalikes(sorted(set(labels)))
    if alike:
        one, other = (f"{label!r} ({(labels == label).sum()} images)" for label in alike[0])
        console.warn(
            f"{len(alike)} classes are called almost as another, for example {one} and {other}: if they are the same, "
            "give their folders or labels one name"
        )


def _warn_of_unused(labels: pd.Series[str], competition: Competition, console: Console) -> None:
    """Warn of labels that no training image has: their probability is a guess."""
    unused = competition.task.absent(labels)
    if unused:
        console.warn(
            f"no training image is of {len(unused)} {competition.target.kind}, for example {unused[0]!r}: its "
            "probability is a guess"
        )


def without(
    train: pd.DataFrame, drops: pd.DataFrame, task: Task, console: Console
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training images without those in `drops`, and the rows of `drops` that match an image.

    Raises UserError if a class would have no images left.
    """
    drops = exclusions.aligned(drops, train)
    listed = train["id"].isin(drops["id"])
    console.say(f"{listed.sum()} training images are excluded by your drops.csv")
    strange = drops["id"][~drops["id"].isin(train["id"])]
    if len(strange):
        console.warn(f"{len(strange)} ids in your drops.csv match no training image, for example {strange.iloc[0]!r}")
    kept = train[~listed].reset_index(drop=True)
    if kept.empty:
        raise UserError("your drops.csv leaves no training image: remove some of its ids.")
    lacking = task.absent(train["label"])
    lost = [name for name in task.absent(kept["label"]) if name not in lacking]
    if lost:
        raise UserError(f"your drops.csv leaves no training image of class {lost[0]!r}: remove some of its ids.")
    return kept, drops[drops["id"].isin(train["id"])].reset_index(drop=True)


def _in_groups(test: pd.DataFrame) -> str:
    return f" in {len(row_groups.units(test))} groups" if "row" in test else ""


def _requested(
    competition: Competition, test: pd.DataFrame, sample: pd.DataFrame, files: DataFiles, console: Console
) -> pd.DataFrame:
    """Return the test images that the sample submission lists, with ids, or groups, as it spells them.

    Raises UserError if most of them are missing.
    """
    wanted, units = submissions.images_of(competition, sample), row_groups.units(test)
    one, several = _WORDS["row" in test]
    ids = _as_listed(competition, units, wanted, files)
    found = [image_id for image_id in ids if image_id is not None]
    if len(found) * 2 < len(wanted):
        if competition.submission.by_hook:  # its ids need not be images
            return test
        raise UserError(
            f"the sample submission lists {len(wanted)} ids, for example {min(wanted)!r}, but only {len(found)} of "
            f"them have a {one} (ids look like {submissions.written_id(competition, units['id'].iloc[0])!r}): is "
            "the data complete, and do the plugin's test pattern and id_format match?"
        )
    if len(found) < len(wanted):
        written = {submissions.written_id(competition, test_id) for test_id in found}
        left = [name for name, image_id in zip(units["id"], ids, strict=True) if image_id is None]
        _warn_of_missing([name for name in wanted if name not in written], left, one, console)
    if len(found) < len(units):
        console.say(f"{len(units) - len(found)} {several} are not in the sample submission: they get no row")
    if "row" in test:
        return row_groups.renamed(test, dict(zip(units["id"], ids, strict=True)))
    return test.assign(id=pd.Series(ids, dtype="str")).dropna(subset="id").reset_index(drop=True)


_WORDS = {False: ("test image", "test images"), True: ("group of test images", "groups of test images")}


def _warn_of_missing(missing: Sequence[str], left: Sequence[str], what: str, console: Console) -> None:
    """Warn of ids that nothing in the test set has. `left` are those of what is not in the sample submission."""
    console.warn(
        f"{len(missing)} ids of the sample submission have no {what}, for example {missing[0]!r}"
        f"{image_names.told_apart(missing[0], left)}: their rows get the class prior"
    )


def _as_listed(
    competition: Competition, test: pd.DataFrame, wanted: Sequence[str], files: DataFiles
) -> list[str | None]:
    """Return each test image's id as the sample submission spells it, or None. Raises UserError for two of one id."""
    spelled = [image_names.spellings(*row) for row in zip(test["id"], test["path"], strict=True)]
    written = [(submissions.written_id(competition, a), submissions.written_id(competition, b)) for a, b in spelled]
    rows = image_names.match(written, wanted)
    pairs = [(image, wanted[row]) for image, row in zip(written, rows, strict=True) if row is not None]
    matching.remark_loose(pairs, "the sample submission", files)
    ids = [
        None if row is None else submissions.test_id(competition, wanted[row]) or image_id
        for image_id, row in zip(test["id"], rows, strict=True)
    ]
    firsts: dict[str, str] = {}
    for image_id, path in zip(ids, test["path"], strict=True):
        if image_id is not None and firsts.setdefault(image_id, path) != path:
            raise UserError(f"two test images have the id {image_id!r}: {firsts[image_id]} and {path}; remove one.")
    return ids


def scan_images(found: Tables, data: DataSettings, compute: ComputeSettings, folder: Path, console: Console) -> Scanned:
    """Scan all images of the run. Results are cached in `folder`."""
    both = pd.concat([found.train.assign(part="train"), found.requested.assign(part="test")], ignore_index=True)
    count = len(found.train)
    verdict = scan.scan(
        both["path"].tolist(), folder, data.max_megapixels, compute.num_threads, console, training=count
    )
    readable = [place not in verdict.unreadable for place in range(len(both))]
    both["content"] = [digest if fine else "" for digest, fine in zip(verdict.digests, readable, strict=True)]
    console.say(found.counts.line(both["path"].iloc[place] for place in verdict.unreadable))
    reasons = [verdict.unreadable[place] for place in sorted(verdict.unreadable)]
    bad = both.loc[[not fine for fine in readable], ["part", "id", "path"]].assign(reason=reasons)
    train = found.train.assign(content=both["content"][:count].to_numpy())
    requested = found.requested.assign(content=both["content"][count:].to_numpy())
    kept = train[train["content"] != ""].reset_index(drop=True)
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    seen = {path: one for path, one in zip(both["path"], verdict.seen, strict=True) if one is not None}
    return Scanned(
        **fields | {"train": kept, "requested": requested},
        quarantine=bad.reset_index(drop=True),
        seen=seen,
        levels=verdict.levels,
    )


def check_classes(found: Tables, scanned: Scanned, task: Task) -> None:
    """Raise UserError if no image, or none of a class or label, can be read."""
    if scanned.train.empty:
        first = scanned.quarantine[scanned.quarantine["part"] == "train"].iloc[0]
        raise UserError(f"no training image can be read, for example {first['path']}: it {first['reason']}.")
    lacking = task.absent(found.train["label"])  # in a sample
    lost = [name for name in task.absent(scanned.train["label"]) if name not in lacking]
    if lost:
        has = [lost[0] in (label, *label.split(SEPARATOR)) for label in found.train["label"].tolist()]
        bad, own = scanned.quarantine, found.train["id"][has]
        first = bad[(bad["part"] == "train") & bad["id"].isin(own)].iloc[0]
        raise UserError(
            f"no training image of class {lost[0]!r} can be read, for example {first['path']}: it {first['reason']}."
        )
