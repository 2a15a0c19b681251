"""The contents of `rehearsal.json`: how the scores of hidden images compare with the estimates of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kagglekit.base.environment import Machine
from kagglekit.base.plain import Plain

FILE = "rehearsal.json"


@dataclass(frozen=True, kw_only=True)
class SeedRecord(Plain):
    """One run whose test images were hidden training images. Scores are in units of the metric."""

    seed: int
    run: str
    """Id of the run."""
    train_images: int
    hidden_images: int
    hidden_rows: int
    """Number of rows of the submission that were graded."""
    out_of_fold: float
    """The estimate."""
    standard_error: float | None
    low: float | None
    """Lower end of the interval in which the estimate expects the score of the hidden images."""
    high: float | None
    score: float
    """Score of the submission on the hidden images."""
    score_error: float | None
    """Its standard error."""
    line: str
    """The best line of the leaderboard that the score reaches; empty if none."""
    seconds: float
    """Time of all stages of the run; what was computed before took none."""
    device: str
    machine: Machine
    ways: Mapping[str, float] = field(default_factory=dict)
    """Score of each way to predict the test set, by name, if the run has the models of several."""

    @property
    def covered(self) -> bool | None:
        """Whether the score is in the interval; None if there is none."""
        return None if self.low is None or self.high is None else self.low <= self.score <= self.high

    @property
    def difference_error(self) -> float | None:
        """Standard error of the difference of score and estimate."""
        if self.standard_error is None or self.score_error is None:
            return None
        return float((self.standard_error**2 + self.score_error**2) ** 0.5)

    @property
    def z(self) -> float | None:
        """The difference of score and estimate, in units of its standard error."""
        return (self.score - self.out_of_fold) / self.difference_error if self.difference_error else None


@dataclass(frozen=True, kw_only=True)
class RehearsalRecord(Plain):
    """All runs of a rehearsal."""

    competition: str
    split: str
    metric: str
    lower_is_better: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the command line."""
    leaderboard: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[SeedRecord, ...] = ()
