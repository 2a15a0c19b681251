"""Augmentation: the sheet, policies of plugins and files, and what the fate of an image may depend on."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kagglekit.base.errors import PluginError, UserError
from kagglekit.competitions import plugins
from kagglekit.images.decoding import Pixels
from kagglekit.training import contact_sheet, policies
from kagglekit.training.augmenter import Augmenter
from tests import drawing
from tests.conftest import TINY, Cli, failed, succeeded

import albumentations  # isort: skip  # after augment, which says that it must not ask the network

SMALL = (f"--set=backbone={TINY}", "--set=image_size=40,64")
PLUGIN = """
import numpy
from kagglekit import Competition, FolderLabels, ProbabilityPerClass, hookimpl

@hookimpl
def competition():
    return Competition(
        name="leaf", kaggle="", classes={"elm": "Elm", "oak": "Oak"}, train=FolderLabels("train/{label}"),
        test="test/{id}.jpg", submission=ProbabilityPerClass(id="id"), flip="forbidden",
    )

@hookimpl
def augmentations(size):
    import albumentations
    return """


def picture(height: int = 72, width: int = 96, seed: int = 0) -> Pixels:
    """A smooth image that is neither its own mirror image nor upright both ways."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def augmenter(policy: str | Sequence[Any] = "side-on", size: tuple[int, int] = (72, 96), **more: Any) -> Any:
    transforms = policies.resolve(policy, size, {}) if isinstance(policy, str) else policy
    given: dict[str, Any] = {"mirror": (1, 0), "mirror_share": 0.5, "erasing": 0.0, "seed": 3} | more
    return Augmenter(transforms=transforms, **given)


def content(number: int) -> bytes:
    return number.to_bytes(16, "little")


# the command


