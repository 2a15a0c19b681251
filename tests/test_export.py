"""`kagglekit export`: one file that gives what the run gave, says what it is, and is kept only if both hold."""

from __future__ import annotations

import ast
import gc
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from kagglekit.base.console import Console
from kagglekit.deploy import fitted_run, onnx_file, onnx_graph
from kagglekit.images import decoding
from kagglekit.kaggle import ledger
from kagglekit.models import sessions, weights
from kagglekit.pipeline import blending, gates, postprocess
from kagglekit.pipeline.methods import features_run
from kagglekit.runs import store
from tests import damage, drawing, finetuned, pages, trainers
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import newest

FEW = ("--folds", "2", "--set", "regularisation_grid=0.1")


def table(run: Path, part: str) -> pd.DataFrame:
    images = pd.read_parquet(run / "images.parquet")
    return images[images["part"] == part]


def predicted(cli: Cli, run: Path, model: Path | None = None) -> pd.DataFrame:
    """What the file says of the run's test images."""
    output = run.parent / "predicted.csv"
    succeeded(cli("predict", model or run, *table(run, "test")["path"], "--output", output))
    return pd.read_csv(output)


def exported(cli: Cli, home: Path, archive: Path, spec: str, *words: str, name: str = "dogs-vs-cats") -> Path:
    succeeded(cli("run", name, "--data", archive, "--backbone", spec, *FEW, *words))
    run = newest(home, name)
    succeeded(cli("export", run))
    return run


