"""The list of competitions is whole, each that is covered is declared once, and shortly."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from tests import pages
from tests.conftest import SHARED, pytest_terminal_summary
from tests.gallery import (
    annotations,
    column_a_class,
    lists,
    names,
    numbers,
    rows,
    tags,
    yes_or_no,
)
from tests.gallery.running import Row

LINES = 30
MODULES = (annotations, column_a_class, lists, names, numbers, tags, yes_or_no)
EVERY = [(slug, row) for module in MODULES for slug, row in module.ROWS.items()]


def test_each_competition_that_is_covered_is_declared_once() -> None:
    assert sorted(slug for slug, _ in EVERY) == sorted(rows.COVERED)
    assert not set(rows.COVERED) & set(rows.LATER)
    assert len({*rows.COVERED, *rows.LATER}) == 69


@pytest.mark.parametrize(("slug", "row"), EVERY, ids=[slug for slug, _ in EVERY])
def test_a_declaration_is_short_and_of_its_competition(slug: str, row: Row) -> None:
    assert row.lines(slug) <= LINES
    assert row.plugin(slug).competition().kaggle == slug


def test_pytest_prints_how_many_were_run() -> None:
    """In the process that prints, which need not be the one that ran them."""
    reports = [SimpleNamespace(user_properties=[[rows.DONE, slug]]) for slug in ("cifar-10", "galaxies", "cifar-10")]
    said: list[str] = []
    terminal = SimpleNamespace(
        stats={"passed": [*reports, SimpleNamespace(user_properties=[])]}, write_line=said.append
    )
    pytest_terminal_summary(terminal)
    assert said == ["2 of 69 competitions declared, run and their submissions checked (tests/gallery)"]


def test_the_readme_says_how_many_there_are() -> None:
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Of {len(rows.COVERED) + len(rows.LATER)} image competitions at Kaggle, {len(rows.COVERED)} are" in readme
    assert f"in {LINES} lines or fewer each" in readme


@pytest.mark.real
def test_the_list_is_that_of_all_image_competitions() -> None:
    path = SHARED.parent / "docs" / "competitions.md"
    if not path.is_file():
        pytest.skip("docs/competitions.md is expected in shared beside the checkout")
    text = path.read_text(encoding="utf-8").partition("## Medal thresholds")[0]
    names = re.findall(r"^\| ([\w.-]+)[^|]*\|.*\*\*(?:EXPRESSIBLE|HOOKS|NOT)\*\*", text, re.MULTILINE)
    assert sorted(names) == sorted([*rows.COVERED, *rows.LATER])
