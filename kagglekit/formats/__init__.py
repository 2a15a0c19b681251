"""What a submission is: formats, which plugins declare, and what is wrong with their rows."""

from __future__ import annotations

from kagglekit.formats.columns import Long, Probability, ProbabilityPerClass, Value, Values
from kagglekit.formats.names import ClassAndScore, ClassLabel, JoinedLabels, TopClasses
from kagglekit.formats.own import OwnFormat
from kagglekit.formats.submission import Submission

__all__ = [
    "ClassAndScore",
    "ClassLabel",
    "JoinedLabels",
    "Long",
    "OwnFormat",
    "Probability",
    "ProbabilityPerClass",
    "Submission",
    "TopClasses",
    "Value",
    "Values",
]
