"""Folds, heads, finishing steps: what they choose, and that they do not look where they must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Shortlists
from kagglekit.data import folds
from kagglekit.heads import head_file, heads, mlp, nearest, prediction, row_file, strengths
from kagglekit.heads.layers import Head, Linear, Relu, Standardise, scores_by_torch
from kagglekit.heads.linear import LinearPaths
from kagglekit.heads.linear_rows import LinearRows
from kagglekit.heads.losses import CrossEntropy
from kagglekit.heads.minimise import Minimiser
from kagglekit.heads.row_file import BLOCK, RowFile
from kagglekit.heads.training import Training
from kagglekit.metrics import Metric, log_loss_rows, resolve
from kagglekit.pipeline import gates, postprocess
from kagglekit.recipe import DataSettings, HeadSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.activations import SOFTMAX
from kagglekit.tasks.targets import Classes

LOG_LOSS = resolve("log_loss")
SAME = ((0, 1, 2), (0, 1, 2))
SWAP = ((0, 1, 2), (1, 0, 2))


def blobs(count: int = 90, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 8) features of three classes, and labels (N,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = random.normal(0, 2, (3, 8))
    return (centres[labels] + random.normal(0, spread, (count, 8))).astype(np.float32), labels


def of_classes(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None, views: tuple[tuple[int, ...], ...] = SAME
) -> Training:
    """Return images (N, V, 8) of three classes as training data; by default all views show the same class."""
    return Training(task=kinds.of(Classes(["a", "b", "c"])), rows=rows, truth=labels, groups=groups, view_classes=views)


def training(count: int = 90, view_classes: tuple[tuple[int, ...], ...] = SAME) -> Training:
    """Return images with two views; in the second a class shows as `view_classes[1]` says."""
    rows, labels = blobs(count)
    centres = np.stack([rows[labels == c].mean(axis=0) for c in range(3)])
    shown = np.array(view_classes[1])[labels]
    mirrored = rows - centres[labels] + centres[shown]
    return of_classes(np.stack([rows, mirrored], axis=1), labels, views=view_classes)


def fit(data: Training, chosen: HeadSettings) -> Head:
    """Fit one head on all images."""
    return heads.fit(data, np.ones(len(data.truth), bool), chosen, 0)


def prepare(rows: np.ndarray, labels: np.ndarray) -> LinearRows:
    """Return rows (N, D) for fits of their classes (N,)."""
    one_hot = np.eye(int(labels.max()) + 1, dtype=np.float32)
    task = kinds.of(Classes([str(label) for label in range(len(one_hot))]))
    return LinearRows(rows[:, None], lambda some: one_hot[labels[some]][:, None], np.arange(len(labels)), task)


def logistic(rows: np.ndarray, labels: np.ndarray, *strengths: float) -> Head:
    """Fit all rows (N, D) at one strength after the other."""
    prepared = prepare(rows, labels)
    paths = LinearPaths(prepared, CrossEntropy(), np.ones((1, len(labels)), bool))
    for strength in strengths:
        paths.advance([0], [strength])
    prepared.close()
    return paths.head(0, "")


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [1e-3, 1e-1, 10.0])
def test_logistic_regression_finds_the_minimum_that_scikit_learn_finds(classes: int, strength: float) -> None:
    rows, labels = blobs(300, spread=2.0)
    keep = labels < classes
    rows, labels = rows[keep], labels[keep]
    head = logistic(rows, labels, strength)
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    # with two classes scikit-learn regularises one vector of weights, we two that are opposite: twice as strong
    reference = LogisticRegression(C=strength * (2 if classes == 2 else 1), tol=1e-8, max_iter=5000)
    expected = reference.fit(standard, labels).predict_proba(standard)
    assert np.abs(head.predictions(rows) - expected).max() < 5e-3


def test_a_path_of_strengths_ends_where_a_direct_fit_does() -> None:
    rows, labels = blobs(200, spread=3.0)
    walked = logistic(rows, labels, 1e-3, 1e-2, 1e-1)
    direct = logistic(rows, labels, 1e-1)
    assert np.abs(walked.predictions(rows) - direct.predictions(rows)).max() < 5e-3


def test_fits_on_parts_side_by_side_are_those_of_each_part_alone() -> None:
    rows, labels = blobs(BLOCK + 300, spread=3.0)
    parts = np.stack([np.arange(len(labels)) % 4 != left for left in range(3)] + [np.arange(len(labels)) < 400])
    prepared = prepare(rows, labels)
    paths = LinearPaths(prepared, CrossEntropy(), parts)
    paths.advance(range(4), [1e-2, 1e-1, 1e-2, 1e-1])
    for number, (part, strength) in enumerate(zip(parts, (1e-2, 1e-1, 1e-2, 1e-1), strict=True)):
        single = LinearPaths(prepared, CrossEntropy(), part[None])
        single.advance([0], [strength])
        alone, together = (fits.head(place, "") for fits, place in ((single, 0), (paths, number)))
        assert np.abs(alone.predictions(rows) - together.predictions(rows)).max() < 5e-3
    for places, found in paths.predictions([3, 1]):
        assert np.allclose(found[:, 0, 1], paths.head(1, "").predictions(rows[places]), atol=1e-4)
    prepared.close()


def test_a_head_sees_nothing_of_the_images_outside_its_part() -> None:
    data, part = training(90), np.arange(90) % 3 != 0
    changed = of_classes(np.where(part[:, None, None], data.rows, 1e3), data.truth * part)
    for chosen in (HeadSettings(), HeadSettings(head="mlp", mlp_epochs=3), HeadSettings(head="nearest")):
        first, second = (head_file.arrays(heads.fit(one, part, chosen, 0)) for one in (data, changed))
        assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_few_rows_of_many_features_have_the_same_minimum(strength: float) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 3
    rows = (random.normal(0, 1, (3, 60))[labels] + random.normal(0, 1, (40, 60))).astype(np.float32)
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    reference = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(standard, labels)
    expected = reference.predict_proba(standard)
    assert np.abs(logistic(rows, labels, strength).predictions(rows) - expected).max() < 5e-3


def test_many_classes_have_the_same_minimum() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
    labels = np.arange(400) % 20
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    expected = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(standard, labels).predict_proba(standard)
    assert np.abs(logistic(rows, labels, 0.1).predictions(rows) - expected).max() < 5e-3


def test_rows_on_disk_come_back_as_they_were(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2, 5)).astype(np.float32)
    with RowFile(rows.shape, tmp_path / "scratch") as file:
        file[slice(16, 40)] = rows[16:]
        file[slice(0, 16)] = rows[:16]
        for places in (slice(0, 40), slice(3, 17), slice(39, 60)):
            assert np.array_equal(file[places], rows[places])
        assert list((tmp_path / "scratch").iterdir()) == []  # nothing is left if the command is killed


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_minimiser_finds_the_minimum_of_quadratic_functions(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(size, size))
    matrix, wanted = root @ root.T + np.eye(size) / 10, random.normal(size=size)
    search = Minimiser(random.normal(size=size), 1e-12, 500)
    while not search.done:
        off = search.point - wanted
        search.tell(float(off @ matrix @ off) / 2, matrix @ off)
    assert np.abs(search.best - wanted).max() < 1e-3


def test_the_minimiser_never_goes_up() -> None:
    search = Minimiser(np.array([3.0]), 1e-9, 100)
    values = []
    while not search.done:
        x = float(search.point[0])
        with np.errstate(over="ignore"):  # so steep that the first step leads to infinity
            search.tell(float(np.cosh(4 * x)), np.array([4 * np.sinh(4 * x)]))
        values.append(float(np.cosh(4 * search.best[0])))
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(1, abs=1e-6)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    rows, labels = blobs()
    rows[:, 3] = 7
    assert np.isfinite(logistic(rows, labels, 0.1).predictions(rows)).all()


def test_features_that_are_all_alike_predict_the_shares_of_the_classes() -> None:
    labels = np.array([0] * 60 + [1] * 20 + [2] * 10)
    data = of_classes(np.ones((90, 2, 200), np.float32), labels)
    head = fit(data, HeadSettings())
    found = prediction.predict_rows(head, data.rows, np.arange(90), SAME)
    assert np.abs(found - np.array([60, 20, 10]) / 90).max() < 0.02


@pytest.mark.parametrize("head", ["logistic", "mlp", "nearest"])
@pytest.mark.parametrize("views", [SAME, SWAP], ids=["kept", "swapped"])
def test_mirrored_views_teach_and_answer_with_the_class_that_they_show(
    head: str, views: tuple[tuple[int, ...], ...]
) -> None:
    data = training(view_classes=views)
    fitted = fit(data, HeadSettings(head=head))
    probabilities = prediction.predict(fitted, data.rows, views)
    assert (probabilities.argmax(axis=1) == data.truth).mean() > 0.95
    assert np.allclose(probabilities.sum(axis=1), 1)
    if views == SWAP:  # read without swapping back, the two views contradict each other
        wrong = prediction.predict(fitted, data.rows, SAME)
        assert log_loss_rows(data.truth, wrong).mean() > 2 * log_loss_rows(data.truth, probabilities).mean()


@pytest.mark.parametrize("head", ["logistic", "mlp", "nearest"])
def test_a_head_does_not_depend_on_what_else_was_drawn_before(head: str) -> None:
    chosen = HeadSettings(head=head, mlp_epochs=3)
    first = head_file.arrays(fit(training(), chosen))
    np.random.default_rng().random(10)
    second = head_file.arrays(fit(training(), chosen))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_folded_batch_norms_predict_what_the_network_does() -> None:
    import torch
    from torch import nn

    rows, labels = blobs()
    network = mlp.Settings(SOFTMAX, 3, 16, 0.2, 0, np.zeros(3, np.float32))
    *_, head = mlp.epochs(rows, lambda some: np.eye(3, dtype=np.float32)[labels[some]], network, 40)
    norm, linear = nn.BatchNorm1d(8), nn.Linear(8, 4)
    norm.running_mean, norm.running_var = torch.randn(8), torch.rand(8) + 0.1
    nn.init.normal_(norm.weight)
    folded = mlp._fold(norm.eval(), linear)
    expected = linear(norm(torch.from_numpy(rows))).detach().numpy()
    assert np.allclose(rows @ folded.weights + folded.bias, expected, atol=1e-4)
    assert (head.predictions(rows).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize("kind", ["logistic", "mlp", "nearest"])
def test_a_head_is_the_same_to_numpy_torch_and_its_file(kind: str, tmp_path: Path) -> None:
    import torch

    rows, _ = blobs()
    head = fit(training(), HeadSettings(head=kind, mlp_epochs=3))
    with torch.no_grad():
        scores = scores_by_torch(head, "cpu")(torch.from_numpy(rows)).numpy()
    assert np.allclose(SOFTMAX.predictions(scores.astype(np.float64)), head.predictions(rows), atol=1e-6)
    head_file.save(tmp_path / "heads.safetensors", {"fold0": head, "all": head})
    read = head_file.load(tmp_path / "heads.safetensors")
    assert list(read) == ["fold0", "all"]
    assert read["all"].chosen == head.chosen
    assert np.array_equal(read["all"].predictions(rows), head.predictions(rows))


def test_a_head_is_one_linear_map_where_it_can_be() -> None:
    rows, labels = blobs()
    head = logistic(rows, labels, 0.1)
    weights, bias = head.linear()
    assert np.allclose(SOFTMAX.predictions(rows @ weights + bias), head.predictions(rows), atol=1e-5)
    (linear,) = (layer for layer in head.layers if isinstance(layer, Linear))
    hidden = Head((linear, Relu(), linear, SOFTMAX), "")
    with pytest.raises(ValueError, match="not a linear head: Linear, Relu, Linear, Softmax"):
        hidden.linear()


def test_a_file_refuses_a_head_that_it_would_not_give_back() -> None:
    one = Linear(weights=np.eye(2, dtype=np.float32), bias=np.zeros(2, np.float32))
    scale = Standardise(mean=np.zeros(2, np.float32), scale=np.ones(2, np.float32))
    deep = Head((scale, one, Relu(), one, Relu(), one, SOFTMAX), "")
    assert list(head_file.arrays(deep))[2::2] == ["hidden_hidden_weights", "hidden_weights", "weights"]
    with pytest.raises(ValueError, match="can't store these layers"):
        head_file.arrays(Head((one, Relu(), scale, one, SOFTMAX), ""))


def test_strength_is_chosen_inside_the_training_part_and_more_noise_wants_a_stronger_one() -> None:
    chosen = {}
    for spread in (0.5, 12.0):
        rows, labels = blobs(150, spread=spread)
        data = of_classes(rows[:, None], labels, views=((0, 1, 2),))
        chosen[spread] = float(fit(data, HeadSettings(head="logistic")).chosen.split()[1])
    assert chosen[0.5] > chosen[12.0]


@settings(max_examples=40)
@given(
    st.integers(2, 6),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=60, max_size=120),
    st.integers(0, 2**32 - 1),
)
def test_folds_never_split_a_group_and_score_every_image_once(
    parts: int, images: list[tuple[int, int]], seed: int
) -> None:
    labels = np.array([label for label, _ in images])
    groups = np.array([f"g{group}" for _, group in images])
    if len(set(groups)) < parts:
        with pytest.raises(UserError, match="in one group|groups"):
            folds.split(labels, groups, parts, seed)
        return
    fold = folds.split(labels, groups, parts, seed)
    assert set(fold) <= set(range(parts))
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    assert (fold == folds.split(labels, groups, parts, seed)).all()


TASK = kinds.of(Classes(list("abcdefgh")))


def table(count: int = 60) -> pd.DataFrame:
    return pd.DataFrame({"id": [str(n) for n in range(count)], "path": "x", "label": ["a", "b", "c"] * (count // 3)})


def test_folds_are_stratified_and_change_with_the_seed() -> None:
    first, second = (folds.assign(table(), TASK, DataSettings(seed=seed)) for seed in (0, 1))
    for part in range(5):
        assert table()["label"][first == part].value_counts().tolist() == [4, 4, 4]
    assert (first != second).any()


def long_tail(*sizes: int) -> pd.DataFrame:
    """Return a table with `sizes` images of classes a, b, …"""
    labels = [label for label, size in zip("abcdefgh", sizes, strict=False) for _ in range(size)]
    return pd.DataFrame({"id": [str(n) for n in range(len(labels))], "path": "x", "label": labels})


@settings(max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_every_image_is_scored_by_a_model_that_knows_its_class(tail: list[int], parts: int, seed: int) -> None:
    rows = long_tail(9, 8, *tail)
    fold = folds.assign(rows, TASK, DataSettings(folds=parts, seed=seed))
    sizes = rows["label"].map(rows["label"].value_counts()).to_numpy()
    assert ((fold == folds.TRAIN_ONLY) == (sizes == 1)).all()
    for part in range(parts):
        assert set(rows["label"][fold == part]) <= set(rows["label"][fold != part])
    assert (fold == folds.TRAIN_ONLY).sum() == (sizes == 1).sum()


def test_the_only_image_of_a_class_is_not_held_out() -> None:
    rows = long_tail(9, 1, 8)
    fold = folds.assign(rows, TASK, DataSettings(validation="holdout", holdout=6))
    assert (fold == 0).sum() == 6
    assert "b" not in set(rows["label"][fold == 0])


@pytest.mark.parametrize("data", [DataSettings(folds=3), DataSettings(validation="holdout", holdout=3)])
def test_a_score_of_one_class_alone_is_refused(data: DataSettings) -> None:
    with pytest.raises(UserError, match="class 'b' has only one readable training image"):
        folds.assign(long_tail(9, 1, 1), TASK, data)


def test_a_hold_out_has_about_the_size_that_was_asked_for() -> None:
    fold = folds.assign(table(), TASK, DataSettings(validation="holdout", holdout=12))
    assert (fold == 0).sum() == 12
    assert (fold == folds.TRAIN_ONLY).sum() == 48


@given(st.integers(3, 57), st.integers(0, 20))
def test_a_hold_out_has_exactly_the_size_that_was_asked_for(count: int, seed: int) -> None:
    fold = folds.assign(table(), TASK, DataSettings(validation="holdout", holdout=count, seed=seed))
    assert (fold == 0).sum() == count


def test_a_hold_out_takes_whole_groups() -> None:
    grouped = table().assign(group=[f"g{n % 7}" for n in range(60)])
    fold = folds.assign(grouped, TASK, DataSettings(validation="holdout", holdout=20))
    assert (grouped.assign(fold=fold).groupby("group")["fold"].nunique() == 1).all()
    assert 12 <= (fold == 0).sum() <= 28


def test_one_group_in_a_training_part_is_no_obstacle() -> None:
    rows, labels = blobs()
    for groups in (np.full(90, "only", object), np.array(["a", "b"] * 45, object)):
        data = of_classes(rows[:, None], labels, groups, ((0, 1, 2),))
        assert fit(data, HeadSettings()).predictions(rows).shape == (90, 3)


def test_a_class_with_a_single_image_is_no_obstacle() -> None:
    rows, labels = blobs()
    labels[labels == 2] = 1
    labels[5] = 2
    data = of_classes(rows[:, None], labels, views=((0, 1, 2),))
    assert fit(data, HeadSettings()).predictions(rows).shape == (90, 3)


def test_a_sample_keeps_rare_classes_and_the_valid_part() -> None:
    many = pd.DataFrame({"id": [str(n) for n in range(2003)], "label": ["a"] * 1000 + ["b"] * 1000 + ["c"] * 3})
    many["valid"] = [n % 10 == 0 for n in range(2003)]
    drawn = folds.sample(many, 100, 0, least=3, labels=many["label"].to_numpy())
    assert len(drawn) == 100
    assert (drawn["label"] == "c").sum() == 3
    assert drawn["valid"].any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataSettings(folds=21), "the largest class has only 20 training images"),
        (DataSettings(validation="holdout", holdout=60), "only 60 training images"),
        (DataSettings(validation="valid"), "brings no validation set"),
    ],
)
def test_folds_that_can_not_be_are_refused(data: DataSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        folds.assign(table(), TASK, data)


@given(st.integers(1, 70), st.integers(0, 100))
def test_a_sample_keeps_the_classes_in_proportion_and_the_order(count: int, seed: int) -> None:
    drawn = folds.sample(table(), count, seed, labels=table()["label"].to_numpy())
    assert len(drawn) == min(count, 60)
    assert drawn["id"].astype(int).is_monotonic_increasing
    shares = drawn["label"].value_counts().reindex(["a", "b", "c"], fill_value=0)
    assert shares.max() - shares.min() <= 1


def scored(probabilities: np.ndarray, truth: np.ndarray, clusters: np.ndarray | None = None) -> gates.Scored:
    count = len(truth)
    return gates.Scored(truth, probabilities, np.arange(count) if clusters is None else clusters, np.arange(count) % 5)


def confident(count: int = 400, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (probabilities, truth) drawn from them; a factor above one makes them over-confident."""
    random = np.random.default_rng(1)
    scores = random.normal(0, 2, (count, 2))
    calibrated = SOFTMAX.predictions(scores)
    truth = (random.random(count) < calibrated[:, 1]).astype(np.int64)
    return SOFTMAX.predictions(scores * factor), truth


