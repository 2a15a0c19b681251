"""Tasks with a value in each column: labels, shares and numbers. N images, C columns; the truth is (N, C)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from kagglekit.base.arrays import Floats, Floats32, centres, medians, robust_spreads, spreads
from kagglekit.base.shortlists import Wide
from kagglekit.tasks import cases, label_errors, targets
from kagglekit.tasks.activations import IDENTITY, SIGMOID, Activation, Standardised
from kagglekit.tasks.cases import Cases, Confidence
from kagglekit.tasks.decisions import Decision, Range, Thresholds
from kagglekit.tasks.label_errors import Suspect
from kagglekit.tasks.one_of import shown
from kagglekit.tasks.seconds import ABSOLUTE_ERROR, EXACT_MATCH
from kagglekit.tasks.targets import SEPARATOR
from kagglekit.tasks.task import HUBER, Decided, Rows, Strata, Task, Truth

_EPSILON = 1e-15
_BINS = 10
"""Number of strata of a number, as equal in size as possible."""
_FEWEST = 10
"""Images of a stratum, so that each of many folds has one."""
_UNKNOWN = ("", "nan", "na")
"""How tables write that a number is unknown, in small letters."""


class _ByColumn(Task):
    """The parts that all share."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns for people, (C,)."""
        return tuple(self.target.meanings.values())

    def seen(self, truth: Truth, predictions: Wide) -> Floats:  # noqa: ARG002
        """Return all predictions, (N, C)."""
        return np.asarray(predictions)

    def prior(self, truth: Truth) -> Floats:
        """Return the mean of each column, (C,)."""
        return centres(np.asarray(truth, dtype=np.float64))

    def goals(self, truth: Truth) -> Floats32:
        """Return the truth, (N, C)."""
        return np.asarray(truth, dtype=np.float32)

    def mirrored(self, truth: Truth, columns: Sequence[int]) -> Floats:
        """Return the truth of mirrored images, (N, C): a flip rule swaps columns."""
        return np.asarray(truth, dtype=np.float64)[:, list(columns)]

    def unused(self, truth: Truth) -> list[str]:  # noqa: ARG002
        """Return nothing: any number may be missing."""
        return []

    def absent(self, labels: Iterable[str]) -> list[str]:  # noqa: ARG002
        """Return nothing."""
        return []


class _Logistic(_ByColumn):
    """A probability or share for each column."""

    activation = SIGMOID
    loss = "log loss"
    metric = "log_loss"

    def weights(self, truth: Truth, balance: float) -> Floats | None:
        """Return the weight of each column's yes, (C,), where a no has 1; 1 where one of both does not occur."""
        if not balance:
            return None
        yes = np.asarray(truth.sum(axis=0), dtype=np.float64)
        no = len(truth) - yes
        both = (yes > 0) & (no > 0)
        return np.where(both, no / np.where(both, yes, 1.0), 1.0) ** balance

    def losses_of(self, truth: Truth, seen: Floats) -> Floats:
        """Return each row's mean binary log loss over the columns, (N,)."""
        losses: Floats = _binary_losses(truth, seen).mean(axis=1)
        return losses

    def slopes(self, truth: Truth, seen: Floats) -> Floats:
        """Return the derivative of each row's mean log loss, (N, C)."""
        right = np.clip(seen, _EPSILON, 1 - _EPSILON)
        return np.asarray((right - truth) / (right * (1 - right)) / len(self.columns))


