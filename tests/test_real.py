"""The main job on the real archives, and agreement with timm on real photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

from benchmarks import audit as planting
from benchmarks.memory import dataset
from kagglekit.base import devices
from kagglekit.data import archives
from kagglekit.images import decoding, files
from kagglekit.models import registry, sessions, timm_models, weights
from kagglekit.recipe import FeatureSettings
from tests.browser import look_at_report
from tests.conftest import REPORT, Cli

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for this module: graphs of the real backbones are exported once."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(autouse=True)
def in_shared_home(shared_home: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(shared_home))


def result_of(home: Path, name: str) -> tuple[Path, dict[str, float]]:
    (run,) = (home / name / "runs").iterdir()
    return run, json.loads((run / "result.json").read_text())


def test_drivers_from_the_real_archive_are_scored_on_drivers_never_seen(
    cli: Cli, drivers_archive: Path, shared_home: Path
) -> None:
    words = (
        "--method",
        "features",
        "--backbone",
        "tf_efficientnet_lite0",
        "--set",
        "image_size=96",
        "--set",
        "regularisation_grid=0.003",
        "--sample",
        "500",
    )
    done = cli("run", "state-farm", "--data", drivers_archive, *words, REPORT)
    assert done.code == 0, done.err
    run, result = result_of(shared_home, "state-farm")
    assert result["clusters"] == 12
    assert 1.5 < result["out_of_fold"] < np.log(10)  # below 1 would mean that drivers leak
    oof = pd.read_parquet(run / "oof.parquet")
    assert len(oof) == 500
    submission = pd.read_csv(run / "submission.csv")
    assert submission.shape == (1200, 11)
    assert np.allclose(submission.drop(columns="img").sum(axis=1), 1)
    look_at_report(run / "report.html", classes=10)


def test_copies_planted_among_real_images_are_found_and_nothing_else(
    cli: Cli, dogs_archive: Path, shared_home: Path, tmp_path: Path
) -> None:
    data = dataset(tmp_path, 1)
    copies = planting.plant_copies(data, 8, np.random.default_rng(0))
    done = cli("audit", "dogs-vs-cats", "--data", data)
    assert done.code == 0, done.err
    found = planting.pairs_found(shared_home)
    surely = {frozenset((copy, own)) for copy, (kind, own) in copies.items() if "85%" not in kind}
    assert surely <= found
    natural = {"cat.348": "cat.67", "dog.458": "dog.435"}  # the archive has two copies of its own
    family = {copy: natural.get(own, own) for copy, (_, own) in copies.items()} | natural
    assert all(len({family.get(image, image) for image in pair}) == 1 for pair in found)


def test_a_real_backbone_agrees_with_timms_own_model_and_transform_on_real_photographs(
    dogs_archive: Path, tmp_path: Path
) -> None:
    name = "tf_efficientnet_lite0"
    paths = sorted(archives.extract(dogs_archive, tmp_path).folder.glob("train/*.jpg"))[::10]
    model = timm_models.load_model(name, weights.locate(name))[0]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    backbone = registry.resolve(name, FeatureSettings(), lambda _: None)
    session = sessions.Session(Path(backbone.graph), "cpu", devices.cores())
    same = []
    for path in paths:
        with torch.inference_mode():
            own = model(transform(Image.open(path).convert("RGB"))[None])
        pixels = backbone.preprocessing.apply(decoding.decode(files.read_bytes(path)[0]))
        (found,) = session.run(["logits"], {"images": pixels[None]})
        same.append(int(own.argmax()) == int(found.argmax()))
    assert len(same) == 120
    assert np.mean(same) >= 0.99
