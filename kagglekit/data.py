"""Finding a competition's data: a folder, an archive, or what the workspace holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kagglekit import archives, layout, storage
from kagglekit.competition import Competition
from kagglekit.console import Console
from kagglekit.datafiles import DataFiles
from kagglekit.errors import UserError
from kagglekit.workspace import Workspace

_WRAPPERS = 2
"""Folders around the layout that are looked through, such as one called like the archive."""
_SOURCE = "source.json"


def find(competition: Competition, option: Path | None, workspace: Workspace, console: Console) -> DataFiles:
    """Return the data's files in the declared layout.

    `option` is a folder or an archive. Without it: what lies in the workspace's data folder, else the
    archives there, else what `--data` named last, else what was unpacked there last.
    Raises UserError where there is no data.
    """
    if option is not None:
        if not option.exists():
            raise UserError(f"--data {option}: no such file or folder.")
        files = _first_match(competition, _in(option.resolve(), workspace, console))
        if files is None:
            raise _no_layout(competition, option)
        storage.write_json(workspace.data / _SOURCE, {"data": str(option.resolve())})
        return files
    files = _first_match(competition, _in_workspace(workspace, console))
    if files is None:
        raise UserError(
            f"no data for {competition.name}: put the archive from {competition.url}/data into {workspace.data} "
            "or name it with --data PATH."
        )
    return files


def _first_match(competition: Competition, candidates: Iterator[DataFiles]) -> DataFiles | None:
    """Return the first candidate with training and test images, else the first with training images."""
    half = None
    for files in candidates:
        for based in (files, *(files.below(folder) for folder in files.folders(_WRAPPERS))):
            if layout.has_train(competition, based):
                if layout.has_test(competition, based):
                    return based
                half = half or based
    return half


def _in(source: Path, workspace: Workspace, console: Console) -> Iterator[DataFiles]:
    """Yield the files of an archive; or of a folder, alone and then with its archives unpacked."""
    if source.is_file():
        yield DataFiles.from_folders([_unpack(source, workspace, console)], str(source))
        return
    ours = frozenset(p.stem for p in source.glob("*.json")) if source == workspace.data else frozenset()
    yield DataFiles.from_folders([source], str(source), skip=ours)
    zips = sorted(path for path in source.iterdir() if path.suffix.lower() == ".zip" and path.is_file())
    if zips:
        unpacked = [_unpack(path, workspace, console) for path in zips]
        yield DataFiles.from_folders([source, *unpacked], str(source), skip=ours)


def _in_workspace(workspace: Workspace, console: Console) -> Iterator[DataFiles]:
    if not workspace.data.is_dir():
        return
    yield from _in(workspace.data, workspace, console)
    remembered = storage.read_json(workspace.data / _SOURCE)
    if remembered and Path(remembered["data"]).exists():
        yield from _in(Path(remembered["data"]), workspace, console)
    manifests = sorted(workspace.data.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for folder in (path.with_suffix("") for path in manifests):
        if folder.is_dir():
            yield DataFiles.from_folders([folder], str(folder))


def _unpack(source: Path, workspace: Workspace, console: Console) -> Path:
    with console.progress(f"unpacking {source.name}", archives.total_bytes(source), "B") as advance:
        return archives.extract(source, workspace.data, advance).folder


def _no_layout(competition: Competition, option: Path) -> UserError:
    wanted = " or ".join(competition.train.alternatives)
    return UserError(
        f"--data {option}: no training image of {competition.name} there; looked for {wanted}. "
        f"Give the archive from {competition.url}/data, or the folder that it was unpacked to."
    )