def opened(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def sheet_of(workspace: Path, policy: str) -> Pixels:
    return opened(workspace / f"augmentations-{policy}.png")


def pictures(sheet: Pixels, rows: int, columns: int, scale: float = 3.125) -> list[list[Pixels]]:
    """Cut the pictures of 40 x 64 pixels out of a sheet: they are what is not white in most of a column or row."""
    dark = (sheet < 250).any(axis=2)
    lines, places = (_runs(dark.mean(axis=axis) > 0.5 * dark.mean(axis=axis).max()) for axis in (1, 0))
    lines = [line for line in lines if line[1] - line[0] > 40 * scale * 0.9]
    assert (len(lines), len(places)) == (rows, columns)
    return [[sheet[top:bottom, left:right] for left, right in places] for top, bottom in lines]


def _runs(marked: Any) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_the_sheet_shows_drawn_images_where_there_is_no_data(cli: Cli, home: Path) -> None:
    done = succeeded(
        cli("augmentations", "state-farm", "--images", "3", "--views", "4", "--augment", "side-on", *SMALL)
    )
    assert "SYNTHETIC" in done.out
    assert f"written: {home / 'state-farm' / 'augmentations-side-on.png'}\n" in done.out
    assert "side-on at 40 x 64: Affine(" in done.out
    assert "50% of images are mirrored" in done.out
    shown = pictures(sheet_of(home / "state-farm", "side-on"), rows=3, columns=5)
    assert len({view.tobytes() for row in shown for view in row}) == 15


def test_a_class_that_mirroring_changes_stands_under_the_picture(cli: Cli, home: Path) -> None:
    coloured = []
    for share in (0, 1):
        command = ("augmentations", "state-farm", "--images", "10", "--views", "1", "--augment", "none")
        assert (
            f"{share:.0%} of images are mirrored" in succeeded(cli(*command, f"--set=mirror_share={share}", *SMALL)).out
        )
        sheet = sheet_of(home / "state-farm", "none")
        inked = (abs(sheet.astype(int) - contact_sheet._ACCENT).sum(axis=2) < 9).any(axis=1)
        coloured.append(len([line for line in _runs(inked) if line[1] - line[0] > 5]))
    assert coloured == [0, 4]  # c1 to c4


def test_the_sheet_shows_real_images_and_leaves_out_what_can_not_be_read(cli: Cli, home: Path, tmp_path: Path) -> None:
    members = {f"train/{kind}.{n}.jpg": drawing.image(n, n) for n in range(4) for kind in ("cat", "dog")}
    members |= {f"train/cat.{n}.jpg": b"no image" for n in range(2)} | {"test/1.jpg": drawing.image(0, 9)}
    archive = drawing.zip_of(tmp_path / "dogs.zip", members)
    command = ("augmentations", "dogs-vs-cats", "--images", "6", "--views", "2", "--augment", "light", *SMALL)
    done = succeeded(cli(*command, "--data", archive))
    assert "SYNTHETIC" not in done.out
    shown = pictures(sheet_of(home / "dogs-vs-cats", "light"), rows=5, columns=3)  # two cats and three dogs
    first = sheet_of(home / "dogs-vs-cats", "light")
    assert "SYNTHETIC" not in succeeded(cli(*command)).out, "the next command knows where the data is"
    assert (sheet_of(home / "dogs-vs-cats", "light") == first).all()
    cats = [np.mean(row[0], axis=(0, 1)) for row in shown[:2]]
    assert all(min(abs(cat - drawing.COLOURS[n]).max() for n in (2, 3)) < 30 for cat in cats)

    broken = {name: b"no image" if name.startswith("train") else whole for name, whole in members.items()}
    archive = drawing.zip_of(tmp_path / "broken.zip", broken)
    assert "no training image can be read" in failed(cli(*command, "--data", archive))


def test_what_was_assumed_about_a_table_is_said_as_run_says_it(cli: Cli, home: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "leaf.py"
    plugin.write_text(
        "from kagglekit import *\n\n@hookimpl\ndef competition():\n"
        "    return Competition(name='leaf', kaggle='leaf', classes={'cat': 'cat', 'dog': 'dog'},\n"
        "        train=CsvLabels('labels.csv', 'train/{id}.jpg', id='image', label='kind'), test='test/{id}.jpg',\n"
        "        submission=Probability(of='dog'), metric='log_loss')\n"
    )
    rows = "".join(f"{n};{('cat', 'dog')[n % 2]}\n" for n in range(8))
    members = {f"train/{n}.jpg": drawing.image(n % 2, n) for n in range(8)} | {"test/9.jpg": drawing.image(0, 9)}
    members["labels.csv"] = f"image;kind\n{rows}".encode("utf-16")
    archive = drawing.zip_of(tmp_path / "leaf.zip", members)
    done = succeeded(cli("augmentations", plugin, "--data", archive, "--images", "2", "--views", "2", *SMALL))
    assert "labels.csv is read as UTF-16, separated by semicolons" in done.out


def test_a_plugin_s_policy_takes_the_place_of_kagglekit_s(cli: Cli, home: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "leaf.py"
    grey = "[albumentations.Resize(7, 7, p=1), albumentations.Resize(*size, p=1), albumentations.ToGray(p=1)]"
    plugin.write_text(f"{PLUGIN}{{'side-on': {grey}, 'inverted': [albumentations.InvertImg(p=1)]}}\n")
    command = ("augmentations", plugin, "--images", "2", "--views", "2", *SMALL)
    done = succeeded(cli(*command))
    assert "ToGray(p=1" in done.out
    assert "Affine" not in done.out
    assert "no flips" in done.out
    for plain, *views in pictures(sheet_of(home / "leaf", "side-on"), rows=2, columns=3):
        assert np.ptp(plain.astype(int), axis=2).max() > 40
        assert all(np.ptp(view.astype(int), axis=2).max() == 0 for view in views)
    succeeded(cli(*command, "--augment", "inverted"))
    for plain, *views in pictures(sheet_of(home / "leaf", "inverted"), rows=2, columns=3):
        assert all(abs(255 - plain.astype(int) - view).mean() < 1 for view in views)
    missing = failed(cli(*command, "--augment", "invertd"))
    assert "did you mean 'inverted'?" in missing


def test_a_policy_can_be_a_file_of_albumentations(cli: Cli, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "my grey.json"
    albumentations.save(albumentations.Compose([albumentations.ToGray(p=1)]), file)
    done = succeeded(
        cli("augmentations", "dogs-vs-cats", "--augment", file, "--images", "2", "--set", "erasing=1", *SMALL)
    )
    assert "ToGray(p=1)" in done.out.replace("1.0", "1")
    assert "100% have a rectangle erased" in done.out
    assert (home / "dogs-vs-cats" / "augmentations-my grey.png").is_file()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("sideon", ["augment = 'sideon'", "did you mean 'side-on'?", "none, light, side-on, top-down, strong"]),
        ("policy.yaml", ["augment = 'policy.yaml'", ".json files"]),
        ("missing.json", ["missing.json", "No such file"]),
    ],
)
def test_a_policy_that_does_not_exist_is_one_line(cli: Cli, policy: str, words: list[str]) -> None:
    line = failed(cli("augmentations", "dogs-vs-cats", "--augment", policy, *SMALL))
    assert all(word in line for word in words), line


def saved(*transforms: Any, **changes: Any) -> dict[str, Any]:
    """A policy as albumentations saves it, with changes to its last transform."""
    policy: dict[str, Any] = albumentations.Compose(list(transforms)).to_dict()
    policy["transform"]["transforms"][-1] |= changes
    return policy


WRONG: dict[str, tuple[Any, list[str]]] = {
    "no JSON": ("{'transform'", ["is not JSON", "line 1"]),
    "other JSON": ({"a": 1}, ["'transform' is missing"]),
    "a list": ([1, 2], ["not in the format"]),
    "no class": ({"transform": {"p": 1}}, ["'__class_fullname__' is missing"]),
    "unknown class": (
        saved(albumentations.Affine(), __class_fullname__="Afine"),
        ["albumentations has no 'Afine'", "but 'Affine'"],
    ),
    "unknown argument": (saved(albumentations.Affine(), rotation=5), ["'rotation'", "not valid for transform Affine"]),
    "wrong value": (saved(albumentations.GaussNoise(), p=3), ["less than or equal to 1"]),
    "another size": (saved(albumentations.Resize(20, 20, p=0.1)), ["Resize makes uint8 (20, 20, 3)", "(40, 64, 3)"]),
    "another type": (saved(albumentations.ToFloat(p=1)), ["ToFloat makes float32 (40, 64, 3)", "Remove it"]),
    "a crop too large": (saved(albumentations.RandomCrop(50, 50, p=1)), ["RandomCrop fails", "40 x 64 pixels"]),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_is_no_policy_is_one_line(fault: str, cli: Cli, tmp_path: Path) -> None:
    written, words = WRONG[fault]
    file = tmp_path / "mine.json"
    file.write_text(written if isinstance(written, str) else json.dumps(written))
    line = failed(cli("augmentations", "dogs-vs-cats", "--augment", file, *SMALL))
    assert all(word in line for word in ["mine.json", *words]), line


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        ("{'mine': albumentations.ToGray()}", "policy 'mine' must be a list of albumentations transforms, not ToGray("),
        ("{'mine': ['ToGray']}", "policy 'mine' must be a list of albumentations transforms, not ['ToGray']"),
        ("{3: []}", "3 is not a policy name"),
        ("{'mine': [albumentations.Resize(9, 9, p=0.01)]}", "policy 'mine': Resize makes uint8 (9, 9, 3)"),
        ("{'mine': [albumentations.Affine(rotation=3)]}", "Argument(s) 'rotation' are not valid for transform Affine"),
        ("{'mine': [albumentations.RandomCrop(99, 9, p=1)]}", "policy 'mine': RandomCrop fails on an RGB image of 40"),
    ],
)
def test_a_plugin_s_policy_that_can_not_be_used_names_plugin_and_hook(
    offered: str, words: str, cli: Cli, tmp_path: Path
) -> None:
    plugin = tmp_path / "leaf.py"
    plugin.write_text(f"{PLUGIN}{offered}\n")
    line = failed(cli("augmentations", plugin, *SMALL))
    assert f"plugin '{plugin}', hook 'augmentations': " in line
    assert words in line


def test_a_plugin_without_the_hook_offers_nothing_and_loads_no_albumentations() -> None:
    program = (
        "import os, sys\nfrom kagglekit.competitions import plugins\n"
        "assert plugins.load('dogs-vs-cats').augmentations((4, 4)) == {}\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
        "sys.exit('albumentations' in sys.modules)\n"
    )
    environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "0"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_the_command_explains_itself_with_an_example(cli: Cli) -> None:
    assert "kagglekit augmentations" in succeeded(cli("augmentations", "--help")).out.partition("Example")[2]


# what an image becomes


class Augmented(torch.utils.data.Dataset[Any]):
    def __init__(self, used: Any) -> None:
        self.used = used

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> tuple[int, bytes, int]:
        number, epoch = divmod(place, 3)
        pixels, label = self.used(picture(seed=number), number % 2, epoch=epoch, content=content(number))
        return place, pixels.tobytes(), label


def loaded(used: Any, **how: Any) -> dict[int, tuple[bytes, int]]:
    loader = torch.utils.data.DataLoader(Augmented(used), collate_fn=list, **how)
    return {place: (pixels, label) for batch in loader for place, pixels, label in batch}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
def test_workers_batches_order_and_what_came_before_change_nothing() -> None:
    make = {"policy": "strong", "erasing": 0.5}
    expected = loaded(augmenter(**make))
    assert len({pixels for pixels, _ in expected.values()}) == 12, "images and epochs differ"
    assert {label for _, label in expected.values()} == {0, 1}
    used = augmenter(**make)
    used(picture(), 0, epoch=8, content=b"before")
    assert loaded(used, batch_size=5) == expected
    for workers in (1, 2):
        assert loaded(used, num_workers=workers, batch_size=3) == expected, "a used augmenter, forked"
        assert loaded(augmenter(**make), num_workers=workers, shuffle=True) == expected
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(Augmented(used).__getitem__, list(range(12)) * 5))
    assert {place: (pixels, label) for place, pixels, label in threads} == expected


