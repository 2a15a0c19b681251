"""The parts of a training: schedules, layers, orders of batches, mixing, steps by name, and what fits a budget."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.base import devices
from kagglekit.base.errors import UserError
from kagglekit.models import timm_models
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline.methods import table
from kagglekit.recipe import AugmentationSettings, Recipe, ScheduleSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.training import (
    batches,
    budget,
    checkpoints,
    initial_weights,
    layers,
    losses,
    phases,
    precisions,
    schedules,
    throughput,
)
from kagglekit.training.budget import Work
from kagglekit.training.layers import Layers
from kagglekit.training.throughput import Speed
from tests import trainers

FEW = settings(max_examples=80)


# Schedules


def rates(schedule: Any, epochs: int, cycle: int = 1, multiplier: int = 2, each: int = 20) -> np.ndarray[Any, Any]:
    """The share of the highest rate at `each` places of every epoch."""
    places = np.arange(epochs * each) / each
    return np.array([schedules.share(schedule, place, epochs, cycle, multiplier) for place in places])


def test_one_cycle_rises_and_then_falls() -> None:
    found = rates("one-cycle", 8)
    top = int(found.argmax())
    assert found[top] == pytest.approx(1.0)
    assert top == 8 * 20 // 4
    assert (np.diff(found[: top + 1]) > 0).all()
    assert (np.diff(found[top:]) < 0).all()
    assert found[0] < 0.1
    assert found[-1] < 0.01


def test_cosine_starts_again_at_the_top_in_growing_cycles() -> None:
    found = rates("cosine", 7, cycle=1, multiplier=2)
    (starts,) = np.nonzero(found == 1.0)
    assert (starts / 20).tolist() == [0, 1, 3]
    for begin, end in ((0, 20), (20, 60), (60, 140)):
        assert (np.diff(found[begin:end]) < 0).all()
        assert found[end - 1] < 0.02
    assert schedules.cycle_ends(7, 1, 2) == [1, 3, 7]
    assert schedules.cycle_ends(6, 2, 1) == [2, 4, 6]
    assert schedules.cycle_ends(5, 2, 2) == [2, 5], "the last cycle ends where the epochs end"


def test_flat_stays() -> None:
    assert set(rates("flat", 3)) == {1.0}


@FEW
@given(
    st.sampled_from(get_args(schedules.Schedule)), st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.data()
)
def test_every_share_is_above_zero_and_at_most_one(
    schedule: Any, epochs: int, cycle: int, multiplier: int, drawn: st.DataObject
) -> None:
    epoch = drawn.draw(st.floats(0, epochs))
    assert 0 < schedules.share(schedule, epoch, epochs, cycle, multiplier) <= 1.0
    ends = schedules.cycle_ends(epochs, cycle, multiplier)
    assert ends == sorted(set(ends))
    assert ends[-1] == epochs


# Layers


def test_rates_are_spread_over_the_body_from_early_to_head() -> None:
    read = Layers({}, head=6, late=4, later=2)
    assert layers.scales(read, (0.1, 0.3, 1.0), 0.0) == [0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 1.0]
    assert layers.scales(read, (1.0,), 0.0) == [1.0] * 7
    assert layers.scales(read, (0.01, 0.1, 0.3, 1.0), 0.0) == [0.01, 0.01, 0.1, 0.1, 0.3, 0.3, 1.0]
    decayed = layers.scales(read, (0.1, 0.3, 1.0), 0.5)
    assert decayed == [0.5**depth for depth in range(6, -1, -1)], "instead of the list"


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_every_kind_of_model_has_its_layers_groups_and_parts(name: str) -> None:
    net = trainers.model(name=name)
    read = Layers.read(net)
    assert set(read.of) == {name for name, _ in net.named_parameters()}
    groups = layers.optimiser_groups(net, read, 0.05)
    given_ = [parameter for group in groups for parameter in group["params"]]
    assert len(given_) == len({id(parameter) for parameter in given_}) == len(list(net.parameters()))
    listed: Any = getattr(net, "no_weight_decay", set)
    named = {id(parameter): name for name, parameter in net.named_parameters()}
    for group in groups:
        for parameter in group["params"]:
            decays = parameter.ndim > 1 and named[id(parameter)] not in listed()
            assert decays == (group["weight_decay"] > 0)
    counts = []
    for part in get_args(layers.Trained):
        layers.freeze(net, read, part)
        counts.append(sum(parameter.requires_grad for parameter in net.parameters()))
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3] == len(given_), "head, late, later, all"
    optimiser = torch.optim.AdamW(groups)
    layers.set_rates(optimiser, 0.01, layers.scales(read, (0.1, 0.3, 1.0), 0.0))
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.001)
    assert optimiser.param_groups[-1]["lr"] == pytest.approx(0.01)


# Batches


def order(count: int, batch: int, **more: Any) -> batches.Order:
    chosen: dict[str, Any] = {"seed": 1, "epoch": 0, "first_step": 0, "rank": 0, "processes": 1} | more
    return batches.Order(count, batch, **chosen)


def places(found: batches.Order) -> list[list[int]]:
    return [[place for _, place in keys] for keys in found]


@FEW
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 4), st.integers(0, 5))
def test_an_epoch_is_a_permutation_that_processes_share_out(count: int, each: int, processes: int, epoch: int) -> None:
    batch = min(each * processes, count // processes * processes)
    if batch == 0:
        return
    whole = places(order(count, batch, epoch=epoch))
    flat = [place for keys in whole for place in keys]
    assert len(flat) == len(set(flat)) == batches.steps(count, batch) * batch
    assert set(flat) <= set(range(count))
    parts = [places(order(count, batch, epoch=epoch, rank=rank, processes=processes)) for rank in range(processes)]
    for step, keys in enumerate(whole):
        mine = [part[step] for part in parts]
        assert len({len(some) for some in mine}) == 1, "gradients are averaged: equally many each"
        assert sorted(place for some in mine for place in some) == sorted(keys)


def test_orders_differ_by_epoch_and_seed_and_go_on_from_a_step() -> None:
    first = places(order(50, 8))
    assert first == places(order(50, 8))
    assert first != places(order(50, 8, epoch=1))
    assert first != places(order(50, 8, seed=2))
    assert places(order(50, 8, first_step=4)) == first[4:]
    assert len(order(50, 8, first_step=4)) == 2
    assert places(order(50, 8, first_step=6)) == [], "the epoch's end"
    assert places(order(3, 8)) == [places(order(3, 3))[0]], "fewer images than a batch"


def test_workers_load_the_same_batches() -> None:
    of = trainers.data(20, recipe=trainers.CALM.changed(augment="light", erasing=0.5))
    samples = batches.Samples(of.pixels, of.contents, of.labels, of.augmenter)
    orders = [order(20, 6, first_step=1), order(20, 6, epoch=1)]
    loaded = [list(batches.load(samples, orders, workers, pinned=False)) for workers in (0, 2)]
    assert [len(images) for images, _ in loaded[0]] == [6] * 5
    for (images, labels), (others, their) in zip(*loaded, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, their)
    keys = [key for some in orders for keys in some for key in keys]
    assert [int(of.labels[place]) for _, place in keys] == [label for _, some in loaded[0] for label in some.tolist()]


@pytest.mark.parametrize(("method", "module", "travels"), [
    ("fork", "kagglekit_plugin_leaf", True),
    ("spawn", "kagglekit_plugin_leaf", False),
    ("spawn", "kagglekit_leaf", True),
])  # fmt: skip
def test_workers_that_start_afresh_can_not_have_a_plugin_of_a_single_file(
    monkeypatch: pytest.MonkeyPatch, method: str, module: str, travels: bool
) -> None:
    monkeypatch.setattr(batches.multiprocessing, "get_start_method", lambda: method)
    own = type("Leaves", (), {"__module__": module})
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(Leaves=own))  # type: ignore[arg-type]
    assert batches._can_travel(cast(Any, [own()])) == travels


def test_ctrl_c_is_not_for_the_workers() -> None:
    """On a terminal it reaches them too, and a second one would end the command before it has saved."""
    before = signal.getsignal(signal.SIGINT)
    try:
        batches._start_worker(0)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def goals(labels: torch.Tensor, classes: int, smoothing: float) -> torch.Tensor:
    task = kinds.of(Classes([str(number) for number in range(classes)]))
    return losses.of(task, smoothing).goals(labels)


@FEW
@given(st.integers(1, 9), st.integers(2, 7), st.floats(0, 0.9), st.floats(0, 4), st.floats(0, 1), st.integers(0, 10**9))
def test_mixed_truth_is_still_a_probability(
    count: int, classes: int, smoothing: float, mixup: float, cutmix: float, key: int
) -> None:
    torch.manual_seed(0)
    truth = goals(torch.arange(count) % classes, classes, smoothing)
    images = torch.rand(count, 3, 12, 10)
    augmentation = AugmentationSettings(mixup=mixup, cutmix=cutmix)
    mixed, rows = batches.mix(images, truth, augmentation, (1, key))
    assert mixed.shape == images.shape
    assert torch.allclose(rows.sum(1), torch.ones(count), atol=1e-5)
    assert (rows >= 0).all()
    again, same_rows = batches.mix(images, truth, augmentation, (1, key))
    assert torch.equal(mixed, again)
    assert torch.equal(rows, same_rows)


def test_cut_mix_pastes_a_rectangle_and_counts_its_area() -> None:
    labels = torch.arange(6)
    images = labels.float().view(6, 1, 1, 1).expand(6, 3, 16, 16).contiguous()  # each image is its number
    mixed, truth = batches.mix(images, goals(labels, 6, 0.0), AugmentationSettings(cutmix=1.0), (3, 0))
    for number in range(6):
        shares = torch.stack([(mixed[number, 0] == other).float().mean() for other in range(6)])
        assert torch.allclose(shares, truth[number], atol=1e-6)
    assert not torch.equal(mixed, images)


def test_mix_up_weighs_images_and_truth_alike() -> None:
    labels = torch.arange(5)
    images = torch.eye(5).view(5, 5, 1, 1).expand(5, 5, 4, 4).contiguous()
    mixed, truth = batches.mix(images, goals(labels, 5, 0.0), AugmentationSettings(mixup=1.0), (2, 7))
    assert torch.allclose(mixed[:, :, 0, 0], truth)
    assert not torch.equal(mixed, images)


def test_smoothing_spreads_a_share_over_all_classes() -> None:
    assert goals(torch.tensor([1]), 4, 0.2).tolist() == [pytest.approx([0.05, 0.85, 0.05, 0.05])]


# Steps by name


def test_changes_of_steps_are_taken_over() -> None:
    schedule = ScheduleSettings(
        plan="eight-step",
        phases=("head epochs=0", "all epochs=6 rates=0.03/0.1/1 schedule=cosine cycle=2 multiplier=1 augment=false"),
    )
    (only,) = phases.of(schedule)
    assert (only.name, only.epochs, only.rates, only.cycle, only.multiplier) == ("all", 6, (0.03, 0.1, 1.0), 2, 1)
    assert only.schedule == "cosine"
    assert only.augment is False
    assert [phase.name for phase in phases.of(ScheduleSettings(plan="ladder"))] == ["head", "late", "later"]
    twice = ScheduleSettings(plan="quick", phases=("all epochs=2 rate=0.5", "all epochs=3"))
    assert (phases.of(twice)[0].epochs, phases.of(twice)[0].rate) == (3, 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("body epochs=2", "plan 'quick' has no phase 'body': it has features, all"),
        ("all epoch=2", "did you mean 'epochs'"),
        ("all epochs", "not a setting=value"),
        ("all name=x", "not a setting=value"),
        ("all epochs=two", "epochs of phase 'all' can't be 'two'"),
        ("all epochs=1.5", "epochs of phase 'all' can't be '1.5'"),
        ("all epochs=-1", "can't be '-1'"),
        ("all rate=nan", "can't be 'nan'"),
        ("all schedule=linear", "can't be 'linear'"),
        ("all trains=body", "can't be 'body'"),
        ("all augment=maybe", "can't be 'maybe'"),
        ("all rates=0.1/fast", "can't be '0.1/fast'"),
        ("all rates=-1/1", "can't be '-1/1'"),
        ("all rates=nan/1", "can't be 'nan/1'"),
        ("all schedule=cosine cycle=0", "can't be '0'"),
        ("all rate=0", "can't be '0'"),
        ("all schedule=cosine multiplier=0", "can't be '0'"),
        ("", "phases"),
    ],
)
def test_a_change_that_can_not_be_made_is_refused(change: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        phases.of(ScheduleSettings(plan="quick", phases=(change,)))
    assert words in str(refused.value)


# Starting from weights


def saved(path: Path, size: tuple[int, int], classes: tuple[str, ...]) -> Backbone:
    """Save a transformer's weights for a size; return the backbone at another one."""
    net = timm_models.create("test_vit", size, num_classes=len(classes))
    about = {"model": "test_vit", "classes": list(classes), "preprocessing": {"size": list(size)}}
    checkpoints.save_weights(path, net.state_dict(), about)
    seen = SimpleNamespace(size=(96, 128))
    return cast("Backbone", SimpleNamespace(name="test_vit", preprocessing=seen))


