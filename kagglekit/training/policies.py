"""Augmentation policies: by name, from a file, or a plugin's own.

A policy is a list of albumentations transforms. They take and return uint8 RGB images (H, W, 3) of the network's
input size.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kagglekit.base.errors import PluginError, UserError
from kagglekit.competitions.plugins import Plugin
from kagglekit.images.decoding import Pixels

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # on import it would look for a newer version online
cv2.setNumThreads(0)  # images are augmented in parallel already

Size = tuple[int, int]
"""Height and width."""
Transforms = list[Any]
"""albumentations transforms, applied one after another; albumentations is imported only to create them."""

ZOOM = 1.1
"""Maximum zoom, as in the course."""


def _geometry(degrees: float, scale: tuple[float, float], shift: float, **more: Any) -> Any:
    """Return one warp for rotation, scale and shift: faster than three, and it interpolates only once."""
    import albumentations

    reflect = {"border_mode": cv2.BORDER_REFLECT_101, "keep_ratio": True, "p": 1.0}
    smallest, largest, shift = (round(value, 4) for value in (*scale, shift))  # without rounding errors
    settings = {"rotate": (-degrees, degrees), "scale": (smallest, largest), "translate_percent": (-shift, shift)}
    return albumentations.Affine(**settings | reflect | more)


def _side_on(_: Size, zoom: float) -> Transforms:
    """Return the course's transforms_side_on, for upright objects seen from the side."""
    import albumentations

    lighting = albumentations.RandomBrightnessContrast(brightness_limit=0.05, contrast_limit=0.05, p=1.0)
    return [_geometry(10, (1.0, zoom), min((zoom - 1) / 2, 0.1)), lighting]


def _top_down(size: Size, zoom: float) -> Transforms:
    """Return the course's transforms_top_down, for objects seen from above, in any orientation.

    It has quarter turns, or half turns if the image is not square. With the mirroring of `Augmenter` they give the
    whole dihedral group, vertical flips included, and the class of a mirrored image is still known. A vertical flip
    here would be a mirror image with the wrong class, or one that the competition forbids.
    """
    import albumentations

    flips = [albumentations.HorizontalFlip(p=1.0), albumentations.VerticalFlip(p=1.0)]
    square = size[0] == size[1]
    turn = albumentations.RandomRotate90(p=1.0) if square else albumentations.Sequential(flips, p=0.5)
    return [turn, *_side_on(size, zoom)]


def _light(_: Size, zoom: float) -> Transforms:
    import albumentations

    return [
        _geometry(5, (1 / zoom, zoom), 0.04, p=0.8),
        albumentations.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
        albumentations.HueSaturationValue(hue_shift_limit=4, sat_shift_limit=15, val_shift_limit=0, p=0.5),
    ]


def _strong(_: Size, zoom: float) -> Transforms:
    """Return transforms for training data with few people or places, and test data with new ones."""
    import albumentations

    colours = {"brightness": (0.65, 1.35), "contrast": (0.65, 1.35), "saturation": (0.5, 1.5), "hue": (-0.06, 0.06)}
    blurs = [
        albumentations.GaussianBlur(sigma_limit=(0.3, 1.2), p=1.0),
        albumentations.MotionBlur(blur_limit=(3, 5), p=1.0),
    ]
    return [
        _geometry(15, (zoom**-2, zoom**2), 0.08, shear=(-8, 8)),
        albumentations.ColorJitter(**colours, p=0.9),
        albumentations.ToGray(p=0.1),
        albumentations.OneOf(blurs, p=0.15),
    ]


POLICIES: Mapping[str, Callable[[Size, float], Transforms]] = {
    "none": lambda *_: [],
    "light": _light,
    "side-on": _side_on,
    "top-down": _top_down,
    "strong": _strong,
}
"""Name -> function of image size and maximum zoom that returns a policy. None mirrors: `Augmenter` does."""


def resolve(name: str, size: Size, plugin_policies: Mapping[str, Transforms], *, zoom: float = ZOOM) -> Transforms:
    """Return the transforms of a policy: the plugin's of that name, else kagglekit's, or those of a .json file.

    `size` is the network's input size; `zoom`, at least 1, is the maximum zoom of kagglekit's own policies. Raises
    UserError if there is no such policy, or the one in the file does not work on images of that size.
    """
    if zoom < 1:
        raise ValueError(f"zoom {zoom} is below 1")
    if name in plugin_policies:
        return list(plugin_policies[name])
    if name in POLICIES:
        return POLICIES[name](size, zoom)
    if name.endswith(".json"):
        transforms = _read(Path(name).expanduser())
        _try_out(transforms, size, name)
        return transforms
    known = [*plugin_policies, *(policy for policy in POLICIES if policy not in plugin_policies)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(
        f"setting augment = {name!r}: no policy of that name: {hint}There are {', '.join(known)}, and .json files "
        "written by albumentations.save."
    )


def _read(path: Path) -> Transforms:
    """Return the transforms in a file in albumentations' own format; no code in it is executed."""
    import albumentations

    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of unknown arguments, and ignores them
            policy = albumentations.from_dict(written)
            policy.set_random_seed(0)
    except Exception as error:
        cure = "Fix it, or save it again with albumentations.save(albumentations.Compose([…]), FILE)"
        raise UserError(f"augmentation policy {path}: {_unreadable(error)}. {cure}.") from error
    unconditional = isinstance(policy, albumentations.Compose | albumentations.Sequential) and policy.p == 1
    return list(policy.transforms) if unconditional else [policy]


def _unreadable(error: Exception) -> str:
    """Return in one short line why a file is not a policy."""
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY

    if isinstance(error, OSError):
        return f"can't be read ({error.strerror})"
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error}"
    if isinstance(error, TypeError | AttributeError):  # JSON with another structure
        return f"is not in the format of albumentations ({_in_short(error)})"
    if isinstance(error, KeyError) and error.args[0] in ("transform", "__class_fullname__"):
        return f"{error.args[0]!r} is missing in it"
    if isinstance(error, KeyError):
        near = difflib.get_close_matches(str(error.args[0]), SERIALIZABLE_REGISTRY, n=1)
        return f"albumentations has no {error.args[0]!r}{f', but {near[0]!r}' if near else ''}"
    return _in_short(error)


