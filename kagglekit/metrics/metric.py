"""What a metric is. N rows, C classes, L labels, K numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kagglekit.base.arrays import Floats

    Truth: TypeAlias = NDArray[Any]
    Predicted: TypeAlias = NDArray[Any]
else:
    Truth = Predicted = Any  # plugins import this module, which must load no numpy

Kind = Literal["classes", "labels", "grades", "numbers", "shares"]
"""A kind of target. Its truth: classes and grades (N,) int64; labels (N, L) bool; numbers and shares (N, K) float64."""
KINDS: tuple[Kind, ...] = get_args(Kind)
Needs = Literal["probabilities", "ranks", "decisions", "top", "numbers"]
"""What a metric is computed from:

- probabilities, or ranks, for which only the order counts: (N, C) float64
- decisions: classes and grades (N,) int64; labels (N, L) bool
- top: the k best classes, best first: (N, k) int64, where -1 is no guess
- numbers: (N, K) float64
"""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a competition scores predictions."""

    name: str
    """Name in tables."""
    score: Callable[[Truth, Predicted], float]
    """(truth, what the metric needs) -> the score of all rows."""
    lower_is_better: bool = True
    """Whether a smaller score wins."""
    per_row: Callable[[Truth, Predicted], Floats] | None = None
    """(truth, what the metric needs) -> (N,), if the score is their mean; gives exact standard errors."""
    needs: Needs = "probabilities"
    """What `score` and `per_row` get."""
    kinds: tuple[Kind, ...] = KINDS
    """The kinds of target that it can score."""
    k: int = 0
    """The length of the lists, for a metric that needs `top`."""

    def __post_init__(self) -> None:
        if self.needs not in get_args(Needs):
            raise ValueError(f"metric {self.name!r}: needs {self.needs!r} is not one of {', '.join(get_args(Needs))}")
        if (self.needs == "top") != (self.k > 0):
            raise ValueError(f"metric {self.name!r}: a metric that needs 'top', and no other, has a k above 0")
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ValueError(f"metric {self.name!r}: kinds {list(self.kinds)} are not among {', '.join(KINDS)}")
