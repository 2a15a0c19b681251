"""Find a competition's data: in a folder, an archive, or the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import layout
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import archives

_WRAPPERS = 2
"""Number of extra folder levels that are searched for the layout, such as a folder named like the archive."""
_SOURCE = ".source.json"
"""File in the workspace's data folder with the path last given with `--data`."""


def find(
    competition: Competition, option: Path | None, workspace: Workspace, console: Console, remember: bool = True
) -> DataFiles:
    """Return the data's files in the declared layout.

    `option` is a folder or an archive. Without it, the order of search is: the workspace's data folder, the archives
    there, the last `--data` path (if it was to be remembered), the archives unpacked last. Raises UserError if there is
    no data.
    """
    if option is not None:
        if not option.exists():
            raise UserError(f"--data {option}: no such file or folder.")
        files = _best(competition, _in(option.resolve(), competition, workspace, console))
        if files is None:
            raise _no_layout(competition, option)
        if remember:
            storage.write_json(workspace.data / _SOURCE, {"data": str(option.resolve())})
        return files
    files = _best(competition, _in_workspace(competition, workspace, console))
    if files is None:
        remembered = _remembered(workspace)
        why = f"{remembered} is gone" if remembered else f"{workspace.data} has no training image of the layout"
        raise UserError(
            f"no data for {competition.name}: {why}; name the archive{_source(competition)} with --data PATH."
        )
    return files


def is_absent(workspace: Workspace) -> bool:
    """Return whether the workspace has never had any data."""
    visible = (path for path in workspace.data.glob("*") if not path.name.startswith("."))
    return next(visible, None) is None and _remembered(workspace) is None


def packed(workspace: Workspace) -> list[Path]:
    """Return the archives in the workspace that have not been unpacked yet."""
    unpacked = set(map(archives.archive_of, archives.unpacked_folders(workspace.data)))
    return sorted(path for path in workspace.data.glob("*.zip") if path.name not in unpacked)


def _remembered(workspace: Workspace) -> Path | None:
    """Return the path last given with `--data`, or None."""
    remembered = storage.read_json(workspace.data / _SOURCE)
    return Path(remembered["data"]) if remembered else None


def _source(competition: Competition) -> str:
    return f" from {competition.url}/data" if competition.url else ""


def _best(competition: Competition, candidates: Iterator[DataFiles]) -> DataFiles | None:
    """Return the first complete candidate, else the most complete one; None if none has training images."""
    best, most = None, 0
    for files in candidates:
        for based in (files, *(files.below(folder) for folder in files.folders(_WRAPPERS))):
            holds = _holds(competition, based)
            if holds == _COMPLETE:
                return based
            if holds > most:
                best, most = based, holds
    return best


_COMPLETE = 3


def _holds(competition: Competition, files: DataFiles) -> int:
    """Return 0 without training images, 1 with them, 2 with test images too, 3 with all CSV files too."""
    if not layout.has_train(competition, files):
        return 0
    if not layout.has_test(competition, files):
        return 1
    return _COMPLETE if layout.has_tables(competition, files) else 2


def _in(source: Path, competition: Competition, workspace: Workspace, console: Console) -> Iterator[DataFiles]:
    """Yield the files of an archive; for a folder, its files alone, then with its archives unpacked."""
    if source.is_file():
        yield DataFiles.from_folders([_unpack(source, workspace, console)], str(source))
        return
    ours = (
        frozenset(path.name for path in archives.unpacked_folders(source)) if source == workspace.data else frozenset()
    )
    alone = DataFiles.from_folders([source], str(source), skip=ours)
    yield alone
    zips = sorted(path for path in source.iterdir() if path.suffix.lower() == ".zip" and path.is_file())
    if _best(competition, iter([alone])) is not None and layout.has_test(competition, alone):
        # the user unpacked the images beside the archives: only CSV files can be missing
        zips = [path for path in zips if not archives.holds_images(path)]
    if zips:
        unpacked = [_unpack(path, workspace, console) for path in zips]
        yield DataFiles.from_folders([source, *unpacked], str(source), skip=ours)


def _in_workspace(competition: Competition, workspace: Workspace, console: Console) -> Iterator[DataFiles]:
    if not workspace.data.is_dir():
        return
    yield from _in(workspace.data, competition, workspace, console)
    remembered = _remembered(workspace)
    if remembered is not None and remembered.exists():
        yield from _in(remembered, competition, workspace, console)
    for folder in archives.unpacked_folders(workspace.data):
        yield DataFiles.from_folders([folder], str(folder))


def _unpack(source: Path, workspace: Workspace, console: Console) -> Path:
    with console.progress(f"unpacking {source.name}", archives.total_bytes(source), "B") as advance:
        return archives.extract(source, workspace.data, advance).folder


def _no_layout(competition: Competition, option: Path) -> UserError:
    wanted = " or ".join(competition.train.alternatives)
    return UserError(
        f"--data {option}: no training image of {competition.name} there; looked for {wanted}. "
        f"Name the archive{_source(competition)}, or the folder that it was unpacked to."
    )