def test_a_temperature_that_helps_is_kept_and_undoes_over_confidence() -> None:
    after, (gate,) = postprocess.finish(scored(*confident(factor=4.0)), ["temperature"], LOG_LOSS, 0)
    assert gate.judgement.kept
    assert 3 < gate.value < 5.5
    assert LOG_LOSS.score(confident()[1], after) == gate.judgement.after < gate.judgement.before


def test_a_temperature_that_only_fits_noise_is_not_kept() -> None:
    probabilities, truth = confident()
    after, (gate,) = postprocess.finish(scored(probabilities, truth), ["temperature"], LOG_LOSS, 0)
    assert not gate.judgement.kept
    assert (after == probabilities).all()
    assert (postprocess.apply_kept(probabilities, [gate]) == probabilities).all()


def test_a_step_is_chosen_on_other_folds_than_the_one_it_is_scored_on() -> None:
    probabilities, truth = confident(factor=3.0)
    before = scored(probabilities, truth)
    here = before.fold == 2
    changed = np.where(here, 1 - truth, truth)  # other answers in a fold must not change that fold's own steps
    one, _ = postprocess.finish(before, ["temperature"], LOG_LOSS, 0)
    temperatures = postprocess.STEPS["temperature"][1]
    chosen = postprocess._best(changed[~here], probabilities[~here], postprocess.temper, temperatures, LOG_LOSS)
    assert np.array_equal(postprocess.temper(probabilities[here], chosen), one[here])
    everywhere = postprocess._best(changed, probabilities, postprocess.temper, temperatures, LOG_LOSS)
    assert everywhere != chosen


