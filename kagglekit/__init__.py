"""kagglekit: from a Kaggle image-classification competition to a validated submission with one command.

This module is the whole public surface for plugin authors. Names are loaded when they are asked for, so
that the command line starts without them; none of them loads anything heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kagglekit.base.errors import PluginError, UserError
    from kagglekit.competitions.competition import (
        Competition,
    )
    from kagglekit.competitions.hookspecs import hookimpl
    from kagglekit.competitions.label_columns import Columns, OneHot, RowPerLabel, Tags
    from kagglekit.competitions.locations import (
        CocoIds,
        CocoLabels,
        CsvGroups,
        CsvIds,
        CsvLabels,
        FilenameLabels,
        FolderLabels,
        Together,
    )
    from kagglekit.formats import (
        ClassAndScore,
        ClassLabel,
        JoinedLabels,
        Long,
        OwnFormat,
        Probability,
        ProbabilityPerClass,
        TopClasses,
        Value,
        Values,
    )
    from kagglekit.metrics import Metric
    from kagglekit.tasks.targets import (
        Classes,
        FromCsv,
        FromSample,
        FromTrain,
        Grades,
        Labels,
        Number,
        Numbers,
        Shares,
    )

__all__ = [
    "ClassAndScore",
    "ClassLabel",
    "Classes",
    "CocoIds",
    "CocoLabels",
    "Columns",
    "Competition",
    "CsvGroups",
    "CsvIds",
    "CsvLabels",
    "FilenameLabels",
    "FolderLabels",
    "FromCsv",
    "FromSample",
    "FromTrain",
    "Grades",
    "JoinedLabels",
    "Labels",
    "Long",
    "Metric",
    "Number",
    "Numbers",
    "OneHot",
    "OwnFormat",
    "PluginError",
    "Probability",
    "ProbabilityPerClass",
    "RowPerLabel",
    "Shares",
    "Tags",
    "Together",
    "TopClasses",
    "UserError",
    "Value",
    "Values",
    "hookimpl",
]

_HOMES = {
    "Metric": "metrics",
    "PluginError": "base.errors",
    "UserError": "base.errors",
    "hookimpl": "competitions.hookspecs",
    **dict.fromkeys(("Columns", "OneHot", "RowPerLabel", "Tags"), "competitions.label_columns"),
    **dict.fromkeys(
        (
            "CocoIds",
            "CocoLabels",
            "CsvGroups",
            "CsvIds",
            "CsvLabels",
            "FilenameLabels",
            "FolderLabels",
            "Together",
        ),
        "competitions.locations",
    ),
    **dict.fromkeys(
        (
            "ClassAndScore",
            "ClassLabel",
            "JoinedLabels",
            "Long",
            "OwnFormat",
            "Probability",
            "ProbabilityPerClass",
            "TopClasses",
            "Value",
            "Values",
        ),
        "formats",
    ),
    **dict.fromkeys(
        ("Classes", "FromCsv", "FromSample", "FromTrain", "Grades", "Labels", "Number", "Numbers", "Shares"),
        "tasks.targets",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kagglekit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kagglekit.{_HOMES.get(name, 'competitions.competition')}"), name)
