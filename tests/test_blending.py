"""Weights of blends, on arrays: honest with useless members, whatever their order, for every task."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kagglekit import metrics
from kagglekit.base.arrays import Floats, softmax
from kagglekit.base.shortlists import Shortlists
from kagglekit.metrics import Metric
from kagglekit.pipeline import blending, deciding, gates
from kagglekit.pipeline.blending import Member, Way
from kagglekit.pipeline.gates import Scored
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes, Grades, Labels, Number
from kagglekit.tasks.task import Task

ROWS, TESTED = 240, 40
CLASSES = kinds.of(Classes(["cat", "dog", "bird"]))
LABELS = kinds.of(Labels(["red", "green", "blue"]))
GRADES = kinds.of(Grades(4))
NUMBERS = kinds.of(Number(0, 100, name="light"))
ABSOLUTE = kinds.of(dataclasses.replace(NUMBERS.target, absolute=True))


def truth_of(task: Task, rows: int, random: np.random.Generator) -> Any:
    if task in (NUMBERS, ABSOLUTE):
        return random.uniform(0, 100, (rows, 1))
    if task is LABELS:
        return (random.random((rows, 3)) < 0.4).astype(float)
    return random.integers(0, len(task.columns), rows)


def predictions(task: Task, truth: Any, skill: float, random: np.random.Generator, confidence: float = 1.0) -> Floats:
    """Return what a model of some skill, with errors of its own, predicts."""
    if task in (NUMBERS, ABSOLUTE):
        return truth + random.normal(0, 10 / max(skill, 1e-9), truth.shape)
    scores = skill * task.goals(truth) + random.normal(0, 1, (len(truth), len(task.columns)))
    if task is LABELS:
        return 1 / (1 + np.exp(-confidence * skill * (scores - skill / 2)))
    return softmax(confidence * skill * scores)


def noise(task: Task, truth: Any, random: np.random.Generator) -> Floats:
    """Return what a model predicts that has learnt its training images by heart: confident, and random elsewhere."""
    other = truth[random.permutation(len(truth))]
    return predictions(task, other, 2.0, random)


def drawn(
    task: Task, seed: int, skills: Sequence[float], useless: int = 0, confidence: float = 1.0
) -> tuple[Scored, list[Member]]:
    random = np.random.default_rng(seed)
    truth, tested = truth_of(task, ROWS, random), truth_of(task, TESTED, random)
    pairs = [[predictions(task, each, skill, random, confidence) for each in (truth, tested)] for skill in skills]
    pairs += [[noise(task, each, random) for each in (truth, tested)] for _ in range(useless)]
    members = [Member(name=f"m{place}", oof=oof, test=test) for place, (oof, test) in enumerate(pairs)]
    return Scored(truth, members[0].oof, np.arange(ROWS), np.arange(ROWS) % 3), members


def found(task: Task, metric: Metric, scored: Scored, members: Sequence[Member]) -> dict[str, Way]:
    return {way.name: way for way in blending.ways(members, scored, task, metric, 0)}


def score(task: Task, metric: Metric, scored: Scored, members: Sequence[Member], way: Way) -> float:
    oof, _ = blending.predicted(way, members, gates.parts(scored, 0), task.activation)
    return gates.score(scored.truth, deciding.needed(metric, oof, deciding.usual(task, metric)), metric)


def metric_of(name: str, task: Task) -> Metric:
    return metrics.resolve(name, task.columns, "").of_kind(task.target.kind)


EVERY = [
    (CLASSES, "log_loss"),
    (CLASSES, "accuracy"),
    (LABELS, "log_loss"),
    (LABELS, "auc(mean)"),
    (LABELS, "f1(micro)"),
]
EVERY += [(GRADES, "qwk"), (NUMBERS, "rmse"), (ABSOLUTE, "mae")]


@pytest.mark.parametrize(("task", "name"), EVERY, ids=lambda each: each if isinstance(each, str) else each.target.kind)
def test_two_good_members_gain_and_weights_sum_to_one(task: Task, name: str) -> None:
    metric = metric_of(name, task)
    scored, members = drawn(task, 0, (1.8, 1.8, 1.6))
    every = found(task, metric, scored, members)
    assert list(every)[:4] == [blending.BEST, blending.MEAN, blending.CONVEX, blending.GREEDY]
    assert (blending.RANKS in every) == (name == "auc(mean)")
    by = metric if deciding.sees_predictions(metric) else deciding.proper(task)
    scores = {way: score(task, by, scored, members, each) for way, each in every.items()}
    sign = 1 if by.lower_is_better else -1
    assert all(sign * value < sign * scores[blending.BEST] for way, value in scores.items() if way != blending.BEST)
    for way in every.values():
        assert set(way.parts) == {0, 1, 2}
        for weights in (way.weights, *way.parts.values()):
            assert sum(weights.values()) == pytest.approx(1)
            assert all(value >= 1e-3 for value in weights.values())


@pytest.mark.parametrize(("task", "name"), EVERY, ids=lambda each: each if isinstance(each, str) else each.target.kind)
def test_the_order_of_members_changes_nothing(task: Task, name: str) -> None:
    metric = metric_of(name, task)
    scored, members = drawn(task, 1, (1.8, 1.5, 1.2), useless=1)
    turned = members[::-1]
    one, other = (found(task, metric, scored, each) for each in (members, turned))
    for way in one:
        first = score(task, metric, scored, members, one[way])
        assert score(task, metric, scored, turned, other[way]) == pytest.approx(first, abs=2e-4)


@pytest.mark.parametrize(("task", "name"), EVERY, ids=lambda each: each if isinstance(each, str) else each.target.kind)
def test_a_blend_of_identical_members_is_the_member(task: Task, name: str) -> None:
    metric = metric_of(name, task)
    scored, (member,) = drawn(task, 2, (1.5,))
    same = [Member(name=f"m{place}", oof=member.oof, test=member.test) for place in range(3)]
    for name_, way in found(task, metric, scored, same).items():
        oof, test = blending.predicted(way, same, gates.parts(scored, 0), task.activation)
        if name_ != blending.RANKS:
            assert np.abs(oof - member.oof).max() < 1e-9
            assert np.abs(test - member.test).max() < 1e-9
        assert score(task, metric, scored, same, way) == pytest.approx(
            gates.score(scored.truth, deciding.needed(metric, member.oof, deciding.usual(task, metric)), metric),
            abs=2e-3,
        )


@pytest.mark.parametrize("confidence", [1.0, 3.0], ids=["honest", "overconfident"])
@pytest.mark.parametrize(("task", "name"), EVERY, ids=lambda each: each if isinstance(each, str) else each.target.kind)
def test_what_is_random_out_of_fold_gets_no_weight(task: Task, name: str, confidence: float) -> None:
    """In-sample it is perfect, which nobody asks."""
    kept = 0
    for seed in range(3):
        scored, members = drawn(task, seed, (1.8, 1.6), useless=1, confidence=confidence)
        ways = found(task, metric_of(name, task), scored, members)
        assert "m2" not in ways[blending.BEST].weights
        kept += sum("m2" in ways[way].weights for way in (blending.CONVEX, blending.GREEDY))
    assert kept == 0, "of six"


def test_fewer_than_one_in_ten_of_ten_useless_members_is_kept() -> None:
    kept = tried = 0
    for seed in range(5):
        scored, members = drawn(CLASSES, seed, (1.8, 1.6), useless=10)
        for way in (blending.CONVEX, blending.GREEDY):
            weights = found(CLASSES, metrics.log_loss(), scored, members)[way].weights
            kept += sum(f"m{place}" in weights for place in range(2, 12))
            tried += 10
            assert {"m0", "m1"} <= set(weights)
    assert kept / tried < 0.1


def test_ways_that_know_nothing_are_not_kept() -> None:
    """Ten members as good as the best, with its errors: what is tried must prove a gain that there is not."""
    kept = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        scored, members = drawn(CLASSES, seed, (1.8,), useless=0)
        first = members[0]
        for place in range(10):
            logs = np.log(first.oof) + random.normal(0, 0.3, first.oof.shape)
            members.append(Member(name=f"n{place}", oof=softmax(logs), test=first.test))
        every = found(CLASSES, metrics.log_loss(), scored, members)
        start, _ = blending.predicted(every[blending.BEST], members, scored.fold, CLASSES.activation)
        for way in (blending.CONVEX, blending.GREEDY):
            oof, _ = blending.predicted(every[way], members, scored.fold, CLASSES.activation)
            kept += gates.judge(scored, start, oof, metrics.log_loss(), seed).kept
    assert kept <= 1, "of twelve"


def test_each_part_is_predicted_with_weights_of_the_others() -> None:
    """In each part another member is the best: chosen on all rows it would seem to be known."""
    scored, members = drawn(CLASSES, 0, (1.5, 1.5, 1.5))
    for place, member in enumerate(members):
        here = scored.fold == place
        member.oof[here] = 0.98 * np.eye(3)[scored.truth[here]] + 0.01
    every = found(CLASSES, metrics.log_loss(), scored, members)
    for part, weights in every[blending.BEST].parts.items():
        assert f"m{part}" not in weights


def test_a_held_out_set_is_blended_by_its_own_parts() -> None:
    scored, members = drawn(CLASSES, 0, (1.5, 1.5))
    held = Scored(scored.truth, scored.probabilities, scored.clusters, np.zeros(ROWS, np.int64))
    every = found(CLASSES, metrics.log_loss(), held, members)
    assert set(every[blending.CONVEX].parts) == set(range(gates.CROSS_FITTED_PARTS))
    assert score(CLASSES, metrics.log_loss(), held, members, every[blending.MEAN]) < score(
        CLASSES, metrics.log_loss(), held, members, every[blending.BEST]
    )


def test_what_needs_other_images_is_no_start() -> None:
    scored, members = drawn(CLASSES, 0, (2.2, 1.2))
    members[0] = Member(name="m0", oof=members[0].oof, test=members[0].test, alone=False)
    every = found(CLASSES, metrics.log_loss(), scored, members)
    assert every[blending.BEST].weights == {"m1": 1.0}
    assert every[blending.BEST_OF_ALL].weights == {"m0": 1.0}
    assert [every[way].is_alone(members) for way in (blending.BEST, blending.BEST_OF_ALL, blending.MEAN)] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("name", ["log_loss", "map@5"])
def test_short_lists_are_blended(name: str) -> None:
    random = np.random.default_rng(0)
    task = kinds.of(Classes([f"c{number}" for number in range(1100)]))
    truth = random.integers(0, 1100, 90)
    members = []
    for place in range(2):
        scores = random.normal(0, 1, (90, 1100))
        scores[np.arange(90), truth] += 4
        rows = Shortlists.of(softmax(2 * scores))
        members.append(Member(name=f"m{place}", oof=rows, test=rows[:7]))
    scored = Scored(truth, members[0].oof, np.arange(90), np.arange(90) % 3)
    metric = metric_of(name, task)
    every = found(task, metric, scored, members)
    losses = {}
    for way, each in every.items():
        oof, test = blending.predicted(each, members, scored.fold, task.activation)
        assert isinstance(oof, Shortlists)
        assert isinstance(test, Shortlists)
        assert (len(oof), len(test)) == (90, 7)
        losses[way] = task.losses(truth, oof).mean()
    assert min(losses[way] for way in (blending.MEAN, blending.CONVEX, blending.GREEDY)) < losses[blending.BEST]


@pytest.mark.parametrize(
    "task", [CLASSES, LABELS, GRADES, NUMBERS, ABSOLUTE], ids=["classes", "labels", "grades", "numbers", "absolute"]
)
def test_slopes_are_those_of_the_loss(task: Task) -> None:
    random = np.random.default_rng(0)
    truth = truth_of(task, 5, random)
    seen = task.seen(truth, predictions(task, truth, 1.0, random))
    slopes = task.slopes(truth, seen)
    for column in range(seen.shape[1]):
        step = np.zeros(seen.shape[1])
        step[column] = 1e-6
        rise = (task.losses_of(truth, seen + step) - task.losses_of(truth, seen - step)) / 2e-6
        assert slopes[:, column] == pytest.approx(rise, rel=1e-4)
