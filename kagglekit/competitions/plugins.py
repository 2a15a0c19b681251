"""Find, load and check plugins.

Names come from entry-point metadata, so listing imports no plugin. A run loads one plugin into a new manager.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from kagglekit.base import storage
from kagglekit.base.errors import PluginError, UserError
from kagglekit.competitions import hookspecs
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.installed import GROUP

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.shortlists import Wide
    from kagglekit.competitions.datafiles import DataFiles
    from kagglekit.tasks.task import Decided


FILE_MODULE = "kagglekit_plugin_"
"""Prefix of the module names of single-file plugins."""


def load(name: str) -> Plugin:
    """Load the plugin called `name` and check its hooks.

    `name` is a name, an alias or a path: to a .py file, to a folder with one, or to a folder of images, which needs no
    plugin.
    """
    # a plugin may import albumentations, which would look for a newer version on the network
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    if not name:  # as a path it would mean the current folder
        raise UserError("the competition's name is empty: `kagglekit list` shows all; is a shell variable not set?")
    path = Path(name)
    if name.endswith(".py"):
        return Plugin(name, _import_file(path))
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found and path.is_dir():
        return _load_folder(name, path)
    if name not in found and path.is_file():
        raise UserError(
            f"{name} is no plugin: unpack an archive and name its folder, or name the competition, with --data {name}."
        )
    if name not in found and ("/" in name or "\\" in name):
        raise UserError(
            f"no plugin file or folder {name!r}: name a .py file or an unpacked folder with <class>/ or train/<class>/."
        )
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        written = Path(f"kagglekit-{name}")
        if written.is_dir():
            raise UserError(
                f"no competition called {name!r} is installed: type ./{written}, or pip install ./{written}."
            )
        hint = f"did you mean {near[0]!r}?" if near else "a path to a plugin file works too."
        raise UserError(f"no competition called {name!r}: {hint} `kagglekit list` shows all.")
    try:
        module = importlib.import_module(found[name].value)
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error
    return Plugin(name, module)


def _load_folder(name: str, path: Path) -> Plugin:
    written = sorted(path.glob("kagglekit_*.py"))
    if len(written) == 1:
        return Plugin(name, _import_file(written[0]))
    from kagglekit.competitions.folder_plugin import FolderPlugin

    described = FolderPlugin(path)
    return Plugin(name, described, data=described.folder)


def _import_file(path: Path) -> ModuleType:
    name, path = str(path), path.resolve()
    if not path.is_file():
        raise UserError(f"no plugin file {name!r}: name a .py file, or a competition from `kagglekit list`.")
    spec = importlib.util.spec_from_file_location(f"{FILE_MODULE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{name!r} can't be imported: a plugin is a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error
    return module


def _import_failed(name: str, error: BaseException) -> PluginError:
    return PluginError(f"plugin {name!r} can't be imported: {type(error).__name__}: {_one_line(error)}")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _code(source: Path, without: Collection[str]) -> str:
    """Return what a module says, without comments and some of its functions."""
    tree = ast.parse(source.read_bytes())
    tree.body = [part for part in tree.body if not (isinstance(part, ast.FunctionDef) and part.name in without)]
    return ast.dump(tree)


class Plugin:
    """A loaded plugin. Each method calls one hook and checks the result."""

    def __init__(self, name: str, module: object, data: Path | None = None) -> None:
        """Register `module` and kagglekit's defaults in a new manager. A misspelt hook raises PluginError.

        `data` is the folder that the plugin describes, if any.
        """
        self.name = name
        self.module = module
        self.data = data
        self._manager = pluggy.PluginManager("kagglekit")
        self._manager.add_hookspecs(hookspecs)
        try:
            from kagglekit.competitions import defaults

            self._manager.register(defaults, "kagglekit defaults")
            self._manager.register(module, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"plugin {name!r}: {self._explain(error)}") from error

    @property
    def file(self) -> Path | None:
        """Path of the plugin's source; None for a folder that needs no plugin."""
        file = getattr(self.module, "__file__", None)
        return None if file is None else Path(file)

    def _explain(self, error: pluggy.PluginValidationError) -> str:
        known = [name for name, value in vars(hookspecs).items() if hasattr(value, "kagglekit_spec")]
        marked = [n for n, f in vars(self.module).items() if hasattr(f, "kagglekit_impl") and n not in known]
        if not marked:
            return _one_line(error)
        near = difflib.get_close_matches(marked[0], known, n=1)
        return f"hook {marked[0]!r} does not exist" + (
            f", did you mean {near[0]!r}?" if near else f"; hooks are {', '.join(known)}"
        )

    def call(self, hook: str, expected: type | tuple[type, ...], **arguments: Any) -> Any:
        """Call a hook and check the type of its result.

        Raises PluginError, which names the plugin and the hook, if the hook raises ValueError or returns another type.
        """
        try:
            result = getattr(self._manager.hook, hook)(**arguments)
        except Exception as error:
            if isinstance(error, UnicodeEncodeError):  # pandas holds no such name
                name = ascii(error.object)
                raise PluginError(
                    f"plugin {self.name!r}, hook {hook!r}: the file name {name} is not UTF-8: give files.absolute(path)"
                ) from error
            # a misspelt or missing field of the description is a TypeError
            if isinstance(error, ValueError) or (isinstance(error, TypeError) and hook == "competition"):
                raise PluginError(f"plugin {self.name!r}, hook {hook!r}: {_one_line(error)}") from error
            error.add_note(f"in plugin {self.name!r}, hook {hook!r}")
            raise
        if not isinstance(result, expected):
            wanted = " or ".join(kind.__name__ for kind in (expected if isinstance(expected, tuple) else (expected,)))
            got = f"{type(result).__name__} ({_one_line(repr(result)):.60})"
            raise PluginError(f"plugin {self.name!r}, hook {hook!r}: returned {got}, not {wanted}")
        return result

    def digest(self, without: Collection[str] = ()) -> str:
        """Return a hash of the plugin's code (all modules of a package), `without` hooks; empty for a folder."""
        if self.file is None:
            return ""
        sources = sorted(self.file.parent.rglob("*.py")) if self.file.name == "__init__.py" else [self.file]
        return storage.digest([_code(source, without) for source in sources], 32)

    def has(self, hook: str) -> bool:
        """Return whether the plugin itself implements the hook."""
        return hasattr(getattr(self.module, hook, None), "kagglekit_impl")

    def _source(self, hook: str, files: DataFiles) -> str:
        """Return the source of a table for messages: the plugin's hook, or the data."""
        return f"plugin {self.name!r}, hook {hook!r}" if self.has(hook) else files.origin

    def competition(self) -> Competition:
        """Return the description."""
        described = self.call("competition", (Competition, type(None)))
        if not isinstance(described, Competition):
            raise PluginError(f"plugin {self.name!r} has no hook 'competition' that returns a Competition")
        if described.submission.by_hook and not self.has("submission"):
            raise PluginError(f"plugin {self.name!r}: OwnFormat needs the hook 'submission', which formats the rows")
        unnamed = described.submission.per_group and described.test_patterns and not described.test_has_groups
        if unnamed and not self.has("test_table"):
            raise PluginError(
                f"plugin {self.name!r}: submission.per_group: test must name each image's group, by {{group}} in its "
                "patterns, or by CsvIds(…, group=…)"
            )
        return described

    def recipe(self) -> dict[str, Any]:
        """Return the competition's own settings."""
        settings = dict(self.call("recipe", (Mapping, type(None))) or {})
        for key in settings:
            if not isinstance(key, str):
                raise PluginError(f"plugin {self.name!r}, hook 'recipe': no setting called {key!r}: names are strings")
        return settings

    def augmentations(self, size: tuple[int, int]) -> Mapping[str, list[Any]]:
        """Return the plugin's own augmentation policies for images of `size` (height, width), unchecked."""
        offered: Mapping[str, list[Any]] = self.call("augmentations", Mapping, size=size)
        return offered

    def search_space(self, space: Mapping[str, str]) -> dict[str, str]:
        """Return what `tune` searches, unchecked but for the types. `space` is the default of the method."""
        own = dict(self.call("search_space", Mapping, space=dict(space)))
        for key, values in own.items():
            if not isinstance(key, str) or not isinstance(values, str):
                got = f"{key!r}: {values!r}"
                raise PluginError(
                    f"plugin {self.name!r}, hook 'search_space': {got:.80} must be text, as 'head': 'logistic,mlp'"
                )
        return own

    def resolve(self, competition: Competition, files: DataFiles) -> Competition:
        """Return the competition with what the data says of the target, such as the names of the classes.

        Raises UserError if the data does not say it.
        """
        import pandas as pd

        from kagglekit.competitions import contracts, resolving

        def table(described: Competition) -> pd.DataFrame:
            found: pd.DataFrame = self.call("train_table", pd.DataFrame, competition=described, files=files)
            contracts.check_images(found, ("id", "path", "label"), self._source("train_table", files))
            return found

        return resolving.resolve(competition, files, table)

    def train_table(self, competition: Competition, files: DataFiles) -> pd.DataFrame:
        """Return the checked table of training images."""
        import pandas as pd

        from kagglekit.competitions import contracts

        table: pd.DataFrame = self.call("train_table", pd.DataFrame, competition=competition, files=files)
        return contracts.check_train(table, competition, self._source("train_table", files))

    def test_table(self, competition: Competition, files: DataFiles) -> pd.DataFrame:
        """Return the checked table of test images."""
        import pandas as pd

        from kagglekit.competitions import contracts

        table: pd.DataFrame = self.call("test_table", pd.DataFrame, competition=competition, files=files)
        if table.empty and not competition.test_patterns:
            return table
        return contracts.check_test(table, competition, self._source("test_table", files))

    def submission(
        self,
        competition: Competition,
        ids: list[str],
        probabilities: Wide,
        sample: pd.DataFrame | None,
        decided: Decided | None = None,
    ) -> pd.DataFrame:
        """Return the submission as the plugin formats it; `submissions.check` checks it.

        `decided` is what is decided of each image; by default the usual decision.
        """
        import pandas as pd

        if decided is None:
            decided = competition.submission.usual(competition.task).apply(probabilities)
        frame: pd.DataFrame = self.call(
            "submission",
            pd.DataFrame,
            competition=competition,
            ids=ids,
            probabilities=probabilities,
            sample=sample,
            decided=decided,
        )
        return frame
