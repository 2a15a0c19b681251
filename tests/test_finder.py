"""The learning-rate finder: its sweep, what it suggests and refuses to, that it leaves no trace, its pictures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.training import lr_finder, plots, rate_limits, snapshots
from kagglekit.training.lr_finder import Sweep
from tests.conftest import TINY

FEW = settings(max_examples=60)
losses_ = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, 1e38])
PNG = b"\x89PNG\r\n\x1a\n"


def rates(count: int) -> tuple[float, ...]:
    return tuple(np.geomspace(1e-7, 10.0, count).tolist())


def basin(rate: float) -> float:
    """A loss that falls fastest at 3e-4 and explodes above 3e-2."""
    x = math.log10(rate)
    return 0.7 - 0.5 / (1 + math.exp(-2.5 * (x + 3.5))) + 3 * max(0.0, x + 1.5) ** 2


def noisy(loss: Callable[[float], float], noise: float, seed: int) -> Callable[[float], float]:
    generator = np.random.default_rng(seed)
    return lambda rate: loss(rate) * (1 + noise * generator.normal())


# The curve


def test_the_average_has_no_bias_at_its_start_and_the_centres_undo_its_lag() -> None:
    logs = np.log10(rates(50))
    line = Sweep(rates(50), tuple((5 - 2 * logs).tolist()))
    assert line.smoothed[0] == line.losses[0]
    assert np.allclose(line.smoothed, 5 - 2 * np.log10(line.centres)), "a straight line must stay where it is"
    assert Sweep(rates(9), (0.7,) * 9).smoothed == (0.7,) * 9


def test_the_average_passes_over_losses_that_are_not_finite() -> None:
    curve = Sweep(rates(4), (math.nan, 2.0, math.inf, 2.0))
    assert math.isnan(curve.smoothed[0])
    assert curve.smoothed[1:] == (2.0, 2.0, 2.0)
    assert curve.centres[2] == curve.centres[1]


@pytest.mark.parametrize(("given_rates", "losses"), [((1.0, 1.0), (1.0, 1.0)), ((0.0, 1.0), (1.0, 1.0)), ((1.0,), ())])
def test_an_impossible_curve_is_refused(given_rates: tuple[float, ...], losses: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rise from above zero"):
        Sweep(given_rates, losses)


# Suggestions


@FEW
@given(st.lists(losses_, min_size=1, max_size=120))
def test_suggestions_lie_within_what_was_swept_or_there_is_a_reason(losses: list[float]) -> None:
    curve = Sweep(rates(len(losses)), tuple(losses), "the end")
    found = lr_finder.suggestions(curve)
    assert all(curve.rates[0] <= rate <= curve.rates[-1] for rate in found.values()), "NaN fails here, too"
    assert bool(found) == ("valley" in found)
    assert bool(found) != bool(lr_finder.why_none(curve))


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 4.0, 1024.0]), st.floats(0.5, 2.0))
def test_suggestions_do_not_depend_on_the_unit_of_the_loss(seed: int, unit: float, shift: float) -> None:
    curve = lr_finder.sweep(noisy(basin, 0.1, seed))
    scaled = Sweep(curve.rates, tuple(unit * loss for loss in curve.losses))
    assert lr_finder.suggestions(scaled) == lr_finder.suggestions(curve)
    shifted = Sweep(curve.rates, tuple(loss + shift for loss in curve.losses))
    assert lr_finder.suggestions(shifted) == pytest.approx(lr_finder.suggestions(curve)), "only differences may count"


@FEW
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 99), max_size=10))
def test_losses_that_are_not_finite_change_suggestions_little(seed: int, broken: list[int]) -> None:
    curve = lr_finder.sweep(noisy(basin, 0.02, seed))
    holes = tuple(math.nan if place in broken else loss for place, loss in enumerate(curve.losses))
    whole, holed = lr_finder.suggestions(curve), lr_finder.suggestions(Sweep(curve.rates, holes))
    assert whole.keys() == holed.keys()
    assert all(abs(math.log10(holed[name] / rate)) < 0.75 for name, rate in whole.items())


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_suggestions_find_the_fall(noise: float, seed: int) -> None:
    found = lr_finder.suggestions(lr_finder.sweep(noisy(basin, noise, seed)))
    assert 2e-4 < found["valley"] < 1e-3
    assert 5e-5 < found["steepest"] < 8e-4
    assert 3e-4 < found["minimum/10"] < 2e-3


def test_a_tenth_of_the_lowest_points_rate_is_left_out_where_it_was_not_swept() -> None:
    found = lr_finder.suggestions(lr_finder.sweep(basin, lowest=3e-3))
    assert found.keys() == {"valley", "steepest"}


def test_the_fall_after_an_explosion_is_not_taken() -> None:
    bumped = [basin(rate) if rate < 0.1 else 40.0 / (1 + rate) for rate in rates(100)]
    assert lr_finder.suggestions(Sweep(rates(100), tuple(bumped)))["valley"] < 1e-3


FLAT: dict[str, Callable[[float], float]] = {
    "flat": lambda rate: 0.7,
    "rising": lambda rate: 0.7 + rate,
    "falls by less than a hundredth": lambda rate: 0.7 - 0.005 * rate,
}


@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("noise", [0.0, 1e-7, 0.1])
def test_nothing_is_suggested_where_nothing_falls(kind: str, noise: float) -> None:
    curves = [lr_finder.sweep(noisy(FLAT[kind], noise, seed), highest=1.0) for seed in range(40)]
    assert sum(bool(lr_finder.suggestions(curve)) for curve in curves) <= 1, "one in forty by chance"
    assert "did not fall" in lr_finder.why_none(curves[0])


def test_nothing_is_suggested_from_a_few_losses_or_none() -> None:
    assert "no step" in lr_finder.why_none(Sweep(rates(30), (math.nan,) * 30))
    assert "no step" in lr_finder.why_none(Sweep((), ()))
    short = Sweep(rates(9), tuple(9.0 - place for place in range(9)), "the loss was nan at 1e-05")
    assert lr_finder.suggestions(short) == {}
    assert "only 9 steps" in lr_finder.why_none(short)
    assert short.stopped in lr_finder.why_none(short)


# The sweep


def quadratic(scale: float = 1.0) -> tuple[Callable[[float], float], torch.nn.Parameter]:
    """Return a step of gradient descent on the mean of scale * x**2 / 2, which diverges above a rate of 2 / scale."""
    point = torch.nn.Parameter(torch.full((8,), 3.0))
    optimiser = torch.optim.SGD([point], lr=1.0)

    def take_step(rate: float) -> float:
        optimiser.param_groups[0]["lr"] = rate
        loss = scale * point.square().sum() / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return take_step, point


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_quadratic_gets_rates_below_where_it_diverges(scale: float) -> None:
    # all of it falls: the loss is near zero long before it diverges
    found = lr_finder.suggestions(lr_finder.sweep(quadratic(scale)[0], highest=1000.0))
    assert found.keys() == {"valley", "steepest", "minimum/10"}
    assert all(1e-3 / scale < rate < 2 / scale for rate in found.values())


def test_the_rates_rise_by_the_same_factor() -> None:
    asked: list[float] = []

    def take_step(rate: float) -> float:
        asked.append(rate)
        return 1.0

    curve = lr_finder.sweep(take_step, lowest=1e-6, highest=1.0, steps=7)
    assert asked == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert curve.rates == tuple(asked)
    assert curve.stopped == "the sweep reached 1"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_sweep_at_once(loss: float) -> None:
    curve = lr_finder.sweep(lambda rate: basin(rate) if rate < 1e-2 else loss)
    assert curve.rates[-2] < 1e-2 <= curve.rates[-1]
    assert f"the loss was {loss} at" in curve.stopped
    assert all(map(math.isfinite, curve.smoothed))
    assert lr_finder.suggestions(curve)["valley"] < 1e-2


def test_a_divergence_ends_the_sweep_but_a_hard_first_batch_does_not() -> None:
    assert lr_finder.sweep(basin).rates[-1] < 1.0
    assert "more than 4 times its best" in lr_finder.sweep(basin).stopped
    assert lr_finder.sweep(basin, diverged=1e9).rates[-1] == pytest.approx(10.0)
    for losses in ([0.01, *[0.5] * 99], [0.5] * 10 + [1e-6] * 60 + [0.1] * 30):
        left = iter(losses)
        assert len(lr_finder.sweep(lambda rate, left=left: next(left)).rates) == 100


@pytest.mark.parametrize(
    "limits", [{"lowest": 0.0}, {"highest": 1e-8}, {"steps": 1}, {"smoothing": 1.0}, {"diverged": 1.0}]
)
def test_an_impossible_sweep_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it needs"):
        lr_finder.sweep(basin, **limits)


# Caps


@pytest.mark.parametrize(
    ("name", "highest"),
    [
        ("vit_base_patch16_224.augreg_in21k", 5e-4),
        ("swinv2_tiny_window8_256", 5e-4),
        ("timm/eva02_large_patch14_448", 5e-4),
        ("convnext_base.fb_in22k_ft_in1k_384", 1e-3),
        ("test_convnext", 1e-3),
        ("efficientvit_b0", 1e-3),
        ("vitamin_small_224", 1e-3),
        ("tf_efficientnet_lite2=/weights/vit.safetensors", 1e-2),
        ("tf_efficientnetv2_m.in21k_ft_in1k", 1e-2),
        ("resnet50", 1e-2),
        ("resnext50_32x4d", 1e-2),
        ("mobilenetv3_large_100", 1e-2),
        ("something_new", 3e-3),
    ],
)
def test_caps_follow_the_family(name: str, highest: float) -> None:
    assert rate_limits.cap(name) == highest
    assert rate_limits.capped(highest * 2, name) == (highest, True)
    assert rate_limits.capped(highest, name) == (highest, False)


def test_most_of_timm_is_known_and_no_rate_is_refused() -> None:
    names = timm.list_models()
    assert sum(rate_limits.cap(name) == 3e-3 for name in names) < len(names) / 8
    for nonsense in (math.nan, 0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="learning rate"):
            rate_limits.capped(nonsense, "resnet50")


# Restoring


class Training:
    """A small network with batch norm and dropout, its optimiser, and a step."""

    def __init__(self, frozen: bool, prior_steps: int) -> None:
        seed(0)
        self.model = timm.create_model(TINY, num_classes=3, drop_rate=0.3)
        self.model.train()
        if frozen:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith("fc."))
            self.model.layer1.eval()
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(learning, lr=1e-3)
        self.images, self.labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
        for _ in range(prior_steps):
            self.step(1e-3)

    def step(self, rate: float) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        noise = random.random() + float(np.random.rand())
        loss = torch.nn.functional.cross_entropy(self.model(self.images + noise * 0.1), self.labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def everything(self) -> list[Any]:
        """All that must be as it was, tensors as their bytes."""
        model, optimiser = self.model, self.optimiser
        return [
            [(name, raw(tensor)) for name, tensor in model.state_dict().items()],
            [(p.requires_grad, None if p.grad is None else raw(p.grad)) for p in model.parameters()],
            [module.training for module in model.modules()],
            [(name, raw(tensor)) for part in optimiser.state_dict()["state"].values() for name, tensor in part.items()],
            [{k: v for k, v in group.items() if k != "params"} for group in optimiser.param_groups],
            [[id(p) for p in group["params"]] for group in optimiser.param_groups],
            random.getstate(),
            [raw(torch.from_numpy(np.asarray(part))) for part in np.random.get_state()[1:3]],
            raw(torch.get_rng_state()),
        ]


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


@pytest.fixture(
    params=[(False, 0), (False, 2), (True, 0), (True, 2)], ids=["all", "all, trained", "head", "head, trained"]
)
def training(request: pytest.FixtureRequest) -> Training:
    return Training(*request.param)


def disturb(training: Training) -> None:
    """Change all that a sweep or a careless loop can change."""
    for rate in (1e-3, 1e-2, 1.0):
        training.step(rate)
    training.model.eval()
    for parameter in training.model.parameters():
        parameter.requires_grad_(not parameter.requires_grad)
    training.model.fc.register_parameter("bias", torch.nn.Parameter(torch.zeros(3)))
    training.optimiser.add_param_group({"params": [training.model.fc.bias], "lr": 5.0})
    training.optimiser.param_groups[0]["betas"] = (0.1, 0.1)


def test_everything_is_restored_bit_for_bit(training: Training) -> None:
    before = training.everything()
    with snapshots.restored(training.model, training.optimiser):
        disturb(training)
        during = training.everything()
    assert training.everything() == before
    assert all(then != now for then, now in zip(before, during, strict=True)), "the test must disturb each of them"


def test_everything_is_restored_when_the_sweep_breaks(training: Training) -> None:
    before = training.everything()

    def break_off() -> None:
        with snapshots.restored(training.model, training.optimiser):
            disturb(training)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        break_off()
    assert training.everything() == before


def test_nan_weights_are_restored(training: Training) -> None:
    before = training.everything()
    with snapshots.restored(training.model, training.optimiser):
        training.images = training.images * math.nan
        assert math.isnan(training.step(1e-3))
    assert training.everything() == before


def test_training_goes_on_as_if_there_had_been_no_sweep() -> None:
    plain, swept = (Training(False, 1) for _ in range(2))
    seed(1)
    expected = [plain.step(1e-3) for _ in range(3)]
    seed(1)
    with snapshots.restored(swept.model, swept.optimiser):
        disturb(swept)
    assert [swept.step(1e-3) for _ in range(3)] == expected


def test_two_sweeps_give_the_same_curve(training: Training) -> None:
    curves = []
    for _ in range(2):
        with snapshots.restored(training.model, training.optimiser):
            curves.append(lr_finder.sweep(training.step, steps=12))
    assert curves[0] == curves[1]
    assert len(set(curves[0].losses)) > 5


# Pictures

BROKEN = Sweep(rates(30), (math.nan,) * 30)
HOSTILE = "$\\frac{1}{0$ 猫\x00\n\ud800 😀 %s {} " + "long " * 100


def draw_curve(path: Path, title: str) -> None:
    curve = lr_finder.sweep(noisy(basin, 0.1, 0))
    plots.finder_plot(curve, lr_finder.suggestions(curve) | {f"taken {title}": 1e-3}, path, title)


def history(title: str = "all", valid: float | None = 0.3) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(1, 41):
        phase = "head" if step <= 20 else title
        loss = 1 / step if step != 7 else math.nan
        record = {"step": step, "phase": phase}
        found.append(record | {"kind": "step", "epoch": step / 10, "loss": loss, "rate": 1e-3 * (step % 20)})
        if step % 10 == 0:
            scores = {"epoch": step // 10, "train_loss": loss, "valid_loss": valid and valid / step}
            found.append(record | {"kind": "epoch"} | scores | ({"taken_back": True} if step == 40 else {}))
    return found


def draw_history(path: Path, title: str) -> None:
    plots.history_plot(history(title), path, title)


@pytest.mark.parametrize("draw", [draw_curve, draw_history])
def test_a_picture_is_a_png_with_the_same_bytes_each_time(draw: Callable[[Path, str], None], tmp_path: Path) -> None:
    settings_before = dict(matplotlib.rcParams)
    for name in ("first.png", "second.png"):
        draw(tmp_path / "sub" / name, HOSTILE)
    first, second = ((tmp_path / "sub" / name).read_bytes() for name in ("first.png", "second.png"))
    assert first.startswith(PNG)
    assert int.from_bytes(first[16:20]) == 900, "wide"
    assert b"matplotlib" not in first
    assert first == second
    assert dict(matplotlib.rcParams) == settings_before
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["first.png", "second.png"]


@pytest.mark.parametrize(
    "curve",
    [
        BROKEN,
        Sweep((), ()),
        Sweep((1e-3,), (1.0,)),
        Sweep(rates(40), (*[0.7] * 39, 1e38)),
    ],
)
def test_a_curve_without_suggestions_can_be_drawn(curve: Sweep, tmp_path: Path) -> None:
    plots.finder_plot(curve, lr_finder.suggestions(curve), tmp_path / "curve.png", "nothing")
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    "records",
    [[], history(valid=None), history()[:1], [record for record in history() if record["kind"] == "epoch"]],
    ids=["none", "no validation split", "one step", "epochs only"],
)
def test_a_history_with_little_in_it_can_be_drawn(records: list[dict[str, Any]], tmp_path: Path) -> None:
    plots.history_plot(records, tmp_path / "history.png", "little")
    assert (tmp_path / "history.png").read_bytes().startswith(PNG)


def test_what_is_drawn_depends_on_what_happened(tmp_path: Path) -> None:
    plots.history_plot(history(), tmp_path / "a.png", "one")
    plots.history_plot(history(valid=0.5), tmp_path / "b.png", "one")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