def test_a_second_step_is_chosen_anew_with_the_first_on_other_folds() -> None:
    probabilities, truth = confident(factor=6.0)
    before = scored(probabilities, truth)
    here = before.fold == 1
    after, kept = postprocess.finish(before, ["temperature", "clip"], LOG_LOSS, 0)
    chain = [gate.step for gate in kept if gate.judgement.kept]
    values = postprocess._fit(before, chain, ~here, LOG_LOSS, SOFTMAX)
    assert np.array_equal(after[here], postprocess._apply(probabilities[here], chain, values, SOFTMAX))
    other = gates.Scored(np.where(here, 1 - truth, truth), probabilities, before.clusters, before.fold)
    blind = postprocess._fit(other, ["temperature", "clip"], ~here, LOG_LOSS, SOFTMAX)
    seeing = postprocess._fit(before, ["temperature", "clip"], ~here, LOG_LOSS, SOFTMAX)
    assert blind == seeing  # answers of the fold that is scored are never looked at


def test_rows_without_mistakes_are_not_made_more_confident() -> None:
    truth = np.arange(60) % 2
    right = SOFTMAX.predictions(np.stack([1.0 - truth, truth], axis=1) * 3.0)
    after, (gate,) = postprocess.finish(scored(right, truth), ["temperature"], LOG_LOSS, 0)
    assert not gate.judgement.kept
    assert gate.value == 1
    assert np.array_equal(after, right)