def test_seed_epoch_and_content_each_make_another_image() -> None:
    image = picture()
    made = {
        augmenter(seed=seed)(image, 0, epoch=epoch, content=content(number))[0].tobytes()
        for seed in (1, 2)
        for epoch in range(3)
        for number in range(3)
    }
    assert len(made) == 18


def test_another_process_makes_the_same_of_an_image_and_of_its_description() -> None:
    used = augmenter("strong", mirror=(1, 0), erasing=0.5)
    used(picture(), 0, epoch=0, content=b"before")
    program = (
        "import pickle, sys, hashlib\n"
        "used, image = pickle.load(sys.stdin.buffer)\n"
        "from kagglekit.training import policies\n"
        "pixels, label = used(image, 0, epoch=4, content=b'an image')\n"
        "print(hashlib.md5(pixels.tobytes()).hexdigest(), label)\n"
        "print(policies.describe(used.transforms))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((used, picture())),
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "77"},
    )
    import hashlib

    pixels, label = used(picture(), 0, epoch=4, content=b"an image")
    assert done.stdout.decode().splitlines() == [
        f"{hashlib.md5(pixels.tobytes()).hexdigest()} {label}",
        policies.describe(used.transforms),
    ]


def test_global_random_numbers_are_neither_used_nor_drawn() -> None:
    used, image, made = augmenter("strong", erasing=0.5), picture(), []
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index, union-attr]
        made.append([used(image, 0, epoch=epoch, content=b"i")[0].tobytes() for epoch in range(20)])
        after = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index, union-attr]
        assert before == after
    assert made[0] == made[1] == made[2]


