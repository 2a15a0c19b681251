"""What the losses of a step are said to mean; only settings are advised that exist and change something."""

from __future__ import annotations

import itertools
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.recipe import Recipe, parse_assignment, resolve
from kagglekit.training import phases
from kagglekit.training.advice import PhaseLosses, judge

STRONGEST = Recipe.of(
    plan="eight-step",
    augment="strong",
    erasing=0.25,
    mixup=0.2,
    dropout=0.5,
    weight_decay=0.05,
    label_smoothing=0.1,
    drop_path=0.1,
    ema=0.999,
)
WEAKEST = Recipe.of(plan="eight-step", augment="none")


def said(train: float, valid: float | None, **more: Any) -> str:
    known = {"name": "all", "kind": "all", "num_epochs": 7, "guessing": math.log(10), "spread": 0.005}
    known |= {"settings": Recipe.of(plan="eight-step").as_dict()} | more
    lines = judge(PhaseLosses(train_loss=train, valid_loss=valid, **known))
    assert 1 <= len(lines) <= 3
    assert all(line and "\n" not in line for line in lines)
    return "\n".join(lines)


def advised(text: str) -> dict[str, str]:
    """Return the settings that a text advises, read as a shell reads them."""
    quoted = text.replace(";", " ").replace(".\n", " ").removesuffix(".").replace("`", "")
    words = shlex.split(quoted.replace("can't", "cannot"))
    return dict(parse_assignment(value) for flag, value in itertools.pairwise(words) if flag == "--set")


def test_the_numbers_come_first() -> None:
    first = said(0.02, 0.08, before=0.2).split("\n", maxsplit=1)[0]
    assert first == "all: training loss 0.0200, validation loss 0.0800 ± 0.0050 (before this phase 0.2000)."


def test_over_fitting_is_met_in_the_order_of_the_course() -> None:
    text = said(0.02, 0.08)
    cures = [
        "more data",
        "augment=strong",
        "generalises better",
        "dropout=0.2",
        "weight_decay=",
        "a smaller `backbone`",
    ]
    assert "over-fitting" in text
    places = [text.index(cure) for cure in cures]
    assert places == sorted(places)
    assert "--set sample=0" in said(0.02, 0.08, settings=Recipe.of(sample=500).as_dict())


@pytest.mark.parametrize(
    ("train", "valid", "more"),
    [
        (0.1, 0.1, {}),
        (0.1, 0.11, {}),
        (0.1, 0.2, {"spread": 0.06}),
        (0.13, 0.1, {}),
        (0.3, 0.1, {"settings": STRONGEST.as_dict()}),
    ],
    ids=["equal", "a little above", "uncertain", "inflated by augmentation", "inflated by mix-up"],
)
def test_what_is_not_clear_is_not_called_a_fault(train: float, valid: float, more: dict[str, Any]) -> None:
    text = said(train, valid, **more)
    assert "over-fitting:" not in text
    assert "under-fitting:" not in text
    assert advised(text) == {}


def test_under_fitting_asks_for_less_regularisation_and_more_epochs() -> None:
    text = said(0.3, 0.1, settings=Recipe.of(plan="eight-step", dropout=0.5, drop_path=0.1).as_dict())
    assert "under-fitting: the training loss is clearly above" in text
    wanted = {"dropout": "0.25", "drop_path": "0", "augment": "light", "phases": "all epochs=14"}
    assert advised(text) == wanted
    assert "unfreeze" not in text
    assert "unfreeze more" in said(0.3, 0.1, kind="head", name="head")
    cut = said(0.3, 0.1, is_cut=True)
    assert "a larger --budget" in cut
    assert "phases" not in advised(cut), "fewer epochs than were planned"
    # without augmentation and dropout the two losses are measured alike
    assert "under-fitting:" in said(0.13, 0.1, settings=WEAKEST.as_dict(), train_is_augmented=False)


def test_what_only_guesses_is_under_fitting_however_alike_its_losses_are() -> None:
    assert "hardly better than guessing" in said(2.3, 2.3)
    assert "hardly better than guessing" in said(0.69, None, guessing=math.log(2))
    assert "guessing" not in said(0.69, 0.69)


def test_a_rising_validation_loss_asks_for_fewer_epochs() -> None:
    text = said(0.1, 0.14, trend=(0.2, 0.12, 0.13, 0.14))
    assert "risen since epoch 2 of 4" in text
    assert advised(text)["phases"] == "all epochs=2"
    for fine in ((0.2, 0.15, 0.14), (0.14,), (), (0.1395, 0.14), (math.nan, 0.14)):
        assert "risen" not in said(0.1, 0.14, trend=fine)


