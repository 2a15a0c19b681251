"""The sections of a recipe, each setting with its default, its help and its rule.

A setting's name occurs in one section only: `--set` and a plugin name it without its section.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kagglekit.base import devices
from kagglekit.recipe.setting import (
    POSITIVE_NUMBERS,
    Rule,
    Section,
    at_least,
    below_one,
    each_once,
    from_to,
    setting,
)

DEFAULT_FOLDS = 5
DEFAULT_CPU_BUDGET = 20 * 60.0
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class DataSettings(Section):
    """Which images are used, and which of them score."""

    validation: Literal["folds", "holdout", "valid"] = setting(
        "folds",
        "What scores: cross-validation folds, a hold-out of `holdout` images, or the data's own valid folder.",
    )
    folds: int = setting(
        0,
        "Cross-validation folds; 0: 5, and for plan `quick` what the budget allows.",
        Rule(lambda count: count == 0 or count >= 2, "must be 2 or more, or 0 (automatic)"),
    )
    holdout: int = setting(2000, "Images of the hold-out.", at_least(1))
    sample: int = setting(0, "Use only this many training and test images; 0 uses all.", at_least(0, "all"))
    seed: int = setting(0, "Random seed.", Rule(lambda seed: 0 <= seed < 2**32, "must be from 0 to 2**32 - 1"))
    max_megapixels: int = setting(
        100,
        "Larger images are quarantined without decoding: a few kilobytes can hide gigabytes of pixels.",
        at_least(1),
    )

    @property
    def num_folds(self) -> int:
        """Cross-validation folds, unless a budget decides on fewer."""
        return self.folds or DEFAULT_FOLDS


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(Section):
    """The backbones, what they see, and which of their outputs are used."""

    backbone: tuple[str, ...] = setting(
        ("auto",),
        "timm models used side by side, each `NAME` or `NAME=FILE`; `auto` chooses by device.",
        each_once("backbone"),
    )
    image_size: tuple[int, ...] = setting(
        (),
        "Size of the backbone's input in pixels: one side, or height and width; empty uses the model's own.",
        Rule(
            lambda sides: sides == (0,) or (len(sides) < 3 and all(side >= 32 for side in sides)),
            "must be one or two sides of at least 32, or 0",
        ),
    )
    crop: Literal["model", "centre", "squash"] = setting(
        "model",
        "`model`: as timm does for it; `centre` scales the shorter side and cuts the middle; `squash` keeps all.",
    )
    feature_views: tuple[Literal["plain", "mirror"], ...] = setting(
        ("plain", "mirror"),
        "Views of each image whose features are computed; `mirror` is left out where the competition forbids flips.",
        each_once("view"),
        formerly="views",
    )
    output: Literal["pooled", "logits"] = setting(
        "pooled",
        "Input of the head: the pooled features, or ImageNet logits (the course's linear model on predictions).",
    )

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width that the backbone sees, or None for the model's own."""
        if self.image_size in ((), (0,)):
            return None
        return self.image_size[0], self.image_size[-1]


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Section):
    """The classifier on frozen features."""

    head: Literal["logistic", "mlp"] = setting(
        "logistic",
        "Classifier on the features: regularised multinomial logistic regression, or a small network.",
    )
    regularisation_grid: tuple[float, ...] = setting(
        (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
        "Inverse regularisation strengths of the logistic head; the best is chosen inside the training images.",
        POSITIVE_NUMBERS,
        formerly="strengths",
    )
    mlp_width: int = setting(256, "Hidden units of the mlp head.", at_least(1))
    mlp_dropout: float = setting(
        0.5, "Share of the inputs to each layer of the mlp head that is dropped in training.", below_one()
    )
    mlp_epochs: int = setting(
        60, "Most epochs of the mlp head; how many are used is chosen inside the training images.", at_least(1)
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Section):
    """Whether the backbone is trained, and how."""

    method: str = setting(
        "auto",
        "`features`: heads on frozen backbones; `finetune`: train the backbone; `auto` by device, images and budget.",
    )
    start: str = setting("", "Weights to start from: RUN:PHASE, instead of the backbone's own.")
    models: int = setting(
        1, "Models per fold, which differ in their random numbers; their probabilities are averaged.", at_least(1)
    )
    validation_share: float = setting(
        0.1,
        "Share of a fold's training images (whole groups) that chooses epochs; 0 chooses none and trains on all.",
        from_to(0, 0.5),
        formerly="inner_share",
    )
    train_batch: int = setting(
        0,
        "Images per step, over all processes; 0 uses what suits the device. Halved if it does not fit in memory.",
        Rule(lambda count: count == 0 or count >= 2, "must be 0 (automatic) or at least 2"),
    )
    accumulate: int = setting(1, "Sections of a step's images that are computed one after another.", at_least(1))
    weight_decay: float = setting(0.01, "Weight decay of AdamW; norms and biases have none.", at_least(0))
    gradient_clip: float = setting(5.0, "Largest norm of the gradient; 0 is off.", at_least(0, "off"))
    dropout: float = setting(0.0, "Share of the pooled features that is dropped in training.", from_to(0, 1))
    drop_path: float = setting(
        0.0, "Stochastic depth: share of residual branches that is dropped in training.", from_to(0, 1)
    )
    batch_norm: Literal["trained", "frozen"] = setting(
        "trained", "Whether the layers that are trained update their batch statistics."
    )
    ema: float = setting(
        0.0,
        "Decay of an exponential moving average of the weights, which then predicts; 0 is off.",
        below_one("off"),
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Section):
    """How training changes images and their labels."""

    augment: str = setting(
        "side-on",
        "Policy: none, light, side-on, top-down, strong, a plugin's own, or a .json of albumentations.",
    )
    mirror_share: float = setting(
        0.5,
        "Share of training images that are mirrored, where the competition allows it; classes are mapped.",
        from_to(0, 1),
    )
    erasing: float = setting(0.0, "Share of training images with an erased rectangle.", from_to(0, 1))
    mixup: float = setting(0.0, "Alpha of mix-up; 0 is off.", at_least(0, "off"))
    cutmix: float = setting(0.0, "Share of the steps that cut and paste patches instead; 0 is off.", from_to(0, 1))
    label_smoothing: float = setting(0.0, "Share of the truth that is spread over all classes.", below_one())

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with one another."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings(Section):
    """Which layers learn in which phase, for how long, how fast."""

    plan: Literal["auto", "quick", "eight-step", "ladder"] = setting(
        "auto",
        "Phases of fine-tuning; `auto`: quick on a CPU, eight-step on a GPU.",
        formerly="recipe",
    )
    phases: tuple[str, ...] = setting(
        (),
        "Changes to the plan: `all epochs=6 rates=0.03/0.1/1 schedule=cosine cycle=2`; epochs=0 leaves a phase out.",
    )
    learning_rate: float = setting(
        0.0,
        "Highest rate of the head; 0 uses the finder's suggestion, or the model family's usual one where none runs.",
        at_least(0, "the finder's"),
    )
    suggestion: Literal["valley", "steepest", "minimum/10"] = setting(
        "valley", "Which suggestion of the learning-rate finder is used."
    )
    rates: tuple[float, ...] = setting(
        (0.1, 0.3, 1.0),
        "Differential rates of early layers, middle layers and head, relative to the learning rate.",
        POSITIVE_NUMBERS,
    )
    layer_decay: float = setting(
        0.0,
        "Each layer learns this many times as fast as the one after it, instead of `rates`; 0 is off.",
        from_to(0, 1, "off"),
    )
    patience: int = setting(
        0,
        "Epochs (or restarts) without a better validation loss after which a phase ends; 0 never ends it early.",
        at_least(0, "off"),
    )


@dataclass(frozen=True, kw_only=True)
class FinishSettings(Section):
    """What is tried on the probabilities; each is kept only if its out-of-fold gain is proven."""

    finish: tuple[Literal["temperature", "clip"], ...] = setting(
        ("temperature", "clip"), "Finishing steps that are tried, in this order."
    )
    tta_views: int = setting(
        4,
        "Augmented views that are tried beside plain and mirrored ones in fine-tuning; 0 tries none.",
        at_least(0, "off"),
        formerly="tta",
    )
    neighbours: int = setting(
        0,
        "Look-alikes whose predictions are averaged with an image's own, in fine-tuning; for frames of films.",
        at_least(0, "off"),
    )


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(Section):
    """Time, devices and memory."""

    budget: str = setting(
        "auto",
        "Time that a run may take, such as 20m or 2h; `auto`: 20m on a CPU, none on a GPU.",
        Rule(lambda text: text == "auto" or _seconds(text) > 0, "must be auto, or a time such as 20m or 2h"),
    )
    provider: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where onnxruntime and torch compute; `auto` uses a CUDA GPU where there is one."
    )
    threads: int = setting(0, "Threads that decode and compute; 0 uses all cores.", at_least(0, "all cores"))
    feature_batch: int = setting(
        0,
        "Images whose features are computed together; 0 uses what suits the device.",
        at_least(0, "automatic"),
        formerly="batch_size",
    )
    precision: Literal["auto", "float32", "bf16", "fp16"] = setting(
        "auto", "Of training; `auto`: bf16 on GPUs that have it, fp16 on others, float32 on a CPU."
    )
    compile: bool = setting(False, "Whether training uses torch.compile: minutes of preparation, then faster on a GPU.")
    loader_workers: int = setting(
        -1,
        "Processes that augment images; -1: none on a CPU, the cores on a GPU.",
        at_least(-1, "automatic"),
        changes_results=False,
    )
    checkpoint_seconds: float = setting(
        60.0,
        "Seconds of training that a killed command may lose.",
        Rule(lambda seconds: seconds >= 0, "must be 0 or more"),
        changes_results=False,
    )

    @property
    def num_threads(self) -> int:
        """Threads that decode and compute on this machine."""
        return self.threads or devices.cores()

    def budget_seconds(self, device: str) -> float:
        """Seconds that a run on `device` may take; infinite where nothing limits it."""
        if self.budget == "auto":
            return DEFAULT_CPU_BUDGET if device == "cpu" else math.inf
        return _seconds(self.budget)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    """Return the seconds that `90s`, `20m` or `1.5h` means, a bare number being minutes; NaN for anything else."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "m")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        return math.nan
