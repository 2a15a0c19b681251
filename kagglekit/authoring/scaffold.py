"""Write a new plugin, for `kagglekit new`: a module and its pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from kagglekit.base import storage
from kagglekit.base.errors import UserError
from kagglekit.competitions.plugins import Plugin

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def place(name: str, into: Path) -> Path:
    """Return the folder of a new plugin below `into`. Raises UserError for an invalid name, and if it exists."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a valid name: use lower-case letters, digits and single hyphens, for example my-leaf."
        )
    folder = into / f"kagglekit-{name}"
    if folder.exists():
        raise UserError(f"{folder} exists already: choose another name, or move it away.")
    return folder


def plugin(name: str, text: str) -> Plugin:
    """Return the plugin that the text of a module makes. Raises UserError if it describes no competition."""
    made = ModuleType(_module(name))
    exec(text, made.__dict__)
    try:
        made.competition()
    except ValueError as error:
        raise UserError(f"{error}; nothing was written.") from error
    return Plugin(name, made)


def write(name: str, text: str, folder: Path) -> None:
    """Write a plugin with this module into a new folder."""
    module, kind = _module(name), plugin(name, text).competition().target.kind
    with storage.replacing_folder(folder) as temporary:
        (temporary / f"{module}.py").write_text(text, encoding="utf-8", newline="\n")
        (temporary / "pyproject.toml").write_text(_project(name, module, kind), encoding="utf-8", newline="\n")


def next_steps(name: str, folder: Path, data: Path | None = None) -> str:
    """Return a message with the written files and the next commands."""
    module = _module(name)
    run = f"kagglekit run ./{folder} --data {data or 'PATH'}"
    return (
        f"wrote {folder / module}.py and {folder / 'pyproject.toml'}\n"
        f"next: kagglekit check ./{folder}              try it on drawn images\n"
        f"      {run}    run it on the real archive or folder\n"
        f"      pip install ./{folder}                  install it under the name {name}"
    )


def _module(name: str) -> str:
    return f"kagglekit_{name.replace('-', '_')}"


def _project(name: str, module: str, kind: str) -> str:
    """Return the text of the pyproject.toml."""
    return (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        f'[project]\nname = "kagglekit-{name}"\nversion = "0.1.0"\n'
        f'description = "{name} for kagglekit"\nrequires-python = ">=3.11"\ndependencies = ["kagglekit"]\n\n'
        f'[project.entry-points."kagglekit.competitions"]\n{name} = "{module}"\n\n'
        f'[project.entry-points."kagglekit.tasks"]\n{name} = "{kind}"\n\n'
        f'[tool.hatch.build.targets.wheel]\nonly-include = ["{module}.py"]\n'
    )
