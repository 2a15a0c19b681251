"""Write a folder with everything that a Kaggle notebook without network needs to write submission.csv."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.base import csv_files, gpu_errors, image_names, storage, walking
from kagglekit.base.errors import UserError
from kagglekit.competitions import row_groups
from kagglekit.deploy import bundled_model, grouped, mounted, standalone
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.formats import groups, rows
from kagglekit.images import decoding, depth, opening
from kagglekit.runs import filenames
from kagglekit.tasks import decisions

if TYPE_CHECKING:
    import pandas as pd

MODULES = (
    bundled_model,
    csv_files,
    decisions,
    decoding,
    depth,
    gpu_errors,
    grouped,
    groups,
    image_names,
    mounted,
    opening,
    rows,
    standalone,
    walking,
)
"""What a bundle contains unchanged: these files import each other by name there, and nothing else of kagglekit."""
WHEELS = "wheels"


def write(run: FittedRun, model: Path, folder: Path, python: str = "", *, gpu: bool = False) -> None:
    """Write a bundle of a run and its exported file. With `python`, such as 3.12, include onnxruntime's wheels for it.

    With `gpu` these are of onnxruntime-gpu.

    Raises UserError if the folder is not empty, or if the plugin has hooks that a bundle can't include.
    """
    if run.record.own_hooks:
        raise UserError(
            f"the plugin has its own hook {run.record.own_hooks[0]!r}, which a bundle can't include: use "
            f"`kagglekit predict {run.run.id}` instead."
        )
    _check_rows(run)
    if not run.record.test_images:
        raise UserError(f"run {run.run.id} has no test images to submit: use `kagglekit export {run.run.id}` instead.")
    if run.run.synthetic:
        raise UserError(f"run {run.run.id} is synthetic, on drawn images: it can't be submitted.")
    if run.run.rehearsal:
        raise UserError(f"run {run.run.id} is a rehearsal on hidden training images: it can't be submitted.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} already exists and is not an empty folder: name another, or remove it.")
    prior = run.task.prior(run.task.truth(_labels(run)))
    plain = run.record.bundle.get("decision")
    usual = decisions.MostProbable() if plain is None else decisions.from_plain(plain)
    about = dict(run.record.bundle) | {
        "run": run.run.id,
        "prior": prior.tolist(),
        "decision": decisions.as_written(run.decision, usual).to_plain(),
        "preprocessing": {name: made.to_plain() for name, made in run.preprocessings().items()},
        "max_megapixels": run.recipe.data.max_megapixels,
    }
    if folder.exists():
        folder.rmdir()
    with storage.replacing_folder(folder) as new:
        shutil.copyfile(model, new / filenames.EXPORTED)
        shutil.copyfile(run.run.folder / filenames.RECIPE, new / filenames.RECIPE)
        for module in MODULES:
            assert module.__file__ is not None
            shutil.copyfile(module.__file__, new / Path(module.__file__).name)
        storage.write_json(new / "bundle.json", about)
        storage.write_json(new / "notebook.ipynb", _notebook(run, about))
        if python:
            _download(_GPU if gpu else _CPU, python, new / WHEELS)


def _labels(run: FittedRun) -> pd.Series[str]:
    """Return the labels of what rows of the submission are of."""
    images = run.run.images("train")
    if not run.record.bundle.get("per_group"):
        return images["label"]
    return row_groups.of_training(images, run.task.target, "the training images")["label"]


def _check_rows(run: FittedRun) -> None:
    """Raise UserError if the notebook could not say of what a row of the submission is."""
    listed = run.record.bundle.get("listed") or {}
    every = run.record.bundle.get("test_expressions", ())
    named = "(?P<group>" if run.record.bundle.get("per_group") and not listed.get("group") else "(?P<id>"
    known = all(named in each for layout in every for each in ([layout] if isinstance(layout, str) else layout))
    if (listed and not listed["is_csv"]) or not (known or listed.get("group")):
        raise UserError(
            "a bundle finds of what rows are in the names of images or in a CSV file, and those of this competition "
            f"are elsewhere: use `kagglekit predict {run.run.id}` instead."
        )


_CPU, _GPU = "onnxruntime", "onnxruntime-gpu"


def _download(package: str, python: str, folder: Path) -> None:
    """Download a package and its dependencies for Kaggle's Linux and Python. Raises UserError if pip fails."""
    command = [sys.executable, "-m", "pip", "download", package, "--only-binary=:all:", "--dest", str(folder)]
    command += ["--disable-pip-version-check", "--python-version", python, "--implementation", "cp"]
    command += [word for platform in _PLATFORMS for word in ("--platform", platform)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
        raise UserError(f"--wheels {python}: pip can't download {package}: {said[-1]}")


_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "any")


def _notebook(run: FittedRun, about: dict[str, Any]) -> dict[str, Any]:
    title = (
        f"# {run.record.competition.name}\n\nRun {run.run.id}: out-of-fold {run.run.finished().metric} "
        f"{run.out_of_fold:.5f}. Made by kagglekit; needs numpy, Pillow, OpenCV and onnxruntime, and no network.\n\n"
        "On Kaggle: upload the bundle's folder as a dataset, open this notebook, add that dataset and the "
        "competition's data as input, and run it."
    )
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {}, "source": title, "id": "about"}]
    for name, source in (("where", _WHERE.replace("SLUG", repr(about["slug"]))), ("predict", _PREDICT)):
        cell = {"cell_type": "code", "metadata": {}, "source": source.strip(), "id": name}
        cells.append(cell | {"execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


_WHERE = """
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

slug = SLUG
kaggle = Path(os.environ.get("KAGGLEKIT_INPUT", "/kaggle/input"))
bundles = [path.parent for depth in ("*", "*/*", "*/*/*") for path in sorted(kaggle.glob(f"{depth}/bundle.json"))]
bundle = Path(os.environ.get("KAGGLEKIT_BUNDLE") or next(iter(bundles), "."))
if not (bundle / "bundle.json").is_file():
    raise SystemExit(f"add the bundle's folder as a dataset: there is none below {kaggle}")
places = [kaggle / slug, kaggle / "competitions" / slug] if slug else []
found = os.environ.get("KAGGLEKIT_DATA") or next((path for path in places if path.is_dir()), None)
if found is None:
    raise SystemExit(f"add the data of {slug or 'the competition'} as input, or set KAGGLEKIT_DATA to its folder")
data = Path(found)
if importlib.util.find_spec("onnxruntime") is None:  # `kagglekit bundle --wheels` brings it along
    wheels = bundle / "wheels"
    package = "onnxruntime-gpu" if any(wheels.glob("onnxruntime_gpu-*")) else "onnxruntime"
    offline = ["--no-index", "--find-links", str(wheels)]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, package], check=True)
print("bundle:", bundle)
print("data:", data)
"""
_PREDICT = """
sys.path.insert(0, str(bundle))
import standalone

standalone.main(bundle, data, Path("submission.csv"))
"""
