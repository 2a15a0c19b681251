"""The workspaces of folders that need no plugin: known by the folder's path, and called as the folder is."""

from __future__ import annotations

import os
import re
import unicodedata
from importlib.metadata import entry_points
from pathlib import Path

from kagglekit.base import image_names, storage
from kagglekit.base.workspace import Workspace, home
from kagglekit.competitions.installed import GROUP

_MARKER = ".folder.json"
"""File in a workspace with the path of its folder, absolute and from the home of all workspaces."""


def name_of(folder: Path, called: str) -> str:
    """Return the name of the workspace of a folder with a resolved path, which the user knows as `called`.

    If the workspace of that name belongs to another folder, the name has a hash of the path too. A workspace without a
    marker belongs to the folder that comes first.
    """
    slugs = _slugs(called)
    own = f"{slugs[-1]}-{storage.digest(image_names.to_text(str(folder)), 6)}"
    for name in (*slugs, own):
        if _is_of(Workspace.of(name), folder):
            return name
    unmarked = (name for name in slugs if _is_unmarked(Workspace.of(name)))
    return next(unmarked, own if Workspace.of(slugs[-1]).folder.exists() else slugs[-1])


def claim(workspace: Workspace, folder: Path) -> None:
    """Mark a workspace as that of a folder."""
    paths = _paths(folder)
    if storage.read_json(workspace.folder / _MARKER) != paths:
        storage.write_json(workspace.folder / _MARKER, paths)


def _paths(folder: Path) -> dict[str, str]:
    try:
        from_home = os.path.relpath(folder, home())
    except ValueError:  # another drive on Windows
        from_home = str(folder)
    paths = {"path": str(folder), "from_home": from_home}
    return {key: image_names.to_text(path) for key, path in paths.items()}


def _is_of(workspace: Workspace, folder: Path) -> bool:
    """Return whether the marker names the folder. If both moved together, only the path between them is the same."""
    marked, paths = storage.read_json(workspace.folder / _MARKER), _paths(folder)
    if marked is None or marked["path"] == paths["path"]:
        return marked is not None
    return marked["from_home"] == paths["from_home"] and not Path(image_names.from_text(marked["path"])).exists()


def _is_unmarked(workspace: Workspace) -> bool:
    """Return whether a workspace may be that of a folder from before there were markers."""
    return workspace.folder.is_dir() and storage.read_json(workspace.folder / _MARKER) is None


def _slugs(name: str) -> list[str]:
    """Return names for a folder's workspace, the preferred one last. Before, names had ASCII letters only."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "folder"
    letters = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", name.lower())).strip("-")
    installed = {entry.name for entry in entry_points(group=GROUP)}
    return [
        f"{slug}-folder" if slug in installed else slug for slug in dict.fromkeys((plain, _storable(letters) or plain))
    ]


def _storable(name: str) -> str:
    """Return the name if the file system can store it, else an empty one."""
    try:
        return os.fsencode(name).decode()
    except UnicodeError:
        return ""
