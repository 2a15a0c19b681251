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
    """Which images are used, and how the score is measured."""

    validation: Literal["folds", "holdout", "valid"] = setting(
        "folds",
        "How to validate: `folds`: cross-validation; `holdout`: one split; `valid`: the data's own validation set.",
    )
    folds: int = setting(
        0,
        "Number of cross-validation folds; 0: 5, or with plan `quick` 3 to 5, as the budget allows.",
        Rule(lambda count: count == 0 or count >= 2, "must be 2 or more, or 0 (automatic)"),
    )
    holdout: int = setting(2000, "Number of held-out images, with validation = `holdout`.", at_least(1))
    sample: int = setting(0, "Use only this many training and test images; 0 uses all.", at_least(0, "all"))
    balance: float = setting(
        0.0,
        "How much more rare classes count in training: 0 not at all, 1 until all classes count the same together, and "
        "a label's yes as much as its no.",
        from_to(0, 1),
        late=True,
    )
    seed: int = setting(0, "Random seed.", Rule(lambda seed: 0 <= seed < 2**32, "must be from 0 to 2**32 - 1"))
    max_megapixels: int = setting(
        100,
        "Larger images are quarantined without decoding, as a guard against decompression bombs.",
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
        "timm models to combine, each `NAME`, or `NAME=FILE` with its weights; `NAME@320` gives it an input size of "
        "its own, `NAME@squash` the whole image. Heads on frozen features see each alone, earlier "
        "layers, and all side by side, and are blended where that gains. "
        "`auto` chooses by device and time; where weights are attached in Kaggle's input folders, or named beside it "
        "(`auto,NAME=FILE`), by a race on a sample of the training images.",
        each_once("backbone"),
    )
    image_size: tuple[int, ...] = setting(
        (),
        "Input size of the backbone in pixels: one side, or height and width; empty uses the model's own.",
        Rule(
            lambda sides: sides == (0,) or (len(sides) < 3 and all(side >= 32 for side in sides)),
            "must be one or two sides of at least 32, or 0",
        ),
    )
    crop: Literal["model", "centre", "squash"] = setting(
        "model",
        "`model`: as timm does for this model; `centre`: scale the shorter side, crop the centre; `squash`: no crop.",
    )
    feature_views: tuple[Literal["plain", "mirror"], ...] = setting(
        ("plain", "mirror"),
        "Views of each image to compute features of; `mirror` is left out if the competition forbids flips.",
        each_once("view"),
        formerly="views",
    )
    output: Literal["pooled", "logits"] = setting(
        "pooled",
        "Input of the head: the backbone's pooled features, or its ImageNet logits.",
    )

    @property
    def chooses(self) -> bool:
        """Whether the backbones are chosen, perhaps among some that are named."""
        return "auto" in self.backbone

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width that the backbone sees, or None for the model's own."""
        if self.image_size in ((), (0,)):
            return None
        return self.image_size[0], self.image_size[-1]


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Section):
    """The head on frozen features."""

    head: Literal["auto", "logistic", "mlp", "nearest", "ordinal"] = setting(
        "auto",
        "Head on the features: regularised regression (`logistic`; for numbers, ridge), a small neural network "
        "(`mlp`), the nearest class mean (`nearest`), or for grades a regression of one score with cut points "
        "(`ordinal`). `auto` is regression, of grades the kind that predicts held-out training images better, as of "
        "numbers with metric `mae` (Huber's loss or ridge); or class means if they predict them better, tried on up to "
        "2,048 features or with fewer than 20 images per class; with over 1,000 classes always class means.",
    )
    regularisation_grid: tuple[float, ...] = setting(
        (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
        "Inverse regularisation strengths (C) that the logistic head tries, by inner cross-validation; if the first or "
        "last wins, it goes on beyond.",
        POSITIVE_NUMBERS,
        formerly="strengths",
    )
    mlp_width: int = setting(256, "Number of hidden units of the mlp head.", at_least(1))
    mlp_dropout: float = setting(
        0.5, "Dropout rate of the hidden layer of the mlp head; its input gets half of this rate.", below_one()
    )
    mlp_epochs: int = setting(
        60,
        "Maximum number of epochs of the mlp head; a split of the training images chooses the number.",
        at_least(1),
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Section):
    """Whether the backbone is trained, and how."""

    method: str = setting(
        "auto",
        "`features`: heads on frozen backbones; `finetune`: train the backbone; `auto`: features and, where images and "
        "budget suffice, fine-tuning and a blend of both; `blend`: combine runs, which `kagglekit blend` sets.",
    )
    start: str = setting("", "Weights to start from, as RUN:PHASE; empty uses the pretrained ones.")
    members: tuple[str, ...] = setting(
        (), "Ids of the runs that method `blend` combines; `kagglekit blend` fills them in.", late=True
    )
    models: int = setting(
        1, "Number of models per fold, each with its own random seed; their probabilities are averaged.", at_least(1)
    )
    refit: Literal["folds", "all", "both"] = setting(
        "folds",
        "What predicts the test set: `folds`: the mean of the folds' models; `all`: models that are trained on all "
        "training images after the folds; `both`: the mean of all of these. Heads on frozen features are always fitted "
        "on all images.",
        late=True,
    )
    validation_share: float = setting(
        0.1,
        "Share of a fold's training images (whole groups) held out to choose epochs; 0 trains on all of them.",
        from_to(0, 0.5),
        formerly="inner_share",
    )
    train_batch: int = setting(
        0,
        "Batch size per optimiser step, over all processes; 0 chooses by device.",
        Rule(lambda count: count == 0 or count >= 2, "must be 0 (automatic) or at least 2"),
    )
    accumulate: int = setting(1, "Gradient accumulation: number of micro-batches per optimiser step.", at_least(1))
    weight_decay: float = setting(0.01, "Weight decay of AdamW; not applied to norms and biases.", at_least(0))
    gradient_clip: float = setting(5.0, "Maximum gradient norm; 0 turns clipping off.", at_least(0, "off"))
    dropout: float = setting(0.0, "Dropout rate on the pooled features.", from_to(0, 1))
    drop_path: float = setting(
        0.0, "Stochastic depth: rate at which residual branches are dropped in training.", from_to(0, 1)
    )
    batch_norm: Literal["trained", "frozen"] = setting(
        "trained", "`trained`: trained layers update their batch-norm statistics; `frozen`: no layer does."
    )
    ema: float = setting(
        0.0,
        "Decay of an exponential moving average of the weights, which is used to predict; 0 is off.",
        below_one("off"),
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Section):
    """How training changes images and their labels."""

    augment: str = setting(
        "side-on",
        "Policy: none, light, side-on, top-down, strong, one of the plugin's, or an albumentations .json file.",
    )
    mirror_share: float = setting(
        0.5,
        "Share of training images to mirror, if the competition allows it; labels are swapped where needed.",
        from_to(0, 1),
    )
    erasing: float = setting(0.0, "Share of training images with an erased rectangle.", from_to(0, 1))
    mixup: float = setting(0.0, "Alpha of mixup; 0 is off.", at_least(0, "off"))
    cutmix: float = setting(0.0, "Share of batches that use CutMix instead of mixup; 0 is off.", from_to(0, 1))
    label_smoothing: float = setting(
        0.0,
        "Share of the target probability that is spread over all classes, or over yes and no of a label; 0 is off.",
        below_one(),
    )

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with one another."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings(Section):
    """The phases of training: which layers, how many epochs, which learning rate."""

    plan: Literal["auto", "quick", "eight-step", "ladder"] = setting(
        "auto",
        "Phases of fine-tuning; `auto`: quick on a CPU or with a budget, otherwise eight-step.",
        formerly="recipe",
    )
    phases: tuple[str, ...] = setting(
        (),
        "Changes to the plan, such as `all epochs=6 rates=0.03/0.1/1, head epochs=0`; epochs=0 skips a phase.",
    )
    learning_rate: float = setting(
        0.0,
        "Peak learning rate of the head; 0: the finder's suggestion, or the model family's usual rate without one.",
        at_least(0, "the finder's"),
    )
    suggestion: Literal["valley", "steepest", "minimum/10"] = setting(
        "valley", "Which suggestion of the learning-rate finder to use."
    )
    rates: tuple[float, ...] = setting(
        (0.1, 0.3, 1.0),
        "Differential learning rates of early layers, middle layers and head, relative to `learning_rate`.",
        POSITIVE_NUMBERS,
    )
    layer_decay: float = setting(
        0.0,
        "Layer-wise decay: each layer's rate is this factor times the next one's. Replaces `rates`; 0 is off.",
        from_to(0, 1, "off"),
    )
    patience: int = setting(
        0,
        "Early stopping: end a phase after this many epochs (or restarts) without a better validation loss; 0 is off.",
        at_least(0, "off"),
    )


@dataclass(frozen=True, kw_only=True)
class FinishSettings(Section):
    """Post-processing of the predictions; each step is kept only if its out-of-fold gain is proven."""

    finish: tuple[Literal["temperature", "clip"], ...] = setting(
        ("temperature", "clip"), "Steps to try, in this order, if the metric is of probabilities."
    )
    tta_views: int = setting(
        4,
        "Test-time augmentation of fine-tuned models: number of augmented views to try; 0 is off.",
        at_least(0, "off"),
        formerly="tta",
    )
    neighbours: int = setting(
        0,
        "Most look-alikes, in features and pixels, to average an image's prediction with, for video frames: a quarter, "
        "half and all of them are tried; fine-tuning only. 0 is off.",
        at_least(0, "off"),
    )
    scenes: int = setting(
        0,
        "Maximum number of scenes (drivers, cameras) to tell the predicted images apart into, by looks; each scene is "
        "predicted with batch-norm statistics of its own; fine-tuning only. 0 is off.",
        at_least(0, "off"),
        late=True,
    )
    class_shares: bool = setting(
        False,
        "Bring the predictions of the test set, in each of its scenes if they are told apart, to the shares that "
        "classes have in training: for a competition whose test set has the same.",
        late=True,
    )
    pseudo_labels: bool = setting(
        False,
        "Let heads on frozen features learn anew, and fine-tuned models learn on, from the test images too, from the "
        "probabilities of classes or grades that were predicted of them; with `class_shares`, brought to these shares "
        "first.",
        late=True,
    )


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(Section):
    """Time, devices and memory."""

    budget: str = setting(
        "auto",
        "Time limit of a run, such as 20m or 2h; `auto`: 20m on a CPU, none on a GPU.",
        Rule(lambda text: text == "auto" or _seconds(text) > 0, "must be auto, or a time like 20m or 2h"),
    )
    provider: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where to compute: `cpu`, `cuda`, or `auto`, which uses a CUDA GPU if one can compute."
    )
    threads: int = setting(
        0, "Number of CPU threads that decode and compute; 0 uses all cores.", at_least(0, "all cores")
    )
    feature_batch: int = setting(
        0,
        "Batch size for computing features; 0 chooses by device.",
        at_least(0, "automatic"),
        formerly="batch_size",
    )
    precision: Literal["auto", "float32", "bf16", "fp16"] = setting(
        "auto", "Training precision; `auto`: bf16 on GPUs that support it, fp16 on other GPUs, float32 on a CPU."
    )
    compile: bool = setting(False, "Train with torch.compile: it takes minutes to start, and is then faster on a GPU.")
    loader_workers: int = setting(
        -1,
        "Number of processes that load and augment images; -1: none on a CPU, by number of cores on a GPU.",
        at_least(-1, "automatic"),
        changes_results=False,
    )
    checkpoint_seconds: float = setting(
        60.0,
        "Seconds between checkpoints: the most training time that a killed run loses.",
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
    """Convert `90s`, `20m` or `1.5h` to seconds; a bare number means minutes, anything else gives NaN."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "m")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        return math.nan
