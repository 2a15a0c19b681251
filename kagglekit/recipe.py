"""The settings of a run: defaults < the plugin's < `recipe.toml` < the command line."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kagglekit.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings; every one can be given as `--set name=value`, in `recipe.toml`, or by a plugin."""

    backbone: tuple[str, ...] = ("auto",)
    """timm models used side by side, each `NAME` or `NAME=FILE`; `auto` chooses by device."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where onnxruntime computes; `auto` takes a CUDA GPU where there is one."""
    image_size: int = 0
    """Side of the square that the backbone sees, in pixels; 0 takes the model's own."""
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
    folds: int = 5
    """Cross-validation folds."""
    holdout: int = 2000
    """Images of the hold-out."""
    sample: int = 0
    """Run on this many training and test images only; 0 takes all."""
    seed: int = 0
    """Fixes folds, samples and everything else that is drawn."""
    finish: tuple[Literal["temperature", "clip"], ...] = ("temperature", "clip")
    """Finishing steps on offer; each is kept only if its out-of-fold gain is proven."""
    batch_size: int = 0
    """Images that are computed together; 0 takes what suits the device."""
    threads: int = 0
    """Threads that decode and compute; 0 takes the cores."""

    def __post_init__(self) -> None:
        checks = {
            "folds": (self.folds >= 2, "must be 2 or more"),
            "holdout": (self.holdout >= 1, "must be 1 or more"),
            "sample": (self.sample >= 0, "must be 0 (all) or more"),
            "image_size": (self.image_size == 0 or self.image_size >= 32, "must be 0 or at least 32"),
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
        }
        for name, (fine, rule) in checks.items():
            if not fine:
                raise UserError(f"setting {name} = {getattr(self, name)!r}: it {rule}.")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, tuples as lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def _all_positive(values: tuple[float, ...]) -> bool:
    return len(values) > 0 and all(0 < value < math.inf for value in values)


TYPES: dict[str, Any] = get_type_hints(Recipe)
"""Setting -> its type."""


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
        hint = f"did you mean {near[0]!r}?" if near else f"settings are {', '.join(TYPES)}."
        raise UserError(f"{source}: no setting called {key!r}: {hint}")
    try:
        return _coerce(TYPES[key], value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: setting {key} = {value!r}: {error}.") from error


def _coerce(kind: Any, value: Any) -> Any:
    """Return `value` as `kind`; text from the command line is parsed, other types must already fit."""
    if get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise TypeError("a list is wanted")
        element = get_args(kind)[0]
        return tuple(_coerce(element, p.strip() if isinstance(p, str) else p) for p in parts if p != "")
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"must be one of {', '.join(map(str, get_args(kind)))}")
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"a{'n integer' if kind is int else ' number'} is wanted") from None
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} is wanted, not {type(value).__name__}")
    return value


def to_toml(recipe: Recipe) -> str:
    """Write all settings as a `recipe.toml` that gives the same recipe again."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in recipe.as_dict().items())


def _toml_value(value: Any) -> str:
    import json

    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
