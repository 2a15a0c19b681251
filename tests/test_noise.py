"""Steps that know nothing are refused, whatever the metric: the gates keep fewer than one in ten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit import metrics, recipe
from kagglekit.base.arrays import Floats, softmax
from kagglekit.base.shortlists import Wide
from kagglekit.pipeline import deciding, postprocess, tta
from kagglekit.pipeline.gates import Scored
from kagglekit.pipeline.predictions import Candidate, Predictions
from kagglekit.pipeline.views import PLAIN
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes, Grades
from kagglekit.tasks.task import Task

ROWS, SEEDS, STEPS = 300, 10, 10
TWO, THREE, GRADES = kinds.of(Classes(["cat", "dog"])), kinds.of(Classes(["cat", "dog", "bird"])), kinds.of(Grades(4))
CASES = [(THREE, "log_loss"), (TWO, "auc"), (GRADES, "qwk"), (THREE, "f1(macro)")]


def drawn(task: Task, groups: int, seed: int, count: int) -> tuple[Scored, list[Floats]]:
    """Return rows in groups, if any, and predictions that are equally good: each has errors of its own by group."""
    random, columns = np.random.default_rng(seed), len(task.columns)
    truth = random.integers(0, columns, ROWS)
    clusters = np.arange(ROWS) % (groups or ROWS)
    base = 1.2 * np.eye(columns)[truth] + random.normal(0, 0.8, (ROWS, columns))
    errors = [(random.normal(0, 0.5, (2, ROWS, columns))) for _ in range(count)]
    made = [softmax(base + own + (shared[clusters] if groups else 0)) for own, shared in errors]
    return Scored(truth, made[0], clusters, clusters % 4), made


def offered(scored: Scored, others: list[Floats]) -> Predictions:
    candidates = tuple(Candidate(f"noise {place}", oof, oof) for place, oof in enumerate(others))
    return Predictions(pd.DataFrame(), scored.probabilities, scored.probabilities, np.array([]), candidates)


@pytest.mark.parametrize("groups", [0, 12], ids=["images", "groups"])
@pytest.mark.parametrize(("task", "name"), CASES, ids=[name for _, name in CASES])
def test_of_ten_steps_of_noise_fewer_than_one_is_kept(task: Task, name: str, groups: int) -> None:
    metric, usual = metrics.resolve(name, task.columns, ""), task.usual()
    kept = 0
    for seed in range(SEEDS):
        scored, made = drawn(task, groups, seed, 1 + STEPS)
        _, _, tried = postprocess.choose(
            scored, offered(scored, made[1:]), metric, seed, lambda rows: deciding.needed(metric, rows, usual)
        )
        kept += sum(gate.judgement.kept for gate in tried)
    assert kept < 0.1 * STEPS * SEEDS


@pytest.mark.parametrize("groups", [0, 12], ids=["images", "groups"])
@pytest.mark.parametrize("name", ["log_loss", "accuracy"])
def test_what_is_right_already_is_not_changed(name: str, groups: int) -> None:
    """Labels are drawn from the predictions: no temperature, clip or weights of classes are better."""
    metric, kept, tried = metrics.resolve(name, THREE.columns, ""), 0, 0
    for seed in range(4 * SEEDS):
        random = np.random.default_rng(seed)
        scored, (rows,) = drawn(THREE, groups, seed, 1)
        truth = (random.random((ROWS, 1)) > rows.cumsum(axis=1)).sum(axis=1).clip(max=2)
        scored = Scored(truth, rows, scored.clusters, scored.fold)
        _, steps = postprocess.finish(scored, ("temperature", "clip"), metric, seed)
        steps += deciding.make(scored, THREE, metric, seed).gates
        kept += sum(gate.judgement.kept for gate in steps)
        tried += len(steps)
    assert tried >= 4 * SEEDS
    assert kept < 0.1 * tried


def test_smoothing_over_neighbours_is_kept_where_they_are_alike_and_refused_where_features_are_shuffled() -> None:
    """Many neighbours blur: they are judged with the best temperature, which is chosen later."""
    metric, finish = metrics.log_loss(), recipe.FinishSettings(neighbours=60)
    fates: dict[str, list[Any]] = {"alike": [], "shuffled": []}
    for seed in range(5):
        random = np.random.default_rng(seed)
        scored, (rows,) = drawn(THREE, 12, seed, 1)
        features = 3 * np.eye(3)[scored.truth] + random.normal(0, 1, (ROWS, 3))
        images = random.integers(0, 250, (ROWS, 2, 2, 3), np.uint8) + scored.truth.astype(np.uint8)[:, None, None, None]
        for name, order in (("alike", np.arange(ROWS)), ("shuffled", random.permutation(ROWS))):
            looks = tta.looks_of(features[order].astype(np.float16), images[order])
            (smoothed,) = tta.average_neighbours(rows, looks, [finish.neighbours], "cpu")
            by_view = {PLAIN: (rows, rows), tta.NEIGHBOURS: (smoothed, smoothed)}
            found = Predictions(pd.DataFrame(), rows, rows, np.array([]), tta.candidates(by_view, finish))

            def calibrated(rows: Wide, scored: Scored = scored, seed: int = seed) -> Wide:
                return postprocess.tempered(replace(scored, probabilities=rows), metric, seed)

            _, _, (gate,) = postprocess.choose(scored, found, metric, seed, calibrated=calibrated)
            fates[name].append(gate.judgement.kept)
    assert fates == {"alike": [True] * 5, "shuffled": [False] * 5}


@pytest.mark.parametrize(
    ("frames", "kept"), [(5, ["mean of 4 neighbours"]), (20, [f"mean of {count} neighbours" for count in (4, 8, 16)])]
)
def test_as_many_neighbours_are_kept_as_films_have_alike_frames(frames: int, kept: list[str]) -> None:
    metric, finish = metrics.log_loss(), recipe.FinishSettings(neighbours=16)
    views = tta.names(finish, mirrors=False, models=2)[-3:]
    random = np.random.default_rng(0)
    scored, (rows,) = drawn(THREE, 12, 0, 1)
    by_class = np.argsort(scored.truth, kind="stable")
    film = np.empty(ROWS, np.int64)
    film[by_class] = np.arange(ROWS) // frames  # nearly all frames of a film show one class
    looks = random.normal(0, 1, (film.max() + 1, 64))[film] + random.normal(0, 0.1, (ROWS, 64))
    means = tta.average_neighbours(rows, looks.astype(np.float32), [4, 8, 16], "cpu")
    by_view = {PLAIN: (rows, rows)} | {view: (mean, mean) for view, mean in zip(views, means, strict=True)}
    found = Predictions(pd.DataFrame(), rows, rows, np.array([]), tta.candidates(by_view, finish))

    def calibrated(wide: Wide) -> Wide:
        return postprocess.tempered(replace(scored, probabilities=wide), metric, 0)

    _, _, gates = postprocess.choose(scored, found, metric, 0, calibrated=calibrated)
    assert [gate.step for gate in gates] == [f"mean of {count} neighbours" for count in (4, 8, 16)]
    assert [gate.step for gate in gates if gate.judgement.kept] == kept
