"""Compare runs: settings, scores image by image, and the correlation of their errors.

N: images that both runs scored, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kagglekit import metrics, recipe
from kagglekit.base import shortlists
from kagglekit.base.arrays import Indices
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.base.words import listed
from kagglekit.metrics import Metric
from kagglekit.pipeline import deciding, gates, steps, summary
from kagglekit.runs import findings
from kagglekit.runs.findings import Findings
from kagglekit.runs.store import Run
from kagglekit.tasks.task import Task, Truth

_BLOCK = 1 << 22
"""Most predictions that are looked at together."""
_ROUNDING = 1e-12
"""Share of the sum of squares that is rounding error."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A comparison of two runs on the images that both scored."""

    images: int
    loss: str
    """Name of the score that is compared."""
    before: float
    """Score of the first run."""
    after: float
    """Score of the second run."""
    gain: float
    """Gain of the second run over the first; positive is better."""
    low: float
    high: float
    """Upper bound of the gain's 95% bootstrap interval over whole groups; `low` is the lower bound."""
    better: list[str]
    """Ids that only the second run gets right, largest gain first."""
    worse: list[str]
    """Ids that only the first run gets right, largest loss first."""
    correlation: float
    """Correlation of the errors of both runs (truth minus prediction), over images and columns."""
    blend: float
    """Score of the mean of both runs' predictions."""
    blend_gain: float
    """Gain of the mean over the better of the two runs."""
    blend_low: float
    blend_high: float

    @property
    def verdict(self) -> str:
        """The better run, if the interval excludes zero."""
        if self.low > 0:
            return f"by {self.loss} the second is better: the interval excludes zero"
        if self.high < 0:
            return f"by {self.loss} the first is better: the interval excludes zero"
        return f"by {self.loss} neither is proven better"

    @property
    def blend_verdict(self) -> str:
        """Whether a blend is worth it."""
        if self.blend_low > 0:
            return "a blend is worth it"
        return "a blend would hurt" if self.blend_high < 0 else "a blend has no proven gain"


def difference(first: Findings, second: Findings, seed: int = 0) -> Difference:
    """Compare the out-of-fold probabilities of two runs. Raises UserError if no image was scored by both."""
    if first.labels != second.labels:
        raise UserError(f"runs {first.run.id} and {second.run.id} have different classes: nothing can be compared.")
    same = ["id", "label", "content"]
    shared = first.table.assign(first=range(len(first.table))).merge(
        second.table[same].assign(second=range(len(second.table))), on=same
    )
    if shared.empty:
        raise UserError(f"runs {first.run.id} and {second.run.id} have no scored image in common.")
    task, metric = first.task, _metric(first)
    truth = first.truth[shared["first"]]
    one, other = first.probabilities[shared["first"]], second.probabilities[shared["second"]]
    mean = shortlists.mean([one, other])
    clusters = shared["group"] if "group" in shared else shared["id"]
    numbers = np.unique(clusters.astype(str), return_inverse=True)[1].astype(np.int64)
    places = (shared["first"].to_numpy(), shared["second"].to_numpy())
    usual = deciding.usual(task, metric)
    pair = [_needed(found, metric, rows) for found, rows in zip((first, second), places, strict=True)]
    plain = [deciding.needed(metric, rows, usual) for rows in (one, other, mean)]
    scored = gates.Scored(truth, one, numbers, np.zeros(len(truth), np.int64))
    scores = [gates.score(truth, needed, metric) for needed in pair]
    blends = [gates.score(truth, needed, metric) for needed in plain]  # no decision was fitted for the mean
    sign = 1.0 if metric.lower_is_better else -1.0
    better = 0 if sign * blends[0] <= sign * blends[1] else 1
    low, high = gates.gain_interval(scored, pair[0], pair[1], metric, seed)
    blend_low, blend_high = gates.gain_interval(scored, plain[better], plain[2], metric, seed)
    gains = task.losses(truth, one) - task.losses(truth, other)
    right = [task.correct(truth, found.decided[rows]) > 0 for found, rows in zip((first, second), places, strict=True)]
    order = np.argsort(-gains, kind="stable")  # largest gain first
    ids = shared["id"].to_numpy(dtype=object)
    return Difference(
        images=len(truth),
        loss=metric.name,
        before=scores[0],
        after=scores[1],
        gain=sign * (scores[0] - scores[1]),
        low=low,
        high=high,
        better=[str(ids[index]) for index in order if right[1][index] and not right[0][index]],
        worse=[str(ids[index]) for index in order[::-1] if right[0][index] and not right[1][index]],
        correlation=_correlation(task, truth, one, other),
        blend=blends[2],
        blend_gain=sign * (blends[better] - blends[2]),
        blend_low=blend_low,
        blend_high=blend_high,
    )


def _needed(found: Findings, metric: Metric, rows: Indices) -> Wide:
    """Return what the metric needs of some of a run's rows: predictions, or what the run decided."""
    return (found.probabilities if deciding.sees_predictions(metric) else found.submitted)[rows]