def test_one_group_alone_proves_nothing() -> None:
    probabilities, truth = confident(factor=4.0)
    one = scored(probabilities, truth, np.zeros(len(truth), np.int64))
    _, (gate,) = postprocess.finish(one, ["temperature"], LOG_LOSS, 0)
    assert not gate.judgement.kept


def test_clusters_that_move_together_need_more_proof_than_single_rows() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros(300, np.int64)
    clusters = np.repeat(np.arange(6), 50)
    shift = np.repeat([0.25, 0.2, -0.12, 0.22, -0.1, -0.05], 50) + random.normal(0, 0.01, 300)
    before = np.stack([np.full(300, 0.5), np.full(300, 0.5)], axis=1)
    after = np.stack([0.5 + shift, 0.5 - shift], axis=1)
    alone = gates.judge(scored(before, truth), before, after, LOG_LOSS, 0)
    together = gates.judge(scored(before, truth, clusters), before, after, LOG_LOSS, 0)
    assert alone.gain == pytest.approx(together.gain)
    assert alone.kept
    assert not together.kept
    loose = gates.standard_error(scored(before, truth, clusters), after, LOG_LOSS, 0)
    assert loose > 3 * gates.standard_error(scored(before, truth), after, LOG_LOSS, 0)


def test_a_metric_without_rows_is_bootstrapped_to_about_the_same_error() -> None:
    probabilities, truth = confident()
    opaque = Metric(name="opaque", score=LOG_LOSS.score)
    exact = gates.standard_error(scored(probabilities, truth), probabilities, LOG_LOSS, 0)
    assert gates.standard_error(scored(probabilities, truth), probabilities, opaque, 0) == pytest.approx(exact, rel=0.2)


