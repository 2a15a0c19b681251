"""Draw a competition into an archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kagglekit.base import storage
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.synthetic import archive, names, pictures, plan, tables
from kagglekit.competitions.synthetic.plan import Plan
from kagglekit.recipe import DEFAULT_FOLDS
from kagglekit.tasks.targets import Source

DRAWING_VERSION = 2
"""Increase this whenever the same description gives other images."""


@dataclass(frozen=True)
class Drawn:
    """A drawn competition: its archive and the true labels."""

    archive: Path
    train: Mapping[str, str]
    """Path of each training image -> label, including the data's own validation set."""
    test: Mapping[str, str]
    """Test id -> label."""
    groups: Mapping[str, str]
    """Path of each training image -> group; empty if the competition has none."""
    test_ids: Mapping[str, str]
    """Path of each test image -> its id."""
    rows: Mapping[str, str]
    """Path of each image -> the row of the submission that it belongs to; empty if that is of one image."""


def shapes(competition: Competition) -> int:
    """Return the number of archive layouts that the description declares."""
    parts = (competition.train.alternatives, competition.test_alternatives)
    return max(len(part) for part in (*parts, competition.valid.alternatives if competition.valid else ()))


def draw(competition: Competition, folder: Path, folds: int = DEFAULT_FOLDS, shape: int = 0) -> Drawn:
    """Draw a competition into an archive in `folder`, large enough for `folds` cross-validation folds.

    `shape` selects one of the declared archive layouts. The same description gives the same bytes. If the data lists
    what is predicted, the archive lists invented names. Raises UserError if these are not those that the rest of the
    description needs.
    """
    described = [competition.describe(), folds, shape, DRAWING_VERSION]
    path = folder / f"{competition.name}-synthetic-{storage.digest(described, 8)}.zip"
    source, competition = competition.target.source, names.invented(competition)
    planned = plan.of(competition, folds, shape)
    if not path.is_file():
        with storage.replacing(path) as temporary:
            archive.write(temporary, _members(competition, source, planned), planned)
    return Drawn(
        archive=path,
        train={one.path: one.subject.label for one in planned.labelled},
        test={one.id: one.subject.label for one in planned.test},
        groups={one.path: one.group_name for one in planned.labelled} if competition.has_groups else {},
        test_ids={one.path: one.id for one in planned.test},
        rows={one.path: one.row for one in planned.images} if competition.submission.per_group else {},
    )


def _members(competition: Competition, source: Source | None, planned: Plan) -> dict[str, bytes]:
    """Return path -> content of all files."""
    files = dict(tables.contents(competition, source, planned))
    return files | {
        one.path: pictures.encoded(
            pictures.draw(competition, one.subject, one.group, pictures.seed_of(one.path)), one.path
        )
        for one in planned.images
    }
