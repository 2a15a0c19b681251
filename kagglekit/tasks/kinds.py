"""The task of a target."""

from __future__ import annotations

from typing import Any

from kagglekit.tasks.columns import AnyOf, Counted, Shared
from kagglekit.tasks.one_of import Graded, OneOf
from kagglekit.tasks.targets import Classes, Grades, Labels, Numbers, Shares, Target
from kagglekit.tasks.task import Task

_TASKS: dict[type[Target], Any] = {Classes: OneOf, Labels: AnyOf, Grades: Graded, Numbers: Counted, Shares: Shared}


def of(target: Target) -> Task:
    """Return the task of a target whose names are known."""
    made: Task = _TASKS[type(target)](target)
    return made
