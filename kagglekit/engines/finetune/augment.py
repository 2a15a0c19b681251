"""Augmentation: policies by name, what they make of one training image, and a sheet to look at it.

H, W: height and width in pixels; C classes. Images are uint8 RGB (H, W, 3) of the size that the network sees, before
and after. What becomes of an image depends on the seed, the epoch and the image's content, and on nothing else.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import importlib.util
import json
import os
import random
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kagglekit import storage
from kagglekit.engines.decoding import Pixels
from kagglekit.errors import PluginError, UserError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for its newest version on import
cv2.setNumThreads(0)  # images are augmented in parallel already

Size = tuple[int, int]
"""Height and width."""
Transforms = list[Any]
"""albumentations transforms, applied one after another; albumentations is loaded only where one is made."""

ZOOM = 1.1
"""How much images are enlarged at most, as in the course."""


# policies


def _geometry(degrees: float, scale: tuple[float, float], shift: float, **more: Any) -> Any:
    """One warp for rotation, scale and shift: quicker than one each, and pixels are interpolated once."""
    import albumentations

    reflect = {"border_mode": cv2.BORDER_REFLECT_101, "keep_ratio": True, "p": 1.0}
    smallest, largest, shift = (round(value, 4) for value in (*scale, shift))  # as people write them
    settings = {"rotate": (-degrees, degrees), "scale": (smallest, largest), "translate_percent": (-shift, shift)}
    return albumentations.Affine(**settings | reflect | more)


def _side_on(_: Size, zoom: float) -> Transforms:
    """The course's transforms_side_on: things seen from the side, which stand upright."""
    import albumentations

    lighting = albumentations.RandomBrightnessContrast(brightness_limit=0.05, contrast_limit=0.05, p=1.0)
    return [_geometry(10, (1.0, zoom), min((zoom - 1) / 2, 0.1)), lighting]


def _top_down(size: Size, zoom: float) -> Transforms:
    """The course's transforms_top_down: things seen from above, which have no upright.

    Quarter turns, or half turns where the image is no square. With `Augmenter`'s mirroring they make all of the
    dihedral group, vertical flips among it, and a mirrored image's class is still known: a vertical flip made here
    would be a mirror image with the wrong class, or one of a competition that forbids them.
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
    """For few people or places in the training data, when new ones are asked for."""
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
"""Name -> maker of a policy for images of a size, with its largest zoom. None of them mirrors: `Augmenter` does."""


def resolve(name: str, size: Size, plugin_policies: Mapping[str, Transforms], *, zoom: float = ZOOM) -> Transforms:
    """Return the transforms of a policy: the plugin's of that name, else kagglekit's, or those of a .json file.

    `size` is what the network sees; `zoom`, at least 1, is the largest enlargement by kagglekit's own. Raises
    UserError where there is no such policy, or the file does not hold one for images of that size.
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
    """Return the transforms in a file of albumentations' own format; nothing in it is ever run."""
    import albumentations

    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unknown argument would only be a warning, and the run another one
            policy = albumentations.from_dict(written)
            policy.set_random_seed(0)
    except Exception as error:
        cure = "Mend it, or write it anew with albumentations.save(albumentations.Compose([…]), FILE)"
        raise UserError(f"augmentation policy {path}: {_unreadable(error)}. {cure}.") from error
    unconditional = isinstance(policy, albumentations.Compose | albumentations.Sequential) and policy.p == 1
    return list(policy.transforms) if unconditional else [policy]


def _unreadable(error: Exception) -> str:
    """Return in one short line why a file is no policy."""
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY

    if isinstance(error, OSError):
        return f"can't be read ({error.strerror})"
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error}"
    if isinstance(error, TypeError | AttributeError):  # JSON of another shape
        return f"is not laid out as albumentations does it ({_in_short(error)})"
    if isinstance(error, KeyError) and error.args[0] in ("transform", "__class_fullname__"):
        return f"{error.args[0]!r} is missing in it"
    if isinstance(error, KeyError):
        near = difflib.get_close_matches(str(error.args[0]), SERIALIZABLE_REGISTRY, n=1)
        return f"albumentations has no {error.args[0]!r}{f', but {near[0]!r}' if near else ''}"
    return _in_short(error)


def _in_short(error: Exception) -> str:
    # pydantic adds an address for further reading to each of its sentences
    text = re.sub(r"For further information visit \S+", "", str(error)) or type(error).__name__
    return " ".join(text.split())[:200].rstrip(". ")


_TRIES = (True, True, False, False, False, False, False, False)
"""Trials of a policy that is not kagglekit's own: whether all of its transforms are applied, likely or not."""


