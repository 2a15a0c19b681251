"""`kagglekit predict`: any images, in their order, with or without the plugin; a bad one costs only itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow
import pytest

from kagglekit.base import devices, gpu
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.deploy.predictor import Image, Predictor
from kagglekit.models import batch_sizes, sessions
from tests import drawing
from tests.conftest import Cli, failed, succeeded


@pytest.fixture(scope="module")
def made(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of cats and dogs, exported once: it is all that these tests have."""
    from kagglekit.cli import main

    folder = tmp_path_factory.mktemp("made")
    spec, cache = tiny_export
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(folder / "home"))
        shutil.copytree(cache, folder / "home" / ".cache")
        words = ("run", "dogs-vs-cats", "--data", str(drawing.dogs(folder)), "--backbone", spec, "--folds", "2")
        patch.setattr(sys, "argv", ["kagglekit", *words])
        main_(main)
        (run,) = Workspace(folder / "home" / "dogs-vs-cats").runs.iterdir()
        patch.setattr(sys, "argv", ["kagglekit", "export", str(run), "--output", str(folder / "pets.onnx")])
        main_(main)
    shutil.rmtree(folder / "home")
    return folder / "pets.onnx"


def main_(main: object) -> None:
    try:
        main()  # type: ignore[operator]
    except SystemExit as end:
        assert not end.code  # noqa: PT017  a command ends like this


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eleven pictures, even numbers cats, in a folder with one below it."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(11):
        place = folder / "more" if number > 8 else folder
        (place / f"{number}.jpg").write_bytes(drawing.image(number % 2, number))
    (folder / "notes.txt").write_text("no image")
    return folder


NAMES = [*(f"{n}.jpg" for n in range(9)), "more/9.jpg", "more/10.jpg"]


def test_a_folder_s_images_are_predicted_in_natural_order(cli: Cli, made: Path, photos: Path, tmp_path: Path) -> None:
    done = succeeded(cli("predict", made, photos, "--output", tmp_path / "out.csv"))
    rows = pd.read_csv(tmp_path / "out.csv")
    assert list(rows.columns) == ["id", "cat", "dog", "decided", "error"]
    assert rows["id"].tolist() == NAMES
    assert rows["decided"].tolist() == ["dog" if number % 2 else "cat" for number in range(11)]
    assert ((rows["dog"] > 0.5) == [number % 2 == 1 for number in range(11)]).all()
    assert np.allclose(rows["cat"] + rows["dog"], 1)
    assert "11 images on cpu" in done.out
    assert "cuda" not in done.out.lower() + done.err.lower()


def test_files_keep_the_order_and_the_names_that_they_were_given_by(cli: Cli, made: Path, photos: Path) -> None:
    given = [photos / "7.jpg", photos / "2.jpg", photos / "7.jpg"]
    done = succeeded(cli("predict", made, *given))
    lines = done.out.splitlines()
    assert lines[0] == "id,cat,dog,decided,error", "nothing but the table is on the standard output"
    assert [line.partition(",")[0] for line in lines[1:]] == [str(path) for path in given]
    assert lines[1] == lines[3]
    assert "3 images on cpu" in done.err


