"""Where settings come from: defaults < the plugin's < `recipe.toml` < the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kagglekit.base.errors import UserError
from kagglekit.recipe import files, names
from kagglekit.recipe.recipe import Recipe


def resolve(
    plugin: Mapping[str, Any],
    plugin_name: str,
    toml: Path,
    command_line: Mapping[str, Any],
    say: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """Lay the four sources over one another; raise UserError for unknown keys and wrong types.

    `say` gets one line where a source uses older names of settings.
    """
    layers = {
        f"plugin {plugin_name!r}, hook 'recipe'": plugin,
        str(toml): files.load(toml),
        "the command line": command_line,
    }
    _tell_renamed(layers, say)
    values: dict[str, Any] = {}
    for source, layer in layers.items():
        values |= {name: names.convert(name, value, source) for name, value in names.flat(layer, source).items()}
    if "backbone" in values:  # a weights file is the same file wherever the command is typed
        values["backbone"] = tuple(_absolute(spec) for spec in values["backbone"])
    if values.get("augment", "").endswith(".json"):
        values["augment"] = str(Path(values["augment"]).expanduser().absolute())
    return Recipe.of(**values)


def _tell_renamed(layers: Mapping[str, Mapping[str, Any]], say: Callable[[str], None]) -> None:
    older = [
        f"{old} is now {new} ({source})"
        for source, layer in layers.items()
        for old, new in names.renamed(layer, source).items()
    ]
    if older:
        say(f"note: settings were renamed; the old names still work: {', '.join(older)}")


def _absolute(spec: str) -> str:
    name, equals, file = spec.partition("=")
    return f"{name}={Path(file).expanduser().absolute()}" if equals else name


def parse_assignment(text: str) -> tuple[str, str]:
    """Split `key=value`; raise UserError for anything else."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text!r}: write it as key=value, for example --set folds=10.")
    return key.strip().replace("-", "_"), value.strip()