def test_augmenters_of_the_same_transforms_do_not_disturb_each_other() -> None:
    policy = policies.resolve("side-on", (72, 96), {})
    first, second = augmenter(policy, seed=1), augmenter(policy, seed=2)
    image = picture()
    alone = [first(image, 0, epoch=epoch, content=b"i")[0] for epoch in range(4)]
    for epoch in range(4):
        other = second(image, 0, epoch=epoch, content=b"i")[0]
        again = first(image, 0, epoch=epoch, content=b"i")[0]
        assert (again == alone[epoch]).all()
        assert (again != other).any()


@pytest.mark.parametrize("policy", ["none", "side-on"])
def test_the_image_itself_stays_as_it_is_and_the_new_one_is_writable(policy: str) -> None:
    image = picture()
    before = image.copy()
    image.flags.writeable = False
    used = augmenter(policy, erasing=0.5)
    for epoch in range(20):
        made, _ = used(image, 0, epoch=epoch, content=b"i")
        assert made.flags.writeable
        assert made.flags.c_contiguous
        assert not np.shares_memory(made, image)
        made[:] = 0
    assert (image == before).all()


# mirroring


def test_the_class_changes_exactly_where_the_image_is_mirrored() -> None:
    image, mirror = picture(), (0, 2, 1)
    used = augmenter("none", mirror=mirror, mirror_share=0.3)
    mirrored = 0
    for number in range(600):
        label = number % 3
        made, new = used(image, label, epoch=number % 5, content=content(number))
        if (made == image).all():
            assert new == label
        else:
            assert (made == image[:, ::-1]).all()
            assert new == mirror[label]
            mirrored += 1
    assert 140 < mirrored < 220  # 180 ± 11


