"""Write class folders for fastai, Keras, YOLO or timm: train/<class>/, valid/<class>/, sample/…, test/unknown/."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base import image_names, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions import samples, submissions
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.folder_plugin import FolderPlugin
from kagglekit.competitions.plugins import Plugin
from kagglekit.data import exclusions, folds, tables
from kagglekit.data.project import Project
from kagglekit.formats import Submission
from kagglekit.images import files as files_on_disk

if TYPE_CHECKING:
    import pandas as pd


def write(
    project: Project, files: DataFiles, out: Path, *, valid: int, sample: Sequence[int], seed: int, console: Console
) -> None:
    """Write a competition's images to class folders in `out`, which must be empty or not exist.

    The originals stay in place. `valid` images form the validation set; if the competition has groups, whole groups
    with about as many images. `sample` is the number of images of each split in the small set. Raises UserError if
    there are too few images.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir()) or out.is_mount() or out.samefile(Path.cwd())):
        raise UserError(f"{out} already exists and is not an empty folder: name another, or remove it.")
    plugin, competition = project.plugin, project.competition
    if not competition.target.exclusive:
        raise UserError(
            f"a folder holds the images of one class, and {competition.name} has {competition.target.counted}."
        )
    train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
    tables.say_remarks(files, console)
    listed = exclusions.of(project.workspace, console)
    if len(listed):
        train, _ = tables.without(train, listed, competition.task, console)
    if not 0 < valid < len(train):
        raise UserError(f"--valid {valid}: there are {len(train)} training images, and both splits need some.")
    groups = train["group"].to_numpy() if "group" in train else None
    held = folds.held_out(train["label"].to_numpy(), groups, valid, seed)
    parts = {"train": train[~held], "valid": train[held]}
    absent = sorted(set(train["label"]) - set(parts["valid"]["label"]))
    if absent:
        console.warn(
            f"valid/ has no folder for {len(absent)} classes, for example {absent[0]!r}: give tools that number the "
            "classes by folder the classes of train/"
        )
    small = {
        name: folds.sample(parts[name], count, seed, labels=parts[name]["label"].to_numpy())
        for name, count in zip(parts, sample, strict=True)
        if count
    }
    if out.exists():
        out.rmdir()
    linked, copied = 0, 0
    with storage.replacing_folder(out) as new:
        for folder, table in (*parts.items(), *((f"sample/{name}", table) for name, table in small.items())):
            for source, target in _targets(table):
                by_link = _bring(source, new / folder / target)
                linked, copied = linked + by_link, copied + (not by_link)
        for source, target in _targets(test.assign(label="unknown")):
            by_link = _bring(source, new / "test" / target)
            linked, copied = linked + by_link, copied + (not by_link)
        _bring_sample(plugin, competition, files, new, console)
    counts = ", ".join(f"{name} {len(table)}" for name, table in (*parts.items(), ("test", test)))
    console.say(f"{out}: {counts}; {linked} hard links, {copied} copies")


def _bring_sample(plugin: Plugin, competition: Competition, files: DataFiles, new: Path, console: Console) -> None:
    """Copy the sample submission if a run on the new folder, without a plugin, would read the same format and ids."""
    name = samples.find(competition, files)
    if name is None:
        return
    answers = files.first([name])
    assert answers is not None, "it was found"
    copied = Path(shutil.copy2(answers, new / "sample_submission.csv"))
    try:
        read = _read_back(Plugin(new.name, FolderPlugin(new)), DataFiles.from_folders([new], str(new)))
    except UserError:
        read = None
    if read != _read_back(plugin, files):
        copied.unlink()
        console.warn(
            f"{answers.name} is left out: without the plugin it would be read as another format; `kagglekit run` on "
            "the folder writes one column per class"
        )


def _read_back(plugin: Plugin, files: DataFiles) -> tuple[Submission, set[str]]:
    """Return a plugin's submission format, and the test ids as in its submission."""
    competition = plugin.competition()
    ids = {submissions.written_id(competition, each) for each in plugin.test_table(competition, files)["id"]}
    return dataclasses.replace(competition.submission, sample=(), id_format="{id}"), ids


def _targets(table: pd.DataFrame) -> list[tuple[Path, str]]:
    """Return (image file, path below the split's folder). Files keep their names; if two are equal, ids are used."""
    sources = [files_on_disk.place(path) for path in table["path"]]
    labels = [image_names.from_text(label) for label in table["label"]]
    names = [f"{label}/{source.name}" for label, source in zip(labels, sources, strict=True)]
    if len(set(names)) < len(names):
        ids = [image_names.without_ending(image_names.from_text(image)).replace("/", "_") for image in table["id"]]
        rows = zip(labels, ids, sources, strict=True)
        names = [f"{label}/{image}{source.suffix}" for label, image, source in rows]
    return list(zip(sources, names, strict=True))


def _bring(source: Path, target: Path) -> bool:
    """Hard-link an image, or copy it if that fails. Return whether it was linked."""
    if target.exists():
        raise UserError(f"two images would be called {target.name}, one of them {source}: rename one.")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or no support for hard links
        shutil.copy2(source, target)
        return False
    return True
