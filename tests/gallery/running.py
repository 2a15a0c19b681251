"""Run a competition on data in its layout, and check what it submits by the rules of the competition."""

from __future__ import annotations

import ast
import csv
import inspect
import io
import re
import textwrap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kagglekit import Competition
from kagglekit.authoring import testing
from kagglekit.base.console import Console
from kagglekit.competitions import plugins, synthetic
from kagglekit.competitions.plugins import Plugin
from kagglekit.data.project import Project
from kagglekit.pipeline.prepare import prepare
from kagglekit.pipeline.run import go
from tests.gallery.layouts import Layout
from tests.test_synthetic import plugin_of

QUICK = {"method": "features", "folds": 2, "regularisation_grid": "1"}


@dataclass(frozen=True)
class Row:
    """A competition of the list: what is known of its data, and its description if none is installed."""

    layout: Layout
    describe: Callable[[], Competition] | None = None

    def plugin(self, slug: str) -> Plugin:
        """Return the plugin of the competition."""
        return plugins.load(slug) if self.describe is None else plugin_of(self.describe())

    def lines(self, slug: str) -> int:
        """Return the number of lines of code that say everything about the competition."""
        if self.describe is not None:
            return _code_lines(inspect.getsource(self.describe))
        source = inspect.getsource(plugins.load(slug).module)  # type: ignore[arg-type]
        tree = ast.parse(source)
        other_hooks = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name != "competition"]
        rest = source.splitlines()
        for part in [*other_hooks, *(part for part in tree.body if isinstance(part, ast.Import | ast.ImportFrom))]:
            start = min([part.lineno, *(each.lineno for each in getattr(part, "decorator_list", []))])
            rest[start - 1 : part.end_lineno] = [""] * (part.end_lineno - start + 1)
        return _code_lines("\n".join(rest))


def _code_lines(source: str) -> int:
    """Return the number of lines that are neither empty, nor comments, nor docstrings."""
    source = textwrap.dedent(source)
    words = {
        line
        for part in ast.walk(ast.parse(source))
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
        for line in range(part.lineno, part.end_lineno + 1)
    }
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(re.match(r"\s*[^#\s]", line)) and number not in words for number, line in lines)


def submitted(slug: str, row: Row, backbone: str, folder: Path) -> str:
    """Run a competition on its archive; return the submission."""
    archive = row.layout.write(folder / f"{slug}.zip")
    project = Project.of(row.plugin(slug))
    job = prepare(project, archive, QUICK | {"backbone": backbone}, Console(io.StringIO()), remember=False)
    return go(job).submission.read_text()


def check(slug: str, row: Row, backbone: str, folder: Path) -> None:
    """Run a competition, and check its submission."""
    layout = row.layout
    header, *rows = csv.reader(io.StringIO(submitted(slug, row, backbone, folder)))
    first, *asked = csv.reader(io.StringIO(layout.members()[layout.sample_name].decode()))
    assert header == [name for name in first if name], "without an index that pandas has written"
    at = layout.id_place
    here = header.index(first[at])
    ids = [cells.pop(here) for cells in rows]
    assert ids == [cells[at] for cells in asked], "one row for each, in the order of the sample"
    assert not [cells for cells in rows if not layout.answer.fits(cells)]
    truth = layout.truth()
    told = [cells for name, cells in zip(ids, rows, strict=True) if name in truth]
    labels = [truth[name] for name in ids if name in truth]
    assert layout.answer.tells(told, labels), [*zip(told, labels, strict=True)]


def check_drawn(slug: str, row: Row, folder: Path) -> None:
    """See that kagglekit draws the same folders, tables and columns from the description, and probes its metric."""
    plugin = row.plugin(slug)
    competition = testing.check_description(plugin)
    testing.check_metric(plugin, synthetic.invented(competition))
    every = list(testing.draw_all(competition, folder))
    for drawn in every:
        testing.check_tables(plugin, drawn)
    real, made = row.layout.members(), _unpacked(every[0].archive.read_bytes())
    usual = competition.submission.sample
    made = {row.layout.sample_name if name in usual else name: content for name, content in made.items()}
    assert _places(made) <= _places(real)
    invented = set(synthetic.invented(competition).labels)
    for name in made:
        if name.endswith(".csv"):
            assert set(_columns(made[name])) <= set(_columns(real[name])) | invented, name


def _unpacked(content: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            found |= _unpacked(archive.read(name)) if name.endswith(".zip") else {name: archive.read(name)}
    return found


def _is_table(name: str) -> bool:
    return name.endswith((".csv", ".json"))


def _places(members: dict[str, bytes]) -> set[str]:
    """Return the tables, and the uppermost folder of each image."""
    return {name if _is_table(name) else name.partition("/")[0] for name in members}


def _columns(content: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(content.decode())))