def _metric(found: Findings) -> Metric:
    """Return the competition's metric, if it has a name, else the proper loss of the task."""
    record, task = found.record, found.task
    if record.metric is not None:
        return metrics.resolve(record.metric, task.columns, record.positive or "").of_kind(task.target.kind)
    return deciding.proper(task)


def _correlation(task: Task, truth: Truth, one: Wide, other: Wide) -> float:
    """Return the correlation of the errors of two predictions of the same rows; NaN if one has none, or only one."""
    sums, products, count = np.zeros(2), np.zeros((2, 2)), 0
    step = max(1, _BLOCK // one.shape[1])
    for start in range(0, len(truth), step):
        block = slice(start, start + step)
        goals = task.goals(truth[block])
        known = ~np.isnan(goals)
        errors = np.stack([(goals - np.asarray(rows[block]))[known] for rows in (one, other)])
        sums += errors.sum(axis=1)
        products += errors @ errors.T
        count += errors.shape[1]
    spread = products - np.outer(sums, sums) / count
    if (spread.diagonal() <= _ROUNDING * products.diagonal()).any():
        return float("nan")
    return float(spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1]))


def compare(runs: Sequence[Run], console: Console) -> None:
    """Print runs side by side, each compared with the first.

    Raises UserError for fewer than two runs, or for runs of different competitions.
    """
    if len({run.folder for run in runs}) < 2:
        raise UserError("compare takes two runs or more: `kagglekit runs` lists them.")
    found = [findings.of_rows(run) for run in runs]
    names = {one.record.competition.name for one in found}
    if len(names) > 1:
        raise UserError(
            f"the runs are of different competitions ({', '.join(sorted(names))}): nothing can be compared."
        )
    if any(one.result.synthetic for one in found):
        console.warn("one of them is a synthetic run: scores on SYNTHETIC images mean nothing")
    console.table(f"runs of {names.pop()}", ("", *(f">{one.run.id}" for one in found)), _beside(found))
    _tell_settings(found, console)
    offered = steps.beside([one.result for one in found])
    if offered:
        console.table("gains of steps", ("", *(f">{one.run.id}" for one in found)), offered)
    for other in found[1:]:
        _tell(found[0], other, difference(found[0], other, found[0].recipe.data.seed), console)


def _beside(found: Sequence[Findings]) -> list[tuple[str, ...]]:
    """Return the final numbers, one column per run."""
    columns = [dict(summary.facts(one.result)) for one in found]
    names = [name for name in columns[0] if all(name in column for column in columns) and not name.startswith("stage ")]
    return [(name, *(column[name] for column in columns)) for name in names]


def _tell_settings(found: Sequence[Findings], console: Console) -> None:
    settings = [one.recipe.as_dict() for one in found]
    differing = [name for name in settings[0] if any(each[name] != settings[0][name] for each in settings[1:])]
    rows = [(name, *(recipe.shown(each[name]) for each in settings)) for name in differing]
    rows += [row for row in _surroundings(found) if len(set(row[1:])) > 1]
    if rows:
        console.table("settings that differ", ("", *(f">{one.run.id}" for one in found)), rows)
    else:
        console.say("the settings are the same; the plugin, the data, or a file named in a setting differs")


def _surroundings(found: Sequence[Findings]) -> list[tuple[str, ...]]:
    """Return counts, devices and versions, one column per run."""
    counts = [
        ("training images", *(str(one.record.train_images) for one in found)),
        ("test images", *(str(one.record.test_images) for one in found)),
        ("dropped", *(str(one.record.dropped) for one in found)),
    ]
    names = sorted({name for one in found for name in one.record.versions})
    versions = [(f"version of {name}", *(one.record.versions.get(name, "") for one in found)) for name in names]
    return [*counts, ("device", *(one.result.device for one in found)), *versions]


def _tell(first: Findings, second: Findings, found: Difference, console: Console) -> None:
    what = "images" if first.result.scored_groups is None else "groups of images"
    console.table(
        f"{first.run.id} (first) and {second.run.id} (second), {found.images} {what} scored by both",
        ("", ">"),
        [
            (f"{found.loss} of the first", f"{found.before:.5f}"),
            (f"{found.loss} of the second", f"{found.after:.5f}"),
            ("gain of the second, 95% interval", f"{found.gain:+.5f} ({found.low:+.5f} to {found.high:+.5f})"),
            ("only the first is right", f"{len(found.worse)} {what}"),
            ("only the second is right", f"{len(found.better)} {what}"),
            ("correlation of their errors", f"{found.correlation:.3f}"),
            (f"{found.loss} of their mean", f"{found.blend:.5f}"),
            (
                "gain of the mean over the better, 95% interval",
                f"{found.blend_gain:+.5f} ({found.blend_low:+.5f} to {found.blend_high:+.5f})",
            ),
        ],
    )
    console.say(f"{found.verdict}; {found.blend_verdict}")
    for words, ids in (("only the second gets right", found.better), ("only the first gets right", found.worse)):
        if ids:
            console.say(f"{words}: {listed(ids)}")
