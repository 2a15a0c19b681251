"""The plain and the mirrored view of an image, and the class that each shows.

V: views, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import Competition

PLAIN, MIRROR = "plain", "mirror"
ViewClasses = tuple[tuple[int, ...], ...]
"""For each view, the class that an image of class c shows, (V, C)."""


def allowed(requested: Sequence[str], mirror: tuple[int, ...] | None) -> tuple[str, ...]:
    """Return the requested views, without the mirrored one if flips are forbidden (`mirror` is None)."""
    return tuple(view for view in requested if view == PLAIN or mirror is not None)


def of_run(competition: Competition, requested: Sequence[str], console: Console) -> tuple[tuple[str, ...], ViewClasses]:
    """Return the requested views that the flip rule allows, and the classes that they show.

    Raises UserError if it allows none.
    """
    mirror = competition.mirror_classes
    views = allowed(requested, mirror)
    if not views:
        raise UserError("feature_views = ['mirror']: this competition forbids flips; use --set feature_views=plain.")
    if len(views) < len(requested):
        console.say("view mirror is left out: this competition forbids flips")
    return views, classes_in(views, len(competition.labels), mirror)


def classes_in(views: Sequence[str], classes: int, mirror: tuple[int, ...] | None) -> ViewClasses:
    """Return the classes that the views show. `mirror` maps each class to that of the mirrored image."""
    same = tuple(range(classes))
    return tuple(same if view == PLAIN else mirror or same for view in views)
