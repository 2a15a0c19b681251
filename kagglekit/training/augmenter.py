"""Augmentation of one training image: mirroring, a policy, erasing.

H, W: height and width in pixels; C: columns of the target. Images are uint8 RGB (H, W, 3) of the network's input size,
before and after. The result depends only on the seed, the epoch and the image's content.
"""

from __future__ import annotations

import copy
import hashlib
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kagglekit.images.decoding import Pixels
from kagglekit.tasks.task import Truth
from kagglekit.training import policies

Label = int | NDArray[np.float32]
"""What is known of an image: its class, or a value for each column, (C,)."""
cv2.setNumThreads(0)  # images are augmented in parallel already


def label_at(labels: Truth, index: int) -> Label:
    """Return one of the labels (N,) or (N, C)."""
    return int(labels[index]) if labels.ndim == 1 else labels[index]


class _Private(threading.local):
    """One thread's copy of the transforms, all sharing two random generators that are reseeded for each image.

    It is a copy since transforms hold their generators, and other augmenters may use the same transforms. Seeding each
    transform, as `Compose.set_random_seed` does, takes as long as a small transform; setting one state takes a tenth.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = copy.deepcopy(list(transforms))
        self._bits = np.random.PCG64(0)
        self.random = np.random.Generator(self._bits)
        self._python = random.Random(0)
        for transform in self.transforms:
            transform.set_random_state(self.random, self._python)

    def start(self, digest: bytes) -> None:
        """Reseed the generators for one image; `digest` has 40 bytes that look random."""
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
    """The policy, see `policies`; its transforms must use their own random generators, as all of albumentations do."""
    mirror: tuple[int, ...] | None
    """For each column the column of the mirrored image, (C,); None where flips are forbidden."""
    mirror_share: float
    """Share of the images that are mirrored, from 0 to 1."""
    erasing: float
    """Share of the images in which a rectangle is erased, from 0 to 1."""
    seed: int
    """Random seed, from 0 to 2**64 - 1."""

    def __post_init__(self) -> None:
        for name in ("mirror_share", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not from 0 to 1")

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_private"}

    @cached_property
    def _private(self) -> _Private:
        return _Private(self.transforms)

    def _mirrored(self, label: Label) -> Label:
        assert self.mirror is not None
        return label[list(self.mirror)] if isinstance(label, np.ndarray) else self.mirror[label]

    def __call__(self, image: Pixels, label: Label, *, epoch: int, content: bytes) -> tuple[Pixels, Label]:
        """Return the augmented image, a new array, and its label, which mirroring may change.

        `content` identifies the image, such as a hash of its file. Raises UserError if the policy does not
        return a uint8 image of the same size.
        """
        key = self.seed.to_bytes(8, "little") + epoch.to_bytes(8, "little") + content
        private = self._private
        private.start(hashlib.blake2b(key, digest_size=40).digest())
        # drawn before the policy uses the generator, so that every policy mirrors and erases the same images
        mirroring, erasing = private.random.random(2)
        if self.mirror is not None and mirroring < self.mirror_share:
            pixels, label = cv2.flip(image, 1), self._mirrored(label)
        else:
            pixels = image.copy()
        for transform in private.transforms:
            pixels = transform(image=pixels)["image"]
        if not policies.is_image(pixels, image):
            raise policies.not_an_image("the augmentation policy", pixels, image)
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
