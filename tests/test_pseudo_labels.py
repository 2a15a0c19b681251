"""Pseudo-labels: heads learn anew from test images, and no image is labelled by a head that has seen its label."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kagglekit import metrics
from kagglekit.base.arrays import Floats, Floats32
from kagglekit.base.console import Console
from kagglekit.heads import heads
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.pipeline import gates, postprocess, shares
from kagglekit.pipeline.gates import Judgement, Scored
from kagglekit.pipeline.methods import pseudo_heads
from kagglekit.pipeline.methods.pseudo_heads import TEST, Images
from kagglekit.recipe import HeadSettings
from kagglekit.runs import filenames, store
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes, Grades
from kagglekit.tasks.task import Task, Truth
from tests.conftest import Cli, succeeded
from tests.damage import Given
from tests.finetuned import newest
from tests.test_feature_members import run

THREE, GRADES = kinds.of(Classes(["cat", "dog", "bird"])), kinds.of(Grades(3))
KNOWN, ASKED, WIDTH, FOLDS = 60, 240, 12, 3
SETTINGS = HeadSettings(regularisation_grid=(0.01, 0.1))


def training(seed: int, task: Task = THREE, spread: float = 1.0) -> Training:
    """Return images in three clusters, of which the first `KNOWN` are labelled."""
    random = np.random.default_rng(seed)
    truth = np.arange(KNOWN + ASKED) % 3
    centres = random.normal(0, 1, (3, WIDTH))
    rows = centres[truth] + random.normal(0, spread, (len(truth), WIDTH))
    return Training(
        task=task,
        rows=rows[:, None].astype(np.float32),
        truth=np.where(np.arange(len(truth)) < KNOWN, truth, 0),
        groups=None,
        view_classes=((0, 1, 2),),
    )


@dataclass(frozen=True, kw_only=True)
class Shuffled(Images):
    """Pseudo-labels that belong to other images."""

    def labelled(self, fitted: pseudo_heads.Fitted, part: int) -> tuple[Truth, Floats32]:
        found = super().labelled(fitted, part)
        guessed = np.flatnonzero(~np.isnan(found[1][:, 0]))
        other = np.random.default_rng(part + 5).permutation(guessed)
        for each in found:
            each[guessed] = each[other]
        return found


def images(own: Training, kind: type[Images] = Images) -> Images:
    fold = np.where(np.arange(len(own.truth)) < KNOWN, np.arange(len(own.truth)) // 3 % FOLDS, TEST)
    return kind(seen={"one": own}, fold=fold)


def fitted(shown: Images) -> dict[tuple[str, int], Head]:
    """Return heads that have not seen the labels of their part."""
    own = shown.seen["one"]
    return {
        ("one", part): heads.fit(own, (shown.fold != part) & (shown.fold != TEST), SETTINGS, 0) for part in shown.parts
    }


def again(shown: Images, before: pseudo_heads.Fitted, scratch: Path) -> dict[tuple[str, int], Head]:
    return pseudo_heads.fit_again(
        shown, before, SETTINGS, seed=0, threads=1, scratch=scratch, console=Console(io.StringIO())
    )


def judged(shown: Images, before: pseudo_heads.Fitted, after: pseudo_heads.Fitted) -> Judgement:
    own, known = shown.seen["one"], shown.fold != TEST
    start = Scored(own.truth[known], shown.oof(before, "one"), np.arange(KNOWN), shown.fold[known])
    metric = metrics.log_loss()
    rows = [
        postprocess.tempered(replace(start, probabilities=shown.oof(each, "one")), metric, 0)
        for each in (before, after)
    ]
    return gates.judge(start, rows[0], rows[1], metric, 0)


def test_test_images_help_where_labels_are_few_and_shuffled_ones_are_refused(tmp_path: Path) -> None:
    gains: dict[str, list[Judgement]] = {"right": [], "shuffled": []}
    for seed in range(6):
        own = training(seed, spread=1.5)
        for name, kind in (("right", Images), ("shuffled", Shuffled)):
            shown = images(own, kind)
            before = fitted(shown)
            gains[name].append(judged(shown, before, again(shown, before, tmp_path)))
    assert all(one.gain > 0 for one in gains["right"])
    assert sum(one.kept for one in gains["right"]) >= 2
    assert not any(one.kept for one in gains["shuffled"])


def test_labels_of_a_fold_are_never_known_to_what_labels_or_predicts_it(tmp_path: Path) -> None:
    own = training(0)
    part = images(own).fold == 1
    other = replace(own, truth=np.where(part, (own.truth + 1) % 3, own.truth))

    def found(kept: Training, leak: bool = False) -> tuple[Floats, Truth]:
        shown = images(kept)
        before = fitted(shown)
        if leak:  # heads that have seen all labels
            before = dict.fromkeys(before, before["one", TEST])
        after = again(shown, again(shown, before, tmp_path), tmp_path)
        return shown.predicted(after, "one", 1, part), shown.labelled(after, 1)[1][part]

    for one, two in zip(found(own), found(other), strict=True):
        assert np.array_equal(one, two)
    for one, two in zip(found(own, leak=True), found(other, leak=True), strict=True):
        assert not np.array_equal(one, two), "the test sees a leak"


@pytest.mark.parametrize("same", [False, True])
def test_guesses_have_the_class_shares_of_training_only_where_test_images_have(same: bool) -> None:
    own = training(0, spread=2.0)
    common = np.where((np.arange(KNOWN + ASKED) < KNOWN // 2) & (own.truth == 2), 0, own.truth)
    shown = replace(images(replace(own, truth=common)), same_shares=same)
    part = shown.fold == 1
    found = shown.labelled(fitted(shown), 1)[1][part | (shown.fold == TEST)]
    wanted = shares.of_training(THREE, common[~part & (shown.fold != TEST)])
    assert np.allclose(found.mean(axis=0), wanted, rtol=1e-3) is same


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (THREE, {"head": "logistic"}),
        (THREE, {"head": "logistic", "regularisation_grid": (1e-6, 3e-6)}),
        (THREE, {"head": "nearest"}),
        (THREE, {"head": "mlp", "mlp_epochs": 3, "mlp_width": 8}),
        (GRADES, {"head": "ordinal"}),
    ],
    ids=["logistic", "beyond the grid", "nearest", "mlp", "ordinal"],
)
def test_a_head_is_fitted_anew_with_what_was_chosen_for_it(task: Task, settings: dict[str, Any]) -> None:
    own, chosen = training(1, task), HeadSettings(**settings)
    part = np.arange(len(own.truth)) < KNOWN
    before = heads.fit(own, part, chosen, 0)
    after = heads.fit_like(before, own, part, chosen, seed=0)
    rows = np.asarray(own.rows)[:, 0]
    assert np.allclose(before.predictions(rows), after.predictions(rows), atol=1e-4)
    assert after.chosen == before.chosen.removesuffix(" beyond the grid")


def test_probabilities_are_learnt_in_every_view() -> None:
    own = replace(training(0), view_classes=((0, 1, 2), (1, 0, 2)))
    guesses = np.full((len(own.truth), 3), np.nan, np.float32)
    guesses[1] = 0.5, 0.2, 0.3
    found = replace(own, guesses=guesses).goals(np.array([0, 1]))
    assert np.array_equal(found[0], own.goals(np.array([0]))[0])
    assert np.allclose(found[1], [[0.5, 0.2, 0.3], [0.2, 0.5, 0.3]])


@pytest.fixture
def gained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gates find that every candidate gains."""
    monkeypatch.setattr(postprocess, "judge", lambda *_: Judgement(1.0, 0.5, 0.5, 0.4, 0.6, kept=True))


