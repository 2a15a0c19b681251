"""What can be typed: one module per group of commands, each with a module of its name in `cli` that does the work.

Modules here declare arguments and options and import nothing heavy; a command loads its work when it is called.
"""

from kagglekit.cli.commands import (
    authoring,
    diagnosis,
    exporting,
    folders,
    inspection,
    kaggle,
    looking,
    rehearsing,
    running,
    training,
    tuning,
)

GROUPS = (running, tuning, rehearsing, kaggle, looking, training, exporting, folders, authoring, inspection, diagnosis)
"""In the order in which `kagglekit --help` shows them."""
