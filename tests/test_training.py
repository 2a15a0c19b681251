"""The training loop on a few images: what each setting does to a step, what is kept, what leaves no trace."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kagglekit.base.distributed import World
from kagglekit.base.errors import UserError
from kagglekit.recipe import Recipe
from kagglekit.training import layers, loop, lr_finder, rate_limits
from kagglekit.training.loop import Trainer
from kagglekit.training.phases import Phase
from tests import trainers
from tests.conftest import TINY
from tests.trainers import ALL, CALM, FROZEN

HEAD = Phase(name="head", trains="head", epochs=1)
FLAT = Phase(name="all", trains="all", epochs=4, schedule="flat")


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)


def with_(recipe: Recipe = CALM, **more: Any) -> Recipe:
    return recipe.changed(**more)


def after(
    folder: Path, recipe: Recipe, *phases: Phase, validation: int = 0, **more: Any
) -> tuple[Trainer, dict[str, torch.Tensor]]:
    """Train; nothing is rolled back where there is no validation split."""
    folder.mkdir(exist_ok=True)
    trained = trainers.trainer(folder, recipe, of=trainers.data(validation=validation, recipe=recipe), **more)
    return trained, trainers.train(trained, *phases)


def body(state: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in state if not name.startswith("fc.")]


# What learns


def test_only_the_part_of_a_phase_learns_and_its_batch_norms_too(tmp_path: Path) -> None:
    start = trainers.model().state_dict()
    for part, still, moved in (
        ("head", body(start), ["fc.weight", "fc.bias"]),
        ("late", ["conv1.0.weight", "bn1.running_mean", "layer1.0.conv1.weight"], ["layer4.0.conv1.weight"]),
    ):
        phase = Phase(name=part, trains=part, epochs=1)  # type: ignore[arg-type]
        _, end = after(tmp_path / part, CALM, phase)
        assert trainers.same(start, end, still), part
        assert not any(torch.equal(start[name], end[name]) for name in moved), part
    assert "layer4.0.bn1.running_mean" in start


def test_frozen_batch_norms_keep_their_statistics_but_learn_their_weights(tmp_path: Path) -> None:
    start = trainers.model().state_dict()
    statistics = [name for name in start if "running" in name or "num_batches" in name]
    _, frozen = after(tmp_path / "frozen", FROZEN, ALL)
    _, trained = after(tmp_path / "trained", CALM, ALL)
    assert trainers.same(start, frozen, statistics)
    assert not trainers.same(start, trained, statistics)
    assert not torch.equal(start["bn1.weight"], frozen["bn1.weight"])


def test_several_processes_have_the_mean_of_their_batch_norms_after_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each learns from other images; `nox -s soak` trains with two."""
    shared: list[int] = []
    monkeypatch.setattr(World, "share_buffers", lambda *_: shared.append(1))
    for recipe in (CALM, FROZEN):
        after(tmp_path / recipe.training.batch_norm, recipe, dataclasses.replace(FLAT, epochs=1))
    assert len(shared) == 2, "two steps, and none where batch norms are frozen"
    monkeypatch.undo()
    world, model = World("cpu", "float32"), trainers.model()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    world.size = 2
    monkeypatch.setattr(world, "mean", lambda value: 2 * value)  # the other process has three times as much
    world.share_buffers(model)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, 2 * before[name] if buffer.is_floating_point() else before[name]), name


def test_early_layers_learn_more_slowly_than_the_head_in_the_optimiser(tmp_path: Path) -> None:
    trained, _ = after(tmp_path, with_(learning_rate=0.01), dataclasses.replace(FLAT, epochs=1))
    rates = {group["layer"]: group["lr"] for group in trained.learner.optimiser.param_groups}
    assert rates[0] == pytest.approx(0.001)
    assert rates[trained.learner.layers.head] == pytest.approx(0.01)
    assert sorted(rates.values()) == [rates[layer] for layer in sorted(rates)]
    for group in trained.learner.optimiser.param_groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_the_rate_follows_the_schedule_and_the_phase_before(tmp_path: Path) -> None:
    trained, _ = after(
        tmp_path,
        with_(learning_rate=0.0),
        dataclasses.replace(HEAD, rate=1.0, find=False),
        dataclasses.replace(FLAT, epochs=1, rate=0.1, find=False),
    )
    rates = {row["phase"]: row["rate"] for row in trained.progress.history if row["kind"] == "step"}
    assert rates["all"] == pytest.approx(rate_limits.usual_rate(TINY) / 10), "a tenth of what the head had"


