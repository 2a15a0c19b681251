"""Weights that a notebook without internet has as files, in the layouts that people use."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kagglekit.base.errors import UserError
from kagglekit.models import mounted_weights, registry, timm_models, weights
from kagglekit.recipe import FeatureSettings

B4 = "tf_efficientnet_b4.ns_jft_in1k"
LITE = "tf_efficientnet_lite0.in1k"
"""With its tag, so that the installed package is not asked."""


@pytest.fixture(autouse=True)
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kaggle's input folder, beside the working folder; nothing else is searched."""
    folder = tmp_path / "input"
    folder.mkdir()
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("KAGGLEKIT_INPUT", raising=False)
    return folder


def written(folder: Path, relative: str) -> Path:
    file = folder / relative
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        (B4, "my-weights/tf_efficientnet_b4.ns_jft_in1k.safetensors"),
        (B4, "my-weights/TF-EfficientNet-B4-ns-jft-in1k.pth"),
        (B4, "timm-pretrained-efficientnet/efficientnet/tf_efficientnet_b4_ns-d6313a46.pth"),
        (B4, "hub/models--timm--tf_efficientnet_b4.ns_jft_in1k/snapshots/0123456789abcdef/model.safetensors"),
        (B4, "timm-tf-efficientnet-b4-ns-jft-in1k/pytorch_model.bin"),
        (B4, "tf-efficientnet-b4/pytorch/ns-jft-in1k/1/pytorch_model.bin"),
        (B4, "models/somebody/tf_efficientnet_b4/pytorch/ns_jft_in1k/3/model.safetensors"),
        ("tf_efficientnet_b4", "tf-efficientnet/pytorch/tf-efficientnet-b4/1/tf_efficientnet_b4_aa-818f208c.pth"),
        ("tf_efficientnet_b4", "timm-pretrained-weights/tf_efficientnet_b4.pth"),
        ("tf_efficientnet_b4", "datasets/somebody/weights/tf_efficientnet_b4_ns-d6313a46.pth"),
        ("resnet18", "resnet18/pytorch/default/1/resnet18-f37072fd.pth"),
    ],
)
def test_weights_are_found_in_the_layouts_that_people_use(mounted: Path, name: str, relative: str) -> None:
    file = written(mounted, relative)
    assert weights.locate(name) == weights.Weights("file", file, "not stated (your file)")


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        (B4, "weights/tf_efficientnet_b4.pth"),  # of which training nobody says
        (B4, "weights/efficientnet_b4.ra2_in1k.pth"),
        ("efficientnet_lite0", "weights/tf_efficientnet_lite0.pth"),  # loads without an error, and is wrong
        ("tf_efficientnet_b4", "tf-efficientnet-b4/fold0.pth"),  # somebody has trained it
        ("tf_efficientnet_b4", "tf-efficientnet-b4/model.csv"),
        ("convnext_tiny", "convnext-tiny-224-hf/pytorch_model.bin"),
    ],
)
def test_other_files_are_not_taken_for_weights_of_a_model(mounted: Path, name: str, relative: str) -> None:
    written(mounted, relative)
    assert mounted_weights.find(name) is None


def test_the_name_that_says_most_wins(mounted: Path) -> None:
    written(mounted, "a/tf_efficientnet_b4.pth")
    written(mounted, "a/tf_efficientnet_b4.ns_jft_in1k.pth")
    best = written(mounted, "b/tf_efficientnet_b4.ns_jft_in1k.safetensors")
    assert mounted_weights.find("tf_efficientnet_b4") == best


def test_folders_of_images_are_not_listed(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounted_weights, "_MOST_ENTRIES", 5)
    for number in range(9):
        written(mounted, f"competition/train/{number}.jpg")
        written(mounted, f"competition/train/class{number}/resnet18.pth")
    assert mounted_weights.find("resnet18") is None
    beside = written(mounted, "z/resnet18.pth")
    assert mounted_weights.find("resnet18") == beside


def test_torchs_checkpoints_and_another_input_folder_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_file = written(tmp_path, "torch/hub/checkpoints/tf_efficientnet_b4_ns-d6313a46.pth")
    assert mounted_weights.find(B4) == torch_file
    monkeypatch.setenv("KAGGLEKIT_INPUT", str(tmp_path / "attached"))
    attached = written(tmp_path, "attached/x/tf_efficientnet_b4_ns-d6313a46.pth")
    assert mounted_weights.find(B4) == attached


def test_a_mounted_file_is_loaded_and_its_place_is_said(mounted: Path, home: Path) -> None:
    packaged = timm_models.load_model("tf_efficientnet_lite0", weights.locate("tf_efficientnet_lite0"))[0].state_dict()
    file = mounted / "lite" / "pytorch" / "tf-efficientnet-lite0-in1k" / "1" / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(packaged, file)
    said: list[str] = []
    backbone = registry.resolve(LITE, FeatureSettings(image_size=(64,)), said.append)
    assert said == [f"weights of {LITE}: {file}; exporting to ONNX (once)"]
    assert backbone.weights == str(file)
    assert backbone.source == "file"
    model = timm_models.load_model(LITE, weights.locate(LITE))[0]
    assert all(torch.equal(value, packaged[key]) for key, value in model.state_dict().items())


def test_weights_in_the_names_of_their_own_project_are_translated(mounted: Path) -> None:
    model = timm_models.create("convnext_atto.d2_in1k")
    own = model.state_dict()
    original = {
        key.replace("stem.", "downsample_layers.0.").replace("head.fc.", "head.").replace("head.norm.", "norm."): value
        for key, value in own.items()
    }
    torch.save({"model": original}, mounted / "convnext_atto.d2_in1k.pth")
    found = timm_models.load_model("convnext_atto.d2_in1k", weights.locate("convnext_atto.d2_in1k"))[0]
    assert all(torch.equal(value, own[key]) for key, value in found.state_dict().items())


def test_a_mounted_file_that_does_not_fit_is_named_and_nothing_in_it_is_run(mounted: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    file = mounted / "resnet18.a1_in1k.pth"
    file.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(UserError, match="nothing was unpickled"):
        registry.resolve("resnet18", FeatureSettings(), lambda _: None)
    assert not (tmp_path / "harm").exists()
    torch.save(timm_models.create("test_resnet").state_dict(), file)
    with pytest.raises(UserError, match=rf"{file} does not hold the weights of resnet18"):
        registry.resolve("resnet18", FeatureSettings(), lambda _: None)


def test_folders_searched_in_vain_are_named(mounted: Path) -> None:
    with pytest.raises(UserError, match=f"not installed, nor below {mounted}, and the model hub does not answer"):
        registry.resolve("resnet18", FeatureSettings(), lambda _: None)


def test_on_a_gpu_mounted_weights_are_the_default(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "hub_answers", lambda: False)
    assert registry.default("cuda")[0] == registry.DEFAULT_CPU
    for name in registry.DEFAULT_GPU:
        written(mounted, f"weights/{name}.safetensors")
    assert registry.default("cuda") == (registry.DEFAULT_GPU, "there is a GPU, and the weights are on this machine")