def test_what_is_no_number_is_no_answer(cli: Cli, made: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Predictor.run

    def overflowing(self: Predictor, batch: Any) -> Any:
        found = whole(self, batch).copy()
        found[1] = np.nan
        return found

    monkeypatch.setattr(Predictor, "run", overflowing)
    done = succeeded(cli("predict", made, photos / "1.jpg", photos / "2.jpg", "--batch", "2"))
    first, second = done.out.splitlines()[1:]
    assert first.endswith(",")
    assert "2.jpg,,,,has no finite probabilities" in second
    assert "1 of 2 images can't be read" in done.err


def test_half_precision_that_no_gpu_has_seen_is_pointed_out(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sessions.Session(made, "cpu", 1)
    monkeypatch.setattr(sessions.Session, "metadata", whole.metadata | {"precision": "float16", "checked_on": "cpu"})
    said: list[str] = []
    Predictor(made, "cpu", said.append)
    assert said == []
    whole.device = "cuda"
    monkeypatch.setattr(gpu, "choose", lambda *_: "cuda")
    monkeypatch.setattr(sessions, "open_on", lambda *_: whole)
    Predictor(made, "cuda", said.append)
    assert "export it again on this machine" in said[0]


def test_a_table_on_a_pipe_is_always_utf_8(cli: Cli, made: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "1.jpg").rename(photos / "котик.jpg")
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", pipe)
    succeeded(cli("predict", made, photos / "котик.jpg"))
    pipe.flush()
    assert "котик.jpg" in pipe.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def test_a_bad_image_costs_only_itself(cli: Cli, made: Path, photos: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.csv"
    succeeded(cli("predict", made, photos, "--output", good, "--batch", "4"))
    whole = (photos / "5.jpg").read_bytes()
    (photos / "5.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "6.jpg").write_bytes(b"<!doctype html><p>Sign in")
    (photos / "8.jpg").write_bytes(b"")
    bad = tmp_path / "bad.csv"
    done = succeeded(cli("predict", made, photos, "--output", bad, "--batch", "4"))
    assert "3 of 11 images can't be read: column error says why" in done.out
    before, after = pd.read_csv(good), pd.read_csv(bad)
    assert after["id"].tolist() == NAMES
    reasons = dict(zip(after["id"], after["error"].fillna(""), strict=True))
    assert "truncated" in reasons["5.jpg"]
    assert reasons["6.jpg"] == "is a web page, not an image"
    assert reasons["8.jpg"] == "is empty"
    broken = after["error"].notna()
    assert after[broken][["cat", "dog"]].isna().all(axis=None)
    fine = ~broken
    pd.testing.assert_frame_equal(after[fine], before[fine], atol=1e-6, check_dtype=False)


def test_parquet_holds_the_same(
    cli: Cli, made: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kagglekit.cli import exporting

    monkeypatch.setattr(exporting, "_ROWS_TOGETHER", 4)
    (photos / "3.jpg").write_bytes(b"no image")
    for name in ("rows.csv", "rows.parquet"):
        succeeded(cli("predict", made, photos, "--output", tmp_path / name, "--batch", "2"))
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    file = pyarrow.parquet.ParquetFile(tmp_path / "rows.parquet")
    assert file.num_row_groups == 3, "written as they come"
    assert file.schema_arrow.metadata[b"provider"] == b"cpu"
    csv = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False, na_values={"cat": [""], "dog": [""]})
    pd.testing.assert_frame_equal(rows, csv, check_dtype=False, atol=1e-6)


def test_a_person_is_answered_in_one_line(cli: Cli, made: Path, photos: Path) -> None:
    done = succeeded(cli("predict", made, photos / "1.jpg", "--top", "1"))
    assert done.err == ""
    name, _, answer = done.out.strip().partition(": ")
    assert name == str(photos / "1.jpg")
    assert answer.startswith("dog ")
    assert 50 < float(answer.removeprefix("dog ").removesuffix("%")) <= 100
    assert len(succeeded(cli("predict", made, photos / "1.jpg", "--top", "5")).out.split(", ")) == 2, "all there are"
    (photos / "1.jpg").write_bytes(b"no image")
    done = cli("predict", made, photos / "1.jpg", "--top", "1")
    assert done.out == f"{photos / '1.jpg'}: is not an image, or is damaged\n"
    assert "1 of 1 images can't be read" in done.err


def test_what_can_not_be_done_is_said_in_a_line(cli: Cli, made: Path, photos: Path, tmp_path: Path) -> None:
    assert "must end in .csv or .parquet" in failed(cli("predict", made, photos, "--output", tmp_path / "out.txt"))
    (tmp_path / "empty").mkdir()
    output = tmp_path / "out.csv"
    assert "no images in" in failed(cli("predict", made, tmp_path / "empty", "--output", output))
    assert not output.exists()
    assert "no file" in failed(cli("predict", tmp_path / "other.onnx", photos))
    assert "no images were given" in failed(cli("predict", made, tmp_path / "empty", "--top", "1"))
    assert "exclude each other" in failed(cli("predict", made, photos, "--top", "1", "--output", output))
    for more in (("--top", "1"), ("--output", output), ()):
        done = cli("predict", made, photos / "1.jpg", photos / "gone.jpg", *more)
        assert f"no file or folder {photos / 'gone.jpg'}" in failed(done)
        assert done.out == ""
    assert not output.exists()
    assert "no run 'zzz'" in failed(cli("predict", "zzz", photos))
    import onnx

    stranger = onnx.load(made)
    del stranger.metadata_props[:]
    onnx.save(stranger, tmp_path / "stranger.onnx")
    assert "its metadata has no classes" in failed(cli("predict", tmp_path / "stranger.onnx", photos))
    (tmp_path / "damaged.onnx").write_bytes(made.read_bytes()[:1000])
    assert "can't be opened" in failed(cli("predict", tmp_path / "damaged.onnx", photos))


def test_a_run_is_exported_when_it_has_no_file_yet(
    cli: Cli, tiny: str, photos: Path, tmp_path: Path, home: Path
) -> None:
    archive = drawing.dogs(tmp_path / "data")
    succeeded(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, "--folds", "2"))
    (run,) = (home / "dogs-vs-cats" / "runs").iterdir()
    done = succeeded(cli("predict", run.name[-8:], photos / "1.jpg", "--top", "2"))
    assert "differs from torch by" in done.err
    assert (run / "model.onnx").is_file()
    assert succeeded(cli("predict", run.name[-8:], photos / "1.jpg", "--top", "2")).err == "", "it is there now"


def test_classes_may_have_any_names(cli: Cli, made: Path, photos: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(made)
    odd = {"id": 'an id, "quoted"', "error": "error"}
    for prop in model.metadata_props:
        if prop.key == "classes":
            prop.value = json.dumps(odd)
    onnx.save(model, tmp_path / "odd.onnx")
    succeeded(cli("predict", tmp_path / "odd.onnx", photos, "--output", tmp_path / "out.csv"))
    rows = pd.read_csv(tmp_path / "out.csv")
    assert list(rows.columns) == ["id_", "id", "error", "decided", "error_"]
    assert rows["id_"].tolist() == NAMES
    assert "(id)" in succeeded(cli("predict", tmp_path / "odd.onnx", photos / "2.jpg", "--top", "1")).out


def test_images_of_several_folders_are_told_apart(cli: Cli, made: Path, photos: Path, tmp_path: Path) -> None:
    other = shutil.copytree(photos, tmp_path / "other")
    (other / "loop").symlink_to(other)
    succeeded(cli("predict", made, photos, other, "--output", tmp_path / "out.csv"))
    ids = pd.read_csv(tmp_path / "out.csv")["id"].tolist()
    assert ids == [f"{folder}/{name}" for folder in (photos, other) for name in NAMES]


def test_names_need_not_be_utf_8(cli: Cli, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(drawing.image(0, 1))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (folder / 'a, "b"\n.jpg').write_bytes(drawing.image(1, 2))
    succeeded(cli("predict", made, folder, "--output", tmp_path / "out.csv"))
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == ['a, "b"\n.jpg', "caf\\xe9.jpg"]


# Where it computes


@pytest.mark.parametrize("provider", ["CUDA", "gpu", "CPU"])
def test_a_provider_that_is_none_is_refused(cli: Cli, made: Path, photos: Path, provider: str) -> None:
    assert "must be one of auto, cpu, cuda" in failed(cli("predict", made, photos, "--provider", provider))


def test_without_a_gpu_cuda_is_an_error_that_names_the_library(cli: Cli, made: Path, photos: Path) -> None:
    if devices.cuda_gpus():
        pytest.skip("this machine has a CUDA GPU")
    line = failed(cli("predict", made, photos, "--provider", "cuda"))
    assert "no CUDA GPU found (through libcuda.so.1, the driver's library)" in line


# In the small


def test_images_are_read_only_a_little_ahead(made: Path, photos: Path) -> None:
    taken = 0

    def endless() -> Iterator[Image]:
        nonlocal taken
        while True:
            taken += 1
            yield Image(str(taken), photos / f"{taken % 9}.jpg")

    predictor = Predictor(made, "cpu", pytest.fail, batch=2, threads=2)
    rows = predictor.predict(endless())
    first = [next(rows) for _ in range(20)]
    assert [row.id for row in first] == [str(number) for number in range(1, 21)]
    assert taken <= 20 + 2 * (2 * 2 + 1)
    rows.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_any_batch_gives_the_same(made: Path, photos: Path, batch: int) -> None:
    images = [Image(name, photos / name) for name in NAMES]
    alone = [row.probabilities for row in Predictor(made, "cpu", pytest.fail, batch=1).predict(images)]
    found = [row.probabilities for row in Predictor(made, "cpu", pytest.fail, batch=batch).predict(images)]
    assert np.abs(np.array(found) - np.array(alone)).max() < 1e-6


def test_the_fastest_batch_is_found_on_the_work_itself() -> None:
    sizes = batch_sizes.BatchSizes("cpu")
    assert sizes.best() == batch_sizes.automatic_batch("cpu"), "nothing is known yet"
    costs = {1: 1.0, 2: 1.5, 4: 2.6, 8: 5.3}
    tried = [sizes.next() for _ in range(6 * len(costs))]
    assert set(tried) == set(costs)
    for size in tried:
        sizes.note(size, costs[size])
    sizes.note(3, 0.0)
    assert sizes.next() == sizes.best() == 4
    for size in tried * 3:
        sizes.note(size, float(size))
    assert sizes.next() == 1, "as good as larger ones"


def test_a_batch_that_does_not_fit_in_memory_is_halved(
    made: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    run = sessions.Session.run

    def small(session: sessions.Session, outputs: Any, feeds: dict[str, np.ndarray], *more: Any) -> Any:
        if len(feeds["images"]) > 2:
            raise RuntimeError("Failed to allocate memory for requested buffer")
        computed.append(len(feeds["images"]))
        return run(session, outputs, feeds, *more)

    images = [Image(name, photos / name) for name in NAMES] * 9
    expected = [row.probabilities for row in Predictor(made, "cpu", pytest.fail, batch=1).predict(images)]
    monkeypatch.setattr(sessions.Session, "run", small)
    predictor = Predictor(made, "cpu", pytest.fail)
    found = [row.probabilities for row in predictor.predict(images)]
    assert np.abs(np.array(found) - np.array(expected)).max() < 1e-6
    assert set(computed) == {1, 2}
    assert predictor._sizes.best() <= 2
    monkeypatch.setattr(sessions.Session, "run", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        list(predictor.predict(images[:3]))


def test_without_a_batch_sizes_are_tried_and_with_one_they_are_not(
    made: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    run = Predictor.run

    def counted(predictor: Predictor, batch: list[dict[str, np.ndarray]]) -> np.ndarray:
        computed.append(len(batch))
        return run(predictor, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "run", counted)
    images = [Image(name, photos / name) for name in NAMES] * 20
    found = [row.probabilities for row in Predictor(made, "cpu", pytest.fail).predict(images)]
    assert {1, 2, 4, 8} <= set(computed)
    computed.clear()
    alone = [row.probabilities for row in Predictor(made, "cpu", pytest.fail, batch=5).predict(images)]
    assert set(computed) == {5}
    assert np.abs(np.array(found) - np.array(alone)).max() < 1e-6


def test_a_jpeg_that_does_not_end_as_one_is_looked_at_twice(tmp_path: Path) -> None:
    from kagglekit.images import decoding
    from kagglekit.images.decoding import ImageError

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = bytes(cv2.imencode(".jpg", pixels)[1])
    for name, given, fine in (
        ("whole", content, True),
        ("a few bytes more", content + b"\0" * 40, True),
        ("many bytes more", content + b"\0" * 4000, True),
        ("cut", content[: len(content) - 300], False),
    ):
        (tmp_path / name).write_bytes(given)
        if fine:
            assert decoding.decode_whole((tmp_path / name).read_bytes(), 100).shape == (64, 64, 3), name
        else:
            with pytest.raises(ImageError, match="truncated"):
                decoding.decode_whole((tmp_path / name).read_bytes(), 100)
    (tmp_path / "large").write_bytes(content)
    with pytest.raises(ImageError, match="more than 0 million"):
        decoding.decode_whole((tmp_path / "large").read_bytes(), 0)


# Sessions


def test_memory_of_the_device_is_used_again_and_a_smaller_batch_padded(made: Path) -> None:
    session = sessions.Session(made, "cpu", 1)
    bound_to = sessions._OnGpu(session.onnx, 0, "cpu")
    size = json.loads(session.metadata["preprocessing"])["images"]["size"]
    random = np.random.default_rng(0)
    noted: list[int] = []
    for count in (4, 3, 4, 6, 1):
        feeds = {"images": random.integers(0, 256, (count, *size, 3), dtype=np.uint8)}
        (bound,) = bound_to.run(("probabilities",), feeds, lambda count, _: noted.append(count))
        (plain,) = session.run(("probabilities",), feeds)
        assert bound.shape == (count, 2)
        assert np.abs(bound - plain).max() < 1e-6
    assert noted == [4, 3, 4, 6, 1]
    assert {size: free.qsize() for size, free in bound_to.free.items()} == {4: 1, 8: 1, 1: 1}, "one at a time needs one"


def test_a_gpu_that_can_not_be_used_is_named(
    made: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if devices.cuda_gpus():
        pytest.skip("this machine has a CUDA GPU")
    monkeypatch.setattr(devices, "cuda_gpus", lambda: 1)
    warnings: list[str] = []
    assert Predictor(made, "auto", warnings.append).session.device == "cpu"
    (warning,) = warnings
    assert "there is a GPU, but torch" in warning
    with pytest.raises(UserError, match=r"provider = 'cuda': torch .* or use --provider cpu"):
        Predictor(made, "cuda", warnings.append)
    assert len(warnings) == 1
    assert capfd.readouterr() == ("", "")
    gpu.trouble.cache_clear()