# What is kept


@pytest.mark.parametrize("rate", [100.0, 1e30])
def test_a_phase_that_makes_it_worse_is_taken_back_bit_for_bit(tmp_path: Path, rate: float) -> None:
    start = trainers.model().state_dict()
    trained, end = after(tmp_path, with_(learning_rate=rate, gradient_clip=0.0), ALL, validation=4)
    assert trainers.same(start, end)
    assert "the phase is rolled back" in trainers.said(trained)


def test_what_a_phase_that_broke_down_left_in_the_optimiser_does_not_spoil_the_next(tmp_path: Path) -> None:
    calm = Phase(name="all", trains="all", epochs=1, rate=1e-33)
    trained, end = after(tmp_path, with_(learning_rate=1e30, gradient_clip=0.0), HEAD, calm, validation=4, batch=4)
    assert trainers.said(trained).count("the phase is rolled back") <= 1, trainers.said(trained)
    assert all(torch.isfinite(tensor).all() for tensor in end.values())
    assert not trainers.same(trainers.model().state_dict(), end), "the second phase has learnt"


def test_the_best_restart_is_kept_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # epoch:   before the phase, then 1 to 4, and at the end
    told = iter([(9.0, 0.0), (3.0, 0.0), (1.0, 0.0), (2.0, 0.0), (4.0, 0.0), (1.0, 0.0)])
    seen: list[dict[str, torch.Tensor]] = []

    def judge(trained: Trainer) -> tuple[float, float]:
        seen.append(trainers.state(trained))
        return next(told)

    monkeypatch.setattr(Trainer, "_validation_loss", judge)
    _, end = after(tmp_path, CALM, FLAT, validation=4)
    assert trainers.same(end, seen[2]), "the weights after epoch 2"
    assert not trainers.same(end, seen[4])