@pytest.mark.parametrize(
    ("more", "mirrored"), [({"mirror": None}, 0), ({"mirror_share": 0.0}, 0), ({"mirror_share": 1.0}, 40)]
)
def test_shares_of_none_and_all_and_forbidden_flips(more: dict[str, Any], mirrored: int) -> None:
    used, image = augmenter("none", **more), picture()
    made = [used(image, 1, epoch=epoch, content=b"i") for epoch in range(40)]
    assert sum(bool((pixels != image).any()) for pixels, _ in made) == mirrored
    assert sum(label == 0 for _, label in made) == mirrored


def three_discs(height: int, width: int) -> Pixels:
    """Discs of three sizes around the middle: seen in a mirror they go round the other way."""
    image = np.zeros((height, width, 3), np.uint8)
    unit = min(height, width) / 120
    for (x, y), radius in (((-22, -14), 13), ((22, -14), 9), ((0, 24), 6)):
        centre = round(width / 2 + x * unit), round(height / 2 + y * unit)
        cv2.circle(image, centre, round(radius * unit), (255, 255, 255), -1)
    return image


def goes_round(image: Pixels) -> bool:
    """Say whether the discs, from large to small, go round with the clock."""
    grey = image.max(axis=2)
    count, _, stats, centres = cv2.connectedComponentsWithStats((grey > grey.max() * 0.4).astype(np.uint8))
    assert count >= 4
    order = sorted(range(1, count), key=lambda part: -stats[part, cv2.CC_STAT_AREA])[:3]
    large, middle, small = (centres[part] for part in order)
    (ax, ay), (bx, by) = middle - large, small - large
    return bool(ax * by - ay * bx > 0)


@pytest.mark.parametrize("size", [(240, 240), (240, 320)], ids=str)
@pytest.mark.parametrize("policy", policies.POLICIES)
def test_no_policy_mirrors_by_itself(policy: str, size: tuple[int, int]) -> None:
    image = three_discs(*size)
    assert goes_round(image)
    assert not goes_round(np.ascontiguousarray(image[::-1]))
    forbidden, allowed = augmenter(policy, size, mirror=None), augmenter(policy, size, mirror=(1, 0))
    for epoch in range(30):
        made, label = forbidden(image, 0, epoch=epoch, content=b"i")
        assert goes_round(made)
        assert label == 0
        made, label = allowed(image, 0, epoch=epoch, content=b"i")
        assert goes_round(made) == (label == 0)


@pytest.mark.parametrize(("size", "views"), [((64, 64), 8), ((48, 64), 4)], ids=str)
def test_top_down_and_mirroring_make_the_whole_dihedral_group(size: tuple[int, int], views: int) -> None:
    image = picture(*size)
    turns = [np.rot90(flipped, turn) for flipped in (image, image[:, ::-1]) for turn in range(4)]
    group = [turn for turn in turns if turn.shape == image.shape]
    used = augmenter(policies.resolve("top-down", size, {})[:1], mirror=(0,))
    counts = [0] * len(group)
    for number in range(400):
        made, _ = used(image, 0, epoch=0, content=content(number))
        (which,) = (place for place, turn in enumerate(group) if (made == turn).all())
        counts[which] += 1
    assert len(group) == views
    assert all(0.6 < count * views / 400 < 1.4 for count in counts), counts


# policies


@given(st.sampled_from(list(policies.POLICIES)), st.integers(5, 90), st.integers(5, 90), st.integers(0, 2**40))
@settings(max_examples=60)
def test_every_policy_keeps_size_and_type(policy: str, height: int, width: int, number: int) -> None:
    image = picture(height, width)
    made, label = augmenter(policy, (height, width), erasing=0.5)(image, 1, epoch=number, content=content(number))
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert label in (0, 1)


