"""`kagglekit bundle`: its notebook runs where there is neither kagglekit, nor torch, nor a network."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from kagglekit.deploy import bundle, standalone
from kagglekit.images import decoding
from tests import drawing
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import newest

FEW = ("--folds", "2", "--set", "regularisation_grid=0.1", "--method", "features")
ALLOWED = ("onnxruntime", "numpy", "numpy.libs", "PIL", "pillow.libs", "cv2", "opencv_python_headless.libs")
ALLOWED += ("flatbuffers", "google", "packaging")
"""What a clean environment with onnxruntime, numpy, Pillow and OpenCV has; nothing else can be imported."""
NOTEBOOK = """
import json, socket, sys

def refuse(*given, **named):
    raise OSError("there is no network here")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile(cell["source"], cell["id"], "exec"), globals())
foreign = {name.partition(".")[0] for name in sys.modules} & {"kagglekit", "torch", "timm", "pandas", "onnx"}
assert not foreign, foreign
"""


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages that the notebook may have."""
    folder = tmp_path_factory.mktemp("clean")
    installed = Path(sysconfig.get_paths()["purelib"])
    for name in ALLOWED:
        if (installed / name).exists():
            (folder / name).symlink_to(installed / name)
    return folder


def where(bundled: Path, data: Path) -> dict[str, str]:
    """The variables that name the bundle and the data away from Kaggle."""
    return {"KAGGLEKIT_BUNDLE": str(bundled), "KAGGLEKIT_DATA": str(data)}


def run_notebook(clean: Path, notebook: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the notebook's cells in a Python that has no site-packages, no variables of ours and no network."""
    folder.mkdir()
    code = f"import sys; sys.path.append({str(clean)!r}); sys.argv = ['', {str(notebook)!r}]\n"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code + NOTEBOOK],
        cwd=folder,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def bundled(cli: Cli, home: Path, archive: Path, spec: str, out: Path, name: str = "dogs-vs-cats") -> Path:
    """Make a run and its bundle; return the run."""
    succeeded(cli("run", name, "--data", archive, "--backbone", spec, *FEW))
    run = newest(home, name)
    done = succeeded(cli("bundle", run, out))
    assert f"written: {out}" in done.out
    return run


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack as Kaggle mounts a competition: the outer archive only."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


def test_the_notebook_writes_the_run_s_submission(cli: Cli, tiny: str, clean: Path, tmp_path: Path, home: Path) -> None:
    archive = drawing.dogs(tmp_path)
    run = bundled(cli, home, archive, tiny, tmp_path / "out")
    data = unpacked(archive, tmp_path / "data")
    assert (data / "test.zip").is_file(), "the inner archive is read as it is"
    done = run_notebook(clean, tmp_path / "out" / "notebook.ipynb", tmp_path / "here", **where(tmp_path / "out", data))
    assert done.returncode == 0, done.stderr
    assert "12 test images, 12 rows, on CPU" in done.stdout
    found, expected = (pd.read_csv(folder / "submission.csv") for folder in (tmp_path / "here", run))
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)


def test_a_probability_a_class_and_a_bad_image(cli: Cli, tiny: str, clean: Path, tmp_path: Path, home: Path) -> None:
    archive = drawing.drivers(tmp_path)
    run = bundled(cli, home, archive, tiny, tmp_path / "out", "state-farm")
    data = unpacked(archive, tmp_path / "data")
    bad = next(iter(sorted(data.rglob("test/img_901.jpg"))))
    bad.write_bytes(b"no image")
    done = run_notebook(clean, tmp_path / "out" / "notebook.ipynb", tmp_path / "here", **where(tmp_path / "out", data))
    assert done.returncode == 0, done.stderr
    assert "WARNING: img_901.jpg is not an image, or is damaged: its row gets the class prior" in done.stdout
    found, expected = (pd.read_csv(folder / "submission.csv") for folder in (tmp_path / "here", run))
    assert list(found.columns) == list(expected.columns)
    assert found["img"].tolist() == expected["img"].tolist()
    row = found["img"] == "img_901.jpg"
    assert np.allclose(found[row].drop(columns="img"), 0.1), "the classes are equally frequent"
    pd.testing.assert_frame_equal(found[~row], expected[~row], atol=1e-5)