def test_patience_ends_a_phase_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([9.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    monkeypatch.setattr(Trainer, "_validation_loss", lambda _: (next(told), 0.0))
    trained, _ = after(tmp_path, with_(patience=2), FLAT, validation=4)
    assert "no improvement for 2 restarts: stopped early" in trainers.said(trained)
    assert len(trainers.losses(trained, "epoch")) == 3


def test_without_a_validation_split_everything_is_trained_and_nothing_rolled_back(tmp_path: Path) -> None:
    trained, end = after(tmp_path, with_(learning_rate=0.5), ALL)
    assert not any(trainers.losses(trained, "epoch"))
    assert not trainers.same(trainers.model().state_dict(), end)
    with pytest.raises(UserError, match="lower --set learning_rate"):
        after(tmp_path / "broken", with_(learning_rate=1e30, gradient_clip=0.0), ALL)


def test_a_moving_average_predicts_and_is_what_is_saved(tmp_path: Path) -> None:
    recipe = with_(ema=0.9, learning_rate=0.01)
    raw, plain_end = after(tmp_path / "plain", with_(recipe, ema=0.0), ALL)
    averaged, end = after(tmp_path / "ema", recipe, ALL)
    assert not trainers.same(plain_end, end)
    assert trainers.losses(raw)[:2] == trainers.losses(averaged)[:2], "training itself goes on as without"
    assert averaged.learner.state.average is not None
    assert trainers.same(end, averaged.learner.state.average.module.state_dict())


# What is drawn


@pytest.mark.parametrize(
    "change",
    [
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"label_smoothing": 0.2},
        {"erasing": 1.0},
        {"weight_decay": 0.5},
        {"gradient_clip": 0.01},
        {"augment": "light"},
    ],
    ids=str,
)
def test_a_setting_changes_training(tmp_path: Path, change: dict[str, Any]) -> None:
    one = dataclasses.replace(ALL, epochs=1, schedule="flat")
    _, plain = after(tmp_path / "plain", with_(learning_rate=0.01), one)
    changed, end = after(tmp_path / "changed", with_(learning_rate=0.01, **change), one)
    assert not trainers.same(plain, end, ["conv1.0.weight"])
    again, twice = after(tmp_path / "again", with_(learning_rate=0.01, **change), one)
    assert trainers.same(end, twice), "what is drawn depends on the seed only"
    assert trainers.losses(changed) == trainers.losses(again)


def test_a_phase_may_leave_augmentation_out(tmp_path: Path) -> None:
    plain = dataclasses.replace(ALL, augment=False)
    _, first = after(tmp_path / "none", CALM, plain)
    _, second = after(tmp_path / "strong", with_(augment="strong", erasing=1.0), plain)
    assert trainers.same(first, second)


def test_workers_and_global_random_numbers_change_nothing(tmp_path: Path) -> None:
    drawn = with_(augment="light", mixup=0.4)
    first, start = after(tmp_path / "none", drawn, ALL, net=trainers.model(drop_rate=0.5))
    torch.manual_seed(77)
    np.random.seed(77)
    random.seed(77)
    torch.rand(5)
    second, end = after(tmp_path / "two", with_(drawn, loader_workers=2), ALL, net=trainers.model(drop_rate=0.5))
    assert trainers.losses(first) == trainers.losses(second)
    assert trainers.same(start, end)


# Parts of a batch


@pytest.mark.parametrize("accumulate", [2, 3])
def test_a_batch_in_parts_is_the_same_batch(tmp_path: Path, accumulate: int) -> None:
    whole, _ = after(tmp_path / "whole", FROZEN, ALL)
    parts, _ = after(tmp_path / "parts", with_(FROZEN, accumulate=accumulate), ALL)
    assert trainers.losses(parts) == pytest.approx(trainers.losses(whole), rel=1e-4)


def out_of_memory_above(images: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model fail in training with more images; return how many it really was given, step by step."""
    net = type(trainers.model())
    computed: list[int] = []
    original = net.forward

    def forward(self: Any, x: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            if len(x) > images:
                raise torch.OutOfMemoryError("simulated")
            computed.append(len(x))
        return original(self, x)

    monkeypatch.setattr(net, "forward", forward)
    return computed


def test_a_batch_that_does_not_fit_is_computed_in_halves_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulated, _ = after(tmp_path / "parts", with_(FROZEN, accumulate=4), ALL)
    computed = out_of_memory_above(3, monkeypatch)
    halved, _ = after(tmp_path / "halved", FROZEN, ALL)
    assert trainers.losses(halved) == trainers.losses(accumulated)
    assert computed == [2] * 4 * 4
    assert "from now on 2 images are computed at a time" in trainers.said(halved)


def test_one_image_that_does_not_fit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_memory_above(0, monkeypatch)
    with pytest.raises(UserError, match="out of memory with 1 images"):
        after(tmp_path, FROZEN, ALL)


# The learning-rate finder


def test_the_finder_gives_the_same_curve_twice_and_leaves_no_trace(tmp_path: Path) -> None:
    drawn = with_(augment="light", mixup=0.4, ema=0.9)
    trained, _ = after(tmp_path, drawn, dataclasses.replace(ALL, epochs=1), net=trainers.model(drop_rate=0.5))
    before = trainers.state(trained), trained.learner.optimiser.state_dict()
    copied = [{k: v.clone() for k, v in state.items()} for state in before[1]["state"].values()]
    learns = [parameter.requires_grad for parameter in trained.learner.model.parameters()]
    drawn_next = torch.get_rng_state().clone(), repr(np.random.get_state()), random.getstate()
    curves = [trained.find_rate(ALL) for _ in range(2)]
    assert curves[0] == curves[1]
    assert len(curves[0].rates) >= 20
    assert trainers.same(before[0], trainers.state(trained))
    for kept, now in zip(copied, trained.learner.optimiser.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(kept[key], now[key]) for key in kept)
    assert [group["lr"] for group in before[1]["param_groups"]] == [
        g["lr"] for g in trained.learner.optimiser.param_groups
    ]
    assert learns == [parameter.requires_grad for parameter in trained.learner.model.parameters()]
    assert torch.equal(drawn_next[0], torch.get_rng_state())
    assert drawn_next[1] == repr(np.random.get_state())
    assert drawn_next[2] == random.getstate()


def swept(monkeypatch: pytest.MonkeyPatch, curve: lr_finder.Sweep) -> None:
    """Let the finder see this curve, whatever the losses are."""
    monkeypatch.setattr(lr_finder, "sweep", lambda *_, **__: curve)


def rates_and_words(folder: Path) -> tuple[set[float], str]:
    """The rates that a phase trained with, its schedule being flat, and what it said."""
    trained, _ = after(folder, with_(learning_rate=0.0), dataclasses.replace(FLAT, epochs=1))
    return {row["rate"] for row in trained.progress.history if "rate" in row}, trainers.said(trained)


def test_the_finder_s_suggestion_is_what_a_phase_trains_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = np.geomspace(1e-5, 1e-1, 50)
    falls = lr_finder.Sweep(tuple(rates), tuple(np.interp(np.log10(rates), [-4, -2.5, -1], [0.7, 0.2, 3.0])))
    swept(monkeypatch, falls)
    suggested = lr_finder.suggestions(falls)["valley"]
    used, said = rates_and_words(tmp_path)
    assert used == {suggested}
    assert 1e-4 < suggested < 10**-2.5
    assert f"all: learning rate {suggested:.2g} (valley; valley {suggested:.2g}, " in said
    written = json.loads((tmp_path / "finder-all.json").read_text())
    assert written["suggestions"] == lr_finder.suggestions(falls)


def test_a_suggestion_above_the_family_s_highest_rate_is_capped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = np.geomspace(1e-3, 10.0, 50)
    swept(monkeypatch, lr_finder.Sweep(tuple(rates), tuple(np.interp(np.log10(rates), [-2, 0, 1], [0.7, 0.2, 3.0]))))
    used, said = rates_and_words(tmp_path)
    assert used == {rate_limits.cap(TINY)}
    assert f"learning rate {rate_limits.cap(TINY):.2g} (valley, capped for {TINY}; " in said


def test_the_usual_rate_is_trained_with_where_the_finder_suggests_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept(monkeypatch, lr_finder.Sweep(tuple(np.geomspace(1e-5, 1e-1, 50)), (0.7,) * 50))
    used, said = rates_and_words(tmp_path)
    usual = rate_limits.usual_rate(TINY)
    assert used == {usual}
    assert "all: the finder has no suggestion (the loss did not fall" in said
    assert f": training at the usual {usual:g}\n" in said


def test_layers_are_read_from_the_model_from_stem_to_head() -> None:
    net = trainers.model()
    read = layers.Layers.read(net)
    assert read.of["conv1.0.weight"] == 0
    assert read.of["fc.weight"] == read.head
    assert 0 < read.of["layer4.0.conv1.weight"] < read.head
    assert read.late == min(read.of[name] for name in read.of if name.startswith("layer4"))
    assert read.later == min(read.of[name] for name in read.of if name.startswith("layer2"))
    parts: tuple[layers.Trained, ...] = ("all", "later", "late", "head")
    assert [read.first(part) for part in parts] == [0, read.later, read.late, read.head]


# Breaking down


def test_steps_after_a_breakdown_start_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = with_(validation_share=0.25)
    trained = trainers.trainer(tmp_path, recipe, of=trainers.data(validation=4, recipe=recipe))
    steps, learner = trained.learner.step, trained.learner

    def breaks_down(*given: Any) -> torch.Tensor:
        loss = steps(*given)
        if trained.progress.phase == 0 and trained.progress.epoch == 1:
            for state in learner.optimiser.state.values():
                state["exp_avg"].fill_(torch.nan)
            return loss * torch.nan
        return loss

    monkeypatch.setattr(learner, "step", breaks_down)
    monkeypatch.setattr(loop.Progress, "worse_than_before", property(lambda _: False))
    restarts = Phase(name="head", trains="head", epochs=3, schedule="cosine", multiplier=1, find=False)
    end = trainers.train(trained, restarts, dataclasses.replace(ALL, find=False))
    assert "the loss is NaN or infinite: stopped early" in trainers.said(trained)
    assert all(tensor.isfinite().all() for tensor in end.values())
    rows = json.loads((tmp_path / "history.json").read_text(), parse_constant=pytest.fail)
    assert [row["loss"] for row in rows if row["kind"] == "step" and row["phase"] == "head"][-1] is None
    assert all(row["loss"] > 0 for row in rows if row["kind"] == "step" and row["phase"] == "all")


def test_tables_that_the_model_never_trains_stay(tmp_path: Path) -> None:
    net = trainers.model(name="test_vit")
    net.pos_embed.requires_grad_(False)  # type: ignore[union-attr, operator]
    before = net.pos_embed.detach().clone()  # type: ignore[union-attr, operator]
    read = layers.Layers.read(net)
    layers.freeze(net, read, "all")
    assert not net.pos_embed.requires_grad  # type: ignore[union-attr]
    assert torch.equal(net.pos_embed, before)  # type: ignore[arg-type]