def _in_short(error: Exception) -> str:
    # pydantic appends a URL to each message
    text = re.sub(r"For further information visit \S+", "", str(error)) or type(error).__name__
    return " ".join(text.split())[:200].rstrip(". ")


_TRIES = (True, True, False, False, False, False, False, False)
"""Trials of a policy from a file or plugin: whether to apply every transform regardless of its probability."""


def _try_out(transforms: Transforms, size: Size, source: str) -> None:
    """Apply a policy to noise a few times; raise UserError if it fails or does not return an image."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    trial = copy.deepcopy(transforms)
    for transform in trial:
        transform.set_random_seed(0)
    for everything in _TRIES:
        pixels, culprit = noise, None
        for transform in trial:
            name = type(transform).__name__
            try:
                pixels = transform(image=pixels, force_apply=everything)["image"]
            except Exception as error:
                where = f"{name} fails on an RGB image of {size[0]} x {size[1]} pixels"
                raise UserError(f"augmentation policy {source}: {where}: {_in_short(error)}. Remove it.") from error
            culprit = None if is_image(pixels, noise) else culprit or name
        if culprit:
            raise not_an_image(f"augmentation policy {source}: {culprit}", pixels, noise)


def is_image(made: Any, image: Pixels) -> bool:
    """Return whether `made` is a uint8 image of the same shape as `image`."""
    return isinstance(made, np.ndarray) and made.shape == image.shape and made.dtype == np.uint8


def not_an_image(source: str, made: Any, image: Pixels) -> UserError:
    """Return the error for a `source` that has `made` something other than an image out of `image`."""
    kind = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
    return UserError(
        f"{source} makes {kind} of a uint8 image {image.shape}: a policy must return images of the same size, since "
        "the network's own scaling comes after it. Remove it, or correct the size."
    )


@contextmanager
def unknown_arguments_refused(source: str) -> Iterator[None]:
    """Raise PluginError, naming `source`, for a transform created in the block with an unknown argument."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", r"Argument\(s\) .* are not valid for transform", UserWarning)
        try:
            yield
        except UserWarning as error:
            raise PluginError(f"{source}: {error}") from error


def of_plugin(plugin: Plugin, size: Size) -> dict[str, Transforms]:
    """Return a plugin's own policies, tried out on an image of `size`; raise PluginError for one that fails."""
    source = f"plugin {plugin.name!r}, hook 'augmentations'"
    with unknown_arguments_refused(source):
        own = plugin.augmentations(size)
    return check_policies(own, size, source) if own else {}


def check_policies(policies: Mapping[Any, Any], size: Size, source: str) -> dict[str, Transforms]:
    """Return a plugin's policies, tried out at `size`; raise PluginError, naming `source`."""
    import albumentations

    kinds = (albumentations.BasicTransform, albumentations.BaseCompose)
    for name, transforms in policies.items():
        if not isinstance(name, str) or not name:
            raise PluginError(f"{source}: {name!r} is not a policy name: names are strings")
        if not isinstance(transforms, list | tuple) or not all(isinstance(one, kinds) for one in transforms):
            got = " ".join(repr(transforms).split())
            raise PluginError(f"{source}: policy {name!r} must be a list of albumentations transforms, not {got:.80}")
        try:
            _try_out(list(transforms), size, repr(name))
        except UserError as error:
            raise PluginError(f"{source}: {error}") from error
    return {name: list(transforms) for name, transforms in policies.items()}


def describe(transforms: Sequence[Any]) -> str:
    """Return the transforms and their non-default arguments in one line.

    It is the same in every process, since a run's digest depends on it.
    """
    return ", ".join(_written(_arguments(transform)) for transform in transforms) or "nothing"


def _arguments(transform: Any) -> dict[str, Any]:
    """Return a transform's class and non-default arguments, in the format of saved policies."""
    arguments: dict[str, Any] = transform.to_dict_private()
    if "transforms" in arguments:
        return arguments | {"transforms": [_arguments(inner) for inner in transform.transforms]}
    try:
        defaults = type(transform)().to_dict_private()
    except Exception:  # noqa: BLE001  a plugin's own transform that requires arguments
        defaults = {}
    always = ("__class_fullname__", "p")
    return {key: value for key, value in arguments.items() if key in always or defaults.get(key, ...) != value}


def _written(value: Any) -> str:
    if isinstance(value, Mapping) and "__class_fullname__" in value:
        name = str(value["__class_fullname__"]).rpartition(".")[2]
        rest = sorted((key, inner) for key, inner in value.items() if key != "__class_fullname__" and inner is not None)
        return f"{name}({', '.join(f'{key}={_written(inner)}' for key, inner in rest)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(value[key])}" for key in sorted(value, key=str)) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_written, value)))}}}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