@pytest.mark.parametrize("policy", [policy for policy in policies.POLICIES if policy != "none"])
def test_every_policy_changes_images_and_leaves_no_empty_corners(policy: str) -> None:
    used, image = augmenter(policy, mirror=None), picture()
    views = [used(image, 0, epoch=epoch, content=b"i")[0] for epoch in range(30)]
    changed = [abs(view.astype(int) - image).mean() > 1 for view in views]
    assert sum(changed) > 25
    plain = np.full((72, 96, 3), 200, np.uint8)
    for epoch in range(30):
        made, _ = used(plain, 0, epoch=epoch, content=b"i")
        assert np.ptp(made, axis=(0, 1)).max() == 0


def test_strong_is_stronger_than_light_and_grey_at_times() -> None:
    image = picture()

    def made(policy: str) -> list[Any]:
        used = augmenter(policy, mirror=None)
        return [used(image, 0, epoch=epoch, content=b"i")[0].astype(int) for epoch in range(150)]

    change = {policy: np.mean([abs(view - image).mean() for view in made(policy)]) for policy in ("light", "strong")}
    assert change["strong"] > 1.5 * change["light"]
    grey = sum(np.ptp(view, axis=2).max() == 0 for view in made("strong"))
    assert 4 < grey < 30


@pytest.mark.parametrize(("zoom", "least", "most"), [(1.0, 0.97, 1.03), (1.1, 1.15, 1.25), (2.0, 3.3, 4.2)])
def test_zoom_is_the_largest_enlargement(zoom: float, least: float, most: float) -> None:
    disc = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(disc, (100, 100), 20, (255, 255, 255), -1)
    geometry = policies.resolve("side-on", (200, 200), {}, zoom=zoom)[:1]
    used = augmenter(geometry, mirror=None)
    views = [used(disc, 0, epoch=epoch, content=b"i")[0].max(axis=2) > 127 for epoch in range(100)]
    areas = [view.sum() / (disc > 127).any(axis=2).sum() for view in views]
    assert all(abs(view.any(axis=0).sum() - view.any(axis=1).sum()) <= 2 for view in views), "discs stay round"
    assert least < max(areas) < most
    assert min(areas) > 0.97


def test_a_zoom_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="zoom 0.9"):
        policies.resolve("side-on", (9, 9), {}, zoom=0.9)


def test_a_policy_that_gives_no_image_of_the_size_is_refused_when_it_happens() -> None:
    used = augmenter([albumentations.Resize(5, 5, p=1)])
    with pytest.raises(UserError, match=r"uint8 \(5, 5, 3\) of a uint8 image \(72, 96, 3\)"):
        used(picture(), 0, epoch=0, content=b"i")


@pytest.mark.parametrize("name", ["mirror_share", "erasing"])
def test_shares_are_from_zero_to_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} 1.5"):
        augmenter("none", **{name: 1.5})


# erasing


def test_erasing_fills_one_rectangle_with_grey_or_noise() -> None:
    white = np.full((100, 80, 3), 255, np.uint8)
    used, kinds, covered = augmenter("none", erasing=1.0), {"grey": 0, "noise": 0}, np.zeros((100, 80), bool)
    shares = []
    for epoch in range(300):
        made, _ = used(white, 0, epoch=epoch, content=b"i")
        gone = (made != 255).any(axis=2)
        tall, wide = np.flatnonzero(gone.any(axis=1)), np.flatnonzero(gone.any(axis=0))
        rectangle = made[tall[0] : tall[-1] + 1, wide[0] : wide[-1] + 1]
        assert gone.sum() > 0.99 * rectangle[:, :, 0].size, "noise is white by chance in all channels: never"
        shares += [rectangle.shape[0] / 100, rectangle.shape[1] / 80]
        kinds["grey" if np.ptp(rectangle) == 0 else "noise"] += 1
        covered |= gone
    assert 0.1 <= min(shares) < 0.12
    assert 0.38 < max(shares) <= 0.4
    assert min(kinds.values()) > 100
    assert covered.mean() > 0.95
    assert all(edge.any() for edge in (covered[0], covered[-1], covered[:, 0], covered[:, -1]))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_share_of_erased_images(share: float) -> None:
    used, image = augmenter("none", mirror=None, erasing=share), picture()
    erased = sum(bool((used(image, 0, epoch=e, content=b"i")[0] != image).any()) for e in range(500))
    assert abs(erased / 500 - share) < 0.06 * (share > 0) + 1e-9