@pytest.fixture(scope="module")
def finished(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one exported run."""
    spec, cache = tiny_export
    home = tmp_path_factory.mktemp("finished")
    shutil.copytree(cache, home / ".cache")
    archive = drawing.dogs(tmp_path_factory.mktemp("given"))
    damage.make(home, "run", "dogs-vs-cats", "--data", archive, "--backbone", spec, *FEW, "--no-report")
    damage.make(home, "export", newest(home))
    return home


@pytest.fixture
def run(finished: Path, home: Path) -> Path:
    """A copy of that run, to do with as a test likes."""
    shutil.copytree(finished, home, dirs_exist_ok=True)
    return newest(home)


def test_the_file_gives_what_the_run_gave(cli: Cli, run: Path) -> None:
    found, expected = predicted(cli, run), pd.read_parquet(run / "test.parquet")
    assert np.abs(found[["cat", "dog"]].to_numpy() - expected[["cat", "dog"]].to_numpy()).max() < 1e-5
    assert found["error"].isna().all()


@pytest.mark.parametrize(
    "settings",
    [("head=mlp", "mlp_epochs=3"), ("output=logits",), ("feature_views=plain",), ("feature_views=mirror",)],
    ids=str,
)
def test_the_file_gives_what_the_run_gave_with_other_settings(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, settings: tuple[str, ...]
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    run = exported(cli, home, drawing.dogs(tmp_path), tiny, *words)
    found, expected = predicted(cli, run), pd.read_parquet(run / "test.parquet")
    assert np.abs(found[["cat", "dog"]].to_numpy() - expected[["cat", "dog"]].to_numpy()).max() < 1e-5
    assert found["error"].isna().all()


def test_the_example_of_the_guide_predicts_without_kagglekit(
    cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = predicted(cli, run).iloc[0]
    monkeypatch.chdir(tmp_path)
    Path("leaf.onnx").symlink_to(run / "model.onnx")
    Path("photo.jpg").symlink_to(table(run, "test")["path"].iloc[0])
    monkeypatch.syspath_prepend(Path(str(decoding.__file__)).parent)
    (example,) = pages.blocks(pages.ROOT / "kagglekit" / "guide" / "export.md", "python")
    exec(example, {})
    assert ast.literal_eval(capsys.readouterr().out) == pytest.approx({"cat": first["cat"], "dog": first["dog"]})


def test_backbones_of_different_sizes_are_inputs_of_one_file(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side_by_side = {features_run.SIDE_BY_SIDE: 1.0}  # the best member may be one of the two
    monkeypatch.setattr(blending._Chooser, "offered", lambda _: {blending.BEST: lambda _: side_by_side})
    torch.manual_seed(1)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    run = exported(cli, home, drawing.dogs(tmp_path), f"{tiny},test_vit={tmp_path / 'vit.safetensors'}")
    session = sessions.Session(run / "model.onnx", "cpu", 1)
    assert len(session.inputs) == len(json.loads(session.metadata["preprocessing"])) == 2
    found, expected = predicted(cli, run), pd.read_parquet(run / "test.parquet")
    assert np.abs(found[["cat", "dog"]].to_numpy() - expected[["cat", "dog"]].to_numpy()).max() < 1e-5


def test_a_file_may_take_floats(cli: Cli, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "floats.onnx"
    succeeded(cli("export", run, "--output", other, "--floats"))
    whole = sessions.Session(run / "model.onnx", "cpu", 1)
    floats = sessions.Session(other, "cpu", 1)
    size = json.loads(whole.metadata["preprocessing"])["images"]["size"]
    images = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    (first,) = whole.run(("probabilities",), {"images": images})
    (second,) = floats.run(("probabilities",), {"images": (images / 255).astype(np.float32)})
    assert np.abs(first - second).max() < 1e-5
    pd.testing.assert_frame_equal(predicted(cli, run), predicted(cli, run, other), atol=1e-5)


ALONE = ("--method", "features", "--set", "class_shares=false")
"""The submission is what the file predicts."""


def test_the_file_says_what_it_is(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    run = exported(cli, home, drawing.drivers(tmp_path), tiny, *ALONE, name="state-farm")
    about = sessions.Session(run / "model.onnx", "cpu", 1).metadata
    assert about["run"] == run.name
    assert about["competition"] == "state-farm"
    assert json.loads(about["classes"])["c1"].startswith("texting")
    assert len(json.loads(about["classes"])) == 10
    assert json.loads(about["preprocessing"])["images"]["crop"] == "squash"
    (backbone,) = json.loads((run / "run.json").read_text())["backbones"]
    assert json.loads(about["backbones"]) == [{key: backbone[key] for key in ("name", "sha256", "licence")}]
    assert json.loads(about["made_by"])["timm"] == timm.__version__
    result = json.loads((run / "result.json").read_text())
    assert json.loads(about["out_of_fold"]) == {result["metric"]: pytest.approx(result["out_of_fold"])}
    assert len(about["weights_sha256"]) == 64
    assert (about["input"], about["precision"], about["synthetic"]) == ("uint8", "float32", "false")
    onnx.checker.check_model(onnx.load(run / "model.onnx"))


# Fine-tuned runs


@pytest.fixture(scope="module")
def small(tiny_export: tuple[str, Path]) -> tuple[str, Path]:
    return finetuned.small_export(tiny_export)


def test_a_fine_tuned_run_s_file_is_the_mean_of_its_models(
    cli: Cli, small: tuple[str, Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers.spare(monkeypatch)
    shutil.copytree(small[1], home / ".cache")
    kept = gates.Judgement(before=1.0, after=0.5, gain=0.5, low=0.4, high=0.6, kept=True)
    monkeypatch.setattr(postprocess, "judge", lambda *_: kept)
    more = ("--set", "neighbours=3", "--set", "scenes=0", "--set", "class_shares=false")
    words = ("--set", "models=2", *more, "--set", "phases=all epochs=1", *finetuned.TWO_FOLDS)
    archive = drawing.drivers(tmp_path, each=1)
    said = succeeded(cli(*finetuned.command(archive, small[0], *words, name="state-farm"))).out
    assert "transductive: by mean of 3 neighbours the predictions depend on the test images together" in said
    run = newest(home, "state-farm")
    assert ledger.Row.of(run / "submission.csv", "", store.Run(run)).transductive == "mean of 3 neighbours"
    assert "(transductive)" in succeeded(cli("runs", "state-farm")).out.replace("\n", "")
    assert "transductive: by mean of 3 neighbours" in succeeded(cli("report", run, "--text")).out
    done = succeeded(cli("export", run))
    assert "it leaves out mean of 3 neighbours, which the submission has" in done.out
    alone = json.loads((run / "alone.json").read_text())
    assert list(alone["steps"]) == ["mirrored view", "temperature", "clip"]
    labels = [f"c{number}" for number in range(10)]
    ids = table(run, "test")["id"].tolist()
    views = {
        view: np.mean(
            [
                store.Run(run).read_probabilities(str(path.relative_to(run)), ids, labels, view=view)
                for path in sorted(run.glob("models/*/test.parquet"))
            ],
            axis=0,
        )
        for view in ("plain", "mirror")
    }
    assert len(list(run.glob("models/*/test.parquet"))) == 4
    expected = (views["plain"] + views["mirror"]) / 2
    assert np.abs(views["plain"] - views["mirror"]).max() > 1e-3
    for step in ("temperature", "clip"):
        expected = postprocess.STEPS[step][0](expected, alone["steps"][step])
    assert np.abs(predicted(cli, run)[labels].to_numpy() - expected).max() < 1e-5


def test_a_model_whose_head_no_other_can_replace_is_traced_anew(tmp_path: Path) -> None:
    from kagglekit.models import onnx_export, timm_models

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "bare.safetensors")
    found = weights.locate("test_resnet", str(tmp_path / "bare.safetensors"))
    threads = torch.get_num_threads()
    backbone = onnx_export.export("test_resnet", found, (64, 64), tmp_path)
    assert torch.get_num_threads() == threads
    assert list(backbone.outputs) == ["pooled"], "these weights have no classifier"
    model = timm_models.create("test_resnet", (64, 64), num_classes=3).eval()
    in_place: list[Any] = [part for part in model.modules() if getattr(part, "inplace", False)]
    session = sessions.Session(onnx_export.trained(backbone, model, model.state_dict()), "cpu", 1)
    assert len(in_place) > 5
    assert all(part.inplace for part in in_place), "a model that is trained on is as before"
    assert gc.isenabled()
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        _, expected = onnx_export.wrap(model, backbone.preprocessing, whole=True)(images)
    (computed,) = session.run(("logits",), {"images": images.numpy()})
    assert np.abs(computed - expected.numpy()).max() < 1e-4


# Gates


def test_a_file_that_differs_from_torch_is_not_kept(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "model.onnx").unlink()
    by_torch = fitted_run.FittedRun.by_torch

    def off(*given: Any) -> Any:
        found = by_torch(*given)
        found[3, 0] += 2e-4
        return found

    monkeypatch.setattr(fitted_run.FittedRun, "by_torch", off)
    line = failed(cli("export", run))
    assert "a probability differs by 0.0002 from torch on the same pixels, more than 0.0001" in line
    images = table(run, "train")
    assert sum(path in line for path in images["path"]) == 1, "the worst image"
    assert not list(run.glob("*.onnx"))


def test_a_file_that_sees_other_pixels_than_timm_is_not_kept(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "model.onnx").unlink()
    by_timm = onnx_file._by_timm
    monkeypatch.setattr(onnx_file, "_by_timm", lambda *given: 255 - by_timm(*given))
    assert "from timm's own transform" in failed(cli("export", run))
    assert not list(run.glob("*.onnx"))


def test_half_precision_is_kept_only_if_the_loss_stays(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = gates.Judgement(before=1.0, after=0.5, gain=0.5, low=0.4, high=0.6, kept=True)
    monkeypatch.setattr(postprocess, "judge", lambda *_: kept)
    run = exported(cli, home, drawing.dogs(tmp_path), tiny)
    assert list(json.loads((run / "alone.json").read_text())["steps"]) == ["temperature", "clip"]
    for words in ((), ("--floats",)):
        done = succeeded(cli("export", run, "--fp16", *words))
        whole = run / ("model.floats.onnx" if words else "model.onnx")
        half = whole.with_suffix(".fp16.onnx")
        assert half.stat().st_size < 0.7 * whole.stat().st_size
        about = sessions.Session(half, "cpu", 1).metadata
        assert (about["precision"], about["checked_on"]) == ("float16", "cpu")
        assert "overflows show only on a GPU" in done.out
        (loss,) = json.loads(about["out_of_fold"]).values()
        assert f"{loss:.5f} in float16" in done.out, "each image by models that have not seen it"
        pd.testing.assert_frame_equal(predicted(cli, run, whole), predicted(cli, run, half), atol=2e-3)
        half.unlink()
    monkeypatch.setattr(onnx_file, "FP16_LOSES", -1.0)
    assert "it grows by more than -1, so the file was not kept" in failed(cli("export", run, "--fp16"))
    assert not half.exists()
    assert (run / "model.onnx").is_file()
    monkeypatch.undo()
    monkeypatch.setenv("KAGGLEKIT_HOME", str(home))
    monkeypatch.setattr(onnx_file, "HALF_DIFFERS", -1.0)
    assert "from single precision, more than -1" in failed(cli("export", run, "--fp16"))
    assert not half.exists()


def test_heads_compute_in_single_precision(cli: Cli, run: Path) -> None:
    graph = onnx_graph.compose(fitted_run.FittedRun(store.Run(run), Console()), half=True).graph
    (last,) = [node for node in graph.node if node.output[0] == "probabilities"]
    by_output = {name: node for node in graph.node for name in node.output}
    seen, todo = [], list(last.input)
    while todo:
        node = by_output.get(todo.pop())
        if node is not None and not node.name.startswith("network"):
            seen.append(node.op_type)
            todo += node.input
    assert {"Softmax", "Gemm"} <= set(seen)
    assert "Cast" not in seen


def test_transparent_and_deep_images_are_no_reason_to_refuse(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    """There we differ from timm, and say so: we show white, and all sixteen bits."""
    random = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "data" / "train" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (40, 40, 4), dtype=np.uint8)
        deep = random.integers(0, 65536, (40, 40), dtype=np.uint16)
        cv2.imwrite(str(folder / f"{number}.png"), deep if number > 7 else pixels)
    (tmp_path / "data" / "test").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "test" / "1.png"), pixels)
    succeeded(cli("run", tmp_path / "data", "--backbone", tiny, *FEW))
    (run,) = home.glob("*/runs/*")
    assert "from timm's own transform by" in succeeded(cli("export", run)).out


def test_a_file_that_is_not_of_the_run_as_it_is_is_made_again(cli: Cli, run: Path) -> None:
    image = table(run, "test")["path"].iloc[0]
    (run / "model.onnx").unlink()
    succeeded(cli("export", run, "--floats"))
    assert sessions.Session(run / "model.floats.onnx", "cpu", 1).metadata["input"] == "float32"
    assert "differs from torch" in succeeded(cli("predict", run, image)).err
    assert sessions.Session(run / "model.onnx", "cpu", 1).metadata["input"] == "uint8"
    assert (run / "model.floats.onnx").is_file()
    assert "differs from torch" not in succeeded(cli("predict", run, image)).err
    alone = json.loads((run / "alone.json").read_text())
    (run / "alone.json").write_text(json.dumps(alone | {"steps": {"temperature": 1.5}}))
    assert "differs from torch" in succeeded(cli("predict", run, image)).err
    made = json.loads((run / "stages" / "finish.json").read_text())
    made["made_from"]["heads"]["heads.safetensors"] = "others"  # made again, with the same steps
    (run / "stages" / "finish.json").write_text(json.dumps(made))
    assert "differs from torch" in succeeded(cli("predict", run, image)).err
    assert "differs from torch" not in succeeded(cli("predict", run, image)).err


def test_predicting_with_a_file_that_is_there_needs_no_backbone(cli: Cli, run: Path, home: Path) -> None:
    image = table(run, "test")["path"].iloc[0]
    shutil.rmtree(home / ".cache" / "backbones")
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("tiny.safetensors", "moved.safetensors"))
    succeeded(cli("predict", run, image))
    assert "moved.safetensors: no such file" in failed(cli("export", run))


@pytest.mark.parametrize("change", ["crop", "version"])
def test_other_pixels_than_the_runs_are_refused(cli: Cli, run: Path, change: str) -> None:
    record = json.loads((run / "run.json").read_text())
    if change == "crop":
        record["backbones"][0]["preprocessing"]["crop_share"] = 0.5  # as another timm may have it
    else:
        record["backbones"][0]["pixels"] -= 1
    (run / "run.json").write_text(json.dumps(record))
    assert "preprocesses images differently" in failed(cli("export", run))


def test_more_weights_than_a_file_can_hold_are_refused(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "_LARGEST", 1000)
    assert "use fewer models or a smaller backbone" in failed(cli("export", run))


# What can't be exported


def test_what_can_not_be_exported_is_said_in_a_line(cli: Cli, tiny: str, run: Path, tmp_path: Path) -> None:
    assert "the file must end in .onnx" in failed(cli("export", run, "--output", tmp_path / "model.bin"))
    assert "no run 'zzz'" in failed(cli("export", "zzz"))
    gone = Path(table(run, "train")["path"].iloc[0])
    gone.rename(tmp_path / "elsewhere.jpg")
    assert "is missing: restore the data" in failed(cli("export", run))
    (tmp_path / "elsewhere.jpg").rename(gone)
    file = Path(tiny.partition("=")[2])
    content = file.read_bytes()
    (run / "result.json").unlink()
    assert "is not finished: rerun its command" in failed(cli("export", run))
    assert file.read_bytes() == content


def test_other_weights_than_the_run_s_are_refused(cli: Cli, tmp_path: Path, home: Path) -> None:
    file = tmp_path / "tiny.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), file)
    run = exported(cli, home, drawing.dogs(tmp_path), f"test_resnet={file}")
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet").state_dict(), file)
    assert "are not those of the run" in failed(cli("export", run))