WORDS = ("--set", "pseudo_labels=true")


def test_a_run_offers_rounds_and_stays_as_it_was_without_a_gain(cli: Cli, leaf: Given, tiny: str, home: Path) -> None:
    plain = succeeded(leaf.run(cli, tiny)).out
    assert "pseudo-labels" not in plain
    before = store.Run(newest(home, "leaf"))
    done = succeeded(leaf.run(cli, tiny, *WORDS))
    made = store.Run(newest(home, "leaf"))
    assert made.id != before.id
    (step,) = [step for step in made.finishing if step.step.startswith("pseudo-labels")]
    assert (step.step, step.note, step.kept) == ("pseudo-labels", "transductive", False)
    assert "pseudo-labels" in done.out
    assert made.finished().transductive is None
    assert made.row_test().frame.equals(before.row_test().frame)


@pytest.mark.usefixtures("gained")
def test_a_run_that_gains_says_that_it_is_transductive_and_exports_without_it(
    cli: Cli, leaf: Given, tiny: str, home: Path
) -> None:
    succeeded(leaf.run(cli, tiny, *WORDS))
    made = store.Run(newest(home, "leaf"))
    assert made.finished().transductive == "pseudo-labels, round 2"
    assert "(transductive)" in succeeded(cli("runs")).out
    alone = made.alone
    assert alone is not None
    assert alone.left_out == ("pseudo-labels", "pseudo-labels, round 2")
    assert not [step for step in alone.steps if step.startswith("pseudo")]
    first = made.row_test().frame
    for name in (filenames.TEST_OF_PSEUDO, filenames.OOF_OF_PSEUDO, filenames.RESULT, filenames.TEST):
        (made.folder / name).unlink()
    succeeded(leaf.run(cli, tiny, *WORDS))
    assert store.Run(newest(home, "leaf")).id == made.id
    assert made.row_test().frame.equals(first), "a resumed run predicts the same"
    succeeded(leaf.run(cli, tiny, *WORDS, "--set", "balance=0.5"))
    succeeded(cli("blend", leaf.plugin, "--data", leaf.data))
    assert "best member of all" in str(store.Run(newest(home, "leaf")).finishing), "members need the test images"


@pytest.mark.usefixtures("gained")
def test_of_several_members_the_way_that_was_kept_is_changed(
    cli: Cli, home: Path, tiny_export: tuple[str, Path], tiny: str
) -> None:
    name, _, file = tiny.partition("=")
    made = run(cli, home, "--backbone", f"{tiny},{name}@96={file}", *WORDS)
    tried = [step.step for step in made.finishing if step.step.startswith("pseudo-labels")]
    assert tried == ["pseudo-labels on greedy weights", "pseudo-labels on greedy weights, round 2"]
    assert made.finished().transductive == tried[-1]


def test_where_there_is_nothing_to_label_the_run_says_so(cli: Cli, home: Path, tiny: str) -> None:
    done = succeeded(cli("run", "plant-pathology-2021", "--method", "features", "--backbone", tiny, *WORDS))
    assert "pseudo_labels has no effect" in done.out + done.err
