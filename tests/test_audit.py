"""The audit of the data: copies, leaks, odd images, suspected labels, and the list of drops."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kagglekit.audit import duplicates, inspection, outliers
from kagglekit.data import exclusions
from kagglekit.images import appearance
from kagglekit.tasks import kinds, label_errors
from kagglekit.tasks.targets import Labels, Number, Target
from tests import damage, drawing
from tests.browser import browser, open_page
from tests.conftest import Cli, Done, failed, succeeded
from tests.damage import Given


def scene(seed: int, size: int = 96) -> np.ndarray:
    """Draw a picture that looks like no other: soft blobs of many colours."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (size * 5 // 4, size), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray, quality: int = 92) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=quality)
    return written.getvalue()


@pytest.fixture
def planted(tmp_path: Path) -> Given:
    """Forty pictures, copies of some in every way, and odd ones."""
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": jpeg(scene(n)) for n in range(40)}
    files |= {f"test/{n}.jpg": jpeg(scene(1000 + n)) for n in range(8)}
    files["train/cat/same.jpg"] = files["train/cat/0.jpg"]
    files["train/cat/smaller.jpg"] = jpeg(cv2.resize(scene(2), (70, 56), interpolation=cv2.INTER_AREA))
    files["train/dog/again.jpg"] = jpeg(scene(1), 40)
    files["train/dog/mirror.jpg"] = jpeg(scene(3)[:, ::-1])
    files["train/dog/other-label.jpg"] = jpeg(scene(4), 60)  # 4 is a cat
    files["test/leak.jpg"] = jpeg(scene(6), 70)
    files["train/cat/blank.jpg"] = jpeg(np.full((90, 120, 3), 200, np.uint8))
    files["train/cat/tiny.jpg"] = jpeg(scene(77, 16))
    files["train/dog/long.jpg"] = jpeg(cv2.resize(scene(78), (600, 60)))
    files["train/dog/broken.jpg"] = files["train/dog/1.jpg"][:300]
    given = Given(tmp_path / "pets.py", damage.write(tmp_path / "data", files))
    given.write_plugin(damage.PETS)
    return given


def audit(cli: Cli, given: Given, *words: str | Path) -> Done:
    with damage.unchanged(given.data), damage.unchanged(given.plugin):
        return cli("audit", given.plugin, "--data", given.data, *words)


def groups_of(home: Path) -> set[frozenset[str]]:
    table = pd.read_csv(home / "pets" / "audit" / "duplicates.csv", dtype=str)
    return {frozenset(ids) for _, ids in table.groupby("look_alikes")["id"]}


# the command