def test_weights_of_one_size_start_another(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    backbone = saved(path, (64, 64), ("a", "b"))
    found = initial_weights.weights(path, "run:all", backbone, ("a", "b"))
    net = timm_models.create("test_vit", (96, 128), num_classes=2)
    net.load_state_dict(found)
    before, _ = checkpoints.load_weights(path)
    assert found["pos_embed"].shape[1] > before["pos_embed"].shape[1]
    assert torch.equal(found["blocks.0.attn.qkv.weight"], before["blocks.0.attn.qkv.weight"])
    with pytest.raises(UserError, match="are for other classes: a, b; start from another run"):
        initial_weights.weights(path, "run:all", backbone, ("a", "c"))
    other = cast("Backbone", SimpleNamespace(name="resnet18", preprocessing=backbone.preprocessing))
    with pytest.raises(UserError, match="use --backbone test_vit"):
        initial_weights.weights(path, "run:all", other, ("a", "b"))


# Budget


def planned(speed: Speed, monkeypatch: pytest.MonkeyPatch, images: int, **more: Any) -> table.Choice:
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: speed)
    work = Work(images=images, test_images=images // 4, spent=30.0, native=(480, 640))
    return table.choose(Recipe.of(backbone=("tf_efficientnet_lite0",), **more), work, "cpu")[-1]


def fitted(minutes: float, speed: Speed, **more: Any) -> tuple[tuple[int, ...], int, int]:
    """(shape, folds, epochs) of recipe `quick`; a step takes as long as the image has pixels."""

    def measure(shape: tuple[int, int]) -> list[Speed]:
        share = shape[0] * shape[1] / 224**2
        return [Speed(speed.step * share, speed.forward * share)]

    recipe = Recipe.of(budget=f"{minutes}m", **more)
    work = Work(images=4000, test_images=1000, spent=10.0, native=(375, 500))
    settings_ = budget._fit_quick(recipe, ["resnet18"], work, recipe.compute.budget_seconds("cpu"), measure).settings
    changed = recipe.changed(plan="quick", phases=tuple(settings_["phases"]))
    return tuple(settings_["image_size"]), settings_["folds"], phases.of(changed.schedule)[0].epochs


@FEW
@given(st.floats(1, 300), st.floats(1, 3), st.floats(0.001, 0.05))
def test_a_bigger_budget_never_gives_less(minutes: float, more: float, step: float) -> None:
    speed = Speed(step, step / 3)

    def result(minutes: float, **given_: Any) -> tuple[tuple[int, ...], int, int]:
        try:
            return fitted(minutes, speed, **given_)
        except UserError:
            return (0, 0), 0, 0

    assert result(minutes, image_size=(96,), folds=3)[2] <= result(minutes * more, image_size=(96,), folds=3)[2]
    (small, folds, epochs), (large, more_folds, more_epochs) = result(minutes), result(minutes * more)
    assert (math.prod(small), folds) <= (math.prod(large), more_folds), "size first, then folds"
    if (small, folds) == (large, more_folds):
        assert epochs <= more_epochs


def test_quick_takes_smaller_images_and_fewer_folds_where_it_is_slow() -> None:
    found = [fitted(40, Speed(step, step / 3)) for step in (0.001, 0.02, 0.04, 0.08)]
    assert found[0] == ((224, 224), 5, budget.MAX_EPOCHS)
    sizes = [math.prod(shape) for shape, _, _ in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]
    assert len({folds for _, folds, _ in found}) > 1
    assert all(1 <= epochs <= budget.MAX_EPOCHS for _, _, epochs in found)


def test_what_is_set_stays_whatever_the_budget() -> None:
    assert fitted(60, Speed(0.01, 0.003), image_size=(64, 80), folds=2, phases=("all epochs=3",)) == ((64, 80), 2, 3)
    with pytest.raises(UserError, match="too little for 12 epochs of 4000 images"):
        fitted(3, Speed(0.05, 0.02), folds=2, phases=("all epochs=12",))
    with pytest.raises(UserError, match="too little for one epoch.*--method features"):
        fitted(1.5, Speed(0.5, 0.2))


def test_the_least_budget_that_is_named_is_enough() -> None:
    for more in ({}, {"validation": "holdout", "holdout": 800}, {"models": 2, "neighbours": 5, "tta_views": 2}):
        with pytest.raises(UserError) as refused:
            fitted(1.5, Speed(0.5, 0.2), **more)
        least = int(str(refused.value).partition("use --budget ")[2].partition("m or more")[0])
        assert fitted(least, Speed(0.5, 0.2), **more)[2] == 1
        with pytest.raises(UserError):
            fitted(least - 2, Speed(0.5, 0.2), **more)


def test_a_hold_out_is_one_model_and_several_predict_more_views() -> None:
    few, speed = {"image_size": (96,), "folds": 5}, Speed(0.02, 0.01)
    of_folds, of_one = fitted(12, speed, **few), fitted(12, speed, validation="holdout", holdout=800, **few)
    assert of_one[2] > of_folds[2]
    assert fitted(16, speed, models=2, tta_views=4, **few)[2] < fitted(8, speed, tta_views=4, **few)[2], (
        "a view needs two models"
    )


def test_a_gpu_has_a_budget_where_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measure(_backbone: str, _shape: tuple[int, int], device: str, **_more: Any) -> Speed:
        asked.append(device)
        return Speed(0.001, 0.0003)

    monkeypatch.setattr(throughput, "measure", measure)
    work = Work(images=4000, test_images=1000, spent=10.0, native=(375, 500))
    assert table.choose(Recipe.of(backbone=("resnet18",)), work, "cuda")[-1].settings["plan"] == "eight-step"
    assert asked == []
    plan = table.choose(Recipe.of(backbone=("resnet18",), method="finetune", budget="20m"), work, "cuda")[-1]
    assert plan.settings["plan"] == "quick"
    assert "budget 20 min" in plan.reason
    assert set(asked) == {"cuda"}
    given = Recipe.of(backbone=("resnet18",), method="finetune", plan="ladder", budget="1m")
    (plan,) = table.choose(given, work, "cpu")
    assert "budget = 1m has no effect" in plan.reason, "said, for nothing is fitted"


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(UserError, match="precision = 'fp16' needs a GPU"):
        precisions.choose("fp16", "cpu")
    assert precisions.choose("auto", "cpu") == "float32"


def test_auto_fine_tunes_only_where_enough_epochs_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = Speed(5.0, 1.0), Speed(0.0005, 0.0002)
    assert planned(fast, monkeypatch, 500, budget="60m").settings["method"] == "finetune"
    for plan, reason in (
        (
            planned(slow, monkeypatch, 4000, budget="60m"),
            "there is time for 0 epochs in 60 min, and fewer than 5 underfit",
        ),
        (planned(fast, monkeypatch, 499, budget="60m"), "499 training images are too few"),
        (planned(fast, monkeypatch, 10**7, budget="10m"), "too little time to train a backbone"),
    ):
        assert plan.settings["method"] == "features", plan
        assert reason in plan.reason


def test_training_gets_the_time_that_frozen_features_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 2)
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: Speed(0.001, 1e-6))
    given = Recipe.of(backbone=("tf_efficientnet_lite0",), budget="20m")
    few, many = (
        table.choose(given, Work(images=4000, test_images=tests, spent=30.0, native=(480, 640)), "cpu")
        for tests in (1000, 10**6)
    )
    first, last = few
    assert first.settings == {"method": "features", "folds": last.settings["folds"]}
    assert [one.settings["method"] for one in many] == ["features"], "they take the whole budget"
    assert (last.settings["rates"], last.settings["validation_share"]) == ([1.0], 0)
    work = Work(images=4000, test_images=1000, spent=30.0, native=(480, 640))
    assert "rates" not in table.choose(given.changed(rates=(0.5, 1.0)), work, "cpu")[-1].settings, "they are set"
    (alone,) = table.choose(given.changed(method="finetune"), work, "cpu")
    assert not {"rates", "validation_share"} & set(alone.settings)
    assert last.pace is not None
    assert alone.pace is not None
    assert last.pace.ending > alone.pace.ending, "a blend and its report come after it"


