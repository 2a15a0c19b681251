"""The settings of a run: defaults < the plugin's < `recipe.toml` < the command line."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kagglekit.base.errors import UserError

DEFAULT_FOLDS = 5
DEFAULT_CPU_BUDGET = 20 * 60.0
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings; every one can be given as `--set name=value`, in `recipe.toml`, or by a plugin."""

    backbone: tuple[str, ...] = ("auto",)
    """timm models used side by side, each `NAME` or `NAME=FILE`; `auto` chooses by device."""
    method: Literal["auto", "features", "finetune"] = "auto"
    """`features`: heads on frozen backbones; `finetune`: train the backbone; `auto` by device, images and budget."""
    budget: str = "auto"
    """Time that a run may take, such as 20m or 2h; `auto`: 20m on a CPU, none on a GPU."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where onnxruntime and torch compute; `auto` takes a CUDA GPU where there is one."""
    image_size: tuple[int, ...] = ()
    """What the backbone sees, in pixels: a side, or height and width; nothing takes the model's own."""
    max_megapixels: int = 100
    """Larger images are quarantined without decoding: a few kilobytes can hide gigabytes of pixels."""
    crop: Literal["model", "centre", "squash"] = "model"
    """`model`: as timm does for it; `centre` scales the shorter side and cuts the middle; `squash` keeps all."""
    views: tuple[Literal["plain", "mirror"], ...] = ("plain", "mirror")
    """Views of each image; `mirror` is left out where the competition forbids flips."""
    output: Literal["pooled", "logits"] = "pooled"
    """What a head sees: the pooled features, or ImageNet logits (the course's linear model on predictions)."""
    head: Literal["logistic", "mlp"] = "logistic"
    """Classifier on the features: regularised multinomial logistic regression, or a small network."""
    strengths: tuple[float, ...] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    """Inverse regularisation strengths of the logistic head, chosen inside the training part."""
    mlp_width: int = 256
    """Hidden units of the mlp head."""
    mlp_dropout: float = 0.5
    """Share of the mlp head's inputs to each layer that is dropped in training."""
    mlp_epochs: int = 60
    """Most epochs of the mlp head; how many are used is chosen inside the training part."""
    validation: Literal["folds", "holdout", "valid"] = "folds"
    """What scores: cross-validation folds, a hold-out of `holdout` images, or the data's own valid folder."""
    folds: int = 0
    """Cross-validation folds; 0: 5, and for recipe `quick` what the budget allows."""
    holdout: int = 2000
    """Images of the hold-out."""
    sample: int = 0
    """Run on this many training and test images only; 0 takes all."""
    seed: int = 0
    """Fixes folds, samples and everything else that is drawn."""
    finish: tuple[Literal["temperature", "clip"], ...] = ("temperature", "clip")
    """Finishing steps on offer; each is kept only if its out-of-fold gain is proven."""
    batch_size: int = 0
    """Images whose features are computed together; 0 takes what suits the device."""
    threads: int = 0
    """Threads that decode and compute; 0 takes the cores."""

    recipe: Literal["auto", "quick", "eight-step", "ladder"] = "auto"
    """Steps of fine-tuning; `auto`: quick on a CPU, eight-step on a GPU."""
    phases: tuple[str, ...] = ()
    """Changes to the steps: `all epochs=6 rates=0.03/0.1/1 schedule=cosine cycle=2`; epochs=0 leaves one out."""
    start: str = ""
    """Weights to start from: RUN:PHASE, instead of the backbone's own."""
    models: int = 1
    """Models a fold, which differ in what is drawn; their probabilities are averaged."""
    inner_share: float = 0.1
    """Share of a training part (whole groups) that chooses epochs; 0 chooses nothing and trains on all of it."""
    patience: int = 0
    """Epochs (or restarts) without a better inner loss after which a step ends; 0 never."""
    learning_rate: float = 0.0
    """Highest rate of the head; 0 takes the finder's suggestion, or the model family's usual one where none runs."""
    suggestion: Literal["valley", "steepest", "minimum/10"] = "valley"
    """Which of the learning-rate finder's suggestions is taken."""
    rates: tuple[float, ...] = (0.1, 0.3, 1.0)
    """Differential rates of early layers, middle layers and head, relative to the learning rate."""
    layer_decay: float = 0.0
    """Each layer learns this many times as fast as the one after it, instead of `rates`; 0 is off."""
    weight_decay: float = 0.01
    """AdamW's decay of weights; norms and biases are left alone."""
    train_batch: int = 0
    """Images a step, over all processes; 0 takes what suits the device. Halved in memory where it does not fit."""
    accumulate: int = 1
    """Parts that a step's images are computed in, one after another."""
    gradient_clip: float = 5.0
    """Longest gradient; 0 is off."""
    augment: str = "side-on"
    """Policy: none, light, side-on, top-down, strong, a plugin's own, or a .json of albumentations."""
    mirror_share: float = 0.5
    """Share of training images that are mirrored, where the competition allows it; classes are mapped."""
    mixup: float = 0.0
    """Mix-up's alpha; 0 is off."""
    cutmix: float = 0.0
    """Share of the steps that cut and paste patches instead; 0 is off."""
    label_smoothing: float = 0.0
    """Share of the truth that is spread over all classes."""
    erasing: float = 0.0
    """Share of training images with an erased rectangle."""
    dropout: float = 0.0
    """Share of the pooled features that is dropped in training."""
    drop_path: float = 0.0
    """Stochastic depth: share of residual branches that is dropped in training."""
    batch_norm: Literal["trained", "frozen"] = "trained"
    """Whether the layers that are trained update their batch statistics."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which then predicts; 0 is off."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Of training; `auto`: bf16 on GPUs that have it, fp16 on others, float32 on a CPU."""
    compile: bool = False
    """Whether torch.compile is used in training: minutes of preparation, then faster on a GPU."""
    loader_workers: int = -1
    """Processes that augment images; -1: none on a CPU, the cores on a GPU."""
    checkpoint_seconds: float = 60.0
    """Seconds of training that a killed command may lose."""
    tta: int = 4
    """Augmented views offered to `finish` beside plain and mirrored ones; 0 offers none of them."""
    neighbours: int = 0
    """Look-alikes whose predictions are averaged with an image's own, offered to `finish`; for frames of films."""

    def __post_init__(self) -> None:
        checks = {
            "folds": (self.folds == 0 or self.folds >= 2, "must be 2 or more, or 0 (automatic)"),
            "holdout": (self.holdout >= 1, "must be 1 or more"),
            "sample": (self.sample >= 0, "must be 0 (all) or more"),
            "image_size": (
                self.image_size == (0,) or (len(self.image_size) < 3 and all(side >= 32 for side in self.image_size)),
                "must be one or two sides of at least 32, or 0",
            ),
            "max_megapixels": (self.max_megapixels >= 1, "must be 1 or more"),
            "backbone": (len(set(self.backbone)) == len(self.backbone) > 0, "must name each backbone once"),
            "views": (len(set(self.views)) == len(self.views) > 0, "must name each view once"),
            "strengths": (_all_positive(self.strengths), "must hold numbers above 0"),
            "mlp_dropout": (0 <= self.mlp_dropout < 1, "must be at least 0 and below 1"),
            "mlp_width": (self.mlp_width >= 1, "must be 1 or more"),
            "mlp_epochs": (self.mlp_epochs >= 1, "must be 1 or more"),
            "batch_size": (self.batch_size >= 0, "must be 0 (automatic) or more"),
            "threads": (self.threads >= 0, "must be 0 (all cores) or more"),
            "seed": (0 <= self.seed < 2**32, "must be from 0 to 2**32 - 1"),
            "budget": (self.budget == "auto" or _seconds(self.budget) > 0, "must be auto, or a time such as 20m or 2h"),
            "models": (self.models >= 1, "must be 1 or more"),
            "inner_share": (0 <= self.inner_share <= 0.5, "must be from 0 to 0.5"),
            "patience": (self.patience >= 0, "must be 0 (off) or more"),
            "learning_rate": (0 <= self.learning_rate < math.inf, "must be 0 (the finder's) or more"),
            "rates": (_all_positive(self.rates), "must hold numbers above 0"),
            "layer_decay": (0 <= self.layer_decay <= 1, "must be from 0 (off) to 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "must be 0 or more"),
            "train_batch": (self.train_batch == 0 or self.train_batch >= 2, "must be 0 (automatic) or at least 2"),
            "accumulate": (self.accumulate >= 1, "must be 1 or more"),
            "gradient_clip": (0 <= self.gradient_clip < math.inf, "must be 0 (off) or more"),
            "mixup": (0 <= self.mixup < math.inf, "must be 0 (off) or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "must be at least 0 and below 1"),
            "ema": (0 <= self.ema < 1, "must be at least 0 (off) and below 1"),
            "loader_workers": (self.loader_workers >= -1, "must be -1 (automatic) or more"),
            "checkpoint_seconds": (self.checkpoint_seconds >= 0, "must be 0 or more"),
            "tta": (self.tta >= 0, "must be 0 (off) or more"),
            "neighbours": (self.neighbours >= 0, "must be 0 (off) or more"),
        } | {
            name: (0 <= getattr(self, name) <= 1, "must be from 0 to 1")
            for name in ("mirror_share", "cutmix", "erasing", "dropout", "drop_path")
        }
        for name, (fine, rule) in checks.items():
            if not fine:
                raise UserError(f"setting {name} = {getattr(self, name)!r}: it {rule}.")

    @property
    def num_folds(self) -> int:
        """Cross-validation folds, unless a budget decides on fewer."""
        return self.folds or DEFAULT_FOLDS

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width that the backbone sees, or None for the model's own."""
        if self.image_size in ((), (0,)):
            return None
        return self.image_size[0], self.image_size[-1]

    def budget_seconds(self, device: str) -> float:
        """Seconds that a run on `device` may take; infinite where nothing limits it."""
        if self.budget == "auto":
            return DEFAULT_CPU_BUDGET if device == "cpu" else math.inf
        return _seconds(self.budget)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, tuples as lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    """Return the seconds that `90s`, `20m` or `1.5h` means, a bare number being minutes; NaN for anything else."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "m")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        return math.nan


def _all_positive(values: tuple[float, ...]) -> bool:
    return len(values) > 0 and all(0 < value < math.inf for value in values)


TYPES: dict[str, Any] = get_type_hints(Recipe)
"""Setting -> its type."""


WITHOUT_RESULT = frozenset({"loader_workers", "checkpoint_seconds"})
"""Settings that change how a run is made and no number of it: with others the same run goes on."""


def meanings() -> dict[str, str]:
    """Return setting -> the sentence under its field."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(Recipe)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: sentence.value.value
        for field, sentence in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(sentence, ast.Expr)
        and isinstance(sentence.value, ast.Constant)
        and isinstance(sentence.value.value, str)
    }


def resolve(plugin: Mapping[str, Any], plugin_name: str, toml: Path, command_line: Mapping[str, Any]) -> Recipe:
    """Lay the four sources over one another; raise UserError for unknown keys and wrong types."""
    values: dict[str, Any] = {}
    for source, layer in (
        (f"plugin {plugin_name!r}, hook 'recipe'", plugin),
        (str(toml), read_file(toml)),
        ("the command line", command_line),
    ):
        values |= {key: _convert(key, value, source) for key, value in layer.items()}
    if "backbone" in values:  # a weights file is the same file wherever the command is typed
        values["backbone"] = tuple(_absolute(spec) for spec in values["backbone"])
    if values.get("augment", "").endswith(".json"):
        values["augment"] = str(Path(values["augment"]).expanduser().absolute())
    return Recipe(**values)


def _absolute(spec: str) -> str:
    name, equals, file = spec.partition("=")
    return f"{name}={Path(file).expanduser().absolute()}" if equals else name


def parse_assignment(text: str) -> tuple[str, str]:
    """Split `key=value`; raise UserError for anything else."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text!r}: write it as key=value, for example --set folds=10.")
    return key.strip().replace("-", "_"), value.strip()


def read_file(path: Path) -> dict[str, Any]:
    """Return a recipe file's settings, none where there is no file; raise UserError for broken TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error


def _convert(key: str, value: Any, source: str) -> Any:
    if key not in TYPES:
        near = difflib.get_close_matches(key, TYPES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "`kagglekit info NAME` lists all."
        raise UserError(f"{source}: no setting called {key!r}: {hint}")
    try:
        return _coerce(TYPES[key], value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: setting {key} = {value!r}: {error}.") from error


def _coerce(kind: Any, value: Any) -> Any:
    """Return `value` as `kind`; text from the command line is parsed, other types must already fit."""
    if get_origin(kind) is tuple:
        return _coerce_list(get_args(kind)[0], value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"must be one of {', '.join(map(str, get_args(kind)))}")
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and kind in _PARSERS:
        parse, wanted = _PARSERS[kind]
        try:
            return parse(value)
        except (ValueError, KeyError):
            raise ValueError(f"{wanted} is wanted") from None
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} is wanted, not {type(value).__name__}")
    return value


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
}


def _coerce_list(element: Any, value: Any) -> tuple[Any, ...]:
    """Return a list, text with commas, or a single integer as a tuple."""
    if element is int and type(value) is int:
        value = [value]
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise TypeError("a list is wanted")
    return tuple(_coerce(element, p.strip() if isinstance(p, str) else p) for p in parts if p != "")


def shown(value: Any) -> str:
    """Return a setting's value as it is typed after `--set key=`."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def to_toml(recipe: Recipe) -> str:
    """Write all settings as a `recipe.toml` that gives the same recipe again."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in recipe.as_dict().items())


def _toml_value(value: Any) -> str:
    import json

    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)