def test_copies_of_every_kind_are_found_and_nothing_else(
    cli: Cli, planted: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    out = succeeded(audit(cli, planted)).out
    expected = [
        ("cat/0", "cat/same"),
        ("cat/2", "cat/smaller"),
        ("dog/1", "dog/again"),
        ("dog/3", "dog/mirror"),
        ("cat/4", "dog/other-label"),
        ("cat/6", "leak"),
    ]
    assert groups_of(home) == {frozenset(pair) for pair in expected}
    counts = {
        "copies and look-alikes": 6,
        "identical files": 1,
        "in training and in test": 1,
        "with different labels": 1,
    }
    for what, count in counts.items():
        assert re.search(rf"{what} +{count}\b", out), what
    table = pd.read_csv(home / "pets" / "audit" / "duplicates.csv", dtype=str, keep_default_na=False)
    assert set(table["id"][table["crosses_test"] == "yes"]) == {"cat/6", "leak"}
    assert set(table["id"][table["crosses_label"] == "yes"]) == {"cat/4", "dog/other-label"}
    assert "look-alikes are found by hash only" in out


def test_odd_and_unreadable_images_are_listed_with_reasons(
    cli: Cli, planted: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    succeeded(audit(cli, planted))
    odd = pd.read_csv(home / "pets" / "audit" / "odd.csv", dtype=str)
    reasons = dict(zip(odd["id"], odd["reason"], strict=True))
    assert reasons["dog/broken"] == "is truncated"
    assert reasons["cat/blank"] == "blank: a single colour"
    assert reasons["cat/tiny"] == "tiny: 16 x 20 pixels"
    assert reasons["dog/long"] == "oddly shaped: 60 x 600 pixels"
    assert len(odd) == 4


def test_the_page_opens_and_shows_what_was_found(
    cli: Cli, planted: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: shown.append(url) or True)
    succeeded(audit(cli, planted, "--open"))
    path = home / "pets" / "audit" / "audit.html"
    assert shown == [path.as_uri()]
    with browser() as chromium:
        opened = open_page(chromium, path)
        assert opened.asked == opened.complaints == []
        assert all(picture["width"] > 0 for picture in opened.pictures)
        assert {row[0]: row[1] for row in opened.table("Classes")[1:]} == {"cat": "24", "dog": "24"}
        assert opened.page.locator("#copies .card").count() >= 12
        assert opened.page.locator("#odd .card").count() == 3
        opened.page.locator("#odd .card").first.click()
        assert opened.page.locator("dialog#large .told").inner_text().startswith("cat/blank")
        opened.page.keyboard.press("Escape")
        phone = open_page(chromium, path, 390, 800, "dark")
        assert not phone.is_wider_than_its_window()


def test_a_list_of_drops_is_made_by_the_users_word_and_honoured(
    cli: Cli, tiny: str, planted: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        damage.without_features(patch)
        succeeded(audit(cli, planted))
        candidates = home / "pets" / "audit" / "candidates.csv"
        table = pd.read_csv(candidates, dtype=str, keep_default_na=False)
        assert set(table["id"]) == {"cat/same", "cat/4", "dog/other-label", "cat/blank"}
        assert (table["drop"] == "").all()
        assert "no row says yes in column `drop`" in failed(audit(cli, planted, "--apply", candidates))
        table.loc[table["id"].isin(["cat/same", "cat/blank"]), "drop"] = "yes"
        table.to_csv(candidates, index=False)
        done = succeeded(audit(cli, planted, "--apply", candidates))
        assert "2 training images are excluded from later runs" in done.out
        assert "nothing was deleted" in done.out
        # the list is remembered, and an edited file is not written over
        again = succeeded(audit(cli, planted))
        assert "2 training images are in your drops.csv" in again.out
        assert "kept as candidates.changed-" in again.out
        assert (pd.read_csv(candidates, dtype=str)["drop"] == "yes").sum() == 2
    done = succeeded(planted.run(cli, tiny))
    assert "2 training images are excluded by your drops.csv" in done.out
    run = damage.only_run(home / "pets")
    record = json.loads((run / "run.json").read_text())
    assert record["dropped"] == 2
    assert record["train_images"] == 40 + 5 + 3 - 2  # pictures, copies and odd ones, less the two
    images = pd.read_parquet(run / "images.parquet")
    assert not set(images["id"]) & {"cat/same", "cat/blank"}
    assert set(exclusions.read(run / "drops.csv")["id"]) == {"cat/same", "cat/blank"}
    # without the list it is another run
    (home / "pets" / "drops.csv").unlink()
    succeeded(planted.run(cli, tiny))
    assert len(list((home / "pets" / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\nnobody\n", "1 of 1 ids match no training image, for example 'nobody'"),
        ("image\ncat/0\n", "has no column `id`, only image"),
        ("", "is empty: its first line must be `id,reason`"),
        ("id,reason\n", "no row says yes in column `drop`, or there are no rows"),
        ("id,drop\ncat/0,perhaps\n", "column `drop` holds yes, no or nothing, not 'perhaps'"),
        ("id,reason\ncat/0,too dark, blurred\n", "row 2 has 3 fields, the first has 2: quote texts with commas"),
        ("id,Drop?\ncat/0,no\n", "columns must be `id`, `reason` and `drop`, each at most once; 'drop?' is unknown"),
        ("id,drop,DROP\ncat/0,no,yes\n", "is unknown or repeated"),
        (
            "id\n" + "".join(f"cat/{n}\n" for n in range(0, 40, 2)) + "cat/same\ncat/smaller\ncat/blank\ncat/tiny\n",
            "'cat'",
        ),
    ],
    ids=[
        "unknown id",
        "no id",
        "empty",
        "no row",
        "strange word",
        "a comma too many",
        "another column",
        "a column twice",
        "a whole class",
    ],
)
def test_lists_that_cannot_be_meant_are_refused(
    cli: Cli, planted: Given, home: Path, tmp_path: Path, content: str, message: str
) -> None:
    listed = tmp_path / "listed.csv"
    listed.write_text(content)
    assert message in failed(audit(cli, planted, "--apply", listed))
    assert not (home / "pets" / "drops.csv").exists()
    assert "no such file" in failed(audit(cli, planted, "--apply", tmp_path / "none.csv"))


@pytest.mark.parametrize(
    "content",
    [
        b"id\ncat/0\n",
        b"\xef\xbb\xbfID;Reason;Drop \r\ncat/0;too dark, blurred;Yes\r\ncat/2;;no\r\n",
        b'id,drop, reason\ncat/0,yes,"two\nlines"\n\n',
        "id\treason\nTrain\\Cat\\0.JPG\tflou, très\n".encode("utf-16"),
    ],
    ids=["plain ids", "a spreadsheet's", "in another order", "a path on Windows"],
)
def test_lists_are_read_as_people_write_them(
    cli: Cli, planted: Given, home: Path, tmp_path: Path, content: bytes
) -> None:
    listed = tmp_path / "listed.csv"
    listed.write_bytes(content)
    done = succeeded(audit(cli, planted, "--apply", listed, "--set", "sample=20"))
    assert ("listed.csv is read as " in done.out) == (content.startswith((b"\xef", b"\xff")))
    assert exclusions.read(home / "pets" / "drops.csv")["id"].tolist() == ["cat/0"]
    assert "--apply does no audit" in failed(audit(cli, planted, "--apply", listed, "--open"))


@pytest.mark.parametrize(
    ("listed", "means"),
    [
        ("cat/1", "cat/1"),
        ("train/Cat/1.JPG", "cat/1"),
        ("/kaggle/input/pets/train/cat/1.jpg", "cat/1"),
        ("valid/cat/1", "valid/cat/1"),  # another image, which is gone
    ],
)
def test_a_listed_path_means_the_image_there_and_no_other(listed: str, means: str) -> None:
    train = pd.DataFrame({"id": ["cat/1", "cat/2"], "path": ["/data/train/cat/1.jpg", "/data/train/cat/2.jpg"]})
    drops = pd.DataFrame({"id": [listed], "reason": [""]}, dtype=str)
    assert exclusions.aligned(drops, train)["id"].tolist() == [means]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True))
def test_any_name_survives_a_list_of_drops(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("list") / "drops.csv"
    exclusions.write(path, pd.DataFrame({"id": names, "reason": ["a"] * len(names)}, dtype=str))
    assert exclusions.read(path)["id"].tolist() == names


def test_ids_that_are_no_longer_there_are_said(cli: Cli, tiny: str, planted: Given, home: Path) -> None:
    (home / "pets").mkdir(parents=True)
    (home / "pets" / "drops.csv").write_text("id,reason\ncat/0,dark\ngone,dark\n")
    done = succeeded(planted.run(cli, tiny))
    assert "1 training images are excluded by your drops.csv" in done.out
    assert "1 ids in your drops.csv match no training image, for example 'gone'" in done.out
    run = damage.only_run(home / "pets")
    assert json.loads((run / "run.json").read_text())["dropped"] == 1
    assert exclusions.read(run / "drops.csv")["id"].tolist() == ["cat/0"]


def test_class_folders_leave_out_what_is_dropped(cli: Cli, planted: Given, home: Path, tmp_path: Path) -> None:
    (home / "pets").mkdir(parents=True)
    (home / "pets" / "drops.csv").write_text("id,reason\ncat/0,dark\n")
    words = ("--data", planted.data, "--valid", "8", "--sample", "0,0")
    succeeded(cli("folders", planted.plugin, tmp_path / "out", *words))
    assert len(list((tmp_path / "out").glob("*/cat/2.jpg"))) == 1
    assert not list((tmp_path / "out").glob("*/cat/0.jpg"))


def test_drops_of_real_data_do_not_touch_a_synthetic_run(cli: Cli, tiny: str, home: Path) -> None:
    (home / "dogs-vs-cats").mkdir(parents=True)
    (home / "dogs-vs-cats" / "drops.csv").write_text("id,reason\ncat.0,blurred\n")
    done = succeeded(cli("run", "dogs-vs-cats", "--backbone", tiny, *damage.QUICK))
    assert "excluded by your drops.csv" not in done.out


def test_without_data_it_says_how_to_name_it(cli: Cli) -> None:
    assert "name the archive" in failed(cli("audit", "dogs-vs-cats"))


def test_wrong_labels_are_suspected_after_a_run(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": drawing.image(n % 2, n) for n in range(40)}
    files |= {f"test/{n}.jpg": drawing.image(n % 2, 100 + n) for n in range(4)}
    wrong = [f"dog/{n}" for n in (50, 51)]
    files |= {f"train/{name}.jpg": drawing.image(0, 200 + n) for n, name in enumerate(wrong)}  # cats, all of them
    given_ = Given(tmp_path / "pets.py", damage.write(tmp_path / "data", files))
    given_.write_plugin(damage.PETS)
    with monkeypatch.context() as patch:
        damage.without_features(patch)
        assert "suspected label errors need a finished run" in succeeded(audit(cli, given_)).out
    succeeded(given_.run(cli, tiny))
    damage.without_features(monkeypatch)
    out = succeeded(audit(cli, given_)).out
    assert "2 suspected label errors, from run" in out
    listed = pd.read_csv(home / "pets" / "audit" / "labels.csv", dtype=str)
    assert set(listed["id"]) == set(wrong)
    assert (listed["suggested"] == "cat").all()
    # the plugin names its classes in another order since, and one of the pictures is another
    given_.write_plugin(damage.PETS.replace('{"cat": "cat", "dog": "dog"}', '{"dog": "dog", "cat": "cat"}'))
    (given_.data / "train" / f"{wrong[0]}.jpg").write_bytes(drawing.image(1, 999))
    succeeded(audit(cli, given_))
    listed = pd.read_csv(home / "pets" / "audit" / "labels.csv", dtype=str)
    assert listed[["id", "label", "suggested"]].to_numpy().tolist() == [[wrong[1], "dog", "cat"]]
    run = damage.only_run(home / "pets").name
    assert "suspected label errors" in succeeded(audit(cli, given_, "--run", run)).out
    assert "no run 'nowhere'" in failed(audit(cli, given_, "--run", "nowhere"))


def test_a_random_split_of_frames_would_leak(tmp_path: Path, home: Path, cli: Cli) -> None:
    """Each driver's frames are alike, whatever he does: features know the driver, not the class."""
    files, rows = {}, ["img,driver"]
    for driver in range(6):
        film = scene(driver, 64)
        for frame in range(44):
            label = ("cat", "dog")[frame // 22]
            random = np.random.default_rng(100 * driver + frame)
            shifted = np.roll(film, frame // 22 * 6, axis=1) + random.normal(0, 3, film.shape)
            name = f"{driver}-{frame}"
            files[f"train/{label}/{name}.jpg"] = jpeg(shifted.clip(0, 255).astype(np.uint8))
            rows.append(f"{name}.jpg,d{driver}")
    files |= {f"test/{n}.jpg": jpeg(scene(50 + n, 64)) for n in range(4)}
    files["drivers.csv"] = "\n".join(rows).encode()
    given_ = Given(tmp_path / "pets.py", damage.write(tmp_path / "data", files))
    grouped = damage.PETS.replace('flip="allowed"', 'groups=CsvGroups("drivers.csv", image="img", group="driver")')
    given_.write_plugin(grouped)
    out = " ".join(succeeded(audit(cli, given_)).out.split())
    assert "leak check: A random split would leak" in out
    assert "0.0% of the images have a look-alike in another fold" in out
    assert "The images are frames of films, or just as similar" in out
    # the same images without groups: their frames lie in different folds
    given_.write_plugin(damage.PETS)
    assert "declare the groups in the plugin" in " ".join(succeeded(audit(cli, given_)).out.split())


def test_a_validation_set_that_copies_the_training_set_is_seen(
    tmp_path: Path, cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The course's own folders, with no plugin."""
    damage.without_features(monkeypatch)
    files = {f"train/{('cat', 'dog')[n % 2]}/{n}.jpg": jpeg(scene(n)) for n in range(12)}
    for number in range(4):
        label = ("cat", "dog")[number % 2]
        files[f"valid/{label}/{50 + number}.jpg"] = files[f"train/{label}/{number}.jpg"]
    files |= {f"test/{n}.jpg": jpeg(scene(90 + n)) for n in range(3)}
    folder = damage.write(tmp_path / "mine", files)
    out = succeeded(cli("audit", folder)).out
    assert re.search(r"in different folds +4\b", out)
    table = pd.read_csv(home / "mine" / "audit" / "duplicates.csv", dtype=str, keep_default_na=False)
    assert (table["crosses_fold"] == "yes").sum() == 8


def test_a_class_without_a_readable_image_is_listed_not_refused(
    cli: Cli, planted: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    for path in (planted.data / "train" / "dog").glob("*.jpg"):
        path.write_bytes(b"nothing")
    out = succeeded(audit(cli, planted)).out
    assert "dog has no training image." in out
    assert (pd.read_csv(home / "pets" / "audit" / "odd.csv")["part"] == "train").sum() > 20


def test_files_follow_what_is_found_and_a_list_of_somebody_is_kept(
    cli: Cli, planted: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    folder = home / "pets" / "audit"
    folder.mkdir(parents=True)
    (folder / "candidates.csv").write_text("id\nmine\n")
    succeeded(audit(cli, planted))
    (kept,) = folder.glob("candidates.before-*.csv")
    assert kept.read_text() == "id\nmine\n"
    for dropped in ("cat/2", "cat/8"):
        (home / "pets" / "drops.csv").write_text(f"id,reason\n{dropped},dark\n")
        succeeded(audit(cli, planted))
        assert exclusions.read(folder / "candidates.csv")["id"].tolist() == [dropped]


def test_names_cannot_inject_into_the_audit(
    cli: Cli, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.without_features(monkeypatch)
    names = ["<script>window.hacked=1<", 'it\'s "quoted" & <b>', "two\nlines", "lone\rreturn", "空 ü\u202e"]
    files = {f"train/{('cat', 'dog')[n % 2]}/{names[n % 5]}{n}.jpg": jpeg(scene(n // 2)) for n in range(20)}
    files |= {f"test/{n}.jpg": jpeg(scene(90 + n)) for n in range(3)}
    given_ = Given(tmp_path / "pets.py", damage.write(tmp_path / "data", files))
    given_.write_plugin(damage.PETS.replace('"cat": "cat"', f'"cat": {"<img src=x onerror=window.hacked=1>"!r}'))
    succeeded(audit(cli, given_))
    folder = home / "pets" / "audit"
    table = pd.read_csv(folder / "duplicates.csv", dtype=str, keep_default_na=False)
    assert sorted(table["id"]) == sorted(
        name.removeprefix("train/").removesuffix(".jpg") for name in files if "train" in name
    )
    with browser() as chromium:
        opened = open_page(chromium, folder / "audit.html")
        assert opened.asked == opened.complaints == []
        assert opened.page.evaluate("window.hacked") is None
        assert opened.page.locator("main script, main b > b, main img[onerror]").count() == 0
        assert "onerror" in opened.page.locator("#classes tbody th").first.inner_text()


def test_only_runs_of_these_images_accuse_labels(
    cli: Cli, tiny: str, pets: Given, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a synthetic run nor a run of another competition says anything of these labels."""
    succeeded(pets.run(cli, tiny))
    run = damage.only_run(home / "pets")
    drawn, other = tmp_path / "20260101-0000-synthetic-0a1b2c3d", tmp_path / "20260101-0000-0a1b2c3d"
    for copy in (drawn, other):
        shutil.copytree(run, copy)
    record = json.loads((other / "run.json").read_text())
    record["competition"]["name"] = "leaves"
    (other / "run.json").write_text(json.dumps(record))
    damage.without_features(monkeypatch)
    assert "this is a synthetic run, which can't judge" in failed(audit(cli, pets, "--run", drawn))
    assert "this is a run of leaves, which can't judge" in failed(audit(cli, pets, "--run", other))
    succeeded(audit(cli, pets, "--run", run))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are listed by Linux only")
def test_a_stopped_audit_leaves_no_process_behind(planted: Given, home: Path) -> None:
    """The export goes on in a process of its own, which must end with the audit."""
    environment = os.environ | {"KAGGLEKIT_HOME": str(home)}
    words = [sys.executable, "-m", "kagglekit", "audit", str(planted.plugin), "--data", str(planted.data)]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if "exporting to ONNX" in line:
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 20
    while not (started := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # to the parent only: the child must be ended by it
    process.communicate(timeout=20)
    assert started
    assert process.returncode == 130
    while any(map(is_alive, started)) and time.monotonic() < deadline + 20:
        time.sleep(0.05)
    assert not any(map(is_alive, started))


def is_alive(process: str) -> bool:
    """Whether it still runs; one that has ended may wait to be asked for its exit code."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# parts


def images_of(looks: list[int], features: np.ndarray | None = None, **more: list[int] | None) -> duplicates.Images:
    count = len(looks)
    given_ = {name: np.array(values) for name, values in more.items() if values is not None}
    return duplicates.Images(
        contents=given_.get("contents", np.arange(count)),
        looks=np.array(looks, np.uint64),
        mirrored=given_.get("mirrored", np.array(looks)).astype(np.uint64),
        even=given_.get("even", np.zeros(count)).astype(bool),
        features=None if features is None else features.astype(np.float16),
        test=given_.get("test", np.zeros(count)).astype(bool),
        label=given_.get("label", np.zeros(count, np.int64)),
        fold=given_.get("fold", np.zeros(count, np.int64)),
        group=given_.get("group", np.full(count, -1)),
    )


@given(st.integers(2, 40), st.integers(0, 50), st.integers(1, 9))
def test_blocks_change_nothing(count: int, seed: int, block: int) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(0, 2**63, 6, dtype=np.uint64)
    looks = base[random.integers(0, 6, count)] ^ (np.uint64(1) << random.integers(0, 60, count, dtype=np.uint64))
    rows = random.normal(size=(count, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    more = {name: random.integers(0, 3, count).tolist() for name in ("label", "group", "test")}
    more["fold"] = random.integers(-2, 3, count).tolist()
    images = images_of(looks.tolist(), rows, **more | {"test": [value == 2 for value in more["test"]]})
    whole = duplicates.find(images, lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK", block)
        patch.setattr(duplicates, "_MOST_EDGES", 3)
        told: list[int] = []
        parts = duplicates.find(images, told.append)
        assert len(told) == duplicates.num_blocks(count)
    assert parts.count == whole.count
    assert (parts.groups == whole.groups).all()
    assert all((parts.crosses[name] == flags).all() for name, flags in whole.crosses.items())
    for name in ("nearest", "nearest_elsewhere"):
        ours, theirs = getattr(parts, name), getattr(whole, name)
        assert ((ours < 0) == (theirs < 0)).all()
        cosine = images.features.astype(np.float32) @ images.features.astype(np.float32).T
        known = np.flatnonzero(ours >= 0)  # ties may be broken otherwise
        assert cosine[known, ours[known]] == pytest.approx(cosine[known, theirs[known]], abs=1e-3)
    named = {frozenset((p.first, p.second)) for pairs in whole.crossing.values() for p in pairs}
    assert named == {frozenset((p.first, p.second)) for pairs in parts.crossing.values() for p in pairs}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_groups_are_those_of_the_pairs(links: list[tuple[int, int]]) -> None:
    """Images of the same bytes are pairs; what hangs together is one group, called by its first image."""
    contents = list(range(10))
    for first, second in links:
        old, new = contents[second], contents[first]
        contents = [new if content == old else content for content in contents]
    looks = [int(np.random.default_rng(n).integers(0, 2**63)) for n in range(10)]
    found = duplicates.find(images_of(looks, contents=contents), lambda _: None)
    for first, second in itertools.combinations(range(10), 2):
        assert (found.groups[first] == found.groups[second]) == (contents[first] == contents[second])
    assert all(found.groups[found.groups[place]] == found.groups[place] <= place for place in range(10))


def test_what_pairs_cross_is_counted_and_named() -> None:
    looks = [1, 1, 1, 2**40 - 1]
    found = duplicates.find(
        images_of(looks, test=[0, 0, 1, 0], label=[0, 1, -1, 0], fold=[0, 1, -1, 0]), lambda _: None
    )
    assert found.count == {"all": 3, "bytes": 0, "test": 2, "label": 1, "fold": 1}
    assert [(p.first, p.second) for p in found.crossing["label"]] == [(0, 1)]
    assert found.crosses["fold"].tolist() == [True, True, False, False]
    assert found.crosses["test"].tolist() == [True, True, True, False]


def test_numbers_are_alike_within_a_bin_and_labels_if_all_are() -> None:
    def alike(target: Target, labels: list[str]) -> list[int]:
        parts = ["train"] * (len(labels) - 1) + ["test"]
        return inspection._alike(pd.DataFrame({"part": parts, "label": labels}), kinds.of(target)).tolist()

    numbers = alike(Number(), [str(number) for number in range(40)] + [""])
    assert len(set(numbers[:40])) == 4
    assert numbers[0] == numbers[9] != numbers[10]
    assert numbers[40] == -1
    assert alike(Labels(["a", "b"]), ["a", "a|b", "a", ""]) == [0, 1, 0, -1]


def test_hashes_of_even_pictures_say_nothing() -> None:
    assert duplicates.find(images_of([5, 5], even=[1, 0]), lambda _: None).count["all"] == 0
    assert duplicates.find(images_of([5, 5], even=[1, 1], contents=[3, 3]), lambda _: None).count["all"] == 1


def tile(seed: int, spread: float) -> np.ndarray:
    """Draw water or forest from above: one colour, soft waves and fine grain of so many grey levels."""
    random = np.random.default_rng(seed)
    waves = cv2.resize(random.normal(0, spread, (9, 9)), (128, 128), interpolation=cv2.INTER_CUBIC)
    grain = random.normal(0, spread / 2, (128, 128))
    return (np.array([40.0, 60.0, 35.0]) + (waves + grain)[..., None]).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("spread", [2.0, 4.0])
def test_uniform_pictures_are_copies_only_if_hash_and_features_agree(spread: float) -> None:
    written = [jpeg(tile(1, spread)), jpeg(tile(1, spread), 70), jpeg(tile(2, spread))]
    seen = [appearance.look(np.array(Image.open(io.BytesIO(each)))) for each in written]
    assert all(each.structure < duplicates.STRUCTURE for each in seen)
    looks = [int(np.frombuffer(each.looks, np.uint64)[0]) for each in seen]
    close = np.array([[1.0, 0.0], [0.99, 0.14], [0.95, 0.31]])  # features of uniform pictures are all alike
    found = duplicates.find(images_of(looks, close, even=[1, 1, 1]), lambda _: None)
    assert found.groups.tolist() == [0, 0, 2]


def retina(seed: int) -> np.ndarray:
    """Draw a disc on black as all others are, a little different: its tint, a bright spot and vessels."""
    random = np.random.default_rng(seed)
    image = np.zeros((128, 128, 3), np.float32)
    cv2.circle(image, (64, 64), int(random.integers(54, 60)), random.normal((170, 90, 40), 8).tolist(), -1)
    cv2.circle(image, random.integers(45, 84, 2).tolist(), 9, (250, 220, 140), -1)
    for _ in range(8):
        cv2.line(image, random.integers(20, 108, 2).tolist(), random.integers(20, 108, 2).tolist(), (110, 40, 20), 2)
    return (image + random.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


def drawn_images(files: list[bytes]) -> duplicates.Images:
    """Return images with their real hashes; their features are their colours in a grid."""
    opened = [np.array(Image.open(io.BytesIO(each))) for each in files]
    seen = [appearance.look(each) for each in opened]
    looks, mirrored = (
        [int(np.frombuffer(content, np.uint64)[0]) for content in contents]
        for contents in ([one.looks for one in seen], [one.mirrored for one in seen])
    )
    rows = np.array([cv2.resize(each, (16, 16), interpolation=cv2.INTER_AREA).ravel() for each in opened], np.float64)
    return images_of(looks, rows / np.linalg.norm(rows, axis=1, keepdims=True), mirrored=mirrored)


@pytest.mark.parametrize("count", [50, 300])
@pytest.mark.parametrize("copies", [0, 5])
def test_images_of_one_kind_are_copies_only_if_unusually_close(count: int, copies: int) -> None:
    """The features of all these are as similar as those of copies elsewhere, and so are the hashes of many."""
    images = drawn_images(
        [*(jpeg(retina(seed)) for seed in range(count)), *(jpeg(retina(seed), 50) for seed in range(copies))]
    )
    every = duplicates._Close.of(images, slice(0, count), slice(0, count))
    assert np.median(every.within(duplicates.Thresholds()).sum(axis=1)) > duplicates.MANY
    found = duplicates.find(images, lambda _: None)
    assert not found.limits.films
    assert found.groups.tolist() == [*range(count), *range(copies)]


def test_where_all_hashes_are_close_features_are_judged_on_the_farther_ones() -> None:
    random = np.random.default_rng(0)
    looks = [
        int(sum(1 << int(bit) for bit in random.choice(63, random.integers(3, 8), replace=False))) for _ in range(60)
    ]
    rows = 1 + random.normal(0, 0.2, (60, 100))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert duplicates.find(images_of(looks, rows), lambda _: None).count["all"] == 0
    rows[1] = rows[0]
    assert duplicates.find(images_of(looks, rows), lambda _: None).groups.tolist() == [0, 0, *range(2, 60)]


def test_limits_of_photographs_are_the_fixed_ones() -> None:
    """Pictures of all kinds of things are seldom close by chance, by hash or by features."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 40))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    looks = random.integers(0, 2**63, 300, dtype=np.uint64).tolist()
    assert duplicates.limits(images_of(looks, rows)) == duplicates.Thresholds()


def test_look_alikes_are_a_suspicion_only() -> None:
    assert "so scores may be too good" in inspection.Leak(0.5, None, 0.076).verdict
    assert "No sign of a leak" in inspection.Leak(0.5, None, 0.019).verdict


def test_only_a_single_colour_is_blank() -> None:
    green, dithered = np.full((128, 128, 3), (40, 60, 35), np.uint8), np.full((128, 128, 3), 90, np.uint8)
    dithered[::2, ::2] += 1
    blank = [green, np.array(Image.open(io.BytesIO(jpeg(green, 30)))), dithered]
    natural = [tile(seed, spread) for seed in range(3) for spread in (1.5, 3.0)]
    odd = outliers.find([appearance.look(each) for each in [*blank, *natural]])
    assert [each.index for each in odd if each.reason == "blank: a single colour"] == [0, 1, 2]


def test_features_have_the_last_word_on_hashes() -> None:
    apart, near = np.eye(2), np.array([[1.0, 0.0], [0.8, 0.6]])
    assert duplicates.find(images_of([5, 5], apart), lambda _: None).count["all"] == 0
    assert duplicates.find(images_of([5, 5], near), lambda _: None).count["all"] == 1


@pytest.mark.parametrize(("copies", "films"), [(1, False), (4, False), (40, True)])
def test_only_frames_are_taken_for_frames(copies: int, films: bool) -> None:
    """A few copies of each picture are copies; where everything has dozens, only the closest count."""
    random = np.random.default_rng(0)
    base = random.integers(0, 2**63, 10, dtype=np.uint64)
    looks = [int(one) ^ (1 << int(bit)) for one in base for bit in random.integers(1, 60, copies)]
    assert duplicates.limits(images_of(looks)).films == films
    same = images_of(looks, contents=np.repeat(np.arange(10), copies).tolist())
    assert not duplicates.limits(same).films, "files of the same bytes are one image"


@given(st.integers(0, 200), st.integers(0, 3))
def test_a_mirrored_image_has_the_mirrored_hash(seed: int, kind: int) -> None:
    pixels = scene(seed, 64 + 16 * kind)
    plain, mirrored = appearance.look(pixels), appearance.look(np.ascontiguousarray(pixels[:, ::-1]))
    bits = [np.unpackbits(np.frombuffer(one, np.uint8)) for one in (plain.mirrored, mirrored.looks)]
    assert (bits[0] != bits[1]).sum() <= 2  # sums in another order


def test_an_appearance_is_what_is_seen() -> None:
    red = appearance.look(np.full((30, 40, 3), (200, 0, 0), np.uint8))
    assert (red.height, red.width) == (30, 40)
    assert red.red > 0 > red.blue
    assert red.contrast == pytest.approx(0, abs=0.01)
    grey = appearance.look(np.full((30, 40, 3), 77, np.uint8))
    assert grey.brightness == pytest.approx(77)
    assert grey.colour == pytest.approx(0, abs=0.01)


def test_odd_colours_are_odd_among_others_only() -> None:
    coloured = [appearance.look(scene(n) // 4 + 96) for n in range(60)]
    grey = appearance.look(np.repeat(scene(99)[..., :1], 3, axis=2))
    assert [odd.reason for odd in outliers.find([*coloured, grey])] == ["grey, while others are coloured"]
    assert outliers.find([grey] * 30) == []
    among_grey = outliers.find([grey] * 30 + coloured[:1])
    assert {(odd.index, odd.reason) for odd in among_grey} == {(30, "coloured, while others are grey")}
    tinted = appearance.look((scene(98) * (1.0, 0.05, 0.05)).astype(np.uint8))
    assert (60, "oddly tinted") in {(odd.index, odd.reason) for odd in outliers.find([*coloured, tinted])}
    assert outliers.find([]) == []


def test_confident_learning_suspects_what_the_model_is_sure_of() -> None:
    truth = np.array([0] * 10 + [1] * 10)
    rows = np.where(truth[:, None] == [0, 1], 0.9, 0.1)
    rows[3] = (0.02, 0.98)  # surely the other
    rows[14] = (0.6, 0.4)  # the other, but no surer than usual
    (found,) = label_errors.among_classes(truth, rows, "abcdefgh")
    assert (found.index, found.label, found.suggested) == (3, "a", "b")
    assert found.margin == pytest.approx(0.96)
    assert label_errors.among_classes(truth, np.where(truth[:, None] == [0, 1], 0.9, 0.1), "ab") == []


def test_a_label_may_be_missing_or_too_many() -> None:
    truth = np.array([[1.0, 0.0, 0.0]] * 12 + [[0.0, 1.0, 0.0]] * 11 + [[0.0, 1.0, 1.0]])
    rows = np.where(truth > 0, 0.9, 0.1)
    rows[2] = (0.95, 0.97, 0.1)
    rows[15] = (0.1, 0.05, 0.1)
    rows[23, 2] = 0.01  # the only image with this label: no model has learnt it
    found = label_errors.among_labels(truth, rows, ("rust", "scab", "spot"))
    assert [(one.index, one.label, one.suggested) for one in found] == [
        (2, "not scab", "scab"),
        (15, "scab", "not scab"),
    ]


@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 9))
def test_suspects_are_sorted_and_never_their_own_class(classes: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, rows = random.integers(0, classes, count), random.dirichlet(np.ones(classes), count)
    found = label_errors.among_classes(truth, rows, "abcdefgh")
    assert all(one.suggested != one.label == "abcdefgh"[truth[one.index]] for one in found)
    assert [one.margin for one in found] == sorted((one.margin for one in found), reverse=True)
    assert all("abcdefgh".index(one.suggested) in truth for one in found), (
        "a class without images is suggested to nobody"
    )
