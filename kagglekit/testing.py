"""Checks for the tests of a plugin. The public interface of `kagglekit.authoring.testing`.

The test of a plugin is one line: `check_plugin("kagglekit_leaf.py", tmp_path)`.
"""

from kagglekit.authoring.testing import (
    check_description,
    check_plugin,
    check_recipe,
    check_run,
    check_submission,
    check_tables,
    draw_all,
)

__all__ = [
    "check_description",
    "check_plugin",
    "check_recipe",
    "check_run",
    "check_submission",
    "check_tables",
    "draw_all",
]