@pytest.mark.parametrize(
    ("form", "metric"),
    [("ClassLabel(write={'cat': '0', 'dog': '1'}, FIELDS)", "accuracy"), ("TopClasses(k=2, FIELDS)", "map@2")],
)
def test_without_a_sample_every_test_image_gets_a_row(
    cli: Cli, tiny: str, clean: Path, tmp_path: Path, home: Path, form: str, metric: str
) -> None:
    form = form.replace("FIELDS", "id='file', label='kind', id_format='{id}.jpg'")
    (tmp_path / "leaf.py").write_text(
        "from kagglekit import *\n\n@hookimpl\ndef competition():\n"
        "    return Competition(name='leaf', kaggle='leaf', classes={'cat': 'cat', 'dog': 'dog'},\n"
        "        train=FilenameLabels('train/{label}.{number}.jpg'), test='test/{id}.jpg',\n"
        f"        submission={form}, metric={metric!r})\n"
    )
    data = tmp_path / "data"
    for number in range(24):
        (data / "train").mkdir(parents=True, exist_ok=True)
        kind = ("cat", "dog")[number % 2]
        (data / "train" / f"{kind}.{number}.jpg").write_bytes(drawing.image(number % 2, number))
    (data / "test").mkdir()
    for number in range(1, 6):
        (data / "test" / f"{number}.jpg").write_bytes(drawing.image(number % 2, 100 + number))
    succeeded(cli("run", tmp_path / "leaf.py", "--data", data, "--backbone", tiny, *FEW))
    run = newest(home, "leaf")
    succeeded(cli("bundle", run, tmp_path / "out"))
    (tmp_path / "leaf.py").unlink()
    done = run_notebook(clean, tmp_path / "out" / "notebook.ipynb", tmp_path / "here", **where(tmp_path / "out", data))
    assert done.returncode == 0, done.stderr
    found, expected = (pd.read_csv(folder / "submission.csv") for folder in (tmp_path / "here", run))
    pd.testing.assert_frame_equal(found.sort_values("file"), expected.sort_values("file"), check_like=True)


def test_the_notebook_finds_the_bundle_and_the_data_on_kaggle(
    cli: Cli, tiny: str, clean: Path, tmp_path: Path, home: Path
) -> None:
    archive = drawing.dogs(tmp_path)
    kaggle = tmp_path / "input"
    run = bundled(cli, home, archive, tiny, kaggle / "me" / "my-bundle")
    notebook = kaggle / "me" / "my-bundle" / "notebook.ipynb"
    done = run_notebook(clean, notebook, tmp_path / "first", KAGGLEKIT_INPUT=str(kaggle))
    assert done.returncode == 1
    assert "add the data of dogs-vs-cats-redux-kernels-edition as input" in done.stderr
    data = unpacked(archive, kaggle / "competitions" / "dogs-vs-cats-redux-kernels-edition")
    (data / "broken.zip").write_bytes(b"PK no archive")
    done = run_notebook(clean, notebook, tmp_path / "second", KAGGLEKIT_INPUT=str(kaggle))
    assert done.returncode == 0, done.stderr
    found, expected = (pd.read_csv(folder / "submission.csv") for folder in (tmp_path / "second", run))
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)
    done = run_notebook(clean, notebook, tmp_path / "third", KAGGLEKIT_INPUT=str(tmp_path / "other"))
    assert "add the bundle's folder as a dataset" in done.stderr


def test_archives_of_bare_images_and_wrapping_folders_are_looked_through(
    cli: Cli, tiny: str, clean: Path, tmp_path: Path, home: Path
) -> None:
    archive = drawing.dogs(tmp_path)
    run = bundled(cli, home, archive, tiny, tmp_path / "out")
    data = unpacked(archive, tmp_path / "data" / "wrapped")
    images = {}
    with zipfile.ZipFile(data / "test.zip") as inner:
        images = {Path(name).name: inner.read(name) for name in inner.namelist() if not name.endswith("/")}
    drawing.zip_of(data / "test.zip", images | {"__MACOSX/._1.jpg": b"", "._1.jpg": b"no image"})
    drawing.zip_of(data / "train.zip", {"cat.1.jpg": images["1.jpg"], "dog.1.jpg": images["2.jpg"]})
    done = run_notebook(
        clean, tmp_path / "out" / "notebook.ipynb", tmp_path / "here", **where(tmp_path / "out", data.parent)
    )
    assert done.returncode == 0, done.stderr
    assert "12 test images, 12 rows" in done.stdout
    found, expected = (pd.read_csv(folder / "submission.csv") for folder in (tmp_path / "here", run))
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)


