"""The source of a plugin from its description, and that `check` passes for plugins of every task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kagglekit.authoring import scaffold
from kagglekit.authoring.proposal import Proposal
from kagglekit.competitions.competition import Competition
from tests.conftest import Cli, succeeded
from tests.test_authors import is_clean
from tests.test_drawn_layouts import LAYOUTS, described


def fields_of(competition: Competition) -> dict[str, Any]:
    """Return the fields that are not defaults; the target says what classes do."""
    every = {each.name: getattr(competition, each.name) for each in dataclasses.fields(competition)}
    usual = described(competition.target)
    needed = ("name", "kaggle", "target", "train", "test", "submission")
    return {
        name: value
        for name, value in every.items()
        if name in needed or (name != "classes" and value != getattr(usual, name))
    }


def source_of(competition: Competition) -> str:
    return Proposal(fields=fields_of(competition)).source()


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_source_of_a_description_makes_the_description(name: str) -> None:
    competition = LAYOUTS[name]
    assert scaffold.plugin("drawn", source_of(competition)).competition() == competition


def test_the_source_of_every_description_is_clean(tmp_path: Path) -> None:
    for number, competition in enumerate(LAYOUTS.values()):
        (tmp_path / f"leaf_{number}.py").write_text(source_of(competition))
    is_clean(tmp_path)


CHECKED = (
    "tags",
    "ids with labels",
    "grades",
    "several trees",
    "shares of the sample",
    "new whales",
    "annotations",
    "groups in names",
)


@pytest.mark.parametrize("name", CHECKED)
def test_check_passes_for_every_task(name: str, cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    file = tmp_path / "leaf.py"
    file.write_text(source_of(LAYOUTS[name]))
    words = (f"backbone={tiny}", "folds=2", "feature_views=plain", "regularisation_grid=0.3")
    done = succeeded(cli("check", file, *(part for word in words for part in ("--set", word))))
    assert "all checks passed" in done.out
    assert "found again" in done.out
    assert "matched by id" in done.out
