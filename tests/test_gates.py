"""Standard errors and gains of metrics without rows: rare positives, groups, and metrics that are undefined."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.stats import rankdata

from kagglekit import metrics
from kagglekit.base.arrays import Floats, softmax
from kagglekit.base.errors import UserError
from kagglekit.metrics import Metric
from kagglekit.pipeline import deciding, gates, postprocess, summary
from kagglekit.pipeline.gates import Scored
from kagglekit.runs.record import Result
from kagglekit.tasks import kinds
from kagglekit.tasks.activations import IDENTITY
from kagglekit.tasks.targets import Number


def area(truth: Any, rows: Any) -> float:
    """Return the area under the ROC curve; NaN without positives."""
    ranks, positive = rankdata(rows[:, 1]), truth == 1
    with np.errstate(invalid="ignore"):
        above = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
        return float(above / (positive.sum() * (~positive).sum()))


OWN = Metric(name="own", score=area, lower_is_better=False)


def rare(positives: int, rows: int, groups: int = 0, *, signal: float = 0.1) -> Scored:
    """Return rows of which the first are positive; in groups, they are in the first ones."""
    truth = (np.arange(rows) < positives).astype(np.int64)
    dog = np.clip(np.random.default_rng(0).uniform(0.05, 0.65, rows) + signal * truth, 0, 1)
    clusters = np.arange(rows) * groups // rows if groups else np.arange(rows)
    return Scored(truth, np.stack([1 - dog, dog], axis=1), clusters.astype(np.int64), np.arange(rows) % 3)


def improved(scored: Scored) -> Floats:
    """Return probabilities that are nearer the truth."""
    return 0.9 * scored.probabilities + 0.1 * np.eye(2)[scored.truth]


@pytest.mark.parametrize(
    "metric", [metrics.auc(), metrics.average_precision(), metrics.pf1(), OWN], ids=lambda m: m.name
)
@pytest.mark.parametrize(
    ("positives", "rows", "groups"),
    [(18, 1000, 0), (2, 2000, 0), (1, 2000, 0), (1, 60, 40), (2, 60, 40), (25, 1000, 40)],
)
def test_rare_positives_have_a_standard_error_and_gains(metric: Metric, positives: int, rows: int, groups: int) -> None:
    scored = rare(positives, rows, groups)
    assert gates.standard_error(scored, scored.probabilities, metric, 0) > 0
    judgement = gates.judge(scored, scored.probabilities, improved(scored), metric, 0)
    assert np.isfinite([judgement.before, judgement.after, judgement.gain, judgement.low]).all()
    assert judgement.gain > 0
    low, high = gates.gain_interval(scored, scored.probabilities, improved(scored), metric, 0)
    assert -1 < low <= high < 1


def test_one_group_has_no_standard_error_and_proves_nothing() -> None:
    scored = rare(30, 100, 1)
    assert np.isnan(gates.standard_error(scored, scored.probabilities, metrics.auc(), 0))
    assert not gates.judge(scored, scored.probabilities, improved(scored), metrics.auc(), 0).kept


def test_what_only_arithmetic_changes_is_not_kept() -> None:
    """A temperature of nearly 1, say, which gains 1e-13 in every resample."""
    scored = rare(300, 600)
    before = np.asarray(scored.probabilities)
    after = before + 1e-13 * (improved(scored) - before)
    found = gates.judge(scored, before, after, metrics.log_loss(), 0)
    assert 0 < found.low < 1e-9
    assert not found.kept


def test_the_errors_of_both_ways_agree() -> None:
    scored = rare(300, 1000, 100)
    fast, slow = (gates.standard_error(scored, scored.probabilities, each, 0) for each in (metrics.auc(), OWN))
    assert fast == pytest.approx(slow)
    exact = gates.standard_error(scored, scored.probabilities, metrics.log_loss(), 0)
    opaque = Metric(name="opaque", score=metrics.log_loss().score)
    assert gates.standard_error(scored, scored.probabilities, opaque, 0) == pytest.approx(exact, rel=0.15)


def test_the_errors_of_both_ways_agree_for_few_groups_too() -> None:
    random, opaque = np.random.default_rng(0), Metric(name="opaque", score=metrics.log_loss().score)
    shares = []
    for _ in range(40):
        clusters = np.repeat(np.arange(4), 50)
        truth = random.integers(0, 2, 200)
        right = np.clip(random.normal(0.7, 0.1, 4)[clusters], 0.05, 0.95)
        rows = np.where(np.arange(2) == truth[:, None], right[:, None], 1 - right[:, None])
        scored = Scored(truth, rows, clusters, np.arange(200) % 3)
        own, exact = (gates.standard_error(scored, rows, each, 0) for each in (opaque, metrics.log_loss()))
        shares.append(own / exact)
    assert np.mean(shares) == pytest.approx(1, abs=0.03), "0.87 as the resamples vary"


def test_a_metric_of_decisions_is_judged_on_decisions() -> None:
    scored = rare(300, 1000)
    decided = scored.probabilities.argmax(axis=1)
    judgement = gates.judge(scored, decided, improved(scored).argmax(axis=1), metrics.f1("binary"), 0)
    assert judgement.before == pytest.approx(sk.f1_score(scored.truth, decided))


def test_steps_are_fitted_where_the_metric_is_undefined_on_the_other_folds() -> None:
    scored = rare(1, 60)
    _, (temperature, clip) = postprocess.finish(scored, ["temperature", "clip"], OWN, 0)
    assert not temperature.judgement.kept
    assert not clip.judgement.kept


def nothing(truth: Any, rows: Any) -> float:
    return float("nan")


def failing(truth: Any, rows: Any) -> float:
    raise ValueError("operands have other shapes")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (metrics.auc().score, "AUC is undefined: the rows are all positive, or all negative: use more images"),
        (nothing, "the metric 'own' is nan on 20 images: `kagglekit check` probes it"),
        (failing, r"the metric 'own' fails \(operands have other shapes\): `kagglekit check` probes it"),
    ],
)
def test_a_score_that_is_undefined_is_one_line(score: Callable[..., float], message: str) -> None:
    scored = rare(0, 20)
    with pytest.raises(UserError, match=message):
        gates.score(scored.truth, scored.probabilities, Metric(name="own", score=score))


def test_a_score_in_single_precision_is_a_plain_number() -> None:
    single = Metric(name="own", score=lambda truth, rows: np.float32(0.5))
    assert type(gates.score(np.zeros(2, np.int64), np.ones((2, 2)), single)) is float


def test_labels_that_a_mean_leaves_out_are_said() -> None:
    truth = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]])
    scored = Scored(truth, np.ones((3, 3)), np.arange(3), np.arange(3))
    remark = gates.left_out(scored, metrics.auc("mean"), ("a", "b", "c"))
    assert remark == (
        "AUC (mean): the mean leaves out 1 of 3 labels, which all scored images have, or none, for example 'b'"
    )
    assert gates.left_out(scored, metrics.log_loss(), ("a", "b", "c")) == ""
    assert gates.left_out(scored, metrics.average_precision("macro"), ("a", "b", "c")) != ""


@pytest.mark.parametrize(("clusters", "words"), [(40, "0.50000 ± unknown"), (1, "0.50000 ± unknown, one group")])
def test_one_group_is_only_said_of_one_group(clusters: int, words: str) -> None:
    result = Result(
        metric="own",
        lower_is_better=True,
        out_of_fold=0.5,
        accuracy=0.5,
        before_finish=0.5,
        clusters=clusters,
        scored_images=60,
        validation="folds",
    )
    assert summary.scored(result) == words


@pytest.mark.parametrize("needs", ["probabilities", "ranks", "decisions", "numbers"])
def test_a_metric_of_numbers_gets_them_within_their_range(needs: Any) -> None:
    task = kinds.of(Number(0, 2))
    metric = Metric(name="largest", score=lambda truth, rows: float(rows.max()), needs=needs).of_kind("numbers")
    needed = deciding.needed(metric, np.array([[1.0], [5.0]]), task.usual())
    assert gates.score(np.zeros((2, 1)), needed, metric) == 2


def test_numbers_are_not_tempered() -> None:
    truth = np.random.default_rng(0).normal(size=(60, 1))
    scored = Scored(truth, 4 * truth, np.arange(60), np.arange(60) % 3)
    metric = Metric(name="own", score=lambda truth, rows: float(((truth - rows) ** 2).mean()))
    after, tried = postprocess.finish(scored, ["temperature", "clip"], metric, 0, IDENTITY)
    assert tried == []
    assert after is scored.probabilities


def test_the_best_temperature_of_a_part_is_chosen_on_the_others() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 300)
    sure = softmax(4 * (np.eye(3)[truth] + random.normal(0, 0.6, (300, 3))))
    scored = gates.Scored(truth, sure, np.arange(300), np.arange(300) % 3)
    found = postprocess.tempered(scored, metrics.log_loss(), 0)
    assert metrics.log_loss().score(truth, found) < metrics.log_loss().score(truth, sure)
    here = scored.fold == 1
    other = dataclasses.replace(scored, truth=np.where(here, (truth + 1) % 3, truth))
    assert np.array_equal(postprocess.tempered(other, metrics.log_loss(), 0)[here], found[here])
