"""Check the contract of a plugin, for its own tests and for `kagglekit check`.

The test of a plugin is one line: `check_plugin("kagglekit_leaf.py", tmp_path)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.base.errors import PluginError, UserError
from kagglekit.competitions import plugins
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.plugins import Plugin
from kagglekit.runs import filenames

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from kagglekit.base.console import Console
    from kagglekit.competitions.synthetic import Drawn
    from kagglekit.data.tables import Tables
    from kagglekit.runs.store import Run

QUICK = {"method": "features", "backbone": "tf_efficientnet_lite0", "regularisation_grid": "0.01"}
"""Default settings of the test run. They are fast; the score does not matter."""
_REAL_IMAGES = 200
_ONLY_DECLARED = "drawn data has only what the description declares"

Say = Callable[[str], None]


def check_plugin(
    plugin: str | Path,
    home: Path | None = None,
    *,
    data: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    say: Say = lambda _: None,
    console: Console | None = None,
) -> Run:
    """Check the whole contract of a plugin: description, tables in all declared layouts, a run and its submission.

    `plugin` is a name or path, as for `kagglekit run`. `home` replaces KAGGLEKIT_HOME. With `data`, a folder or
    archive, a sample of real images is used instead of drawn ones. `say` gets one line per passed check. Returns the
    run. Raises PluginError (or another UserError) for the first failed check.
    """
    with _at_home(home):
        loaded = plugins.load(str(plugin))
        say("it can be imported, and its hooks exist")
        competition = check_description(loaded)
        say(f"the description is valid: {competition.target.counted}, metric {competition.scored_by.name}")
        if competition.target.source is None or data is None:
            check_metric(loaded, _with_names(competition))
            say("its metric tells perfect predictions from shuffled ones")
        check_recipe(loaded)
        say("its settings are valid")
        if data is None:
            for shape, drawn in enumerate(draw_all(competition, _synthetic_folder(competition))):
                check_tables(loaded, drawn)
                images = f"{len(drawn.train)} training and {len(drawn.test)} test images"
                say(f"shape {shape + 1} of its archive: {images} are drawn and found again")
        with _on_drawn_data(loaded) if data is None else nullcontext():
            run, tables = check_run(loaded, data=data, settings=settings, console=console)
        if tables.test.empty:
            say(f"a whole run ends with a score, and without a submission: {run.folder}")
            return run
        say(f"a whole run ends with a submission that Kaggle would accept: {run.submission}")
        check_submission(loaded, run, tables)
        say("submission rows are matched by id, not by position")
    return run


def _with_names(competition: Competition) -> Competition:
    """Return the competition with names of what it predicts, which are invented if only the data lists them."""
    from kagglekit.competitions import synthetic

    return synthetic.invented(competition)


def check_description(plugin: Plugin) -> Competition:
    """Return the description, which must be the same in every call."""
    first, second = plugin.competition(), plugin.competition()
    if first.describe() != second.describe():
        raise PluginError(f"plugin {plugin.name!r}, hook 'competition': describes a different competition each time")
    return first


def check_recipe(plugin: Plugin) -> None:
    """Resolve the plugin's settings. Raises UserError for an invalid one."""
    from kagglekit import recipe

    recipe.resolve(plugin.recipe(), plugin.name, Path(os.devnull), {})


def draw_all(competition: Competition, folder: Path) -> Iterator[Drawn]:
    """Draw the competition in every archive layout that it declares."""
    from kagglekit.competitions import synthetic

    for shape in range(synthetic.shapes(competition)):
        yield synthetic.draw(competition, folder, shape=shape)


def check_tables(plugin: Plugin, drawn: Drawn) -> None:
    """Unpack a drawn competition, call the plugin's table hooks, and compare the tables with what was drawn."""
    from kagglekit.competitions import samples
    from kagglekit.competitions.datafiles import DataFiles
    from kagglekit.data import archives

    competition = plugin.competition()
    folder = archives.extract(drawn.archive, drawn.archive.parent).folder
    files = DataFiles.from_folders([folder], drawn.archive.name)
    with _on_drawn_data(plugin):
        try:
            competition = plugin.resolve(competition, files)
            train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
        except UserError as error:
            raise PluginError(f"{str(error).rstrip('.')} ({_ONLY_DECLARED}: --data PATH checks yours).") from error
    names = {files.absolute(name): name for name in files.paths}
    found = {names.get(path, path): label for path, label in zip(train["path"], train["label"], strict=True)}
    _compare(plugin, "train_table", "label", drawn.train, found)
    if drawn.groups:
        groups = {names[path]: group for path, group in zip(train["path"], train["group"], strict=True)}
        _compare(plugin, "train_table", "group", drawn.groups, groups)
    ids = {names.get(path, path): test_id for path, test_id in zip(test["path"], test["id"], strict=True)}
    _compare(plugin, "test_table", "id", drawn.test_ids, ids)
    if drawn.rows:
        for hook, table in (("train_table", train), ("test_table", test)):
            rows = {names[path]: row for path, row in zip(table["path"], table["row"], strict=True)}
            _compare(plugin, hook, "row", {path: drawn.rows[path] for path in rows}, rows)
    samples.read(competition, files)


