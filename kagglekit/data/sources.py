"""Find a competition's data: in a folder, an archive, or the workspace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kagglekit.base import storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import folder_layout, layout
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.data import archives
from kagglekit.data.archive_formats import is_archive, is_part, unpack_split

_WRAPPERS = 2
"""Number of extra folder levels that are searched for the layout and for archives."""
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
    there = workspace.data.glob("*")
    return sorted(path for path in there if is_archive(path.name) and path.is_file() and path.name not in unpacked)


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
        for based in _bases(competition, files):
            holds = _holds(competition, based)
            if holds == _COMPLETE:
                return based
            if holds > most:
                best, most = based, holds
    return best


def _bases(competition: Competition, files: DataFiles) -> Iterator[DataFiles]:
    """Yield the files, and those below each of the upper folders: the layout may begin there.

    Before each, they are yielded as if `train/train/`, for example, were `train/`.
    """
    tops = layout.tops(competition)
    for based in (files, *files.below_each(_WRAPPERS)):
        twice = folder_layout.doubled(based, tops)
        if twice:
            yield based.without_double(twice)
        yield based


_IMAGES, _COMPLETE = 2, 3


def _holds(competition: Competition, files: DataFiles) -> int:
    """Return 0 without training images, 1 with them, 2 with images in all folders, 3 with all CSV files too."""
    if not layout.has_train(competition, files):
        return 0
    if not (layout.has_test(competition, files) and layout.has_all_folders(competition, files)):
        return 1
    return _COMPLETE if layout.has_tables(competition, files) else _IMAGES


def _in(source: Path, competition: Competition, workspace: Workspace, console: Console) -> Iterator[DataFiles]:
    """Yield the files of an archive; for a folder, its files alone, then with the archives of one of its folders."""
    if source.is_file():
        yield DataFiles.from_folders([_unpack(source, workspace, console)], str(source))
        return
    ours = (
        frozenset(path.name for path in archives.unpacked_folders(source)) if source == workspace.data else frozenset()
    )
    alone = DataFiles.from_folders([source], str(source), skip=ours)
    yield alone
    has_images = any(_holds(competition, based) >= _IMAGES for based in _bases(competition, alone))
    packed_in = defaultdict(list)
    for name, path in alone.paths.items():
        near = is_archive(name) and name.count("/") <= _WRAPPERS
        # where the user unpacked the images beside the archives, only CSV files can be missing
        if near and (not has_images or _holds_only_tables(path, alone.remarks)):
            packed_in[name.rpartition("/")[0]].append(path)
    for folder in sorted(packed_in, key=lambda name: (name.count("/") + bool(name), name)):
        beside = alone.below(folder) if folder else alone
        unpacked = _unpacked(packed_in[folder], workspace, console, alone.remarks if has_images else None)
        yield from _with_archives(beside, packed_in[folder], unpacked, competition)


def _holds_only_tables(path: Path, remarks: list[str]) -> bool:
    try:
        return archives.holds_only_tables(path)
    except UserError as error:
        remarks.append(_unused(path, error))
        return False


def _unused(path: Path, error: UserError) -> str:
    return f"{path} is not used: {error}"


def _unpacked(
    packed_: Sequence[Path], workspace: Workspace, console: Console, remarks: list[str] | None
) -> Iterator[tuple[Path, DataFiles]]:
    """Yield each archive with its files. One that can't be unpacked is left out if there are `remarks` to say so."""
    for path in packed_:
        try:
            folder = _unpack(path, workspace, console)
        except UserError as error:
            if remarks is None:
                raise
            remarks.append(_unused(path, error))
            continue
        yield path, DataFiles.from_folders([folder], str(path))


def _with_archives(
    beside: DataFiles,
    packed_: Sequence[Path],
    unpacked: Iterable[tuple[Path, DataFiles]],
    competition: Competition,
) -> Iterator[DataFiles]:
    """Yield the first archive of a folder that has everything, else the files `beside` together with all archives."""
    there: dict[str, DataFiles] = {}
    for path, files in unpacked:
        if len(packed_) > 1 and any(_holds(competition, based) == _COMPLETE for based in _bases(competition, files)):
            files.remarks.append(f"{path.parent} has {len(packed_)} archives: {path.name} is taken, the others are not")
            yield files
        there[path.name] = files
    yield _merged(beside, there)


def _merged(beside: DataFiles, unpacked: Mapping[str, DataFiles]) -> DataFiles:
    """Return the files of a folder and of its archives, by their names. The first file of a name counts."""
    paths, ignored = dict(beside.paths), dict(beside.ignored)
    came_from: dict[str, str] = {}
    twice = []
    for name, files in unpacked.items():
        twice += [(path, came_from[path], name) for path in files.paths if path in came_from]
        came_from |= dict.fromkeys(files.paths, name)
        paths = {**files.paths, **paths}
        ignored = {**files.ignored, **ignored}
    # a copy: the folder alone may be what is used
    merged = DataFiles(dict(sorted(paths.items())), beside.origin, list(beside.remarks), ignored)
    if twice:
        path, first, other = twice[0]
        merged.remarks.append(
            f"{len(twice)} files are in two archives, for example {path}: that of {first} is taken, not that of "
            f"{other}; to choose, name one archive with --data"
        )
    return merged


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
    wanted = " or ".join(" and ".join(each) for each in competition.train.alternatives)
    there = f"; it has {folder_layout.describe(DataFiles.from_folders([option], ''))}" if option.is_dir() else ""
    part = next((path.name for path in sorted(option.glob("*")) if is_part(path.name)), "")
    split = f"; {part} is one part of a split archive: {unpack_split(part)}" if part else ""
    return UserError(
        f"--data {option}: no training image of {competition.name} there; looked for {wanted}{there}{split}. "
        f"Name the archive{_source(competition)}, or the folder that it was unpacked to."
    )
