"""The contract that every plugin must keep, for a plugin's own tests: the public door to `kagglekit.authoring.testing`.

A plugin's test is one line: `check_plugin("kagglekit_leaf.py", tmp_path)`.
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