@contextmanager
def _on_drawn_data(plugin: Plugin) -> Iterator[None]:
    """Turn an exception in a hook, which may miss what only the real data has, into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        where = [note.removeprefix("in ") for note in getattr(error, "__notes__", []) if plugin.name in note]
        if not where:
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(
            f"{where[0]}: {what} ({_ONLY_DECLARED}: if the hook reads more, check it with --data PATH)."
        ) from error


def _compare(plugin: Plugin, hook: str, what: str, drawn: Mapping[str, str], found: Mapping[str, str]) -> None:
    where = f"plugin {plugin.name!r}, hook {hook!r}"
    missing = sorted(drawn.keys() - found.keys())
    if missing:
        raise PluginError(f"{where}: {len(missing)} of {len(drawn)} drawn images are not in the table: {missing[0]!r}")
    extra = sorted(found.keys() - drawn.keys())
    if extra:
        raise PluginError(f"{where}: {len(extra)} rows match no drawn image, for example {extra[0]!r}")
    wrong = [name for name in drawn if drawn[name] != found[name]]
    if wrong:
        name = wrong[0]
        raise PluginError(
            f"{where}: {len(wrong)} of {len(drawn)} images have the wrong {what}: {name!r} was drawn "
            f"with {drawn[name]!r}, but the table says {found[name]!r}"
        )


def check_run(
    plugin: Plugin,
    *,
    data: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> tuple[Run, Tables]:
    """Run the plugin to a submission, if it has test images, and run it again, which must change nothing.

    Returns the run and its tables.
    """
    from kagglekit import recipe
    from kagglekit.base.console import Console
    from kagglekit.data.project import Project
    from kagglekit.pipeline.prepare import prepare
    from kagglekit.pipeline.run import go

    quick = QUICK | ({"sample": _REAL_IMAGES} if data is not None else {})
    chosen = recipe.laid_over(quick, settings or {}, "the settings")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        quiet = console or Console(nowhere)
        project = Project.of(plugin)
        job = prepare(project, data, chosen, quiet, synthetic=data is None, remember=False)
        if plugin.competition().target.source is not None:  # only the data has the names
            check_metric(plugin, job.competition)
        run = go(job)
        written = _ending(run)
        again = go(prepare(project, data, chosen, Console(nowhere), synthetic=data is None, remember=False))
    if again.folder != run.folder or _ending(again) != written:
        raise PluginError(
            f"plugin {plugin.name!r}: the same run gave a different submission; does a hook use random numbers?"
        )
    return run, job.tables


def _ending(run: Run) -> list[bytes]:
    """Return the files of a finished run that must not change."""
    return [path.read_bytes() for path in (run.submission, run.folder / filenames.OOF) if path.is_file()]


def check_metric(plugin: Plugin, competition: Competition) -> None:
    """Try the metric on perfect, shuffled, one-class and two-row predictions."""
    from kagglekit.authoring import metric_probe

    target = competition.target
    low, high = (getattr(target, name, None) for name in ("low", "high"))
    low = 0 if low is None else low
    try:
        metric_probe.check(
            competition.scored_by, target.kind, len(target.columns), low, low + 1 if high is None else high
        )
    except PluginError as error:
        raise PluginError(f"plugin {plugin.name!r}, hook 'competition': {error}") from error


def check_submission(plugin: Plugin, run: Run, tables: Tables) -> None:
    """Call the submission hook with the rows of `run` in another order. Each id must keep its own row."""
    import numpy as np

    from kagglekit.competitions import submissions

    competition = plugin.competition().with_target(run.record.competition.task.target)
    task = competition.task
    ids = submissions.expected_ids(competition, tables.asked, tables.sample)
    random = np.random.default_rng(0)
    goals = task.goals(task.truth(tables.train["label"]))
    noise = random.dirichlet(np.ones(len(competition.labels)), len(ids))
    rows = 0.6 * goals[random.integers(len(goals), size=len(ids))] + 0.4 * noise
    order = random.permutation(len(ids))

    def laid_out(indices: NDArray[np.int64]) -> pd.DataFrame:
        # pass copies, because a hook may change its arguments
        frame = plugin.submission(competition, [ids[index] for index in indices], rows[indices], _copy(tables.sample))
        return frame.astype("str").sort_values(list(frame.columns)).reset_index(drop=True)

    plain = laid_out(np.arange(len(ids)))
    if not plain.equals(laid_out(np.arange(len(ids)))):
        raise PluginError(f"plugin {plugin.name!r}, hook 'submission': is random: a second call returns different rows")
    if not plain.equals(laid_out(order)):
        raise PluginError(
            f"plugin {plugin.name!r}, hook 'submission': rows are matched by position: with the ids in another "
            "order, they get the values of other ids"
        )


def _copy(sample: pd.DataFrame | None) -> pd.DataFrame | None:
    return None if sample is None else sample.copy()


def _synthetic_folder(competition: Competition) -> Path:
    from kagglekit.base.workspace import Workspace

    return Workspace.of(competition.name).synthetic.data


@contextmanager
def _at_home(home: Path | None) -> Iterator[None]:
    if home is None:
        yield
        return
    before = os.environ.get("KAGGLEKIT_HOME")
    os.environ["KAGGLEKIT_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["KAGGLEKIT_HOME"]
        else:
            os.environ["KAGGLEKIT_HOME"] = before