def _try_out(transforms: Transforms, size: Size, source: str) -> None:
    """Apply a policy to noise a few times; raise UserError if it fails or gives something else than an image."""
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
                raise UserError(f"augmentation policy {source}: {where}: {_in_short(error)}. Take it out.") from error
            culprit = None if _is_image(pixels, noise) else culprit or name
        if culprit:
            raise _not_an_image(f"augmentation policy {source}: {culprit}", pixels, noise)


def _is_image(made: Any, image: Pixels) -> bool:
    return isinstance(made, np.ndarray) and made.shape == image.shape and made.dtype == np.uint8


def _not_an_image(source: str, made: Any, image: Pixels) -> UserError:
    kind = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
    return UserError(
        f"{source} makes {kind} of a uint8 image {image.shape}: a policy must return images of the same size, since "
        "the network's own scaling comes after it. Take it out, or put the size right."
    )


@contextmanager
def unknown_arguments_refused(source: str) -> Iterator[None]:
    """Raise PluginError, naming `source`, for a transform made in the block with an argument that does not exist."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", r"Argument\(s\) .* are not valid for transform", UserWarning)
        try:
            yield
        except UserWarning as error:
            raise PluginError(f"{source}: {error}") from error


def check_policies(offered: Mapping[Any, Any], size: Size, source: str) -> dict[str, Transforms]:
    """Return policies that a plugin offers, tried out at `size`; raise PluginError, naming `source`."""
    import albumentations

    kinds = (albumentations.BasicTransform, albumentations.BaseCompose)
    for name, transforms in offered.items():
        if not isinstance(name, str) or not name:
            raise PluginError(f"{source}: {name!r} is no name of a policy: names are strings")
        if not isinstance(transforms, list | tuple) or not all(isinstance(one, kinds) for one in transforms):
            got = " ".join(repr(transforms).split())
            raise PluginError(f"{source}: policy {name!r} must be a list of albumentations transforms, not {got:.80}")
        try:
            _try_out(list(transforms), size, repr(name))
        except UserError as error:
            raise PluginError(f"{source}: {error}") from error
    return {name: list(transforms) for name, transforms in offered.items()}


# what a policy is, in words


def describe(transforms: Sequence[Any]) -> str:
    """Return the transforms with those arguments that are not albumentations' defaults, in one line.

    The same in every process: a run's digest is made from it.
    """
    return ", ".join(_written(_arguments(transform)) for transform in transforms) or "nothing"


def _arguments(transform: Any) -> dict[str, Any]:
    """Return a transform's class and arguments as it would be saved."""
    arguments: dict[str, Any] = transform.to_dict_private()
    if "transforms" in arguments:
        return arguments | {"transforms": [_arguments(inner) for inner in transform.transforms]}
    try:
        defaults = type(transform)().to_dict_private()
    except Exception:  # noqa: BLE001  a plugin's own transform that can't be made without arguments
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


# one image