@given(st.floats(0.3, 6), st.floats(0, 0.05), st.integers(0, 99))
def test_finishing_steps_keep_rows_probabilities_and_their_order(temperature: float, edge: float, seed: int) -> None:
    rows = SOFTMAX.predictions(np.random.default_rng(seed).normal(0, 5, (20, 3)))
    for changed in (postprocess.temper(rows, temperature), postprocess.clip(rows, edge)):
        assert np.allclose(changed.sum(axis=1), 1)
        assert (changed >= 0).all()
        assert (np.take_along_axis(changed, rows.argmax(axis=1)[:, None], 1)[:, 0] >= changed.max(axis=1) - 1e-12).all()


class Curve:
    """Losses of 40 images that are lowest at a strength."""

    def __init__(self, best: float) -> None:
        self.best, self.tried = best, []

    def losses(self, strength: float) -> np.ndarray:
        self.tried.append(strength)
        return 1 + (np.log(strength / self.best) ** 2) * np.linspace(0.9, 1.1, 40)


@pytest.mark.parametrize("best", [1e-6, 1e-3, 1e-2, 1.0, 10.0, 1e4])
def test_the_best_strength_is_found_also_beyond_the_grid(best: float) -> None:
    curve = Curve(best)
    grid = HeadSettings().regularisation_grid
    assert strengths.choose(curve, grid, np.arange(40))[0] == pytest.approx(best, rel=3)
    inside = [strength for strength in curve.tried if grid[0] <= strength <= grid[-1]]
    assert inside == sorted(inside)
    assert max(curve.tried) <= max(best * 100, grid[2])