class AnyOf(_Logistic):
    """Any of several labels. The column `label` of a table joins those of an image by `|`; the truth is 0 or 1."""

    target: targets.Labels

    def of_columns(self, columns: Sequence[int]) -> AnyOf:
        """Return the task of some of the labels."""
        return AnyOf(targets.Labels([self.columns[column] for column in columns]))

    def fault(self, label: str) -> str:
        """Return a remark on an unknown label, and on a set that the target forbids."""
        own = _split(label)
        unknown = [name for name in own if name not in self.known]
        if unknown:
            return f"{unknown[0]!r} in {label!r} is not one of the labels {shown(self.columns)}"
        if not own and self.target.at_least_one:
            return "an image has no label, and at least one is declared"
        for some in self.target.one_of:
            count = len(set(own) & set(some))
            if count != 1:
                return f"{label!r} has {count} of the labels {shown(some)}, and exactly one is declared"
        return ""

    def truth(self, labels: Iterable[str]) -> Floats:
        """Return 1 for each label of an image and 0 for the others, (N, C)."""
        place = {name: index for index, name in enumerate(self.columns)}
        texts = list(labels)
        rows = np.zeros((len(texts), len(place)))
        for row, text in enumerate(texts):
            rows[row, [place[name] for name in _split(text)]] = 1
        return rows

    def unused(self, truth: Truth) -> list[str]:
        """Return the labels that no image has."""
        there = np.asarray(truth.sum(axis=0) > 0)
        return [name for name, used in zip(self.columns, there, strict=True) if not used]

    def absent(self, labels: Iterable[str]) -> list[str]:
        """Return the labels that no image has."""
        there = {name for text in set(labels) for name in _split(text)}
        return [name for name in self.columns if name not in there]

    def strata(self, truth: Truth) -> Strata:
        """Return the labels, (N, C): their shares are kept alike in all folds."""
        return np.asarray(truth > 0.5)

    def second(self, truth: Truth, decided: Decided) -> tuple[str, float]:
        """Return the share of rows whose labels are all right."""
        return EXACT_MATCH, float(((truth > 0.5) == decided).all(axis=1).mean())

    def usual(self) -> Decision:
        """Return the labels of probability one half or more, and what the target demands."""
        place = {name: index for index, name in enumerate(self.columns)}
        one_of = tuple(tuple(place[name] for name in some) for some in self.target.one_of)
        thresholds = (0.5,) * len(self.columns)
        return Thresholds(thresholds=thresholds, one_of=one_of, at_least_one=self.target.at_least_one)

    def counts(self, truth: Truth) -> list[tuple[str, int]]:
        """Return (label, images that have it)."""
        return list(zip(self.target.captions, (truth > 0.5).sum(axis=0).tolist(), strict=True))

    def cases(self, truth: Truth, predictions: Wide, decided: Decided) -> Cases:
        """Return a case for each label that an image has or was given."""
        return cases.of_labels(self.names, truth, decided, np.asarray(predictions), _binary_losses(truth, predictions))

    def confidence(self, truth: Truth, predictions: Wide, decided: Decided) -> Confidence:  # noqa: ARG002
        """Return the probability of each label of each image."""
        return Confidence(values=np.asarray(predictions).ravel(), right=truth.ravel() > 0.5, least=0.0)

    def correct(self, truth: Truth, decided: Decided) -> Floats:
        """Return 1 where all labels are right, (N,)."""
        return np.asarray(((truth > 0.5) == decided).all(axis=1), dtype=np.float64)

    def suspects(self, truth: Truth, predictions: Wide) -> list[Suspect]:
        """Return images that may have a label too many or too few."""
        return label_errors.among_labels(truth, np.asarray(predictions), self.columns)

    def words(self, decided: Decided) -> list[str]:
        """Return the names of each image's labels, (N,)."""
        return [", ".join(self.names[column] for column in np.flatnonzero(row > 0.5)) or "none" for row in decided]