def test_the_epochs_that_are_advised_keep_what_else_is_set_of_the_steps() -> None:
    recipe = Recipe.of(plan="eight-step", phases=("head epochs=1", "all epochs=9 cycle=2", "all rate=0.5"))
    text = said(0.1, 0.14, trend=(0.2, 0.12, 0.13, 0.14), settings=recipe.as_dict())
    changed = resolve({}, "none", Path("none"), {"plan": "eight-step", **advised(text)})
    head, everything = phases.of(changed.schedule)
    assert (head.epochs, everything.epochs, everything.cycle, everything.rate) == (1, 2, 2, 0.5)


def test_a_step_that_made_it_worse_asks_for_a_lower_rate() -> None:
    text = said(0.1, 0.12, before=0.05)
    assert "made the validation loss worse" in text
    assert advised(text) == {"suggestion": "minimum/10"}
    assert advised(said(0.1, 0.12, before=0.05, settings=Recipe.of(learning_rate=0.01).as_dict())) == {
        "learning_rate": "0.001"
    }
    assert advised(said(0.1, 0.12, before=0.05, settings=Recipe.of(suggestion="minimum/10").as_dict())) == {}
    assert "worse" not in said(0.1, 0.12, before=0.119)


@pytest.mark.parametrize(("train", "valid"), [(math.nan, 0.1), (math.inf, None), (0.1, math.nan)])
def test_a_loss_that_is_not_finite_has_diverged(train: float, valid: float | None) -> None:
    text = said(train, valid)
    assert "diverged" in text
    assert advised(text) == {"suggestion": "minimum/10"}


def test_without_a_validation_split_only_the_training_loss_is_judged() -> None:
    text = said(0.001, None, settings=Recipe.of(validation_share=0.0).as_dict())
    assert "no validation loss" in text
    assert "can't show over-fitting" in text
    assert advised(text) == {"validation_share": "0.1"}
    assert advised(said(0.001, None)) == {}


def test_nothing_is_advised_that_is_set() -> None:
    assert advised(said(0.02, 0.08, settings=STRONGEST.as_dict())) == {}
    assert advised(said(0.3, 0.1, settings=WEAKEST.as_dict())) == {"phases": "all epochs=14"}
    assert advised(said(0.3, 0.1, settings=WEAKEST.as_dict(), num_epochs=50)) == {}
    assert "a larger `backbone`" in said(0.3, 0.1, settings=WEAKEST.as_dict(), num_epochs=50)
    assert "augment=" not in said(0.02, 0.08, settings=Recipe.of(augment="own.json").as_dict())
    assert "augmentation in this phase" in said(0.02, 0.08, train_is_augmented=False)
    assert "drop_path" not in said(0.02, 0.08, kind="head", settings=Recipe.of(dropout=0.5).as_dict())


shares = st.sampled_from([0.0, 0.1, 0.5, 0.9])
recipes = st.builds(
    Recipe.of,
    plan=st.just("eight-step"),
    augment=st.sampled_from(["none", "light", "side-on", "top-down", "strong", "own.json"]),
    phases=st.sampled_from([(), ("all epochs=5",), ("head epochs=1", "all cycle=2")]),
    learning_rate=st.sampled_from([0.0, 0.01]),
    suggestion=st.sampled_from(["valley", "minimum/10"]),
    sample=st.sampled_from([0, 100]),
    weight_decay=st.sampled_from([0.0, 0.01, 0.3]),
    ema=shares,
    validation_share=st.sampled_from([0.0, 0.1]),
    **dict.fromkeys(("mixup", "cutmix", "label_smoothing", "erasing", "dropout", "drop_path"), shares),
)
values = st.sampled_from([0.001, 0.1, 0.3, 2.3, 50.0, math.nan])


def test_numbers_are_not_advised_to_be_smoothed() -> None:
    smoothed = Recipe.of(plan="eight-step", label_smoothing=0.1).as_dict()
    cases: list[dict[str, Any]] = [
        {"train": 0.9, "valid": None, "guessing": 0.9, "settings": smoothed},
        {"train": 0.8, "valid": 0.2, "settings": smoothed},
        {"train": 0.2, "valid": 0.8},
    ]
    for case in cases:
        with_, without = said(**case), said(**case, smooths=False)
        assert "label_smoothing" in with_
        assert "label_smoothing" not in without


@settings(max_examples=200)
@given(recipes, values, st.none() | values, st.none() | values, st.lists(values, max_size=4), st.booleans())
def test_all_that_is_advised_can_be_set_and_changes_the_recipe(
    recipe: Recipe, train: float, valid: float | None, before: float | None, trend: list[float], augmented: bool
) -> None:
    more = {"before": before, "trend": tuple(trend), "train_is_augmented": augmented}
    text = said(train, valid, settings=recipe.as_dict(), num_epochs=5, **more)
    for name, value in advised(text).items():
        changed = resolve(recipe.as_dict(), "none", Path("none"), {name: value})
        assert changed.as_dict()[name] != recipe.as_dict()[name]
        phases.of(changed.schedule)