def test_a_grid_goes_on_in_its_own_ratio() -> None:
    curve = Curve(1e3)
    strengths.choose(curve, (0.1, 0.3, 1.0), np.arange(40))
    assert np.allclose(curve.tried, [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000])
    curve = Curve(1e3)
    strengths.choose(curve, (0.1, 1.0), np.arange(40))
    assert np.allclose(curve.tried, [0.1, 1, 10, 100, 1000, 10000])


def test_a_grid_whose_end_gains_next_to_nothing_ends() -> None:
    class Flat(Curve):
        def losses(self, strength: float) -> np.ndarray:
            return super().losses(strength) * 0 + 1 + 1e-4 / strength

    curve = Flat(1.0)
    strengths.choose(curve, (0.1, 0.3, 1.0), np.arange(40))
    assert curve.tried == [0.1, 0.3, 1.0]


def test_few_rows_choose_the_strength_that_they_choose_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = (random.normal(0, 1, (3, 90))[labels] + random.normal(0, 3, (60, 90))).astype(np.float32)
    data = of_classes(rows[:, None], labels, views=((0, 1, 2),))
    alone = fit(data, HeadSettings(head="logistic"))
    monkeypatch.setattr(LinearRows, "are_few", False)
    together = fit(data, HeadSettings(head="logistic"))
    assert alone.chosen == together.chosen
    assert np.abs(alone.predictions(rows) - together.predictions(rows)).max() < 5e-3


