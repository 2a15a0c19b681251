"""`recipe.toml`: yours in the workspace, and the one that a run writes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from kagglekit.base.errors import UserError
from kagglekit.recipe.names import convert, flat
from kagglekit.recipe.recipe import Recipe


def load(path: Path) -> dict[str, Any]:
    """Return the content of a recipe file as written; empty if there is no file.

    Raises UserError for broken TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error


def read_file(path: Path) -> dict[str, Any]:
    """Return a recipe file's settings by today's names, without sections; unknown ones stay.

    Raises UserError for broken TOML.
    """
    return flat(load(path), str(path))


def of_run(path: Path) -> Recipe:
    """Return the recipe that a run has written, also a run of older names and without sections.

    Raises UserError for settings that this version does not know.
    """
    return Recipe.of(**{name: convert(name, value, str(path)) for name, value in read_file(path).items()})


def to_toml(recipe: Recipe) -> str:
    """Write all settings, in their sections, as a `recipe.toml` that gives the same recipe again."""
    import tomli_w

    return tomli_w.dumps(recipe.by_section())
