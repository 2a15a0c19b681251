"""Members of runs on frozen backbones: heads on each alone, on earlier layers, on several, blended where that gains."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from kagglekit.base import devices
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data.tables import Scanned
from kagglekit.deploy import standalone
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.heads import head_file
from kagglekit.heads.features import FeatureEngine, Features
from kagglekit.images import decoding, files
from kagglekit.models import registry
from kagglekit.pipeline import blending
from kagglekit.pipeline.methods import features, features_run, table
from kagglekit.pipeline.methods.base import Method
from kagglekit.pipeline.methods.features import FrozenFeatures
from kagglekit.recipe import ComputeSettings, FeatureSettings, Recipe
from kagglekit.report import facts
from kagglekit.report.saliency import Asked, Attention
from kagglekit.runs import filenames, findings, record, store
from kagglekit.runs.record import Blend
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes
from kagglekit.training.budget import Work
from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded

DOGS = "dogs-vs-cats"
SMALL = ("tf_efficientnet_lite0@64", "tf_efficientnet_lite0@96")


def run(cli: Cli, home: Path, *words: str) -> store.Run:
    """Run a synthetic competition, and return the newest run."""
    before = set(home.glob("*/synthetic/runs/*"))
    succeeded(cli("run", DOGS, "--method", "features", "--set", "folds=3", *words))
    (made,) = set(home.glob("*/synthetic/runs/*")) - before
    return store.Run(made)


@pytest.fixture(scope="module")
def specs(tiny_export: tuple[str, Path]) -> tuple[str, str]:
    """The same backbone at two sizes."""
    spec, _ = tiny_export
    name, _, file = spec.partition("=")
    return spec, f"{name}@96={file}"


def test_a_size_belongs_to_its_backbone(specs: tuple[str, str]) -> None:
    features = FeatureSettings(image_size=(128, 160))
    assert registry.parsed("resnet18@64x96=w.pth", features) == ("resnet18", (64, 96), "w.pth")
    assert registry.parsed("resnet18@64", features) == ("resnet18", (64, 64), "")
    assert registry.parsed("resnet18=a@b.pth", features) == ("resnet18", (128, 160), "a@b.pth")
    for wrong in ("resnet18@", "resnet18@31", "resnet18@1x2x3", "resnet18@large"):
        with pytest.raises(UserError, match="must be sides of at least 32 pixels, as 320 or 256x320"):
            registry.parsed(wrong, features)


@pytest.mark.parametrize(
    ("images", "test_images", "classes", "settings", "count"),
    [
        (1200, 400, 2, {}, 3),
        (4000, 1000, 2, {}, 2),
        (25_000, 12_500, 2, {}, 1),
        (25_000, 12_500, 2, {"budget": "8h"}, 3),
        (1200, 400, 2, {"image_size": (96,)}, 1),
        (495, 198, 99, {}, 1),  # class means of many features take long
        (9000, 1000, 40, {"budget": "8h"}, 1),  # and so does a regression of many classes
    ],
)
def test_there_are_as_many_backbones_as_there_is_time_for(
    images: int,
    test_images: int,
    classes: int,
    settings: dict[str, Any],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 2)
    task = kinds.of(Classes([str(number) for number in range(classes)]))
    recipe = Recipe().changed(method="features", **settings)
    (choice,) = table.choose(recipe, Work(images, test_images, 0.0, (400, 400), task=task), "cpu")
    assert choice.backbones == registry.DEFAULT_CPU[:count]
    assert ("more take too long" in choice.because) == (count < 3)


@pytest.mark.parametrize(
    ("images", "classes", "settings", "count"),
    [(1200, 2, {}, 4), (495, 99, {}, 2), (1200, 99, {}, 1), (1200, 2, {"image_size": (96,)}, 1)],
)
def test_where_images_are_long_one_backbone_sees_all_of_them(
    images: int, classes: int, settings: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 2)
    task = kinds.of(Classes([str(number) for number in range(classes)]))
    work = Work(images, 300, 0.0, (400, 400), elongation=1.33, task=task)
    (choice,) = table.choose(Recipe().changed(method="features", **settings), work, "cpu")
    assert choice.backbones == registry.DEFAULT_CPU_OBLONG[:count]
    if not settings:
        assert min(4, features.most_backbones(Recipe(), work)) == count, "a race may choose as many"
    (cropped,) = table.choose(Recipe().changed(method="features", crop="squash"), work, "cpu")
    assert "tf_efficientnet_lite2@squash" not in cropped.backbones


def test_upright_photos_are_as_long_as_others() -> None:
    sizes = [(480, 640), (640, 480), (480, 640), (640, 480), (500, 500)]
    seen: Any = {str(number): SimpleNamespace(height=tall, width=wide) for number, (tall, wide) in enumerate(sizes)}
    train, none = pd.DataFrame({"path": list(seen)}), pd.DataFrame()
    unread: Any = None
    tables = Scanned(train, none, None, none, none, unread, quarantine=none, seen=seen, levels=unread)
    assert tables.usual_elongation == pytest.approx(4 / 3)
    assert tables.usual_shape == (500, 500)


def test_a_crop_belongs_to_its_backbone(cli: Cli, home: Path, tiny: str) -> None:
    assert registry.parsed("resnet18@64@squash", FeatureSettings()) == ("resnet18", (64, 64), "")
    assert registry.parsed("resnet18@squash=w.pth", FeatureSettings()) == ("resnet18", None, "w.pth")
    with pytest.raises(UserError, match="'64@96' must be sides"):
        registry.parsed("resnet18@64@96", FeatureSettings())
    name, _, file = tiny.partition("=")
    made = run(cli, home, "--backbone", f"{tiny},{name}@squash={file}", "--sample", "40")
    first, second = made.finished().backbones
    assert second == f"{first}@squash"
    assert [one.preprocessing["crop"] for one in made.record.backbones] == ["centre", "squash"]
    succeeded(cli("export", made.id))
    assert second in succeeded(cli("info", made.id)).out
    assert second in dict(facts.facts(findings.read(made))["Run"])["backbone"]


def test_two_sizes_of_a_backbone_are_members(cli: Cli, home: Path, tiny: str, specs: tuple[str, str]) -> None:
    made = run(cli, home, "--backbone", ",".join(specs))
    found = record.read(made.folder / filenames.BLEND, Blend)
    assert found is not None
    first, second, both = (one.name for one in found.members)
    assert both == "side by side"
    assert second == f"{first.partition('@')[0]}@96x96"
    heads = head_file.load(made.folder / filenames.HEADS)
    assert set(heads) == {f"{part}{own}" for part in ("fold0", "fold1", "fold2", "all") for own in ("", "/0", "/1")}
    alone = run(cli, home, "--backbone", specs[1])
    ids = alone.row_oof().known("id")["id"].tolist()
    labels = alone.record.competition.labels
    member = made.read_probabilities(filenames.OOF_OF_MEMBERS, ids, labels, second)
    assert np.array_equal(member, alone.read_probabilities(filenames.OOF_OF_HEADS, ids, labels))


def test_members_are_shown_exported_and_predict_alike(
    cli: Cli, home: Path, tiny: str, specs: tuple[str, str], tmp_path: Path
) -> None:
    made = run(cli, home, "--backbone", ",".join(specs))
    shown = succeeded(cli("run", DOGS, "--method", "features", "--set", "folds=3", "--backbone", ",".join(specs))).out
    assert "already finished" in shown
    assert "side by side" in shown
    assert "convex weights" in shown
    succeeded(cli("export", made.id))
    images = tmp_path / "images"
    images.mkdir()
    table = made.images("test")
    for path in table["path"]:
        shutil.copy(path, images)
    succeeded(cli("predict", made.id, images, "--output", tmp_path / "found.csv"))
    found = pd.read_csv(tmp_path / "found.csv")
    assert len(found) == len(table)
    written = made.row_test()
    by_name = {Path(path).name: own for own, path in zip(table["id"], table["path"], strict=True)}
    ids = [by_name[Path(name).name] for name in found.iloc[:, 0]]
    assert np.abs(found[list(written.labels)].to_numpy() - written.of(ids)).max() < 1e-4


def test_a_wrong_size_is_one_line(cli: Cli, tiny: str) -> None:
    said = failed(cli("run", DOGS, "--method", "features", "--backbone", "tf_efficientnet_lite0@20"))
    assert "'20' must be sides of at least 32 pixels" in said


def test_a_run_on_default_backbones_of_one_name_has_earlier_layers_and_is_exported(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DEFAULT_CPU", "DEFAULT_CPU_OBLONG"):  # drawn photographs are long
        monkeypatch.setattr(registry, name, SMALL)
    monkeypatch.setattr(registry, "_COSTS", dict(zip(SMALL, (1.0, 1.5), strict=True)))
    made = run(cli, home, "--sample", "60", "--head", "logistic")
    assert made.finished().backbones == ("tf_efficientnet_lite0@64x64", "tf_efficientnet_lite0@96x96")
    found = record.read(made.folder / filenames.BLEND, Blend)
    assert found is not None
    assert [one.name for one in found.members[2:]] == [features_run.EARLIER, features_run.SIDE_BY_SIDE]
    fitted = head_file.load(made.folder / filenames.HEADS)
    widths = [fitted[name].layers[0].mean.shape for name in ("all/0", "all/2", "all")]  # type: ignore[union-attr]
    assert widths == [(1280,), (608,), (2560,)]
    succeeded(cli("export", made.id))


@pytest.mark.parametrize(
    ("backbones", "output", "chosen"),
    [
        (SMALL, "pooled", {features_run.EARLIER: 1.0}),
        (SMALL[:1], "logits", {features_run.EARLIER: 0.5, "tf_efficientnet_lite0": 0.5}),
        (("test_vit",), "pooled", {features_run.EARLIER: 0.5, "test_vit": 0.5}),
    ],
)
@pytest.mark.usefixtures("all_earlier_layers")
def test_earlier_layers_predict_alike_everywhere(
    backbones: tuple[str, ...],
    output: str,
    chosen: dict[str, float],
    cli: Cli,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blending._Chooser, "offered", lambda _: {blending.BEST: lambda _: chosen})
    data = drawing.dogs(tmp_path)
    if backbones == ("test_vit",):
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
        backbones = (f"test_vit={tmp_path / 'vit.safetensors'}",)
    words = ("--backbone", ",".join(backbones), "--set", f"output={output}", "--head", "logistic", *damage.QUICK)
    succeeded(cli("run", DOGS, "--data", data, *words))
    made = store.Run(damage.only_run(home / DOGS))
    succeeded(cli("bundle", made.folder, tmp_path / "bundle"))  # exports it, and compares with torch
    with zipfile.ZipFile(data) as whole:
        whole.extractall(tmp_path / "data")
    standalone.main(tmp_path / "bundle", tmp_path / "data", tmp_path / "found.csv")
    found, expected = pd.read_csv(tmp_path / "found.csv"), pd.read_csv(made.submission)
    assert np.abs(found["label"] - expected["label"]).max() < 1e-4
    attention = Attention(FittedRun(made, Console()))
    image = attention.prepare(decoding.decode(files.read_bytes(made.images("train")["path"][0])[0]))
    cat, dog = attention.maps([Asked(image, "fold0", label) for label in range(2)])
    assert cat is not None
    assert dog is not None
    assert np.allclose(cat.values, -dog.values, atol=1e-4 * np.abs(cat.values).max())
    assert cat.values.any()


def test_one_backbone_and_its_earlier_layers_are_members(cli: Cli, home: Path) -> None:
    words = ("--backbone", SMALL[0], "--sample", "40", "--head", "logistic")
    made = run(cli, home, *words)
    found = record.read(made.folder / filenames.BLEND, Blend)
    assert found is not None
    assert [one.name for one in found.members] == [features_run.EARLIER, "tf_efficientnet_lite0"]
    fitted = head_file.load(made.folder / filenames.HEADS)
    assert set(fitted) == {f"{part}{own}" for part in ("fold0", "fold1", "fold2", "all") for own in ("", "/0")}
    widths = [fitted[name].layers[0].mean.shape for name in ("all", "all/0")]  # type: ignore[union-attr]
    assert widths == [(1280,), (304,)]
    shown = succeeded(cli("run", DOGS, "--method", "features", "--set", "folds=3", *words)).out
    assert "already finished" in shown
    assert "earlier layers" in shown


def test_a_run_without_earlier_layers_stays_and_is_used(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(FrozenFeatures, "using", Method.using)  # as runs with one backbone once were
        made = run(cli, home, "--backbone", SMALL[0], "--sample", "40", "--head", "logistic")
    assert set(made.record.backbones[0].outputs) == {"pooled", "logits"}
    assert not (made.folder / filenames.BLEND).exists()
    succeeded(cli("export", made.id))
    assert "earlier layers" not in succeeded(cli("report", made.id, "--text")).out
    new = run(cli, home, "--backbone", SMALL[0], "--sample", "40", "--head", "logistic")
    assert new.id != made.id


def test_features_that_are_cached_without_earlier_layers_stay(tmp_path: Path) -> None:
    backbone = registry.resolve(SMALL[0], FeatureSettings())
    data = drawing.dogs(tmp_path)
    with zipfile.ZipFile(data) as whole, zipfile.ZipFile(io.BytesIO(whole.read("train.zip"))) as train:
        train.extractall(tmp_path)
    paths = sorted(map(str, tmp_path.glob("train/*.jpg")))[:6]
    contents = [files.digest(Path(path).read_bytes()) for path in paths]

    def computed(also: str) -> tuple[FeatureEngine, Features]:
        engine = FeatureEngine([backbone], ("plain",), "pooled", ComputeSettings(), tmp_path / "store", also=also)
        return engine, engine.compute(paths, contents, Console())

    _, before = computed("")
    engine, after = computed("layers")
    every = np.arange(len(paths))
    assert np.array_equal(before.rows(every), after.rows(every))
    assert engine.stored(contents, "layers").rows(every).shape == (6, 1, 304)
    written = [np.load(path).shape for path in tmp_path.glob("store/*/*.rows.npy")]
    assert sorted(written) == [(6, 304), (6, 1280)]