def of_many_classes(rows: np.ndarray, labels: np.ndarray) -> Training:
    """Return images (N, D) with one view as training data."""
    names = [f"c{number:02}" for number in range(labels.max() + 1)]
    same = (tuple(range(len(names))),)
    return Training(
        task=kinds.of(Classes(names)),
        rows=rows[:, None].astype(np.float32),
        truth=labels,
        groups=None,
        view_classes=same,
    )


def few_a_class() -> Training:
    """Return 40 classes of 5 images each, which scatter along some directions, the same for all classes."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 5)
    mix = random.normal(size=(60, 60)) * np.linspace(3, 0.2, 60)
    return of_many_classes(random.normal(0, 1, (40, 60))[labels] + random.normal(0, 0.15, (200, 60)) @ mix, labels)


def test_nearest_means_beat_logistic_regression_where_classes_are_many_and_images_few() -> None:
    data = few_a_class()
    part, losses = np.arange(200) % 5 != 0, {}
    for head in ("nearest", "logistic"):
        fitted = heads.fit(data, part, HeadSettings(head=head), 0)
        held = np.flatnonzero(~part)
        losses[head] = data.losses(held, prediction.predict_rows(fitted, data.rows, held, data.view_classes)).mean()
    assert losses["nearest"] < losses["logistic"]


def test_auto_takes_class_means_where_they_are_better() -> None:
    data = few_a_class()
    assert fit(data, HeadSettings()).chosen == fit(data, HeadSettings(head="nearest")).chosen


def test_auto_takes_regression_where_that_is_better() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 12)
    # classes lie one behind the other: directions, which are all that class means compare, can't tell them
    rows = np.column_stack([labels + random.normal(0, 0.05, 48), random.normal(0, 0.01, (48, 3))])
    data = of_many_classes(rows, labels)
    assert fit(data, HeadSettings()).chosen == fit(data, HeadSettings(head="logistic")).chosen


def test_auto_tries_class_means_with_many_images_unless_features_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "FEW", 0)
    assert fit(few_a_class(), HeadSettings()).chosen.startswith("class means")
    monkeypatch.setattr(heads, "NARROW", 59)
    monkeypatch.setattr(nearest, "fit", lambda *_: pytest.fail("class means were fitted"))
    assert fit(few_a_class(), HeadSettings()).chosen.startswith("C ")


def test_auto_tries_no_regression_for_very_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MANY", 39)
    monkeypatch.setattr(heads, "LinearRows", lambda *_: pytest.fail("a regression was fitted"))
    assert fit(few_a_class(), HeadSettings()).chosen.startswith("class means")


def test_auto_compares_with_a_regression_of_one_strength() -> None:
    data = few_a_class()
    assert fit(data, HeadSettings(regularisation_grid=(1e-4,))).chosen.startswith("class means")


@pytest.mark.parametrize("width", [8, 90], ids=["many rows", "few rows"])
def test_balanced_classes_weigh_the_same_together(width: int) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 14, 6])
    rows = random.normal(0, 1, (3, width))[labels] + random.normal(0, 2, (60, width))
    data = replace(of_many_classes(rows, labels), balance=1.0)
    head = fit(data, HeadSettings(head="logistic", regularisation_grid=(0.1,)))
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000, class_weight="balanced").fit(standard, labels)
    assert np.abs(head.predictions(rows.astype(np.float32)) - model.predict_proba(standard)).max() < 5e-3


def test_nearest_means_do_without_a_class_that_the_part_lacks() -> None:
    data = training(90)
    fitted = heads.fit(data, data.truth != 2, HeadSettings(head="nearest"), 0)
    found = prediction.predict(fitted, data.rows, SAME)
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == data.truth)[data.truth != 2].mean() > 0.95


def test_a_sample_of_the_held_out_images_chooses_as_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    data = few_a_class()
    chosen = fit(data, HeadSettings(head="nearest")).chosen
    monkeypatch.setattr(nearest, "_MOST_SCORES", 0)
    monkeypatch.setattr(nearest, "_LEAST_JUDGED", 100)
    monkeypatch.setattr(nearest, "_CLASSES", 7)
    assert fit(data, HeadSettings(head="nearest")).chosen == chosen


def test_short_lists_are_made_of_mean_scores_as_of_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    columns, rows = 1500, random.normal(size=(9, 2, 8)).astype(np.float32)
    weights = random.normal(size=(8, columns)).astype(np.float32)
    head = Head((Linear(weights=weights, bias=np.zeros(columns, np.float32)), SOFTMAX), "")
    views = (tuple(range(columns)), tuple(random.permutation(columns).tolist()))
    monkeypatch.setattr(row_file, "_MOST", 4 * 2 * columns)  # four images in a block
    found = prediction.predict_rows(head, rows, np.arange(9), views)
    expected = Shortlists.of(prediction.predict(head, rows, views))
    assert (np.asarray(found.argmax(axis=1)) == expected.argmax(axis=1)).all()
    assert np.allclose(np.asarray(found), np.asarray(expected), rtol=1e-4, atol=0)
