"""What a study leaves behind: `tune.json`, and the same trials as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kagglekit.base.plain import Plain

FILE, TRIALS, RECIPE = "tune.json", "trials.csv", "recipe.toml"


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Plain):
    """A trial. Scores are in units of the metric."""

    number: int
    state: str
    """complete, pruned, failed or running."""
    settings: Mapping[str, str]
    """The searched settings that have an effect, as `--set` takes them."""
    score: float | None = None
    """Out-of-fold score; None if the trial is not complete."""
    run: str = ""
    """Id of the run; empty if the trial is not complete."""
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class NestedRecord(Plain):
    """The score of a choice on folds that did not choose it."""

    score: float
    standard_error: float | None
    gain: float
    """Gain over the default settings; positive is better."""
    low: float
    """Lower bound of the gain, with 95% confidence; `high` is the upper bound."""
    high: float
    proven: bool
    """Whether the lower bound is above zero."""
    chosen: Mapping[str, str]
    """Fold -> what the others chose: `default` or the number of a trial."""


@dataclass(frozen=True, kw_only=True)
class TuneRecord(Plain):
    """A study and its outcome."""

    competition: str
    metric: str
    lower_is_better: bool
    space: Mapping[str, str]
    """Setting -> values, as `--search` takes them."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the command line."""
    default_run: str
    default_score: float
    default_error: float | None
    default_values: Mapping[str, str]
    """Searched setting -> its default."""
    best: int | None
    """Number of the best trial; None if the default settings are better than all."""
    best_score: float
    """Score of the best settings. It flatters: they were chosen by it."""
    nested: NestedRecord
    importances: Mapping[str, float] = field(default_factory=dict)
    """Setting -> share of the scores' variance that it explains (fANOVA)."""
    trials: tuple[TrialRecord, ...] = ()

    def trial(self, number: int) -> TrialRecord:
        """Return a trial by its number."""
        return next(one for one in self.trials if one.number == number)
