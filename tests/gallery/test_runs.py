"""Each competition is run on data in its layout, its submission is checked, and kagglekit draws it as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.gallery import rows, running
from tests.gallery.running import Row
from tests.gallery.test_rows import EVERY

EACH = pytest.mark.parametrize(("slug", "row"), EVERY, ids=[slug for slug, _ in EVERY])


@EACH
def test_a_run_submits_what_is_asked(
    slug: str, row: Row, tiny: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    running.check(slug, row, tiny, tmp_path)
    record_property(rows.DONE, slug)


@EACH
def test_it_is_drawn_as_it_is(slug: str, row: Row, tmp_path: Path, cheap: None) -> None:
    running.check_drawn(slug, row, tmp_path)


def test_archives_may_lack_the_folder_that_file_names_have(tiny: str, tmp_path: Path) -> None:
    """As MLE-bench packs them."""
    row = dict(EVERY)["inaturalist-2019-fgvc6"]
    packed = {name: f"{folder}*" for name, folder in row.layout.packed.items()}
    running.check("inaturalist-2019-fgvc6", replace(row, layout=replace(row.layout, packed=packed)), tiny, tmp_path)
