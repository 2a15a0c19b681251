"""A competition of each kind of target and submission is rehearsed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kagglekit.base.console import Console
from kagglekit.data.project import Project
from kagglekit.pipeline import rehearsal
from tests.gallery import running
from tests.gallery.running import Row
from tests.gallery.test_rows import EVERY


def kind_of(slug: str, row: Row) -> tuple[str, str, str, bool]:
    """Return what is predicted, how it is submitted, and whether of groups of images."""
    competition = row.plugin(slug).competition()
    form = competition.submission
    return competition.target.kind, type(form).__name__, form.per_group, competition.has_groups


FIRST = {kind_of(slug, row): (slug, row) for slug, row in reversed(EVERY)}


@pytest.mark.parametrize(("slug", "row"), FIRST.values(), ids=[slug for slug, _ in FIRST.values()])
def test_what_is_hidden_is_graded(
    slug: str, row: Row, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = row.plugin(slug)
    monkeypatch.setattr(Project, "load", lambda _: Project.of(plugin))
    settings = running.QUICK | {"backbone": tiny}
    archive = row.layout.write(tmp_path / f"{slug}.zip")
    found = rehearsal.rehearse(slug, archive, settings, Console(io.StringIO()), seeds=1, split="random")
    (one,) = found.seeds
    assert one.hidden_images > 0
    if not plugin.competition().has_groups:  # of which there are few, and one says little of another
        assert one.score == pytest.approx(one.out_of_fold, rel=0.2, abs=0.7), "the pictures are easy"
