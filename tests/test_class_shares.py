"""Class shares: what is predicted of many images together is matched to the shares of classes in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kagglekit import metrics
from kagglekit.base.arrays import Floats, Labels, softmax
from kagglekit.pipeline import gates, shares
from kagglekit.pipeline.gates import Gate, Judgement, Scored
from kagglekit.pipeline.predictions import Predictions
from kagglekit.runs import store
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes, Numbers
from kagglekit.tasks.targets import Labels as Tags
from tests.conftest import Cli, succeeded
from tests.damage import Given
from tests.finetuned import newest

NAMES = ["cat", "dog", "bird"]
TASK, LOG_LOSS = kinds.of(Classes(NAMES)), metrics.log_loss()
SCENES, EACH, FOLDS = 12, 60, 3


def drawn(seed: int, prefers: float, alike: bool = True) -> tuple[Scored, Predictions]:
    """Return predictions of scenes, in each of which a model prefers classes of its own; 4 scenes are in each fold.

    Scenes are `alike` if each has the classes in the same shares, 3:2:1.
    """
    random = np.random.default_rng(seed)
    scene = np.repeat(np.arange(SCENES), EACH)
    truth = np.tile(np.repeat([0, 1, 2], [30, 20, 10]), SCENES)
    if not alike:
        truth = np.concatenate([random.choice(3, EACH, p=random.dirichlet([1, 1, 1])) for _ in range(SCENES)])
    scores = 2 * np.eye(3)[truth] + random.normal(0, 1, (len(truth), 3))
    oof = softmax(scores + prefers * random.normal(0, 1, (SCENES, 3))[scene])
    fold = scene % FOLDS
    train = pd.DataFrame({"label": [NAMES[place] for place in truth], "fold": fold})
    prior = np.bincount(truth) / len(truth)
    predictions = Predictions(train, oof, oof.copy(), prior, scenes=lambda: (scene, scene))
    return Scored(truth, oof, scene, fold), predictions


def matched(scored: Scored, predictions: Predictions) -> tuple[Scored, Floats, Gate]:
    def judge(before: Floats, after: Floats) -> Judgement:
        return gates.judge(scored, before, after, LOG_LOSS, 0)

    found, test, gate = shares.match(scored, predictions.test, predictions, TASK, judge)
    return found, np.asarray(test), gate


@settings(max_examples=50)
@given(
    arrays.arrays(np.float64, (40, 4), elements=st.floats(0.01, 1)),
    arrays.arrays(np.float64, (4,), elements=st.floats(0.05, 1)),
)
def test_rows_add_up_to_one_and_columns_to_their_share(rows: Floats, wanted: Floats) -> None:
    wanted = wanted / wanted.sum()
    found = shares.matched(rows / rows.sum(axis=1, keepdims=True), wanted)
    assert np.allclose(found.sum(axis=1), 1)
    assert np.allclose(found.mean(axis=0), wanted, rtol=1e-3)


def test_what_fits_already_is_not_changed() -> None:
    rows = softmax(np.random.default_rng(0).normal(size=(50, 4)))
    assert np.allclose(shares.matched(rows, rows.mean(axis=0)), rows, atol=1e-6)


def test_certain_predictions_that_miss_a_class_stay_finite() -> None:
    found = shares.matched(np.eye(3)[[0, 0, 0, 1, 1, 1]].astype(float), np.array([0.4, 0.4, 0.2]))
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(axis=1), 1)


def test_classes_that_a_model_prefers_in_a_scene_are_put_right() -> None:
    scored, predictions = drawn(0, prefers=1.5)
    found, test, gate = matched(scored, predictions)
    assert gate.judgement.kept
    assert gate.note == "transductive"
    assert gate.judgement.gain > 0.1
    assert LOG_LOSS.score(scored.truth, found.probabilities) == gate.judgement.after
    # the test set is matched to the shares of all training images, a fold to those of the others
    assert np.allclose(test.reshape(SCENES, EACH, 3).mean(axis=1), shares.of_training(TASK, scored.truth), rtol=1e-3)


def test_scenes_with_other_shares_refuse_it() -> None:
    kept = [matched(*drawn(seed, prefers=0.0, alike=False))[2].judgement.kept for seed in range(10)]
    assert not any(kept)


def test_a_fold_is_matched_without_its_own_labels() -> None:
    scored, predictions = drawn(0, prefers=1.5)
    train = predictions.train.copy()
    here = train["fold"] == 1
    train.loc[here, "label"] = "cat"
    truth = TASK.truth(train["label"])
    before, _, _ = matched(scored, predictions)
    accept = replace(scored, truth=truth)
    after, _, _ = shares.match(
        accept,
        predictions.test,
        replace(predictions, train=train),
        TASK,
        lambda *_: Judgement(1, 0, 1, 1, 1, kept=True),
    )
    part = here.to_numpy()
    assert np.array_equal(before.probabilities[part], after.probabilities[part])
    assert not np.array_equal(before.probabilities[~part], after.probabilities[~part])


def test_scenes_of_few_images_are_matched_together_and_unreadable_images_stay_unknown() -> None:
    scored, predictions = drawn(0, prefers=1.5)
    asked: Labels = np.arange(len(scored.truth)) // 10  # of 10 images each: too few for 3 classes
    test = np.array(predictions.test)
    test[5] = np.nan
    _, found, gate = matched(scored, replace(predictions, test=test, scenes=lambda: (scored.clusters, asked)))
    assert gate.judgement.kept
    assert np.isnan(found[5]).all()
    read = np.delete(found, 5, axis=0)
    assert np.allclose(read.mean(axis=0), shares.of_training(TASK, scored.truth), rtol=1e-3)
    assert not np.allclose(read[:10].mean(axis=0), shares.of_training(TASK, scored.truth), rtol=1e-2)


@pytest.mark.parametrize(("target", "has"), [(Classes(NAMES), True), (Tags(NAMES), False), (Numbers(["age"]), False)])
def test_shares_are_of_classes(target: Classes | Tags | Numbers, has: bool) -> None:
    assert shares.has_shares(kinds.of(target), drawn(0, 0.0)[1]) is has


def test_a_run_offers_the_step_says_that_it_is_transductive_and_exports_without_it(
    cli: Cli, leaf: Given, tiny: str, home: Path
) -> None:
    done = succeeded(leaf.run(cli, tiny, "--set", "class_shares=true"))
    run = store.Run(newest(home, "leaf"))
    step = next(step for step in run.finishing if step.step == shares.STEP)
    assert step.note == "transductive"
    assert shares.STEP in done.out
    assert "transductive" in done.out
    alone = run.alone
    assert alone is not None
    assert shares.STEP not in alone.steps
    assert (shares.STEP in alone.left_out) is step.kept
    assert shares.STEP not in succeeded(leaf.run(cli, tiny)).out