def test_another_policy_mirrors_and_erases_the_same_images() -> None:
    labels = [
        [augmenter(policy)(picture(), 0, epoch=epoch, content=b"i")[1] for epoch in range(40)]
        for policy in ("none", "light", "strong")
    ]
    assert labels[0] == labels[1] == labels[2]


# in words


def test_a_description_tells_policies_apart_and_holds_no_address() -> None:
    class Own(albumentations.ImageOnlyTransform):  # type: ignore[misc]
        def __init__(self, how: Any = sorted, *, p: float = 0.5) -> None:
            super().__init__(p=p)
            self.how = how

        def apply(self, img: Any, **_: Any) -> Any:
            return img

    turned = albumentations.OneOf([albumentations.Rotate((-3, 3)), albumentations.Rotate((-3, 4))], p=0.2)
    other = albumentations.OneOf([albumentations.Rotate((-3, 3)), albumentations.Rotate((-3, 5))], p=0.2)
    made = [[turned], [other], [turned, turned], [], [Own(lambda: 1)]]
    made += [policies.resolve(name, (8, 8), {}) for name in policies.POLICIES if name != "none"]
    described = [policies.describe(policy) for policy in made]
    assert len(set(described)) == len(made)
    assert (
        described[0] == "OneOf(p=0.2, transforms=[Rotate(limit=[-3.0, 3.0], p=0.5), Rotate(limit=[-3.0, 4.0], p=0.5)])"
    )
    assert "0x" not in described[4]
    assert all("\n" not in text for text in described)
    assert policies.describe(policies.resolve("side-on", (8, 8), {})) != policies.describe(
        policies.resolve("side-on", (8, 8), {}, zoom=1.2)
    )


def test_a_policy_survives_its_file(tmp_path: Path) -> None:
    policy = policies.resolve("strong", (72, 96), {})
    file = tmp_path / "strong.json"
    albumentations.save(albumentations.Compose(policy), file)
    again = policies.resolve(str(file), (72, 96), {})
    assert policies.describe(again) == policies.describe(policy)
    first, second = augmenter(policy), augmenter(again)
    for epoch in range(20):
        made, other = (used(picture(), 0, epoch=epoch, content=b"i")[0] for used in (first, second))
        assert (made == other).all()


def test_a_composition_that_is_not_always_applied_stays_one(tmp_path: Path) -> None:
    file = tmp_path / "half.json"
    albumentations.save(albumentations.Compose([albumentations.InvertImg(p=1)], p=0.5), file)
    used = augmenter(policies.resolve(str(file), (72, 96), {}), mirror=None)
    inverted = sum(bool((used(picture(), 0, epoch=e, content=b"i")[0] != picture()).any()) for e in range(100))
    assert 30 < inverted < 70


def test_policies_of_a_plugin_are_called_with_the_size(tmp_path: Path) -> None:
    path = tmp_path / "leaf.py"
    path.write_text(f"{PLUGIN}{{str(size): []}}\n")
    assert policies.of_plugin(plugins.load(str(path)), (40, 64)) == {"(40, 64)": []}
    path.write_text(f"{PLUGIN}[]\n")
    with pytest.raises(PluginError, match=r"hook 'augmentations': returned list"):
        policies.of_plugin(plugins.load(str(path)), (40, 64))


# the sheet


def test_a_sheet_takes_any_caption_and_any_size(tmp_path: Path) -> None:
    sizes = []
    for caption in ("cat", "Füße\n猫 → ✓ \ud83d\udc31 \x00" + "long " * 99, ""):
        path = tmp_path / "deep" / "sheet.png"
        image = picture(30, 20)
        contact_sheet.contact_sheet([[image, image[:, ::-1]]] * 2, [caption] * 2, path, notes=[["", caption]] * 2)
        sizes.append(opened(path).shape)
        assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
    assert sizes[0] == sizes[1]
    for height, width in ((5, 400), (400, 5), (1, 1), (700, 900)):
        contact_sheet.contact_sheet([[picture(height, width)]], ["one"], tmp_path / "sheet.png")
        assert max(opened(tmp_path / "sheet.png").shape) < 600
