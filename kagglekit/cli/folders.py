"""Implementation of `folders`."""

from __future__ import annotations

import shlex
from pathlib import Path

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data import class_folders
from kagglekit.data.project import Project


def folders(name: str, out: Path, data_path: Path | None, *, valid: int, sample: str, seed: int) -> None:
    """Link a competition's images into one folder per class."""
    console = Console()
    project = Project.load(name)
    counts = sample.split(",")
    if len(counts) != 2 or not all(count.strip().isdecimal() for count in counts):
        raise UserError(f"--sample {sample!r}: write it as TRAIN,VALID, for example --sample 200,50.")
    files = project.find_data(data_path, console)
    class_folders.write(
        project.on(files), files, out, valid=valid, sample=[int(count) for count in counts], seed=seed, console=console
    )
    # without ./ it could be the name of an installed competition
    path = f"./{out}" if len(out.parts) == 1 else str(out)
    console.say(f"next: kagglekit run {shlex.quote(path)}")
