"""kagglekit: from a Kaggle image-classification competition to a validated submission with one command.

This module is the whole public surface for plugin authors; importing it loads nothing heavy.
"""

import pluggy

from kagglekit.competition import (
    ClassLabel,
    Competition,
    CsvGroups,
    CsvLabels,
    FilenameLabels,
    FolderLabels,
    Probability,
    ProbabilityPerClass,
)
from kagglekit.errors import PluginError, UserError
from kagglekit.metrics import Metric

hookimpl = pluggy.HookimplMarker("kagglekit")

__all__ = [
    "ClassLabel",
    "Competition",
    "CsvGroups",
    "CsvLabels",
    "FilenameLabels",
    "FolderLabels",
    "Metric",
    "PluginError",
    "Probability",
    "ProbabilityPerClass",
    "UserError",
    "hookimpl",
]