def test_what_is_no_number_gets_the_prior(tmp_path: Path) -> None:
    def overflowing(feeds: Mapping[str, Any]) -> Any:
        rows = np.full((len(feeds["images"]), 2), 0.5)
        rows[0] = np.nan
        return rows

    pixels = decoding.Preprocessing(
        size=(8, 8), crop="squash", crop_share=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    about = {"preprocessing": {"images": dataclasses.asdict(pixels)}, "max_megapixels": 1}
    content = drawing.image(0, 0)
    found, bad = standalone.predict(overflowing, about, {"a": lambda: content, "b": lambda: content}, 2)
    assert list(found) == ["b"]
    assert "no finite probabilities" in bad["a"]


@pytest.mark.parametrize("as_rgb", [0, cv2.IMREAD_COLOR_RGB])
def test_an_older_opencv_decodes_the_same(monkeypatch: pytest.MonkeyPatch, as_rgb: int) -> None:
    content = drawing.image(1, 7)
    expected = decoding.decode(content)
    monkeypatch.setattr(decoding, "_AS_RGB", as_rgb)
    assert np.array_equal(decoding.decode(content), expected)


def test_where_there_are_no_images_the_notebook_says_what_it_looked_for(
    cli: Cli, tiny: str, clean: Path, tmp_path: Path, home: Path
) -> None:
    bundled(cli, home, drawing.dogs(tmp_path), tiny, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    done = run_notebook(
        clean, tmp_path / "out" / "notebook.ipynb", tmp_path / "here", **where(tmp_path / "out", tmp_path / "empty")
    )
    assert done.returncode == 1
    assert "has no test images: looked for test/{id}.jpg" in done.stderr
    assert not (tmp_path / "here" / "submission.csv").exists()


def test_the_bundle_reads_a_sample_as_a_run_does() -> None:
    about = {"samples": ["sample_submission.csv"], "columns": ["id", "label"], "id": "id", "id_format": "{id}"}
    files: dict[str, Any] = {
        "data/labels.csv": lambda: b"id,label\n9,cat\n",
        "data/sample_submission_v2.csv": lambda: "label; id\n0; test/img_2.jpg\n0; test/img_1.jpg\n".encode("utf-16"),
    }
    tests: dict[str, Any] = {name: (f"data/test/{name}.JPG", name) for name in ("IMG_1", "IMG_2", "IMG_3")}
    rows = standalone.requested_rows(about, files, tests)
    ids = ["test/img_2.jpg", "test/img_1.jpg"]
    assert rows == (["label", "id"], ids, {ids[0]: "IMG_2", ids[1]: "IMG_1"})
    rows = standalone.requested_rows(about | {"samples": []}, files, tests)
    assert rows[1] == ["IMG_1", "IMG_2", "IMG_3"], "the plugin says that there is no sample"


def test_the_notebook_is_one_and_the_bundle_holds_no_more_than_it_needs(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    run = bundled(cli, home, drawing.dogs(tmp_path), tiny, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.onnx", "recipe.toml", "bundle.json", "notebook.ipynb",
        "bundled_model.py", "csv_files.py", "decisions.py", "decoding.py", "depth.py", "gpu_errors.py", "grouped.py",
        "groups.py", "image_names.py", "mounted.py", "opening.py", "rows.py", "standalone.py", "walking.py",
    }  # fmt: skip
    notebook = json.loads((tmp_path / "out" / "notebook.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert all(cell["cell_type"] in ("markdown", "code") and cell["id"] for cell in notebook["cells"])
    assert run.name in notebook["cells"][0]["source"]
    code = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "'dogs-vs-cats-redux-kernels-edition'" in code
    assert str(home) not in json.dumps(notebook) + (tmp_path / "out" / "bundle.json").read_text()
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (run / "model.onnx").read_bytes()


def test_what_can_not_be_bundled_is_said_in_a_line(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    run = bundled(cli, home, drawing.dogs(tmp_path), tiny, tmp_path / "out")
    assert "already exists and is not an empty folder" in failed(cli("bundle", run, tmp_path / "out"))
    succeeded(cli("run", "state-farm", "--backbone", tiny, *FEW))  # on drawn images: there is no data
    (drawn,) = (home / "state-farm" / "synthetic" / "runs").iterdir()
    assert "is synthetic, on drawn images" in failed(cli("bundle", drawn, tmp_path / "other"))
    record = json.loads((run / "run.json").read_text())
    record["bundle"]["listed"] = {"source": "test.json", "is_csv": False, "id": "", "group": ""}
    (run / "run.json").write_text(json.dumps(record))
    assert "in the names of images or in a CSV file, and those of this competition are elsewhere" in failed(
        cli("bundle", run, tmp_path / "other")
    )
    record["bundle"]["own_hooks"] = ["submission"]
    (run / "run.json").write_text(json.dumps(record))
    assert "the plugin has its own hook 'submission'" in failed(cli("bundle", run, tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_wheels_come_along_where_they_are_asked_for(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        fails = "3.1" in command
        if not fails:
            folder = Path(command[command.index("--dest") + 1])
            folder.mkdir()
            (folder / "onnxruntime.whl").touch()
        return subprocess.CompletedProcess(
            command, int(fails), "", "ERROR: no wheel\nERROR: none for 3.1\n[notice] new release"
        )

    run = bundled(cli, home, drawing.dogs(tmp_path), tiny, tmp_path / "out")
    monkeypatch.setattr(bundle.subprocess, "run", pip)
    succeeded(cli("bundle", run, tmp_path / "with", "--wheels", "3.12"))
    assert (tmp_path / "with" / "wheels" / "onnxruntime.whl").is_file()
    assert asked[0][asked[0].index("--python-version") + 1] == "3.12"
    assert asked[0][4] == "onnxruntime"
    succeeded(cli("bundle", run, tmp_path / "fast", "--wheels", "3.12", "--gpu"))
    assert asked[1][4] == "onnxruntime-gpu"
    assert "--wheels 3.12" in failed(cli("bundle", run, tmp_path / "which", "--gpu"))
    assert "none for 3.1" in failed(cli("bundle", run, tmp_path / "without", "--wheels", "3.1"))
    assert not (tmp_path / "without").exists(), "whole or not at all"
    shutil.rmtree(tmp_path / "with")
