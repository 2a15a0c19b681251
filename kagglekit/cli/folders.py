"""The work of `folders`."""

from __future__ import annotations

import shlex
from pathlib import Path

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import plugins
from kagglekit.data import class_folders, sources


def folders(name: str, out: Path, data_path: Path | None, *, valid: int, sample: str, seed: int) -> None:
    """Link a competition's images into one folder per class."""
    console = Console()
    plugin = plugins.load(name)
    counts = sample.split(",")
    if len(counts) != 2 or not all(count.strip().isdecimal() for count in counts):
        raise UserError(f"--sample {sample!r}: write it as TRAIN,VALID, for example --sample 200,50.")
    workspace = Workspace.of(plugin.competition().name)
    files = sources.find(plugin.competition(), data_path or plugin.data, workspace, console, plugin.data is None)
    class_folders.write(
        plugin, files, out, valid=valid, sample=[int(count) for count in counts], seed=seed, console=console
    )
    # a word that is an installed competition's name would mean that one
    path = f"./{out}" if len(out.parts) == 1 else str(out)
    console.say(f"next: kagglekit run {shlex.quote(path)}")