def test_auto_judges_the_folds_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    speed = Speed(0.005, 0.002)
    few = planned(speed, monkeypatch, 4000, budget="20m", image_size=(96,))
    assert (few.settings["method"], few.settings["folds"]) == ("finetune", 5)
    many = planned(speed, monkeypatch, 4000, budget="20m", image_size=(96,), folds=30)
    assert many.settings["method"] == "features", "one epoch each would be worse than none"


@pytest.mark.parametrize(("fits", "measured"), [(8, [32, 16, 8]), (0, [32, 16, 8, 4, 2, 1])])
def test_a_measured_batch_that_does_not_fit_is_halved(
    monkeypatch: pytest.MonkeyPatch, fits: int, measured: list[int]
) -> None:
    tried: list[int] = []

    def measure(*given_: Any, **_: Any) -> Speed:
        tried.append(given_[-1])
        if given_[-1] > fits:
            raise torch.OutOfMemoryError("simulated")
        return Speed(1.0, 0.5)

    monkeypatch.setattr(throughput, "_measure_batch", measure)
    if fits:
        assert throughput.measure("resnet18", (64, 64), "cpu") == Speed(1.0, 0.5)
    else:
        with pytest.raises(UserError, match="not even one image of 64x64 fits"):
            throughput.measure("resnet18", (64, 64), "cpu")
    assert tried == measured
    tried.clear()
    monkeypatch.setenv("WORLD_SIZE", "4")
    fits = 64
    assert throughput.measure("resnet18", (64, 64), "cuda", train_batch=64) == Speed(0.25, 0.5)
    assert tried == [16], "a share of the step"


def test_nothing_is_measured_where_the_answer_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Speed:
        raise AssertionError("measured")

    monkeypatch.setattr(throughput, "measure", refuse)
    work = Work(images=10**6, test_images=10, spent=0.0, native=(480, 640))
    assert table.choose(Recipe.of(backbone=("resnet18",)), work, "cpu")[-1].settings["method"] == "features"
    few = dataclasses.replace(work, images=100)
    assert table.choose(Recipe.of(backbone=("resnet18",)), few, "cuda")[-1].settings["method"] == "features"
    assert table.choose(Recipe.of(backbone=("resnet18",)), work, "cuda")[-1].settings == {
        "method": "finetune", "plan": "eight-step", "folds": 5, "train_batch": 64,
    }  # fmt: skip