class _OfNumbers(_ByColumn):
    """The column `label` of a table joins the numbers of an image by `|`. The truth of unknown ones is NaN."""

    low: float = -math.inf
    high: float = math.inf
    missing: bool = False
    """Whether an image may lack some of its numbers."""

    def fault(self, label: str) -> str:
        """Return a remark on what is no number, or outside the range."""
        parts = label.split(SEPARATOR)
        if len(parts) != len(self.columns):
            return f"{label!r} has {len(parts)} numbers, not {len(self.columns)}"
        if self.missing:
            parts = [part for part in parts if part.lower() not in _UNKNOWN]
        if not parts:
            return f"{label!r} has no number"
        return next(filter(None, map(self._fault, parts)), "")

    def _fault(self, part: str) -> str:
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            return f"{part!r} is not a number{self._cure(part)}"
        return "" if self.low <= value <= self.high else f"{part!r} is outside {self.low:g} to {self.high:g}"

    def _cure(self, part: str) -> str:  # noqa: ARG002
        """Return what may allow what is no number."""
        return ""

    def truth(self, labels: Iterable[str]) -> Floats:
        """Return the numbers, (N, C)."""
        return np.array([list(map(_number, text.split(SEPARATOR))) for text in labels], dtype=np.float64)

    def second(self, truth: Truth, decided: Decided) -> tuple[str, float]:
        """Return the mean absolute error."""
        errors = np.abs(truth - decided)
        known = ~np.isnan(truth)
        return ABSOLUTE_ERROR, float(errors.mean() if known.all() else errors[known].mean())

    def usual(self) -> Decision:
        """Return the numbers within the range."""
        low, high = (limit if math.isfinite(limit) else None for limit in (self.low, self.high))
        return Range(low=low, high=high)

    def strata(self, truth: Truth) -> Strata:
        """Return bins of equal size of the first principal component, (N,); an unknown number counts as the mean."""
        standard = (truth - centres(truth)) / spreads(truth)
        standard = np.where(np.isnan(truth), 0.0, standard)
        _, axes = np.linalg.eigh(standard.T @ standard)
        ranks = np.argsort(np.argsort(standard @ axes[:, -1], kind="stable"), kind="stable")
        return np.asarray(ranks * min(_BINS, max(len(truth) // _FEWEST, 1)) // len(truth), dtype=np.int64)

    def counts(self, truth: Truth) -> list[tuple[str, int]]:
        """Return (range, images) of one number; of several, each with the images that have it."""
        found = cases.of_numbers(self.names, truth, truth, np.zeros_like(truth))
        counts = np.bincount(found.true, minlength=len(found.categories))
        return list(zip(found.categories, counts.tolist(), strict=True))

    def cases(self, truth: Truth, predictions: Wide, decided: Decided) -> Cases:  # noqa: ARG002
        """Return a case for each number."""
        rows = np.asarray(predictions)
        return cases.of_numbers(self.names, truth, rows, (truth - rows) ** 2)

    def confidence(self, truth: Truth, predictions: Wide, decided: Decided) -> None:  # noqa: ARG002
        """Return nothing: numbers have no probability."""
        return

    def correct(self, truth: Truth, decided: Decided) -> Floats:  # noqa: ARG002
        """Return NaN: a number is never entirely right, (N,)."""
        return np.full(len(truth), np.nan)

    def suspects(self, truth: Truth, predictions: Wide) -> list[Suspect]:  # noqa: ARG002
        """Return nothing: a large error may be the model's."""
        return []

    def words(self, decided: Decided) -> list[str]:
        """Return the numbers, and what is unknown, (N,)."""
        return [", ".join("unknown" if np.isnan(value) else f"{value:.4g}" for value in row) for row in decided]


class Counted(_OfNumbers):
    """Numbers. Networks are trained towards numbers with mean 0 and standard deviation 1."""

    activation = IDENTITY
    loss = "squared error"
    metric = "rmse"

    target: targets.Numbers

    def __init__(self, target: targets.Numbers) -> None:
        super().__init__(target)
        self.low = -math.inf if target.low is None else target.low
        self.high = math.inf if target.high is None else target.high
        self.missing = target.missing
        if target.absolute:
            self.loss, self.absolute = "Huber loss", True
        self._means = tuple(target.means) or (0.0,) * len(self.columns)
        self._scales = tuple(target.scales) or (1.0,) * len(self.columns)

    def _cure(self, part: str) -> str:
        several = len(self.columns) > 1 and part.lower() in _UNKNOWN
        return ": declare Numbers(…, missing=True) if images may lack some" if several else ""

    def learnt_from(self, truth: Truth, rows: Rows) -> Counted:
        """Return the task with the mean and the standard deviation of these rows."""
        known = truth[rows]
        there = ~np.isnan(known).all(axis=0)  # of what no row has, all rows tell
        means, scales = self.unit(known)
        return self.in_units(
            np.where(there, means, self._means).tolist(), np.where(there, scales, self._scales).tolist()
        )

    def in_units(self, means: Sequence[float], scales: Sequence[float]) -> Counted:
        """Return the task with this mean and standard deviation of each column, (C,)."""
        return Counted(replace(self.target, means=means, scales=scales))

    def unit(self, values: Floats) -> tuple[Floats, Floats]:
        """Return the mean and the standard deviation; if errors count by their size, the median and a robust spread."""
        return (medians(values), robust_spreads(values)) if self.target.absolute else super().unit(values)

    def prior(self, truth: Truth) -> Floats:
        """Return the mean of each column, or the median, which lowers the loss of errors that count by their size."""
        return medians(truth) if self.target.absolute else super().prior(truth)

    @property
    def network_activation(self) -> Activation:
        """From standardised numbers, which a network learns sooner, to numbers."""
        return Standardised(self._means, self._scales)

    @property
    def units(self) -> Floats:
        """The standard deviation of each column, (C,)."""
        return np.array(self._scales)

    def losses_of(self, truth: Truth, seen: Floats) -> Floats:
        """Return each row's squared error in `units`, mean over the columns, (N,): 1 if the mean is predicted.

        If errors count by their size, it is twice Huber's loss (Huber 1964). An unknown number has none.
        """
        errors = np.abs((truth - seen) / self.units)
        if self.target.absolute:
            errors = np.where(errors > HUBER, HUBER * (2 * errors - HUBER), errors**2)
        else:
            errors = errors**2
        losses: Floats = np.where(np.isnan(truth), 0.0, errors).mean(axis=1)
        return losses

    def slopes(self, truth: Truth, seen: Floats) -> Floats:
        """Return the derivative of each row's mean squared error, or of its Huber's loss, (N, C)."""
        errors = (seen - truth) / self.units
        if self.target.absolute:
            errors = np.clip(errors, -HUBER, HUBER)
        return np.where(np.isnan(truth), 0.0, 2 * errors / self.units / len(self.columns))


class Shared(_Logistic, _OfNumbers):
    """Numbers from 0 to 1."""

    metric = "rmse"
    low, high = 0.0, 1.0


def _binary_losses(truth: Truth, predictions: Wide) -> Floats:
    """Return the log loss of each column of each row, (N, C)."""
    right = np.clip(np.asarray(predictions), _EPSILON, 1 - _EPSILON)
    losses: Floats = -(truth * np.log(right) + (1 - truth) * np.log(1 - right))
    return losses


def _split(text: str) -> list[str]:
    return text.split(SEPARATOR) if text else []


def _number(text: str) -> float:
    return math.nan if text.lower() in _UNKNOWN else float(text)