class _Private(threading.local):
    """One thread's own copy of the transforms, all drawing from two generators that each image starts anew.

    Other augmenters may be made of the same transforms, which hold their generators. Seeding each transform, as
    `Compose.set_random_seed` does, takes as long as a small transform: setting one state takes a tenth of it.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = copy.deepcopy(list(transforms))
        self._bits = np.random.PCG64(0)
        self.random = np.random.Generator(self._bits)
        self._python = random.Random(0)
        for transform in self.transforms:
            transform.set_random_state(self.random, self._python)

    def start(self, digest: bytes) -> None:
        """Begin the random numbers of one image; `digest` has 40 bytes that look random."""
        state, increment = (int.from_bytes(digest[start : start + 16], "little") for start in (0, 16))
        self._bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": increment | 1},  # an odd number, or some states are never reached
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._python.seed(int.from_bytes(digest[32:], "little"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmenter:
    """Augments training images: mirrors, applies a policy, erases a rectangle. Can be pickled for worker processes."""

    transforms: Sequence[Any]
    """The policy, see `resolve`; its transforms must draw from their own generators, as all of albumentations do."""
    mirror: tuple[int, ...] | None
    """For each class the class of the mirrored image, (C,); None where flips are forbidden."""
    mirror_share: float
    """Share of the images that is mirrored, from 0 to 1."""
    erasing: float
    """Share of the images in which a rectangle is erased, from 0 to 1."""
    seed: int
    """From 0 to 2**64 - 1."""

    def __post_init__(self) -> None:
        for name in ("mirror_share", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not from 0 to 1")

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_private"}

    @cached_property
    def _private(self) -> _Private:
        return _Private(self.transforms)

    def __call__(self, image: Pixels, label: int, *, epoch: int, content: bytes) -> tuple[Pixels, int]:
        """Return the augmented image, a new array, and its class, which mirroring may change.

        `content` identifies the image, such as a hash of its file. Raises UserError if the policy gives something
        else than a uint8 image of the same size.
        """
        key = self.seed.to_bytes(8, "little") + epoch.to_bytes(8, "little") + content
        private = self._private
        private.start(hashlib.blake2b(key, digest_size=40).digest())
        # both are drawn before the policy draws, so that another policy mirrors and erases the same images
        mirroring, erasing = private.random.random(2)
        if self.mirror is not None and mirroring < self.mirror_share:
            pixels, label = cv2.flip(image, 1), self.mirror[label]
        else:
            pixels = image.copy()
        for transform in private.transforms:
            pixels = transform(image=pixels)["image"]
        if not _is_image(pixels, image):
            raise _not_an_image("the augmentation policy", pixels, image)
        if erasing < self.erasing:
            _erase(pixels, private.random)
        return pixels, label


_ERASED = (0.1, 0.4)
"""Smallest and largest share of a side that is erased."""
_GREY = 128


def _erase(pixels: Pixels, generator: np.random.Generator) -> None:
    """Fill one rectangle with grey or noise, in place."""
    height, width = (max(1, round(side * generator.uniform(*_ERASED))) for side in pixels.shape[:2])
    top, left = generator.integers(0, (pixels.shape[0] - height + 1, pixels.shape[1] - width + 1))
    noisy = generator.random() < 0.5
    pixels[top : top + height, left : left + width] = (
        generator.integers(0, 256, (height, width, 3), dtype=np.uint8) if noisy else _GREY
    )


# the contact sheet

_WIDEST, _TALLEST = 200, 280
"""Of a picture on the sheet, in pixels; a class name fits under most."""
_MARGIN, _GAP, _LINE = 24, 10, 24
_INK, _PALE, _ACCENT = (34, 34, 34), (120, 120, 120), (178, 60, 20)


def draw_sheet(
    augmenter: Augmenter,
    images: Iterable[tuple[Pixels, int, bytes]],
    caption: Callable[[int], str],
    num_views: int,
    path: Path,
) -> None:
    """Write a PNG of what training makes of images in its first `num_views` epochs.

    `images` are (what the backbone would see of one, its class, the content that identifies it); `caption` names a
    class.
    """
    rows, captions, notes = [], [], []
    for plain, label, content in images:
        made = [augmenter(plain, label, epoch=epoch, content=content) for epoch in range(num_views)]
        rows.append([plain, *(pixels for pixels, _ in made)])
        captions.append(caption(label))
        notes.append(["", *(f"→ {caption(new)}" if new != label else "" for _, new in made)])
    contact_sheet(rows, captions, path, notes=notes)


def contact_sheet(
    rows: Sequence[Sequence[Pixels]],
    captions: Sequence[str],
    path: Path,
    *,
    notes: Sequence[Sequence[str]] = (),
) -> None:
    """Write a PNG with a row an image: first the plain one, then augmented ones; all of one size, (H, W, 3).

    `captions` stand above the rows; `notes`, where given, has a text for under each picture, such as its new class.
    """
    height, width = rows[0][0].shape[:2]
    scale = min(_WIDEST / width, _TALLEST / height)
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    notes = notes or [[""] * len(row) for row in rows]
    columns = [_MARGIN + place * (width + _GAP) + (_GAP if place else 0) for place in range(max(map(len, rows)))]
    tall = [_LINE + height + (_LINE if any(under) else _GAP) + _GAP for under in notes]
    sheet = Image.new("RGB", (columns[-1] + width + _MARGIN, 2 * _MARGIN + _LINE + sum(tall)), "white")
    draw = ImageDraw.Draw(sheet)
    small, large = _font(13), _font(15, bold=True)
    for place, left in enumerate(columns):
        draw.text((left + width / 2, _MARGIN), str(place or "plain"), _PALE, small, anchor="ma")
    top = _MARGIN + _LINE
    for row, caption, under, line in zip(rows, captions, notes, tall, strict=True):
        draw.text((_MARGIN, top), _fitting(caption, sheet.width - 2 * _MARGIN, large), _INK, large)
        for left, pixels, note in zip(columns, row, under, strict=False):
            picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
            sheet.paste(picture, (left, top + _LINE))
            draw.text((left, top + _LINE + height + 4), _fitting(note, width, small), _ACCENT, small)
        top += line
    with storage.replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def _font(size: int, *, bold: bool = False) -> Any:
    """Return matplotlib's font, which knows far more alphabets than Pillow's, without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
        file = fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)


def _fitting(text: str, width: float, font: Any) -> str:
    """Return the text in one line, shortened to `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
